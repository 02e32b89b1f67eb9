"""What is taken of a style: statistics of its frames, in one pass over a sound of any length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.audio.recipe import TAPS
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.spectrogram import log_magnitude, stft
from neural_style_tf.errors import OptionError

Samples = npt.NDArray[np.float32]

# Frames that are measured at a time.
_PIECE = 430
# Frames of all channels together, about, that are kept for the expected loss, and in how many
# excerpts: the matrix of inner products with these has to stay small.
_KEPT, _EXCERPTS = 1024, 8


class Sound(Protocol):
    """A sound that need not be in memory."""

    @property
    def rate(self) -> int:
        """Samples a second."""

    @property
    def channels(self) -> int:
        """Sounds side by side: 1 is mono, 2 is stereo."""

    @property
    def length(self) -> int:
        """Samples of each channel."""

    def read(self, begin: int, end: int) -> Samples:
        """The samples `[channels, end − begin]`, silence where the sound is not.

        Windows are asked for in order: one may overlap the last, but not begin before it.
        """


class Texture(NamedTuple):
    """What is taken of a style.

    Attributes:
        moments: `{layer: FᵀF/positions}`, `[filters, filters]`, of all channels together.
        frames: some of its frames, `[1, excerpts, T, bins]`.
        power: the mean of |STFT|², `[bins]`.
    """

    moments: Mapping[str, tf.Tensor]
    frames: tf.Tensor
    power: npt.NDArray[np.float64]


def measure(
    sound: Sound, moments: Callable[[tf.Tensor], Mapping[str, tf.Tensor]], resolution: Resolution
) -> Texture:
    """The statistics of a style.

    Args:
        sound: of at least `resolution.span(11)` samples.
        moments: of frames `[1, channels, T, bins]`, as `Loss.moments`.

    Raises:
        OptionError: it is shorter.
    """
    total = 1 + (sound.length - resolution.window) // resolution.hop
    if total < TAPS:
        raise OptionError(
            f"expected a style of at least {resolution.span(TAPS)} samples, which is what a filter "
            f"sees, got {sound.length}"
        )
    step = _PIECE - TAPS + 1  # pieces overlap by what a patch sees
    begins = range(0, total - TAPS + 1, step)
    full = [first for first in begins if first + _PIECE <= total] or [0]
    chosen = {full[i * len(full) // _EXCERPTS] for i in range(_EXCERPTS)}
    size = min(_PIECE, total, max(4 * TAPS, _KEPT // (len(chosen) * sound.channels)))
    sums: dict[str, Any] = {}
    excerpts: list[Any] = []
    power = np.zeros(resolution.bins)
    for first in begins:
        last = min(first + _PIECE, total)
        offset = first * resolution.hop
        samples = tf.constant(sound.read(offset, offset + resolution.span(last - first)))
        frames = log_magnitude(samples, resolution)[None]
        if first in chosen:
            excerpts.append(frames[0, :, :size])
        patches = last - first - TAPS + 1
        for layer, value in moments(frames).items():
            sums[layer] = sums.get(layer, 0.0) + value * (patches / (total - TAPS + 1))
        squares = tf.reduce_mean(tf.square(tf.abs(stft(samples, resolution))), (0, 1))
        power += squares.numpy() * (patches / (total - TAPS + 1))
    return Texture(sums, tf.concat(excerpts, 0)[None], power)


def noise(power: npt.NDArray[np.float64], channels: int, length: int, seed: Any) -> Samples:
    """Gaussian noise `[channels, length]` with the spectrum of a style.

    Args:
        power: the mean of |STFT|² for each bin, `[bins]`.
        seed: an integer or several.
    """
    white = np.random.default_rng(seed).standard_normal((channels, length))
    bins = len(power)
    # White noise of variance 1 has the power of the window, 3/8 of its length for Hann's.
    gain = np.sqrt(power / (0.375 * 2 * (bins - 1)))
    at = np.linspace(0, bins - 1, length // 2 + 1)
    spectrum = np.fft.rfft(white) * np.interp(at, np.arange(bins), gain)
    return np.fft.irfft(spectrum, length).astype(np.float32)
