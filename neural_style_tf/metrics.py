"""Metrics in which a gradient is followed: what L-BFGS guesses of the inverse Hessian at first."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Of the frequency. From noise 1 is as good, from a coarser picture ½; what decides is the sum of
# all sizes, where ¾ is 4 % lower after 60 evaluations than 1. Filters fitted to the measured
# curvature of each frequency and color axis were no better: it is not diagonal there.
_EXPONENT = 0.75


class Metric:
    """A symmetric positive linear map P of gradients.

    Args:
        times: x -> Px, tensors of one shape.
    """

    def __init__(self, times: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> None:
        self._times = times

    def times(self, x: tf.Tensor) -> tf.Tensor:
        """Px."""
        return self._times(x)

    def square(self, x: tf.Tensor) -> tf.Tensor:
        """x·Px."""
        return tf.reduce_sum(x * self.times(x))


IDENTITY = Metric()


class Spectral(Metric):
    """Divides the spectrum of `[1, H, W, C]` by |f|^¾: a metric in which pictures are round.

    Natural pictures have less of fine structure than of coarse; a step that follows the plain
    gradient has as much of both. It is the same as minimizing over z with x = |f|^-⅜·z.

    Args:
        pixels: a picture of the size, float32 `[1, H, W, C]`; made outside of a loop, what depends
            on the size alone is computed once.
    """

    def __init__(self, pixels: tf.Tensor) -> None:
        super().__init__(self._filtered)
        height, width = tf.unstack(tf.shape(pixels)[1:3])
        rows, columns = tf.cast(height, pixels.dtype), tf.cast(width, pixels.dtype)
        vertical = tf.cast(tf.range(height), pixels.dtype)
        vertical = tf.minimum(vertical, rows - vertical) / rows  # |f|, 0 to ½ and back
        waves = tf.range(width // 2 + 1)
        horizontal = tf.cast(waves, pixels.dtype) / columns
        frequency = tf.sqrt(vertical[:, None] ** 2 + horizontal**2)
        # The mean is as free as the slowest wave.
        frequency = tf.where(frequency > 0, frequency, 1 / tf.maximum(rows, columns))
        gain = frequency**-_EXPONENT
        self.size = height, width
        self.gain = gain / tf.sqrt(tf.reduce_mean(tf.square(gain)))  # [H, W/2 + 1]
        # By Parseval's theorem; a real picture's spectrum has each wave twice, but for those whose
        # own mirror image they are.
        twice = tf.cast((waves > 0) & (2 * waves < width), pixels.dtype)
        self.weight = self.gain * (1 + twice) / (rows * columns)

    def square(self, x: tf.Tensor) -> tf.Tensor:
        """x·Px, with no way back from the spectrum."""
        spectrum = _spectrum(x)
        power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
        return tf.reduce_sum(power * self.weight)

    def _filtered(self, x: tf.Tensor) -> tf.Tensor:
        spectrum = _spectrum(x)
        filtered = tf.signal.irfft2d(spectrum * tf.cast(self.gain, spectrum.dtype), self.size)
        return tf.ensure_shape(tf.transpose(filtered, (0, 2, 3, 1)), x.shape)


def _spectrum(x: tf.Tensor) -> tf.Tensor:
    """`[1, H, W, C]` -> `[1, C, H, W/2 + 1]`."""
    return tf.signal.rfft2d(tf.transpose(x, (0, 3, 1, 2)))
