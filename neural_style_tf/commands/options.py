"""Flags from dataclasses, and back: a default and its help live in the dataclass alone.

A flag that is not given is None, so that what a preset or a settings file says stays.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from absl.flags import argparse_flags

from neural_style_tf.errors import OptionError
from neural_style_tf.schedule import ADAM, OF_OPTIMIZER, TOLERANCE
from neural_style_tf.settings import kind

T = TypeVar("T")


class Parser(argparse_flags.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest flag."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see `{self.prog} --help`")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [s for action in self._actions for s in action.option_strings]
            near = difflib.get_close_matches(unknown[0].split("=")[0], flags, 1)
            self.error(
                f"unknown argument {unknown[0]}" + (f" (did you mean {near[0]}?)" if near else "")
            )
        return options


def add_fields(
    parser: argparse._ActionsContainer,
    of: type,
    only: Collection[str] | None = None,
    *,
    base: Any = None,
) -> None:
    """One flag for each field of a dataclass that was made with `settings.option`, or for some.

    Args:
        parser: gets the flags.
        of: the dataclass.
        only: names of fields; where they are a mapping, with help of the command's own.
        base: an instance whose values are the defaults; the fields' own by default.
    """
    helps = only if isinstance(only, Mapping) else {}
    for field in dataclasses.fields(of):
        metadata = field.metadata
        if "help" not in metadata or (only is not None and field.name not in only):
            continue
        help, default = helps.get(field.name, metadata["help"]), field.default
        if base is not None:
            default = getattr(base, field.name)
        flag = f"--{metadata.get('flag', field.name).replace('_', '-')}"
        if kind(field) is bool:
            # The other one undoes what a settings file says.
            both = argparse.BooleanOptionalAction
            parser.add_argument(flag, dest=field.name, action=both, default=None, help=help)
            continue
        shown = "" if default in (None, ()) else f" (default {default})"
        parser.add_argument(
            flag,
            dest=field.name,
            type=kind(field),
            nargs=metadata.get("nargs"),
            choices=metadata.get("choices"),
            metavar=None if "choices" in metadata else field.name.upper(),
            help=help + shown,
        )


def beside_flags(schedule: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What a settings file's schedule still says beside the flags of a command line."""
    left = dict(schedule)
    # One of Adam's settings means Adam.
    meant = "adam" if any(getattr(options, name, None) is not None for name in ADAM) else None
    if (options.optimizer or meant) not in (None, left.get("optimizer")):
        # Those were for the file's own optimizer.
        left = {name: value for name, value in left.items() if name not in OF_OPTIMIZER}
    # A default is written down like anything else; it is another one where iterations are given.
    default = TOLERANCE.get(str(left.get("optimizer")))
    if options.iterations is not None and left.get("tolerance") == default:
        left.pop("tolerance", None)
    return left


def with_fields(base: T, options: argparse.Namespace, **more: Any) -> T:
    """The dataclass `base` with the flags that were given, and whatever else is named."""
    given = {
        field.name: value
        for field in dataclasses.fields(base)  # type: ignore[arg-type]
        if "help" in field.metadata and (value := getattr(options, field.name)) is not None
    }
    return dataclasses.replace(base, **given, **more)  # type: ignore[type-var]


def layer_weights(words: Sequence[str], flag: str) -> dict[str, float]:
    """`relu4_2=1 relu5_2` as `{"relu4_2": 1.0, "relu5_2": 1.0}`.

    Raises:
        OptionError: a layer named twice, or a weight that is no number.
    """
    result: dict[str, float] = {}
    for word in words:
        layer, equals, weight = word.partition("=")
        if layer in result:
            raise OptionError(f"{flag}: {layer} is given twice; give each layer once")
        try:
            result[layer] = float(weight) if equals else 1.0
        except ValueError:
            raise OptionError(
                f"{flag}: expected LAYER or LAYER=WEIGHT with a number, got {word!r}"
            ) from None
    return result
