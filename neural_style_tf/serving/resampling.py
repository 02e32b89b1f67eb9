"""Pillow's bicubic in TensorFlow's operations: the same grey levels, in a graph.

What a picture is painted after depends on how it is made smaller, and an exported program has no
Pillow. That (`src/libImaging/Resample.c`) resizes 8-bit pictures in two passes, across and then
down. Each output is a weighted sum of whole grey levels, the weights whole multiples of 2⁻²²,
rounded to a grey level after each pass.
"""

from __future__ import annotations

import tensorflow as tf

_SUPPORT, _A = 2.0, -0.5  # of the cubic kernel (Keys 1981)
_PRECISION = 2.0**22


def resample(picture: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """A picture at another size, as `pixels.resize` makes it: to the grey level.

    Args:
        picture: `[1, H, W, 3]` float32, 0-255, rounded and clipped here; of the wanted size it is
            returned as it is.
        height, width: int32 scalars.

    Returns:
        `[1, height, width, 3]` float32, whole grey levels.
    """
    _, rows, columns, _ = tf.unstack(tf.shape(picture))

    def resized() -> tf.Tensor:
        levels = tf.clip_by_value(tf.round(tf.cast(picture[0], tf.float64)), 0.0, 255.0)
        across = tf.transpose(levels, (1, 0, 2))  # [W, H, 3]
        across = tf.cond(width == columns, lambda: across, lambda: _pass(across, columns, width))
        down = tf.transpose(across, (1, 0, 2))  # [H, width, 3]
        down = tf.cond(height == rows, lambda: down, lambda: _pass(down, rows, height))
        return tf.cast(down, tf.float32)[None]

    same = (height == rows) & (width == columns)
    result = tf.cond(same, lambda: picture, resized)
    return tf.ensure_shape(result, (1, None, None, 3))


def _pass(levels: tf.Tensor, size: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Resize the first axis, `[size, n, 3]` -> `[wanted, n, 3]`: float64, whole grey levels."""
    first, weights = _weights(size, wanted)

    def add(tap: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Past the last tap of a row the weight is 0, whatever stands there.
        rows = tf.gather(levels, tf.minimum(first + tap, size - 1))
        return tap + 1, total + rows * weights[:, tap, None, None]

    shape = tf.concat([[wanted], tf.shape(levels)[1:]], 0)
    _, total = tf.while_loop(
        lambda tap, _: tap < tf.shape(weights)[1],
        add,
        (tf.constant(0), tf.fill(shape, tf.constant(_PRECISION / 2, tf.float64))),
        shape_invariants=(tf.TensorSpec((), tf.int32), tf.TensorSpec((None, None, 3), tf.float64)),
        parallel_iterations=1,
    )
    # All of it is whole numbers below 2⁵³, so that float64 is exact in any order.
    return tf.clip_by_value(tf.floor(total / _PRECISION), 0.0, 255.0)


def _weights(size: tf.Tensor, wanted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each output's taps begin, `[wanted]` int32, and their weights, `[wanted, taps]`."""
    scale = tf.cast(size, tf.float64) / tf.cast(wanted, tf.float64)
    stretch = tf.maximum(scale, 1.0)
    support = _SUPPORT * stretch
    center = (tf.cast(tf.range(wanted), tf.float64) + 0.5) * scale  # [wanted]
    # Pillow's casts cut off towards zero, and what is below zero is set to it anyway.
    first = tf.maximum(tf.cast(center - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(center + support + 0.5, tf.int32), size)
    taps = tf.range(tf.cast(tf.math.ceil(support), tf.int32) * 2 + 1)
    position = tf.cast(first[:, None] + taps, tf.float64) - center[:, None] + 0.5
    weights = _cubic(position * (1.0 / stretch))  # [wanted, taps]
    weights = tf.where(first[:, None] + taps < end[:, None], weights, 0.0)
    weights /= tf.reduce_sum(weights, 1, keepdims=True)
    # Half away from zero, as C's cast of x ± ½.
    return first, tf.sign(weights) * tf.floor(tf.abs(weights) * _PRECISION + 0.5)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return tf.where(x < 1, near, tf.where(x < 2, far, 0.0))
