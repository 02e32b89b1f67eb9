"""The `reconstruct` command: a picture from the content or from the style that layers see alone.

Gatys et al. 2015, figure 1. An Objective with one term, and otherwise `stylize`.
"""

from __future__ import annotations

import argparse

from neural_style_tf.commands import stylize
from neural_style_tf.commands.options import add_fields
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective

SUMMARY = "see what a layer keeps of a photograph, or layers of a painting"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    stylize.add_pictures(parser)
    group = parser.add_argument_group("what is reconstructed")
    layers = group.add_argument
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
    norms = ("content_norm", "gram_norm", "style_norm")
    add_fields(group, Objective, norms)
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
    unset = ("content_weight", "style_weight", "content_weight_blend", "style_layer_weight_exp")
    parser.set_defaults(**dict.fromkeys((*unset, "save_style", "config")))


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
    if options.content:
        options.style_weight = 0.0
        for flag, value in (
            ("--style-layers", options.style_layers),
            ("--style-blend-weights", options.style_blend_weights),
        ):
            if value is not None:
                raise OptionError(
                    f"{flag}: got no style to reconstruct; give --styles in place of --content"
                )
    else:
        options.content_weight = 0.0
        if options.content_layers:
            raise OptionError(
                "--content-layer: got no content to reconstruct; give --content in place of "
                "--styles"
            )
    if options.tv_weight is None:
        options.tv_weight = 0.0
    if options.content and options.scales is None:
        # Nothing but the layer is to say what the picture is like, at any size.
        options.scales = 1
    return stylize.run(options)
