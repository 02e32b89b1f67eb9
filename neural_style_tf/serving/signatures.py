"""What can be called, in a table: from it come the graph's signatures and the README beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule
from neural_style_tf.serving import inputs
from neural_style_tf.serving.inputs import Input


class Signature(NamedTuple):
    """What it does, its inputs in order, and its outputs: what each of them is."""

    text: str
    inputs: tuple[Input, ...]
    outputs: Mapping[str, str]


# What a run can be given besides pictures, in order; all of it may be left out.
SETTINGS = (inputs.SIZES, inputs.BLEND, *inputs.WEIGHTS, inputs.ITERATIONS, inputs.SEED)

_LOSSES = {
    "content_loss": "how far the picture is from the photograph, weighted",
    "style_loss": "how far from the paintings, weighted",
    "tv_loss": "how rough it is, weighted",
    "total_loss": "their sum, which is minimized",
}
_DONE = {**_LOSSES, "iterations": "evaluations of the loss, at all sizes together"}
_PICTURE = {"picture": "`[1, H, W, 3]` float32, RGB 0-255", **_DONE}


def signatures(objective: Objective) -> dict[str, Signature]:
    """`{name: Signature}` of an exported optimization."""
    content, styles = inputs.CONTENT, inputs.STYLES
    activations = {layer: f"activations of {layer}, `[1, h, w, C]`" for layer in objective.layers}
    grams = {
        f"gram_{layer}": f"their Gram matrix, `[C, C]` ({objective.gram_norm})"
        for layer in objective.layers
    }
    return {
        "serving_default": Signature(
            "Paints a photograph in a painting, with the defaults.",
            (content, inputs.STYLE),
            _PICTURE,
        ),
        "stylize": Signature(
            "Paints a photograph in paintings.", (content, styles, *SETTINGS), _PICTURE
        ),
        "stylize_uint8": Signature(
            "The same, of whole grey levels.",
            (content._replace(dtype=tf.uint8), styles._replace(dtype=tf.uint8), *SETTINGS),
            {"picture": "`[1, H, W, 3]` uint8, RGB", **_DONE},
        ),
        "stylize_bytes": Signature(
            "The same, of the bytes of files: JPEG, PNG, GIF or BMP.",
            (content.files, styles.files, *SETTINGS[1:]),
            {"picture_bytes": "a PNG file", **_DONE},
        ),
        "loss": Signature(
            "How far a picture is from a photograph and paintings.",
            (
                inputs.PICTURE._replace(text="RGB 0-255, of the size of `content`"),
                content._replace(text="the photograph, RGB 0-255"),
                styles,
                *SETTINGS[:-2],
            ),
            _LOSSES,
        ),
        "features": Signature(
            "What the network sees in a picture.", (inputs.PICTURE,), activations | grams
        ),
        "metadata": Signature("What this is, and the defaults.", (), {"json": "as JSON"}),
    }


def defaults(objective: Objective, schedule: Schedule) -> dict[str, Any]:
    """`{input: value}`, of those that may be left out."""
    return {
        inputs.SIZES.name: [],
        inputs.BLEND.name: [],
        inputs.CONTENT_WEIGHT.name: float(objective.content_weight),
        inputs.STYLE_WEIGHT.name: float(objective.style_weight),
        inputs.TV_WEIGHT.name: float(objective.tv_weight),
        inputs.ITERATIONS.name: schedule.resolved().iterations,
        inputs.SEED.name: schedule.seed,
    }
