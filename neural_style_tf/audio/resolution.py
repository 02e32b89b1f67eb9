"""How finely a sound is taken apart: plain arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The window of the reference notebook, and the rate that it works at.
_WINDOW, _RATE = 2048, 22050


@dataclass(frozen=True)
class Resolution:
    """How finely a sound is taken apart.

    Attributes:
        window: length of the (periodic) Hann window, and of the Fourier transform, in samples: a
            power of two.
    """

    window: int = _WINDOW

    @classmethod
    def at(cls, rate: int) -> Resolution:
        """What lasts about as long at this sample rate as the notebook's 2048 samples at 22050."""
        return cls(2 ** max(6, round(math.log2(_WINDOW * rate / _RATE))))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: a quarter of the window."""
        return self.window // 4

    @property
    def bins(self) -> int:
        """Frequencies from 0 to half the sample rate."""
        return self.window // 2 + 1

    @property
    def scale(self) -> float:
        """What makes magnitudes those of the notebook's window: 1 for that one."""
        return _WINDOW / self.window

    def span(self, frames: int) -> int:
        """Samples that so many frames cover."""
        return (frames - 1) * self.hop + self.window
