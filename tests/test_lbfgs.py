"""L-BFGS against SciPy's, and against whatever could make a line search stall or blow up."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import scipy.optimize
import tensorflow as tf

from neural_style_tf.lbfgs import LBFGS, LBFGSState
from neural_style_tf.losses import Loss, Terms
from neural_style_tf.metrics import IDENTITY, Metric, Spectral
from neural_style_tf.objective import Objective
from neural_style_tf.pixels import as_pixels

Function = Callable[[tf.Tensor], tf.Tensor]


def evaluated(function: Function) -> Any:
    def evaluate(x: tf.Tensor) -> tuple[Terms, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        zero = tf.zeros_like(value)
        return Terms(zero, zero, zero, value), tape.gradient(value, x)

    return evaluate


def stepping(optimizer: LBFGS, evaluate: Any) -> Callable[[LBFGSState], LBFGSState]:
    """One evaluation more, as a graph."""
    step = tf.function(lambda state: optimizer.step(evaluate, state), autograph=False)
    return cast(Callable[[LBFGSState], LBFGSState], step)


def minimized(optimizer: LBFGS, function: Function, start: Any, evaluations: int) -> list[float]:
    """The loss of the point held after each evaluation."""
    step = stepping(optimizer, evaluated(function))
    state = optimizer.start(tf.constant(start))
    losses = []
    for _ in range(evaluations):
        state = step(state)
        losses.append(float(state.terms.total))
    return losses


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(condition: float, size: int = 40) -> Function:
    scales = tf.constant(np.geomspace(1, condition, size))
    return lambda x: tf.reduce_sum(scales * x**2) / 2


@pytest.mark.parametrize(
    ("function", "start", "evaluations"),
    [
        (rosenbrock, np.array([-1.2, 1.0]), 45),
        (rosenbrock, np.full(20, -0.7), 90),
        (quadratic(1e2), np.ones(40), 40),
        (quadratic(1e4), np.ones(40), 120),
        (lambda x: tf.reduce_sum(tf.math.softplus(3 * x) - x), np.linspace(-9, 9, 30), 25),
    ],
    ids=["rosenbrock-2", "rosenbrock-20", "quadratic-1e2", "quadratic-1e4", "softplus"],
)
def test_as_good_as_scipys_for_a_like_number_of_evaluations(
    function: Function, start: Any, evaluations: int
) -> None:
    def both(x: Any) -> tuple[float, Any]:
        terms, gradient = evaluated(function)(tf.constant(x))
        return float(terms.total), gradient.numpy()

    options = {"maxcor": 10, "maxfun": evaluations, "gtol": 0, "ftol": 0}
    theirs = scipy.optimize.minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    ours = minimized(LBFGS(), function, start, round(1.25 * evaluations))
    assert ours[-1] <= 1.05 * theirs.fun + 1e-9 * ours[0]


def test_a_style_problem_as_well_as_scipy(
    shallow: Any, content: npt.NDArray[np.uint8], style: npt.NDArray[np.uint8]
) -> None:
    loss = Loss(shallow, Objective())
    targets = loss.targets(as_pixels(content), [as_pixels(style)])
    evaluate = tf.function(lambda pixels: loss.value_and_gradient(pixels, targets))

    def both(x: Any) -> tuple[float, Any]:
        terms, gradient = evaluate(tf.constant(x.reshape(1, 48, 64, 3), tf.float32))
        return float(terms.total), gradient.numpy().ravel().astype(float)

    start = as_pixels(content)
    theirs = scipy.optimize.minimize(
        both,
        start.numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxcor": 10, "maxfun": 60, "gtol": 0, "ftol": 0},
    )
    for metric in (IDENTITY, Spectral(start)):
        optimizer = LBFGS(metric=metric)
        state, step = optimizer.start(start), stepping(optimizer, evaluate)
        for _ in range(71):
            state = step(state)
        assert float(state.terms.total) <= 1.05 * theirs.fun


BOUNDS = (tf.constant(-0.3, tf.float64), tf.constant(0.6, tf.float64))


@pytest.mark.parametrize(
    ("function", "start", "evaluations"),
    [
        (rosenbrock, np.array([-0.2, 0.5]), 40),
        (rosenbrock, np.full(20, -0.2), 60),
        (lambda x: quadratic(1e3)(x - np.linspace(-1, 1, 40)), np.full(40, 0.5), 60),
        (lambda x: tf.reduce_sum(tf.math.softplus(3 * x) - x), np.linspace(-9, 9, 30), 25),
    ],
    ids=["rosenbrock-2", "rosenbrock-20", "quadratic", "outside"],
)
@pytest.mark.parametrize("mixing", [False, True])
def test_within_bounds_as_good_as_scipys(
    function: Function, start: Any, evaluations: int, mixing: bool
) -> None:
    """With a metric, too, that has each value moved by its neighbours' gradients."""

    def both(x: Any) -> tuple[float, Any]:
        terms, gradient = evaluated(function)(tf.constant(x))
        return float(terms.total), gradient.numpy()

    low, high = (float(bound) for bound in BOUNDS)
    theirs = scipy.optimize.minimize(
        both,
        np.clip(start, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=[(low, high)] * start.size,
    )
    weights = 0.4 ** np.abs(np.subtract.outer(np.arange(start.size), np.arange(start.size)))
    mixed = Metric(lambda g: tf.linalg.matvec(tf.constant(weights), g))
    metric = mixed if mixing else IDENTITY
    optimizer = LBFGS(metric=metric, first_step=0.1, bounds=BOUNDS)
    state, step = optimizer.start(tf.constant(start)), stepping(optimizer, evaluated(function))
    for _ in range(2 * evaluations + 1):
        assert low <= np.min(state.pixels) and np.max(state.pixels) <= high
        state = step(state)
    assert float(state.terms.total) <= theirs.fun + 1e-3 * abs(theirs.fun)


def test_the_loss_never_rises() -> None:
    losses = minimized(LBFGS(first_step=50.0), rosenbrock, np.full(8, 2.5), 120)
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(losses))
    assert losses[-1] < 1e-3 * losses[0]


def test_a_trial_into_nowhere_is_taken_back() -> None:
    """Beyond a radius the loss is NaN, as where features overflow."""

    def function(x: tf.Tensor) -> tf.Tensor:
        bowl = tf.reduce_sum(x**2) / 2
        return tf.where(tf.reduce_max(tf.abs(x)) < 4, bowl, np.nan)

    losses = minimized(LBFGS(first_step=1e4), function, np.full(5, 3.0), 40)
    assert np.isfinite(losses).all()
    assert losses[-1] < 1e-6


def test_at_the_minimum_it_stays() -> None:
    losses = minimized(LBFGS(), quadratic(10), np.zeros(40), 40)
    assert losses == [0.0] * 40


def test_a_gradient_that_is_wrong_does_no_harm() -> None:
    """Uphill for ever: every trial is refused, and nothing moves."""

    def evaluate(x: tf.Tensor) -> tuple[Terms, tf.Tensor]:
        value = tf.reduce_sum(x**2)
        return Terms(0 * value, 0 * value, 0 * value, value), -2 * x

    optimizer = LBFGS()
    state, step = optimizer.start(tf.ones(4)), stepping(optimizer, evaluate)
    for _ in range(61):
        state = step(state)
    assert float(state.terms.total) == pytest.approx(4.0, rel=1e-5)
    assert np.isfinite(state.search.direction).all()


def test_a_metric_that_knows_the_curvature_needs_no_history() -> None:
    scales = tf.constant(np.geomspace(1, 1e4, 40))
    optimizer = LBFGS(metric=Metric(lambda gradient: gradient / scales))
    assert minimized(optimizer, quadratic(1e4), np.ones(40), 8)[-1] < 1e-12


def test_a_first_step_far_too_short_grows() -> None:
    losses = minimized(LBFGS(first_step=1e-3), quadratic(10), np.full(40, 100.0), 50)
    assert losses[-1] < 1e-6 * losses[0]


def test_what_was_learnt_of_a_loss_is_of_use_with_one_like_it() -> None:
    """Curvatures that differ by up to a tenth, the minimum and the start elsewhere."""
    known = evaluated(quadratic(1e4))
    optimizer = LBFGS(memory=40)
    state, step = optimizer.start(tf.constant(np.ones(40))), stepping(optimizer, known)
    for _ in range(81):
        state = step(state)
    scales = tf.constant(np.geomspace(1, 1e4, 40) * (1 + 0.1 * np.cos(np.arange(40))))
    like_it = evaluated(lambda x: tf.reduce_sum(scales * (x - 0.1) ** 2) / 2)
    losses, step = [], stepping(optimizer, like_it)
    for learnt in (None, state.learnt):
        now = optimizer.start(tf.constant(np.linspace(-2, 1, 40)), learnt)
        for _ in range(10):
            now = step(now)
        losses.append(float(now.terms.total))
    fresh, warm = losses
    assert warm < 0.05 * fresh


def test_a_step_is_for_xla_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is compiled on a GPU."""
    evaluate, start = evaluated(quadratic(1e2)), tf.constant(np.ones(40))
    optimizer = LBFGS(memory=3, bounds=BOUNDS)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [object()])
    found = []
    for compiled in (False, True):
        step = tf.function(
            lambda state: optimizer.step(evaluate, state), autograph=False, jit_compile=compiled
        )
        state = optimizer.start(start)
        for _ in range(12):
            state = step(state)
        found.append(state)
    plain, by_xla = found
    assert by_xla.pixels.numpy() == pytest.approx(plain.pixels.numpy(), rel=1e-9)
    assert by_xla.history.products.numpy() == pytest.approx(plain.history.products.numpy())
