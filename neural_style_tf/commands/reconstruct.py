"""The `reconstruct` command: a picture from the content or from the style that layers see alone.

Gatys et al. 2015, figure 1. An Objective with one term, and otherwise `stylize`.
"""

from __future__ import annotations

import argparse
import dataclasses

from neural_style_tf.commands import stylize
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective

SUMMARY = "see what a layer keeps of a photograph, or layers of a painting"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    stylize.add_pictures(parser)
    layers = parser.add_argument_group("what is reconstructed").add_argument
    layers(
        "--content-layer",
        "--content-layers",
        dest="content_layers",
        nargs="+",
        metavar="LAYER[=WEIGHT]",
        help="of the content, what this layer sees (default: relu4_2)",
    )
    layers(
        "--style-layers",
        nargs="+",
        metavar="LAYER[=WEIGHT]",
        help="of the styles, what the Gram matrices of these layers see (default: relu1_1 … "
        "relu5_1)",
    )
    layers(
        "--tv-weight",
        type=float,
        metavar="TV_WEIGHT",
        help="total variation regularization weight (default 0)",
    )
    layers(
        "--style-blend-weights",
        type=float,
        nargs="*",
        metavar="WEIGHT",
        help="one weight for each style; without values, equal ones",
    )
    stylize.add_optimization(parser)
    stylize.add_progress(parser)
    # Whatever else `stylize` reads is left to the preset.
    unset = [field.name for field in dataclasses.fields(Objective) if "help" in field.metadata]
    unset.remove("tv_weight")
    unset += ["content_weight_blend", "style_layer_weight_exp", "save_style", "config"]
    parser.set_defaults(**dict.fromkeys(unset))


def run(options: argparse.Namespace) -> int:
    """Reconstruct a picture; the exit code.

    Raises:
        NeuralStyleError, WeightsError: whatever is wrong with the input, before any work is done.
    """
    if bool(options.content) == bool(options.styles):
        raise OptionError(
            "expected --content or --styles, one of them, got "
            f"{'both' if options.content else 'none'}; for both there is `stylize`"
        )
    given, other = ("content", "style") if options.content else ("style", "content")
    if getattr(options, f"{other}_layers"):
        flag = {"style": "--style-layers", "content": "--content-layer"}[other]
        raise OptionError(
            f"{flag}: there is no {other} to reconstruct; give --{given}-layers, or --{other}s"
        )
    setattr(options, f"{other}_weight", 0.0)
    if options.tv_weight is None:
        options.tv_weight = 0.0
    if given == "content" and options.scales is None:
        # Nothing but the layer is to say what the picture is like, at any size.
        options.scales = 1
    return stylize.run(options)
