"""Adam, as the 2017 program runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from neural_style_tf.losses import Evaluate, Terms


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
