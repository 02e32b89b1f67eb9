"""L-BFGS (Nocedal 1980; Nocedal & Wright 2006, algorithm 7.5), on the device.

One `step` is one evaluation of the loss: either the trial point is taken, and a new direction is
computed from the history, or the line search goes on from the same point. So a run of n iterations
costs n evaluations, whatever the line search does.

Values may have bounds, as those of a picture that is to be written have: what lies beyond would be
cut off. Trials are projected onto them, and values that press against them are left out of the
direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from neural_style_tf.history import History, dot, nothing
from neural_style_tf.losses import Evaluate, Terms, unknown
from neural_style_tf.metrics import IDENTITY, Metric

# Weak Wolfe conditions: enough decrease, and a slope that has flattened.
_DECREASE, _FLATTENED = 1e-4, 0.9
# A difference of losses below this share of the loss is rounding in float32.
_ROUNDING = 1e-7
# Trials from one point before its direction is given up.
_TRIALS = 12


class Search(NamedTuple):
    """A line search from the last point taken: scalars but for the direction."""

    direction: tf.Tensor
    length: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    trials: tf.Tensor


class LBFGSState(NamedTuple):
    """The last point taken with its loss and gradient, the history, and the search under way."""

    pixels: tf.Tensor
    terms: Terms
    gradient: tf.Tensor
    history: History
    search: Search

    @property
    def learnt(self) -> History:
        """What a descent on a loss that is much the same can begin with."""
        return self.history


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS with a weak Wolfe line search that cannot stall or blow up.

    Attributes:
        memory: how many past steps are remembered.
        metric: the first guess of the inverse Hessian but for its scale; identity by default.
        first_step: root mean square of the very first trial step, in the unknown's unit.
        bounds: lowest and highest value, such as can be broadcast to the unknown; none by default.
    """

    memory: int = 10
    metric: Metric = IDENTITY
    first_step: float = 5.0
    bounds: tuple[tf.Tensor, tf.Tensor] | None = None

    def start(self, pixels: tf.Tensor, learnt: History | None = None) -> LBFGSState:
        """The state before the first evaluation, which is at the first point itself.

        Args:
            pixels: the first point.
            learnt: the history of a descent on a loss that is much the same, to begin with.
        """
        zero = tf.zeros_like(pixels)
        history = nothing(pixels, self.memory) if learnt is None else learnt
        # The first trial goes nowhere, and whatever loss is found there is less than this one.
        return LBFGSState(self._within(pixels), unknown(pixels.dtype), zero, history, _begun(zero))

    def step(self, evaluate: Evaluate, state: LBFGSState) -> LBFGSState:
        """One evaluation: the next point, or a shorter or longer trial from the same one."""
        search = state.search
        trial = self._within(state.pixels + search.length * search.direction)
        terms, gradient = evaluate(trial)
        with tf.control_dependencies([gradient]):  # not in memory while the network is at work
            moved = trial - state.pixels
        # What the slopes here and there promise of the way as it was gone: bounds may bend it.
        promised = tf.minimum(dot(state.gradient, moved), 0.0)
        slope = dot(gradient, moved)
        limit = state.terms.total + _DECREASE * promised
        # A trial that is NaN or infinite is one that went too far.
        enough = terms.total <= limit + _ROUNDING * tf.abs(state.terms.total)
        enough &= tf.math.is_finite(slope)
        given_up = search.trials >= _TRIALS
        flat = slope >= _FLATTENED * promised

        taken = enough & (flat | given_up)

        def take() -> tuple[tf.Tensor, Terms, tf.Tensor, History]:
            history = state.history.pushed(moved, gradient - state.gradient)
            return trial, terms, gradient, history

        def stay() -> tuple[tf.Tensor, Terms, tf.Tensor, History]:
            # Where not even a short step along this direction helps, the history misleads.
            history = state.history.forgotten(given_up)
            return state.pixels, state.terms, state.gradient, history

        pixels, terms_there, gradient_there, history = tf.cond(taken, take, stay)

        def turn() -> Search:
            search = self._search(pixels, gradient_there, history)
            return search._replace(length=tf.where(taken, search.length, search.length * 1e-3))

        gain = terms.total - state.terms.total
        search = tf.cond(taken | given_up, turn, lambda: _next(search, gain, promised, enough))
        return LBFGSState(pixels, terms_there, gradient_there, history, search)

    def _within(self, pixels: tf.Tensor) -> tf.Tensor:
        return pixels if self.bounds is None else tf.clip_by_value(pixels, *self.bounds)

    def _freeing(self, pixels: tf.Tensor, gradient: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
        """What leaves of a direction the part that does not lead out of the bounds at once.

        Values at a bound that the gradient presses against it stay where they are (the active set
        of gradient projection, Bertsekas 1982); so a short step along what is left goes down.
        """
        if self.bounds is None:
            return tf.identity
        low, high = self.bounds
        held = ((pixels <= low) & (gradient > 0)) | ((pixels >= high) & (gradient < 0))
        free = tf.cast(~held, pixels.dtype)  # a product is done ten times as soon as tf.where
        return lambda direction: direction * free

    def _search(self, pixels: tf.Tensor, gradient: tf.Tensor, history: History) -> Search:
        free = self._freeing(pixels, gradient)
        gradient = free(gradient)
        # Each branch stands here once: the graph of a step is what a run waits for at its start.
        newton = tf.cond(
            history.holds(),
            lambda: -free(history.solve(gradient, self.metric)),
            lambda: tf.zeros_like(gradient),
        )
        direction = tf.cond(
            dot(gradient, newton) < 0, lambda: newton, lambda: free(self._steepest(gradient))
        )
        return _begun(direction)

    def _steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        down = -self.metric.times(gradient)
        return down * (self.first_step / tf.maximum(_rms(down), 1e-30))


def _begun(direction: tf.Tensor) -> Search:
    """A search along a direction, with its first trial a whole step."""
    one = tf.ones((), direction.dtype)
    return Search(direction, one, 0 * one, one * np.inf, tf.constant(0))


def _next(search: Search, gain: tf.Tensor, promised: tf.Tensor, enough: tf.Tensor) -> Search:
    """A longer trial while the loss still falls steeply, a shorter one where it went too far.

    Args:
        search: this far.
        gain: the loss of the trial less that of the last point taken.
        promised: what it would be if the slope there went on.
        enough: whether it will do.
    """
    low = tf.where(enough, search.length, search.low)
    high = tf.where(enough, search.high, search.length)
    # The minimum of the parabola through the loss and slope here and the loss there.
    parabola = -promised * search.length / (2 * (gain - promised))
    parabola = tf.where(tf.math.is_finite(parabola), parabola, 0.0)
    inside = tf.where(low > 0, (low + high) / 2, tf.clip_by_value(parabola, 0.1 * high, 0.5 * high))
    return search._replace(
        length=tf.where(tf.math.is_inf(high), 2 * low, inside),
        low=low,
        high=high,
        trials=search.trials + 1,
    )


def _rms(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
