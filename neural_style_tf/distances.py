"""How far features, and Gram matrices, are apart, by the norms of the papers and of the blogs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from neural_style_tf.networks import Space


def gram(moments: tf.Tensor, norm: str = "hwc", channels: int | None = None) -> tf.Tensor:
    """The Gram matrix of second moments FᵀF/(h·w), `[…, C, C]`.

    Norms, by which FᵀF is divided in all: "hwc" h·w·C, "hw" h·w, "2hwc" 2·h·w·C.

    Args:
        moments, norm: of these.
        channels: C, where the layer has not all of them; see `Space`.
    """
    # A graph multiplies by what it was to be divided by: written so, all round alike.
    return moments * (1 / gram_size(1, channels or moments.shape[-1], norm))


def gram_size(positions: Any, channels: int, norm: str) -> Any:
    """What FᵀF of h·w positions is divided by; see `gram`."""
    return positions * {"hwc": channels, "hw": 1, "2hwc": 2 * channels}[norm]


def squared_distance(f: tf.Tensor, p: tf.Tensor, space: Space) -> tf.Tensor:
    """Σ(F−P)² of features `[1, h, w, C]`, compared in that space: a scalar."""

    @tf.custom_gradient
    def distance(f: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        difference = f - p
        compared = space.of_features(difference)
        # Written out: the library's own makes its upstream, a scalar, as large as the features.
        return tf.reduce_sum(difference * compared), lambda upstream: 2 * upstream * compared

    return distance(tf.cast(f, tf.float32))


def content_distance(squares: tf.Tensor, size: tf.Tensor, norm: str = "mean") -> tf.Tensor:
    """How far features are from the content picture's, of Σ(F−P)² over `size` numbers: a scalar.

    Norms: "mean" of (F−P)², "half-sum" ½Σ(F−P)² (Gatys et al. 2015, eq. 1), "half-norm" ½√Σ(F−P)².
    """
    if norm == "mean":
        return squares / size
    if norm == "half-sum":
        return squares / 2
    # At the content picture itself the square root has no gradient; this floor gives it 0.
    return tf.sqrt(tf.maximum(squares, 1e-12)) / 2


def style_distance(
    g: tf.Tensor, a: tf.Tensor, norm: str = "mean", space: Space | None = None
) -> tf.Tensor:
    """How far Gram matrices `[…, C, C]` are apart: `[…]`.

    Norms: "mean" Σ(G−A)²/C², "quarter-mean" a quarter of it (Gatys et al. 2015, eq. 4, on Grams
    divided by h·w), "sum" Σ(G−A)² (Johnson et al. 2016, eq. 4).

    Args:
        g, a, norm: of these.
        space: where they are compared; as they are by default.
    """
    space, difference = space or Space(a.shape[-1]), g - a
    squared = difference * space.of_grams(difference)
    return tf.reduce_sum(squared, (-2, -1)) / style_size(space.channels, norm)


def style_size(channels: int, norm: str) -> int:
    """What the squared differences of Gram matrices `[C, C]` are divided by; see `style_distance`.

    Their mean is a quarter of what it would be, where a norm has the factor 1/4.
    """
    return {"mean": 1, "quarter-mean": 4, "sum": 0}[norm] * channels**2 or 1


def squared_error(
    product: tf.Tensor, scale: tf.Tensor, target: tf.Tensor, share: tf.Tensor, space: Space
) -> tf.Tensor:
    """share·Σ(scale·FᵀF − A)²: a scalar.

    The numbers of its gradient are multiplied with each other before the matrix is, so that it is
    rounded once, as TensorFlow does with the constants of the 2017 program.
    """

    @tf.custom_gradient
    def error(product: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        difference = product * scale - target
        compared = space.of_grams(difference)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return compared * (2 * share * upstream * scale)

        return share * tf.reduce_sum(difference * compared), gradient

    return error(product)
