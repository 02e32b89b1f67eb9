"""Spectrograms of sounds side by side, as a picture (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.texture import Sound

# Columns of a spectrogram, at most, and decibels from its loudest point to black.
_COLUMNS, _RANGE = 1200, 80.0


def decibels(sound: Sound) -> npt.NDArray[np.float64]:
    """Power of a sound over frequency and time, in dB, the mean of its channels.

    Returns:
        `[bins, columns]`: every frame of a short sound, every so many of a long one.
    """
    resolution = Resolution.at(sound.rate)
    window, hop = resolution.window, resolution.hop
    hann = np.hanning(window + 1)[:-1]
    frames = 1 + sound.length // hop
    columns = []
    for frame in range(0, frames, -(-frames // _COLUMNS)):
        begin = frame * hop - window // 2
        spectrum = np.fft.rfft(sound.read(begin, begin + window) * hann)
        columns.append(np.square(np.abs(spectrum)).mean(0))
    return 10 * np.log10(np.maximum(np.array(columns).T, 1e-12))


def draw(path: Path, sounds: Sequence[tuple[str, Sound]]) -> None:
    """Draw the spectrograms of titled sounds on one scale.

    Raises:
        OSError: a disk that refuses.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(sounds), 4.5), layout="constrained")
    axes = figure.subplots(1, len(sounds), squeeze=False, sharey=True)[0]
    levels = [decibels(sound) for _, sound in sounds]
    top = max(level.max() for level in levels)
    for axis, (title, sound), level in zip(axes, sounds, levels, strict=True):
        extent = (0.0, sound.length / sound.rate, 0.0, sound.rate / 2000)
        picture = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=extent,
            vmin=top - _RANGE,
            vmax=top,
            cmap="magma",
        )
        axis.set(title=title, xlabel="seconds")
    axes[0].set(ylabel="kHz", ylim=(0, max(sound.rate for _, sound in sounds) / 2000))
    figure.colorbar(picture, ax=axes, label="dB")
    figure.savefig(path, dpi=120, format="png")
