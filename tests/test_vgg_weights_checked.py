"""Files that read well and hold no VGG: one line that says what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny
from tests.refusals import convolutions, npz, refusal
from vgg.weights import Weights, write_npz


def first(change: Callable[[list[Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda arrays: change(arrays["conv1_1"])


def put(index: int, array: Any) -> Callable[[dict[str, Any]], object]:
    return first(lambda pair: pair.__setitem__(index, array))


def poisoned(value: float) -> np.ndarray:
    kernel = tiny.weights()["conv1_1"][0].astype(np.float64)
    kernel[1, 2, 0, 3] = value
    return kernel


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            put(0, np.zeros((5, 5, 3, 4))),
            "expected a kernel [3, 3, 3, n] in conv1_1, got [5, 5, 3, 4]",
        ),
        (
            put(0, np.zeros((3, 3, 4, 3))),
            "expected a kernel [3, 3, 3, n] in conv1_1, got [3, 3, 4, 3]",
        ),
        (put(0, np.zeros((27, 4))), "expected a kernel [3, 3, 3, n] in conv1_1, got [27, 4]"),
        (
            put(0, np.zeros((3, 3, 3, 0))),
            "expected a kernel [3, 3, 3, n] in conv1_1, got [3, 3, 3, 0]",
        ),
        (put(1, np.zeros(5)), "expected a bias [4] in conv1_1, got [5]"),
        (put(1, np.zeros((1, 4))), "expected a bias [4] in conv1_1, got [1, 4]"),
        (put(0, poisoned(np.nan)), "expected finite numbers in conv1_1, got NaN or infinity"),
        (put(0, poisoned(np.inf)), "expected finite numbers in conv1_1, got NaN or infinity"),
        # Finite in float64, but not in float32.
        (put(0, poisoned(1e300)), "expected finite numbers in conv1_1, got NaN or infinity"),
        (put(0, np.array("text")), "expected numbers in conv1_1, got <U4"),
        (put(1, np.zeros(4, complex)), "expected numbers in conv1_1, got complex128"),
        (lambda arrays: arrays.pop("conv1_1"), "expected a layer conv1_1 next, got conv1_2"),
        (
            lambda arrays: [arrays.pop("conv1_1"), arrays.pop("conv1_2")],
            "expected a layer conv1_1 next, got conv2_1",
        ),
        (
            lambda arrays: arrays.pop("conv3_2"),
            "expected a layer conv3_2 or conv4_1 next, got conv3_3",
        ),
        (
            lambda arrays: arrays.update(conv1_1=arrays.pop("conv1_1")),
            "expected a layer conv1_1 next, got conv1_2",
        ),
        (
            lambda arrays: arrays.update(fc6=arrays["conv5_4"]),
            "expected a layer conv5_5 or conv6_1 next, got fc6",
        ),
    ],
)
def test_what_is_no_vgg(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    arrays = convolutions()
    change(arrays)
    assert refusal(npz(tmp_path / "x.npz", arrays)) == reason


@pytest.mark.parametrize(
    ("factor", "kernel", "reason"),
    [
        (0, np.zeros((1, 1, 5, 3)), "expected a kernel [1, 1, 4, n] in conv1_2, got [1, 1, 5, 3]"),
        (0, np.zeros((2, 2, 4, 3)), "expected a kernel [1, 1, 4, n] in conv1_2, got [2, 2, 4, 3]"),
        (1, np.zeros((3, 1, 3, 4)), "expected a kernel [3, 3, 3, n] in conv1_2, got [3, 1, 3, 4]"),
        (1, np.zeros((1, 1, 3, 4)), "expected one kernel [3, 3, …] among those of conv1_2, got 0"),
        (2, np.zeros((3, 3, 4, 4)), "expected one kernel [3, 3, …] among those of conv1_2, got 2"),
        (2, np.zeros((1, 1, 4, 7)), "expected a bias [7] in conv1_2, got [4]"),
        (2, np.zeros(4), "expected a kernel [1, 1, 4, n] in conv1_2, got [4]"),
    ],
)
def test_factors_that_do_not_fit(
    tmp_path: Path, factor: int, kernel: np.ndarray, reason: str
) -> None:
    layers = {name: list(arrays) for name, arrays in tiny.factored().items()}
    layers["conv1_2"][factor] = kernel
    path = tmp_path / "x.npz"
    write_npz(
        path, Weights({name: tuple(a) for name, a in layers.items()}, np.array(tiny.MEAN_PIXEL))
    )
    assert refusal(path) == reason


@pytest.mark.parametrize(
    ("mean", "reason"),
    [
        ([1.0, 2.0], "expected a mean pixel [3], got [2]"),
        ([[1.0, 2.0, 3.0]], "expected a mean pixel [3], got [1, 3]"),
        ([1.0, np.nan, 2.0], "expected finite numbers in the mean pixel, got NaN or infinity"),
        (["a", "b", "c"], "expected numbers in the mean pixel, got <U1"),
    ],
)
def test_a_mean_that_is_no_pixel(tmp_path: Path, mean: Any, reason: str) -> None:
    assert refusal(npz(tmp_path / "x.npz", convolutions(), mean)) == reason
