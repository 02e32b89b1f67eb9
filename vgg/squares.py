"""Convolutions of few channels out: 2×2 positions at a time, as channels.

By themselves three channels leave most of a processor's vector, of 8 or 16 numbers, empty. In
squares they are two to three times as fast, though more is multiplied, with zeros.
"""

from __future__ import annotations

import tensorflow as tf

# Channels up to which it pays. (Measured on CPUs alone.)
FEW = 4


def squared(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel of 2×2 positions: `[k, k, in, out]` -> `[k + 1, k + 1, in, 4·out]`.

    A convolution with it, of stride 2, and `tf.nn.depth_to_space` by 2 are one with the kernel
    itself, of stride 1: a square sees one row and one column more than a position does.
    """
    kernels = [
        tf.pad(kernel, [[row, 1 - row], [column, 1 - column], [0, 0], [0, 0]])
        for row in (0, 1)
        for column in (0, 1)
    ]
    return tf.concat(kernels, 3)
