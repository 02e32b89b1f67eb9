"""Which network is applied or exported, and in what mix of its styles."""

from __future__ import annotations

import argparse
import difflib
import hashlib
from typing import NamedTuple

from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective
from neural_style_tf.transform import shipped
from neural_style_tf.transform.stored import Net


class Model(NamedTuple):
    """A network, and the share of each of its styles."""

    net: Net
    mix: tuple[float, ...]

    @property
    def shares(self) -> dict[str, float]:
        """The styles that count, with their shares."""
        return {name: x for name, x in zip(self.net.styles, self.mix, strict=True) if x}

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        digest = hashlib.sha256()
        for name, weight in self.net.weights.items():
            digest.update(name.encode() + weight.tobytes())
        return digest.hexdigest()[:32]


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the flags that choose a network."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a network that `train` wrote, or the name of one that comes with the program: "
        f"{', '.join(shipped.names())}".replace("%", "%%"),
    )
    parser.add_argument(
        "--styles",
        "--style",
        dest="styles",
        nargs="+",
        metavar="NAME",
        help="of a network of several styles, these (default: the one that --model names, or all)",
    )
    parser.add_argument(
        "--style-blend-weights",
        type=float,
        nargs="*",
        metavar="WEIGHT",
        help="one weight for each of these styles; without values, equal ones",
    )


def find(options: argparse.Namespace) -> Model:
    """The network that the flags choose.

    Raises:
        OptionError, FileError: there is no such network or style, or weights that cannot be meant.
    """
    net, styles = shipped.find(options.model)
    if options.styles:
        styles = tuple(options.styles)
        for name in styles:
            if name not in net.styles:
                near = difflib.get_close_matches(name, net.styles, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise OptionError(
                    f"unknown style {name}{hint}: expected some of {', '.join(net.styles)}"
                )
        if len(set(styles)) != len(styles):
            raise OptionError(f"--styles: expected each style once, got {', '.join(styles)}")
    # The same weights mean the same as they do for `stylize`.
    blend = Objective(style_blend_weights=options.style_blend_weights or ()).blend(len(styles))
    shares = dict(zip(styles, blend, strict=True))
    return Model(net, tuple(shares.get(name, 0.0) for name in net.styles))
