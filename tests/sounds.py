"""Sounds that the tests of sound run on: tones, noise and clicks from seeded generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neural_style_tf.audio.recipe import RECIPE
from neural_style_tf.objective import Objective

RATE = 8000

Samples = npt.NDArray[np.float32]


def tones(seconds: float, *hertz: float, rate: int = RATE, level: float = 0.1) -> Samples:
    """Tones one after the other, again and again, a quarter of a second each: `[n]`."""
    at = np.arange(round(seconds * rate)) / rate
    pitch = np.array(hertz)[(at * 4).astype(int) % len(hertz)]
    return (level * np.sin(2 * np.pi * pitch * at)).astype(np.float32)


def noise(seconds: float, seed: int = 0, rate: int = RATE, level: float = 0.1) -> Samples:
    """White noise: `[n]`."""
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (level * drawn).astype(np.float32)


def clicks(seconds: float, every: float = 0.1, rate: int = RATE, level: float = 0.5) -> Samples:
    """Short bursts of noise, as of a fire: `[n]`."""
    count = round(seconds * rate)
    phase = np.arange(count) % round(every * rate)
    return (noise(seconds, 1, rate, level) * np.exp(-phase / (0.004 * rate))).astype(np.float32)


class Sound:
    """A sound in memory, read as one on disk is; remembers the windows that were asked for."""

    def __init__(self, samples: npt.NDArray[Any], rate: int = RATE) -> None:
        self.samples = np.atleast_2d(samples).astype(np.float32)
        self.rate = rate
        self.channels, self.length = self.samples.shape
        self.windows: list[tuple[int, int]] = []

    def read(self, begin: int, end: int) -> Samples:
        self.windows.append((begin, end))
        padded = np.pad(self.samples, ((0, 0), (max(0, -begin), max(0, end - self.length))))
        shift = max(0, -begin)
        return padded[:, begin + shift : end + shift]


def recipe(**weights: Any) -> Objective:
    """The default objective with other weights."""
    return Objective(**{**RECIPE.to_dict(), **weights})
