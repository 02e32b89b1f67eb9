"""Max-pooling that keeps little for the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class SparingMaxPooling(keras.layers.Layer):
    """The largest of each 2×2, stride 2; odd sizes round up, as if what is not there were less.

    The numbers are those of `keras.layers.MaxPooling2D`, forth and back, to the last bit: of what
    is alike, the first takes the gradient. There all that went in is kept for the way back; here a
    byte for each number that comes out: where it was. As fast on a CPU, within a graph, but
    compiled for each size anew, which takes up to a tenth of a second each way.
    """

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """`[N, H, W, C]` -> `[N, H/2, W/2, C]`; Keras would trace the layer to find out."""
        batch, *sides, channels = input_shape
        return (batch, *(side and -(-side // 2) for side in sides), channels)

    def call(self, inputs: Any) -> Any:
        """`[N, H, W, C]` -> `[N, H/2, W/2, C]`."""
        return _pooled(inputs)


@tf.custom_gradient
def _pooled(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    largest = tf.nn.max_pool2d(x, 2, 2, "SAME")
    place, shape = _place(x, largest), tf.shape(x)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(_apart(upstream, place, shape), x.shape)

    return largest, gradient


@tf.function(autograph=False, jit_compile=True, reduce_retracing=True)
def _place(x: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
    """Which of 2×2, row by row, is the first one that is the largest: uint8 0-3."""
    # As bfloat16, it would take XLA eight times as long at odd sizes.
    x, largest = (tf.cast(each, tf.float32) for each in (x, largest))
    place = tf.fill(tf.shape(largest), tf.constant(3, tf.uint8))
    for number in (2, 1, 0):
        each = x[:, number // 2 :: 2, number % 2 :: 2]
        # At an odd end there is no second one.
        rows, columns = tf.unstack(tf.shape(each)[1:3])
        missing = [(0, n) for n in tf.unstack(tf.shape(largest)[1:3] - (rows, columns))]
        found = tf.pad(each == largest[:, :rows, :columns], [(0, 0), *missing, (0, 0)])
        place = tf.where(found, tf.constant(number, tf.uint8), place)
    return place


@tf.function(autograph=False, jit_compile=True, reduce_retracing=True)
def _apart(upstream: tf.Tensor, place: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Each number at its place among zeros, `shape` in all."""
    batch, height, width, channels = tf.unstack(tf.shape(place))
    upstream, place = (
        tf.reshape(each, (batch, height, 1, width, 1, channels)) for each in (upstream, place)
    )
    numbers = tf.constant([[0, 1], [2, 3]], place.dtype)[:, None, :, None]
    squares = tf.where(place == numbers, upstream, tf.zeros((), upstream.dtype))
    apart = tf.reshape(squares, (batch, 2 * height, 2 * width, channels))
    return apart[:, : shape[1], : shape[2]]
