"""Optimizers of a picture: pure functions from state to state, on the device.

An optimizer has two methods, `start` and `step`. Its state is a NamedTuple of tensors: plain data
that a graph can loop over, and that can be saved and continued.
"""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

from neural_style_tf.adam import Adam
from neural_style_tf.lbfgs import LBFGS, Metric, spectral
from neural_style_tf.losses import Evaluate
from neural_style_tf.schedule import HISTORY, Schedule


class Optimizer(Protocol):
    """What the loop asks of every optimizer; a state has at least `pixels` and `terms`."""

    def start(self, evaluate: Evaluate, pixels: tf.Tensor) -> Any:
        """The state at the first picture `[1, H, W, 3]`, its loss and gradient included."""

    def step(self, evaluate: Evaluate, state: Any) -> Any:
        """The state one evaluation of the loss later."""


def make(
    schedule: Schedule,
    metric: Metric = spectral,
    first_step: float = 5.0,
    bounds: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> Optimizer:
    """The optimizer that a schedule names, with its settings.

    Args:
        schedule: names it.
        metric, first_step, bounds: of L-BFGS; the first two those of pictures by default.
    """
    schedule = schedule.resolved()
    if schedule.optimizer == "lbfgs":
        return LBFGS(schedule.history or HISTORY, metric, first_step, bounds)
    return Adam(**schedule.adam)
