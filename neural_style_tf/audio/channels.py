"""Channels of a sound, turned so that one of them has most of it.

What two channels have in common has to stay in common: were left and right given a texture each,
a voice in the middle would fall apart. So a stereo sound is worked on as its middle and its sides,
or whatever the principal axes of its channels are (Karhunen-Loève).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Share of the power that the first axis has to have; else the channels are too different to have a
# middle, and stay as they are.
_DOMINANT = 0.75
# Share of the strongest axis's power below which an axis is left out: -50 dB.
_NEGLIGIBLE = 1e-5


def axes(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What channels are multiplied by: `[channels, channels]` -> `[rows, channels]`.

    All rows together have the mean power of the channels. A sound whose channels are all alike, but
    for their level, has one row.
    """
    count = len(covariance)
    powers, vectors = np.linalg.eigh(covariance)
    rows = vectors.T[::-1] * np.where(vectors.sum(0) < 0, -1, 1)[::-1, None]
    powers = powers[::-1]
    if powers[0] < _DOMINANT * powers.sum():
        rows, powers = np.eye(count), np.diag(covariance)
    kept: npt.NDArray[np.float64] = rows[powers > _NEGLIGIBLE * powers.max()]
    return kept / np.sqrt(count)


def back(turned: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What undoes `axes`: `[rows, channels]` -> `[channels, rows]`."""
    inverse: npt.NDArray[np.float64] = turned.T * len(turned.T)
    return inverse
