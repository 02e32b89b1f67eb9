"""What a loss takes of a picture: sums over positions, so that those of its parts add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf


class Variation(NamedTuple):
    """Of the differences of neighbouring pixels, vertical and horizontal.

    Attributes:
        squares: the sums of their squares, `[2]`.
        pairs: how many there were of each, `[2]`, float32.
    """

    squares: tf.Tensor
    pairs: tf.Tensor


class Sums(NamedTuple):
    """What a loss needs of a picture: sums over positions, so those of its parts add up.

    Attributes:
        content: `{layer: Σ(F−P)²}`, scalars.
        products: `{layer: FᵀF}`, `[C, C]`.
        positions: `{layer: h·w}`, how many positions went into these: scalars, float32.
        variation: of pixels.
    """

    content: dict[str, tf.Tensor]
    products: dict[str, tf.Tensor]
    positions: dict[str, tf.Tensor]
    variation: Variation

    @property
    def moments(self) -> dict[str, tf.Tensor]:
        """`{layer: FᵀF/(h·w)}`, `[C, C]`, symmetric to the last bit."""
        return {
            layer: symmetric(total / self.positions[layer])
            for layer, total in self.products.items()
        }

    def with_layers(self, other: Sums) -> Sums:
        """These, and those of other layers of the same picture."""
        return Sums(
            {**self.content, **other.content},
            {**self.products, **other.products},
            {**self.positions, **other.positions},
            self.variation,
        )


@tf.custom_gradient
def product(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """FᵀF of `[1, h, w, C]` features, float32 or bfloat16, over all positions: `[C, C]`, float32.

    Its gradient F(U + Uᵀ) is one matrix product; the library's own would be two.
    """
    return _product(features)


def _product(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    flat = tf.reshape(features, (-1, features.shape[-1]))  # [h·w, C]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        matrix = tf.cast(upstream + tf.transpose(upstream), flat.dtype)
        return tf.reshape(tf.matmul(flat, matrix), tf.shape(features))

    if flat.dtype == tf.bfloat16:
        return _product_in_parts(flat), gradient
    return tf.matmul(flat, flat, transpose_a=True), gradient


@tf.custom_gradient
def passed(features: tf.Tensor) -> tuple[Any, Callable[..., tf.Tensor]]:
    """The features themselves, to go on with, and their `product`.

    What comes back through the product is computed when what comes back through the network is
    there, and added to it. By itself it would be as soon as the loss is known, for all layers, and
    take memory until its turn has come: a quarter of all, in VGG-19.
    """
    total, back = _product(features)

    def gradient(onward: tf.Tensor, of_product: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([onward]):
            of_product = tf.identity(of_product)
        return back(of_product) + onward

    return (tf.identity(features), total), gradient


def _product_in_parts(flat: tf.Tensor) -> tf.Tensor:
    """FᵀF of bfloat16 `[N, C]`: `[C, C]`, float32.

    A matrix product adds up in float32 (by oneDNN with AVX-512, or on a GPU; elsewhere features had
    better be float32), but rounds what it gives to 8 bits, and a loss is made of small differences
    of such numbers. In up to sixteen parts most of that is lost in the sum; not in so many that
    more is written than read.
    """
    count, channels = tf.shape(flat)[0], flat.shape[1]
    parts = tf.clip_by_value(count // channels, 1, 16)
    even = count // parts * parts
    split = tf.reshape(flat[:even], (parts, -1, channels))
    products = tf.cast(tf.matmul(split, split, transpose_a=True), tf.float32)
    rest = tf.cast(flat[even:], tf.float32)
    return tf.reduce_sum(products, 0) + tf.matmul(rest, rest, transpose_a=True)


def symmetric(matrix: tf.Tensor) -> tf.Tensor:
    """The upper triangle of `[C, C]`, mirrored.

    The library's FᵀF may differ from its own transpose in the last bit. Of a style one triangle is
    kept; what was kept and what has just been measured are to give the same picture.
    """
    upper = tf.linalg.band_part(tf.ones_like(matrix), 0, -1) > 0
    return tf.where(upper, matrix, tf.transpose(matrix))


def moments(features: tf.Tensor) -> tf.Tensor:
    """FᵀF/(h·w) of `[1, h, w, C]` features: `[C, C]`."""
    return product(features) / positions(features)


def host_moments(features: tf.Tensor) -> npt.NDArray[np.float32]:
    """The same by NumPy, whose sums, in another order, round otherwise: as in the 2017 program."""
    flat = np.reshape(features, (-1, features.shape[-1]))
    return np.matmul(flat.T, flat) / np.float32(len(flat))


def positions(features: tf.Tensor) -> tf.Tensor:
    """h·w of `[1, h, w, C]` features, float32."""
    return tf.cast(tf.reduce_prod(tf.shape(features)[1:3]), tf.float32)


def variation(
    pixels: tf.Tensor, size: tuple[tf.Tensor, tf.Tensor] | None = None
) -> tuple[tf.Tensor, Variation]:
    """Squared differences of neighbours, the first of each pair in the upper left height×width.

    Args:
        pixels: `[1, H, W, 3]`, a row and a column more than `size` at most.
        size: height and width; by default those of the pixels.

    Returns:
        The pixels, and of their variation what `Sums` holds. Where the network is given these
        pixels, its gradient is the first that the differences' are added to, one after the other:
        in this order the 2017 program adds up.
    """
    height, width = size or tf.unstack(tf.shape(pixels)[1:3])

    @tf.custom_gradient
    def varied(p: tf.Tensor) -> tuple[Any, Callable[..., tf.Tensor]]:
        vertical = p[:, 1:, :width] - p[:, :-1, :width]
        horizontal = p[:, :height, 1:] - p[:, :height, :-1]
        right, below = tf.shape(p)[2] - width, tf.shape(p)[1] - height

        # Written out: the library's own gradient, of slices, takes as long as a convolution.
        def gradient(upstream: tf.Tensor, of_sums: tf.Tensor) -> tf.Tensor:
            down, across = vertical * (2 * of_sums[0]), horizontal * (2 * of_sums[1])
            for change, rows, columns in (
                (down, (1, 0), (0, right)),
                (-down, (0, 1), (0, right)),
                (across, (0, below), (1, 0)),
                (-across, (0, below), (0, 1)),
            ):
                upstream += tf.pad(change, ((0, 0), rows, columns, (0, 0)))
            return upstream

        sums = [tf.reduce_sum(tf.square(each)) for each in (vertical, horizontal)]
        return (tf.identity(p), tf.stack(sums)), gradient

    shape = tf.shape(pixels)
    pairs = tf.stack([(shape[1] - 1) * width, (shape[2] - 1) * height]) * shape[3]
    same, sums = varied(pixels)
    return same, Variation(sums, tf.cast(pairs, tf.float32))
