"""Adam against its paper, in NumPy float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.adam import Adam
from neural_style_tf.losses import Terms
from neural_style_tf.optimizers import make
from neural_style_tf.schedule import Schedule


def quadratic(scales: Any) -> Any:
    def evaluate(x: tf.Tensor) -> tuple[Terms, tf.Tensor]:
        zero = tf.zeros(())
        return Terms(zero, zero, zero, tf.reduce_sum(scales * x**2) / 2), scales * x

    return evaluate


def test_adam_follows_the_paper() -> None:
    scales = np.array([1.0, 10.0, 0.1])
    optimizer = make(Schedule(learning_rate=0.3, beta1=0.8, beta2=0.95, epsilon=1e-3))
    evaluate = quadratic(tf.constant(scales, tf.float32))
    state = optimizer.step(evaluate, optimizer.start(tf.ones(3)))
    assert (state.pixels == tf.ones(3)).numpy().all()  # which has been looked at only
    x, m, v = np.ones(3), np.zeros(3), np.zeros(3)
    for t in range(1, 31):
        state = optimizer.step(evaluate, state)
        g = scales * x
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        rate = 0.3 * np.sqrt(1 - 0.95**t) / (1 - 0.8**t)
        x = x - rate * m / (np.sqrt(v) + 1e-3)
        assert state.pixels.numpy() == pytest.approx(x, abs=1e-4)


def test_the_first_step_is_the_learning_rate_to_the_last_digit() -> None:
    """Bias correction and decay cancel there: to a few units in the last place.

    The 2017 program's did, and its descent is followed only by who steps as far.
    """
    evaluate = quadratic(tf.constant([1e3, 3e4, 70.0]))
    optimizer = make(Schedule(optimizer="adam"))
    state = optimizer.step(evaluate, optimizer.start(tf.constant([1.0, -1.0, 1.0])))
    moved = optimizer.step(evaluate, state).pixels - state.pixels
    assert moved.numpy() == pytest.approx(np.array([-10.0, 10, -10]), rel=6e-7)


def test_the_loss_of_a_state_is_that_of_its_picture() -> None:
    evaluate = quadratic(tf.constant([1.0, 3.0]))
    optimizer = Adam(0.1, 0.9, 0.999, 1e-8)
    state = optimizer.step(evaluate, optimizer.start(tf.constant([1.0, -2.0])))
    for _ in range(3):
        terms, gradient = evaluate(state.pixels)
        assert float(state.terms.total) == float(terms.total)
        assert (state.gradient == gradient).numpy().all()
        state = optimizer.step(evaluate, state)


def test_a_state_continued_is_the_run_uninterrupted() -> None:
    """Plain data: through NumPy and back, nothing is lost."""
    evaluate = quadratic(tf.constant([1.0, 3.0]))
    optimizer = Adam(0.1, 0.9, 0.999, 1e-8)
    state = optimizer.start(tf.constant([1.0, -2.0]))
    for _ in range(5):
        state = optimizer.step(evaluate, state)
    copy = tf.nest.map_structure(lambda x: tf.constant(x.numpy()), state)
    for _ in range(5):
        state, copy = (optimizer.step(evaluate, each) for each in (state, copy))
    assert (state.pixels == copy.pixels).numpy().all()
