"""Dataclasses as settings: a field declares its default and help once; flags and files follow.

`commands.options` makes flags of such fields; `from_mapping` reads them back from JSON.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from neural_style_tf.errors import OptionError

T = TypeVar("T")


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: its value when nothing is said.
        help: one line for `--help`.
        metadata: `flag` (its name, where it is not the field's), `choices`, `type` (where the
            default is None).
    """
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


def kind(field: dataclasses.Field[Any]) -> type:
    """The type of an `option`'s value."""
    declared: type = field.metadata.get("type", type(field.default))
    return declared


def from_mapping(of: type[T], data: object, base: T | None = None) -> T:
    """The dataclass `of` with values from a settings file.

    Args:
        of, data: these.
        base: whose values are those of fields that are not named; by default the fields' own.

    Raises:
        OptionError: not an object, an unknown field, a value of another type or out of range.
    """
    noun = of.__name__.lower()
    if not isinstance(data, Mapping):
        raise OptionError(f"{noun} settings: expected an object, got {data!r}")
    fields = {field.name: field for field in dataclasses.fields(of)}  # type: ignore[arg-type]
    for name, value in data.items():
        if name not in fields:
            raise OptionError(f"unknown {noun} setting {name!r}: expected {', '.join(fields)}")
        expected = _mismatch(fields[name], value)
        if expected:
            raise OptionError(f"{noun} setting {name!r}: expected {expected}, got {value!r}")
    return of(**data) if base is None else dataclasses.replace(base, **data)  # type: ignore[type-var]


def _mismatch(field: dataclasses.Field[Any], value: object) -> str:
    """What was expected, or nothing where the value will do."""
    if "help" not in field.metadata:  # layers and blend weights
        shape: type = Mapping if field.name.endswith("layers") else Sequence
        return "" if _all(float, shape, value) else "numbers"
    if value is None and field.default is None:
        return ""
    expected = kind(field)
    if "nargs" in field.metadata:
        return "" if _all(expected, Sequence, value) else f"a list of {expected.__name__}"
    return "" if _is(expected, value) else expected.__name__


def _all(kind: type, shape: type, value: object) -> bool:
    if not isinstance(value, shape) or isinstance(value, str):
        return False
    values: Any = value.values() if isinstance(value, Mapping) else value
    return all(_is(kind, each) for each in values)


def _is(kind: type, value: object) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is float and isinstance(value, int):
        return abs(value) <= sys.float_info.max  # JSON knows larger ones
    return isinstance(value, kind) and (kind is not str or _encodable(str(value)))


def _encodable(text: str) -> bool:
    """JSON knows halves of characters, which no file's name can have."""
    try:
        return bool(text.encode("utf-8", "surrogateescape")) or not text
    except UnicodeEncodeError:
        return False
