"""Optimizers of a picture: pure functions from state to state, on the device.

An optimizer has two methods, `start` and `step`. Its state is a NamedTuple of tensors: plain data
that a graph can loop over, and that can be saved and continued.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from neural_style_tf.losses import Terms
from neural_style_tf.schedule import Schedule

Evaluate = Callable[[tf.Tensor], tuple[Terms, tf.Tensor]]


class Optimizer(Protocol):
    """What the loop asks of every optimizer; a state has at least `pixels` and `terms`."""

    def start(self, evaluate: Evaluate, pixels: tf.Tensor) -> Any:
        """The state at the first picture `[1, H, W, 3]`, its loss and gradient included."""

    def step(self, evaluate: Evaluate, state: Any) -> Any:
        """The state one iteration later."""


def make(schedule: Schedule) -> Optimizer:
    """The optimizer that a schedule names, with its settings."""
    return Adam(schedule.learning_rate, schedule.beta1, schedule.beta2, schedule.epsilon)


class AdamState(NamedTuple):
    """A picture, its loss and gradient, and Adam's memory.

    `terms` and `gradient` belong to `pixels`: the loss of a picture is known as soon as the
    picture is, and never evaluated again to be reported.
    """

    pixels: tf.Tensor
    terms: Terms
    gradient: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor
    count: tf.Tensor


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2014, the "ε̂" form at the end of their section 2), as TensorFlow 1 had it.

    Attributes:
        learning_rate: in grey levels: about how far a pixel moves in one of the first steps.
    """

    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float

    def start(self, evaluate: Evaluate, pixels: tf.Tensor) -> AdamState:
        """The state before the first step."""
        terms, gradient = evaluate(pixels)
        zeros = tf.zeros_like(pixels)
        return AdamState(pixels, terms, gradient, zeros, zeros, tf.zeros((), tf.int32))

    def step(self, evaluate: Evaluate, state: AdamState) -> AdamState:
        """One update, and the loss and gradient of the new picture."""
        count = state.count + 1
        t = tf.cast(count, tf.float32)
        first = state.first + (state.gradient - state.first) * (1 - self.beta1)
        second = state.second + (tf.square(state.gradient) - state.second) * (1 - self.beta2)
        rate = self.learning_rate * tf.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)
        pixels = state.pixels - rate * first / (tf.sqrt(second) + self.epsilon)
        terms, gradient = evaluate(pixels)
        return AdamState(pixels, terms, gradient, first, second, count)
