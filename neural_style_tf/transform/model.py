"""The transform network as a Keras model: what is trained, saved as `.keras` and loaded again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf.transform.architecture import Architecture
from neural_style_tf.transform.net import paint

# A user's ~/.keras/keras.json may name another backend.
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

__all__ = ["TransformNet", "initial_weights", "keras"]


@keras.saving.register_keras_serializable("neural_style_tf")
class TransformNet(keras.Model):
    """float32 `[B, H, W, 3]` RGB 0-255 -> the same, painted.

    The network itself, as it is trained: of what it paints, `Trainer` judges all but `MARGIN`
    pixels at each border, and `Painter` reflects as many past the picture's and cuts them off.

    Args:
        architecture: how large it is; a mapping of `Architecture`'s fields will do.
        styles: a name for each style.
        card: what is told of how it was trained, plain data.
        precision: of convolutions and activations, "float32" or "bfloat16".
        seed: of the first weights.
    """

    def __init__(
        self,
        architecture: Architecture | Mapping[str, Any],
        styles: Sequence[str],
        card: Mapping[str, Any] | None = None,
        precision: str = "float32",
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **options})
        if not isinstance(architecture, Architecture):
            architecture = Architecture(**architecture)
        self.architecture, self.precision = architecture, precision
        self.styles = tuple(styles)
        self.card = dict(card or {})
        self.stages = architecture.stages()
        first = initial_weights(architecture, len(self.styles), seed)
        self.named = {
            name: self.add_weight(
                shape=value.shape, initializer=_Given(value), name=name.replace("/", "_")
            )
            for name, value in first.items()
        }
        self.built = True

    def call(self, pixels: tf.Tensor, mix: tf.Tensor | None = None) -> tf.Tensor:
        """Paint; `mix` is `[B, S]`, the share of each style, by default the first alone."""
        if mix is None:
            mix = tf.repeat(tf.one_hot([0], len(self.styles)), tf.shape(pixels)[0], 0)
        weights = {name: variable.value for name, variable in self.named.items()}
        return paint(self.stages, weights, pixels, mix, self.precision)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` takes back."""
        return {
            "architecture": dataclasses.asdict(self.architecture),
            "styles": list(self.styles),
            "card": self.card,
            "precision": self.precision,
            "name": self.name,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights, `{name: float32}`."""
        return {name: variable.numpy() for name, variable in self.named.items()}


def initial_weights(architecture: Architecture, styles: int, seed: int) -> dict[str, np.ndarray]:
    """Weights to begin with: kernels as He et al. 2015 draw them, scale 1, offset and bias 0."""
    generator = np.random.default_rng(seed)

    def first(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("/kernel"):
            # The last stage has no normalization: it is to begin within the tangent's reach.
            gain = 0.5 if name == "last/kernel" else 2**0.5
            return generator.normal(0, gain / np.prod(shape[:3]) ** 0.5, shape)
        return np.ones(shape) if name.endswith("/scale") else np.zeros(shape)

    shapes = architecture.shapes(styles)
    return {name: first(name, shape).astype(np.float32) for name, shape in shapes.items()}


class _Given(keras.initializers.Initializer):
    """Start from an array."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __call__(self, shape: tuple[int, ...], dtype: object = None) -> object:
        return keras.ops.convert_to_tensor(self.value, dtype)
