"""What a schedule leaves to the size of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from neural_style_tf import Graphs, Schedule, loop
from neural_style_tf import schedule as schedules
from tests import tiny

Picture = npt.NDArray[np.uint8]


@pytest.mark.parametrize(
    ("size", "schedule", "remembered"),
    [
        ((8, 9), Schedule(), 20),
        ((512, 1023), Schedule(), 20),
        ((512, 1024), Schedule(), 10),
        ((512, 1024), Schedule(history=30), 30),
        ((8, 9), Schedule(history=3), 3),
        ((8, 9), Schedule(optimizer="adam"), None),
    ],
)
def test_of_small_pictures_more_steps_are_remembered(
    size: tuple[int, int], schedule: Schedule, remembered: int | None
) -> None:
    assert schedule.remembering(*size).history == remembered
    assert schedule.remembering(*size).remembering(1000, 1000).history == remembered


@pytest.mark.parametrize(
    ("schedule", "tolerance"),
    [
        (Schedule(), 0.015),
        (Schedule(iterations=100), 0.01),
        (Schedule(iterations=100, tolerance=0.3), 0.3),
        (Schedule(tolerance=0.0), 0),
        (Schedule(optimizer="adam"), 0),
        (Schedule(iterations=100, learning_rate=1.0), 0),
    ],
)
def test_who_says_how_many_iterations_gets_more_of_them(
    schedule: Schedule, tolerance: float
) -> None:
    assert schedule.resolved().tolerance == tolerance
    assert schedule.resolved().resolved().tolerance == tolerance


def test_a_run_remembers_as_many_steps_as_its_size_allows(
    shallow: Any, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "_LARGE", 20 * 24)
    kept = Graphs(2)
    for columns in (23, 24):
        picture = tiny.picture(20, columns, 1)
        list(loop.stylize(shallow, picture, [style], schedule=Schedule(iterations=1), graphs=kept))
    lengths = [made_of[2].history for made_of, _ in kept.kept.kept]
    assert sorted(lengths) == [10, 20]
