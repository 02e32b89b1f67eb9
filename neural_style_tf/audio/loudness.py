"""How loud a sound is to people: ITU-R BS.1770-4, in one pass over a sound of any length."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import signal

# To which every sound is brought before it is taken apart: log(1 + |STFT|) depends on the level.
# Music as the reference notebook reads it is about as loud. In LUFS, of one channel.
REFERENCE = -20.0
# Peaks of a result are kept below this, of full scale.
CEILING = 0.99

# Gates, in LUFS and in LU below the mean of what is above the first.
_ABSOLUTE, _RELATIVE = -70.0, -10.0
_OFFSET = -0.691
# Blocks last 400 ms and overlap by three quarters: four steps of 100 ms.
_STEPS = 4


class Meter:
    """Loudness and peak of a sound that is given piece by piece.

    Channels count alike, as left, right and center do in the standard.

    Attributes:
        peaks: the greatest |sample| of each channel so far, `[channels]`.
        finite: whether no sample so far was NaN or infinite.
        length: samples of each channel so far.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self.sections = weighting(rate)
        self.state = np.zeros((len(self.sections), channels, 2))
        self.step = max(1, round(rate / 10))
        self.partial = np.zeros((channels, 0))
        self.steps: list[npt.NDArray[np.float64]] = []  # Σ of squares of 100 ms, [channels]
        self.peaks, self.finite, self.length = np.zeros(channels), True, 0

    def add(self, samples: npt.NDArray[Any]) -> None:
        """Take note of what comes next, `[channels, n]`."""
        self.length += samples.shape[1]
        if not samples.shape[1] or not self.finite:
            return
        peaks = np.abs(samples).max(1)
        self.finite = bool(np.isfinite(peaks).all())
        if not self.finite:
            return
        self.peaks = np.maximum(self.peaks, peaks)
        weighted, self.state = signal.sosfilt(self.sections, samples, axis=-1, zi=self.state)
        squares = np.concatenate([self.partial, np.square(weighted)], 1)
        whole = squares.shape[1] // self.step
        steps = squares[:, : whole * self.step].reshape(len(squares), whole, self.step)
        self.steps.extend(steps.sum(2).T)
        self.partial = squares[:, whole * self.step :]

    @property
    def energies(self) -> npt.NDArray[np.float64]:
        """The weighted mean square of each channel, `[channels]`, over blocks that are not quiet.

        All 0 where there are none.
        """
        steps = np.array(self.steps).reshape(-1, len(self.partial))  # [steps, channels]
        if len(steps) < _STEPS:  # less than a block: all there is
            size = max(1, self.length)
            blocks = (steps.sum(0) + self.partial.sum(1))[None] / size
        else:
            blocks = sum(steps[i : len(steps) - _STEPS + 1 + i] for i in range(_STEPS))
            blocks = blocks / (_STEPS * self.step)
        loud = blocks[_lufs(blocks.sum(1)) > _ABSOLUTE]
        if len(loud):
            gate = _lufs(loud.mean(0).sum()) + _RELATIVE
            loud = loud[_lufs(loud.sum(1)) > gate]
        energies: npt.NDArray[np.float64] = loud.mean(0) if len(loud) else 0 * self.partial.sum(1)
        return energies

    @property
    def loudness(self) -> float:
        """In LUFS; -inf where nothing is above -70."""
        return float(_lufs(self.energies.sum()))

    @property
    def gain(self) -> float:
        """The factor that brings a channel, in the mean, to the reference."""
        return float(10 ** ((REFERENCE - _lufs(self.energies.mean())) / 20))


def weighting(rate: int) -> npt.NDArray[np.float64]:
    """The standard's K-weighting as second-order sections `[2, 6]`, at any sample rate.

    The standard gives coefficients at 48000 Hz; these are the analog filters that they came from.
    """
    sections = []
    # A shelf of 4 dB for the head, and a high-pass.
    for frequency, quality, gain in (
        (1681.974450955533, 0.7071752369554196, 3.999843853973347),
        (38.13547087602444, 0.5003270373238773, None),
    ):
        k = math.tan(math.pi * min(frequency / rate, 0.49))
        low = 1 + k / quality + k * k
        poles = [1.0, 2 * (k * k - 1) / low, (1 - k / quality + k * k) / low]
        if gain is None:
            zeros = [1.0, -2.0, 1.0]
        else:
            high = 10 ** (gain / 20)
            middle = high**0.4996667741545416
            zeros = [
                (high + middle * k / quality + k * k) / low,
                2 * (k * k - high) / low,
                (high - middle * k / quality + k * k) / low,
            ]
        sections.append(zeros + poles)
    return np.array(sections)


def matched(own: Meter, wanted: Meter) -> npt.NDArray[np.float64]:
    """A gain for each channel, `[channels]`: as loud as another sound, and nowhere clipped.

    Each channel is brought to its own level there, so that the stereo image stays; one that is
    silent there is silent.
    """
    have, want = own.energies, wanted.energies
    gains = np.sqrt(np.divide(want, have, out=np.zeros_like(want), where=have > 0))
    loudest = (own.peaks * gains).max()
    return gains * min(1.0, CEILING / loudest) if loudest > 0 else gains


def _lufs(energy: Any) -> Any:
    with np.errstate(divide="ignore"):
        return _OFFSET + 10 * np.log10(energy)
