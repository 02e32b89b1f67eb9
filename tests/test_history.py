"""The history of L-BFGS against the two-loop recursion in NumPy, float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from neural_style_tf import history
from neural_style_tf.history import History, nothing
from neural_style_tf.metrics import Metric

Array = npt.NDArray[np.float64]
Pair = tuple[Array, Array]

SHAPE, MEMORY = (1, 5, 4, 3), 4
METRIC = Metric(lambda x: x * tf.constant(np.linspace(0.5, 2, 60).reshape(SHAPE)))


def pairs(number: int, seed: int = 0) -> list[Pair]:
    """Steps on a quadratic, and how its gradient changes."""
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(60, 60))
    hessian = root @ root.T + 5 * np.eye(60)
    steps = generator.normal(size=(number, 60))
    return [(s.reshape(SHAPE), (hessian @ s).reshape(SHAPE)) for s in steps]


def remembered(taught: list[Pair], memory: int = MEMORY) -> History:
    found = nothing(tf.zeros(SHAPE, tf.float64), memory)
    for step, change in taught:
        found = found.pushed(tf.constant(step), tf.constant(change))
    return found


def two_loops(gradient: Array, taught: list[Pair]) -> Array:
    """Algorithm 7.4 of Nocedal & Wright, with the metric for its H⁰."""
    metric = np.linspace(0.5, 2, 60).reshape(SHAPE)
    q, shares = gradient.copy(), []
    for s, y in reversed(taught):
        shares.append(np.sum(s * q) / np.sum(s * y))
        q -= shares[-1] * y
    s, y = taught[-1]
    r = metric * q * np.sum(s * y) / np.sum(y * metric * y)
    for (s, y), share in zip(taught, reversed(shares), strict=True):
        r += s * (share - np.sum(y * r) / np.sum(s * y))
    return r


@pytest.fixture(params=["on a CPU", "as on a GPU"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "as on a GPU":
        monkeypatch.setattr(
            tf.config, "list_logical_devices", lambda kind=None: [object()] if kind == "GPU" else []
        )


@pytest.mark.parametrize("number", [1, 2, MEMORY, MEMORY + 1, 3 * MEMORY - 1])
def test_the_two_loop_recursion(device: None, number: int) -> None:
    """Of the last four, in a ring that is not full, full, and written over."""
    taught, gradient = pairs(number), np.random.default_rng(9).normal(size=SHAPE)
    solve = tf.function(lambda known, g: known.solve(g, METRIC), autograph=False)
    found = solve(remembered(taught), tf.constant(gradient))
    assert found.numpy() == pytest.approx(two_loops(gradient, taught[-MEMORY:]), rel=1e-9)


def test_with_as_many_steps_as_dimensions_a_quadratic_is_known() -> None:
    """The step to its minimum is found, if they span it (conjugate steps do)."""
    scales = np.linspace(1, 9, 60).reshape(SHAPE)
    units = np.eye(60).reshape(60, *SHAPE)
    known = remembered([(unit, scales * unit) for unit in units], memory=60)
    gradient = np.random.default_rng(3).normal(size=SHAPE)
    assert known.solve(tf.constant(gradient), METRIC).numpy() == pytest.approx(gradient / scales)


def test_what_was_forgotten_counts_no_longer(device: None) -> None:
    taught, gradient = pairs(MEMORY + 2), np.random.default_rng(9).normal(size=SHAPE)
    known = remembered(taught[:MEMORY])
    assert known.forgotten(tf.constant(False)).holds()
    known = known.forgotten(tf.constant(True))
    assert not known.holds()
    for step, change in taught[MEMORY:]:
        known = known.pushed(tf.constant(step), tf.constant(change))
    found = known.solve(tf.constant(gradient), METRIC)
    assert found.numpy() == pytest.approx(two_loops(gradient, taught[MEMORY:]), rel=1e-9)


def test_a_pair_of_no_positive_curvature_is_not_kept() -> None:
    taught, gradient = pairs(2), np.random.default_rng(9).normal(size=SHAPE)
    step, change = taught[0]
    known = remembered([*taught, (step, -change), (step, np.zeros(SHAPE))])
    found = known.solve(tf.constant(gradient), METRIC)
    assert found.numpy() == pytest.approx(two_loops(gradient, taught), rel=1e-9)


def test_an_empty_history_is_empty_each_time_and_each_its_own() -> None:
    """It is written into, so no constant of the graph, and not the same memory as another."""
    taught = [pairs(2), pairs(2, seed=1)]

    def both(second: tf.Tensor) -> Any:
        known = [remembered(each[:1]) for each in taught]
        step, change = (tf.constant(each) for each in taught[0][1])
        return [
            tf.cond(second, lambda h=each: h.pushed(step, change), lambda h=each: h)
            for each in known
        ]

    work = tf.function(both, autograph=False)
    for second in (True, False):  # the second call must not find what the first has left
        for known, pair in zip(work(tf.constant(second)), taught, strict=True):
            last = taught[0][1][0] if second else np.zeros(SHAPE)
            steps = [np.zeros(SHAPE), pair[0][0], last, np.zeros(SHAPE)]
            assert known.steps.numpy() == pytest.approx(np.stack(steps), abs=0)


def test_a_curvature_that_is_rounding_is_what_it_was_found_to_be() -> None:
    """Pairs nearly at right angles, in float32: what is of use has a positive diagonal."""
    generator = np.random.default_rng(5)
    kept = 0
    for _ in range(40):
        step, change = generator.normal(size=(2, 1, 64, 64, 3)).astype(np.float32)
        change -= step * (np.sum(change * step) / np.sum(step * step))
        change += step * np.float32(1e-9)
        known = nothing(tf.zeros((1, 64, 64, 3)), 2).pushed(tf.constant(step), tf.constant(change))
        if known.newest == 1:
            kept += 1
            assert known.holds()
    assert 5 < kept < 40


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="of CPUs")
def test_on_a_cpu_nothing_is_copied() -> None:
    known = remembered(pairs(3))
    step, change = pairs(4)[3]
    after = known.pushed(tf.constant(step), tf.constant(change))
    assert (known.steps.numpy() == after.steps.numpy()).all()
    assert history.dot(after.steps[after.newest], tf.constant(step)) > 0
