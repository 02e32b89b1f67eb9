"""Channels turned to their principal axes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neural_style_tf.audio.channels import axes, back
from tests import sounds

VOICE, ROOM, OTHER = (sounds.noise(0.5, seed).astype(float) for seed in range(3))


def turned(channels: Any) -> tuple[Any, Any]:
    samples = np.stack(channels)
    matrix = axes(samples @ samples.T)
    return matrix, matrix @ samples


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE,),
        (VOICE + 0.1 * ROOM, VOICE - 0.1 * ROOM),
        (VOICE, ROOM),
        (VOICE, VOICE),
        (VOICE, 0 * VOICE),
        (VOICE, 0.5 * VOICE),
        (VOICE, -VOICE),
        (VOICE, VOICE + 0.1 * ROOM, VOICE - 0.1 * OTHER),
        (VOICE, ROOM, OTHER),
    ],
)
def test_there_and_back(channels: Any) -> None:
    matrix, rows = turned(channels)
    assert back(matrix) @ rows == pytest.approx(np.stack(channels), abs=2e-3)
    assert np.square(rows).sum() == pytest.approx(np.mean([c @ c for c in channels]), rel=1e-3)


def test_a_voice_in_the_middle_is_the_first_row() -> None:
    matrix, rows = turned((VOICE + 0.1 * ROOM, VOICE - 0.1 * ROOM))
    assert matrix[0] == pytest.approx([0.5, 0.5], abs=0.01)
    assert np.corrcoef(rows[0], VOICE)[0, 1] > 0.999
    assert np.corrcoef(rows[1], ROOM)[0, 1] ** 2 > 0.99


def test_different_channels_stay_as_they_are() -> None:
    matrix, _ = turned((VOICE, ROOM))
    assert matrix == pytest.approx(np.eye(2) / np.sqrt(2))


@pytest.mark.parametrize("levels", [(1, 1), (1, 0), (0, 1), (1, 0.3), (1, -1), (1, 1, 1)])
def test_one_thing_has_one_row(levels: Any) -> None:
    matrix, _ = turned([level * VOICE for level in levels])
    assert matrix.shape == (1, len(levels))
