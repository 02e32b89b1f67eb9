"""Adam, as the 2017 program runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from neural_style_tf.losses import Evaluate, Terms, unknown


class AdamState(NamedTuple):
    """A picture, its loss and gradient, and Adam's memory.

    `terms` and `gradient` belong to `pixels`: the loss of a picture is known as soon as the
    picture is, and never evaluated again to be reported. `power1` and `power2` are β₁ᵗ and β₂ᵗ.
    """

    pixels: tf.Tensor
    terms: Terms
    gradient: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor
    power1: tf.Tensor
    power2: tf.Tensor

    @property
    def learnt(self) -> None:
        """Nothing: its means are of gradients that have passed."""


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

    def start(self, pixels: tf.Tensor, learnt: None = None) -> AdamState:
        """The state before the first evaluation, which is of the first picture itself."""
        zeros = tf.zeros_like(pixels)
        return AdamState(pixels, unknown(), zeros, zeros, zeros, tf.ones(()), tf.ones(()))

    def step(self, evaluate: Evaluate, state: AdamState) -> AdamState:
        """One update, but of a picture not yet looked at, and the loss and gradient there."""
        state = tf.cond(
            tf.math.is_finite(state.terms.total), lambda: self._updated(state), lambda: state
        )
        terms, gradient = evaluate(state.pixels)
        return state._replace(terms=terms, gradient=gradient)

    def _updated(self, state: AdamState) -> AdamState:
        # Everything in float32, the powers as running products, as TensorFlow 1 had it: with
        # 0.001 in one place and 1 − 0.999 in float32 in another, every first step would be 6e-6
        # too short, and the descent makes much of that.
        beta1, beta2 = tf.constant(self.beta1), tf.constant(self.beta2)
        power1, power2 = state.power1 * beta1, state.power2 * beta2
        first = state.first + (state.gradient - state.first) * (1 - beta1)
        second = state.second + (tf.square(state.gradient) - state.second) * (1 - beta2)
        rate = self.learning_rate * tf.sqrt(1 - power2) / (1 - power1)
        pixels = state.pixels - rate * first / (tf.sqrt(second) + self.epsilon)
        return state._replace(
            pixels=pixels, first=first, second=second, power1=power1, power2=power2
        )
