"""Optimizers of a picture: functions from state to state, on the device.

An optimizer makes a state of the one before, which it may use up. The state is a NamedTuple of
tensors: plain data that a graph can loop over, and that can be saved and continued.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from neural_style_tf.adam import Adam
from neural_style_tf.lbfgs import LBFGS
from neural_style_tf.losses import Evaluate
from neural_style_tf.metrics import IDENTITY, Metric, Spectral
from neural_style_tf.schedule import HISTORY, Schedule


class Optimizer(Protocol):
    """What the loop asks of every optimizer; a state has at least `pixels`, `terms` and `learnt`,
    nested tensors or None."""

    def start(self, pixels: tf.Tensor, learnt: Any = None) -> Any:
        """The state before the first evaluation, of the first picture `[1, H, W, 3]`.

        `learnt` is of a state of that size, on a loss that is much the same.
        """

    def step(self, evaluate: Evaluate, state: Any) -> Any:
        """The state one evaluation of the loss later: the first time, of the first picture."""


def make(
    schedule: Schedule,
    metric: Metric = IDENTITY,
    first_step: float = 5.0,
    bounds: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> Optimizer:
    """The optimizer that a schedule names, with its settings.

    Args:
        schedule: names it.
        metric, first_step, bounds: of L-BFGS; the identity and a picture's step by default.
    """
    schedule = schedule.resolved()
    if schedule.optimizer == "lbfgs":
        return LBFGS(schedule.history or HISTORY, metric, first_step, bounds)
    return Adam(**schedule.adam)


def of_pictures(schedule: Schedule, mean: tf.Tensor) -> Callable[[Any, tf.Tensor], Optimizer]:
    """The optimizer of pictures less `mean`, as `Descent` wants it."""

    def optimizer(_: Any, pixels: tf.Tensor) -> Optimizer:
        # For whole rows: with three values alone each operation takes ten times as long.
        row = tf.shape(pixels[:, :1])
        low, high = (tf.broadcast_to(bound, row) for bound in (-mean, 255 - mean))
        return make(schedule, Spectral(pixels), bounds=(low, high))

    return optimizer
