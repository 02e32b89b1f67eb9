"""Sound as a picture: the logarithm of its short-time spectrum, and the way back.

A sound of several channels is a picture of so many rows; frames are its columns and frequency bins
its colors: `[1, channels, frames, bins]`. So every loss and optimizer of pictures takes it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from neural_style_tf.audio.resolution import Resolution


def stft(samples: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """The short-time Fourier transform, of frames that lie wholly inside.

    Args:
        samples: `[..., N]`.

    Returns:
        complex64 `[..., frames, bins]`.
    """
    window, hop = resolution.window, resolution.hop
    return tf.signal.stft(samples, window, hop, window, _hann)


def istft(spectrum: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """The samples whose short-time Fourier transform is nearest to this one (Griffin & Lim 1984).

    At both ends, where few frames overlap, a sample is the weighted mean of what there is.

    Args:
        spectrum: `[..., frames, bins]`.

    Returns:
        `[..., span(frames)]`.
    """
    hop = resolution.hop
    window = _hann(resolution.window, spectrum.dtype.real_dtype)
    parts = tf.signal.irfft(spectrum, [resolution.window]) * window  # [..., frames, window]
    squares = tf.ones_like(parts[..., :1]) * tf.square(window)
    weight = tf.signal.overlap_and_add(squares, hop)
    # The very first sample has no weight at all.
    return tf.signal.overlap_and_add(parts, hop) / tf.maximum(weight, 1e-3)


def reweighted(samples: tf.Tensor, weights: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """Sᵀ·W·S of samples `[..., N]`, S the STFT and W ≥ 0 for each frame and bin: symmetric."""
    window, hop = resolution.window, resolution.hop
    spectrum = stft(samples, resolution)
    weighted = spectrum * tf.cast(weights, spectrum.dtype)
    parts = tf.signal.irfft(weighted, [window]) * _hann(window, samples.dtype)
    return tf.signal.overlap_and_add(parts, hop)


def log_magnitude(samples: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """log(1 + |STFT|), as of the notebook's window: `[..., N]` -> `[..., frames, bins]`."""
    return tf.math.log1p(resolution.scale * tf.abs(stft(samples, resolution)))


def magnitude(frames: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """|STFT| of log magnitudes; an optimizer may have taken some below 0, where there are none."""
    return tf.math.expm1(tf.maximum(frames, 0.0)) / resolution.scale


def _hann(length: Any, dtype: tf.DType) -> tf.Tensor:
    return tf.signal.hann_window(length, periodic=True, dtype=dtype)
