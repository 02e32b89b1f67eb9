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

from neural_style_tf.losses import Evaluate, Terms
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


class History(NamedTuple):
    """The last m steps and changes of gradient, oldest first; rho is 1/(s·y), 0 where empty.

    Tuples, not one tensor: to push is to move references, and nothing is copied.
    """

    steps: tuple[tf.Tensor, ...]
    changes: tuple[tf.Tensor, ...]
    rho: tuple[tf.Tensor, ...]


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

    def start(
        self, evaluate: Evaluate, pixels: tf.Tensor, learnt: History | None = None
    ) -> LBFGSState:
        """The state at the first point, with a search along the gradient, or as `learnt` has it.

        Args:
            evaluate: gives the loss and its gradient.
            pixels: the first point.
            learnt: the history of a descent on a loss that is much the same, to begin with.
        """
        pixels = self._within(pixels)
        terms, gradient = evaluate(pixels)
        if learnt is not None:
            search = self._search(pixels, gradient, learnt)
            return LBFGSState(pixels, terms, gradient, learnt, search)
        free = self._freeing(pixels, gradient)
        search = _begun(free(self._steepest(free(gradient))))
        return LBFGSState(pixels, terms, gradient, self.nothing(pixels), search)

    def nothing(self, pixels: tf.Tensor) -> History:
        """The history of no step yet."""
        empty = (tf.zeros_like(pixels),) * self.memory
        return History(empty, empty, (tf.zeros((), pixels.dtype),) * self.memory)

    def step(self, evaluate: Evaluate, state: LBFGSState) -> LBFGSState:
        """One evaluation: the next point, or a shorter or longer trial from the same one."""
        search = state.search
        trial = self._within(state.pixels + search.length * search.direction)
        terms, gradient = evaluate(trial)
        with tf.control_dependencies([gradient]):  # not in memory while the network is at work
            moved = trial - state.pixels
        # What the slopes here and there promise of the way as it was gone: bounds may bend it.
        promised = tf.minimum(_dot(state.gradient, moved), 0.0)
        slope = _dot(gradient, moved)
        limit = state.terms.total + _DECREASE * promised
        # A trial that is NaN or infinite is one that went too far.
        enough = terms.total <= limit + _ROUNDING * tf.abs(state.terms.total)
        enough &= tf.math.is_finite(slope)
        given_up = search.trials >= _TRIALS
        flat = slope >= _FLATTENED * promised

        taken = enough & (flat | given_up)

        def take() -> tuple[tf.Tensor, Terms, tf.Tensor, History]:
            history = _remember(state.history, moved, gradient - state.gradient)
            return trial, terms, gradient, history

        def stay() -> tuple[tf.Tensor, Terms, tf.Tensor, History]:
            # Where not even a short step along this direction helps, the history misleads.
            old = state.history
            rho = tuple(tf.where(given_up, tf.zeros_like(each), each) for each in old.rho)
            return state.pixels, state.terms, state.gradient, old._replace(rho=rho)

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
            tf.reduce_max(history.rho) > 0,
            lambda: -free(self._solve(gradient, history)),
            lambda: tf.zeros_like(gradient),
        )
        direction = tf.cond(
            _dot(gradient, newton) < 0, lambda: newton, lambda: free(self._steepest(gradient))
        )
        return _begun(direction)

    def _steepest(self, gradient: tf.Tensor) -> tf.Tensor:
        down = -self.metric.times(gradient)
        return down * (self.first_step / tf.maximum(_rms(down), 1e-30))

    def _solve(self, gradient: tf.Tensor, history: History) -> tf.Tensor:
        """The two-loop recursion: the inverse Hessian's estimate times the gradient."""
        curvature = self.metric.square(history.changes[-1]) * history.rho[-1]
        q, shares = gradient, []
        for i in reversed(range(self.memory)):
            shares.append(history.rho[i] * _dot(history.steps[i], q))
            q -= shares[-1] * history.changes[i]
        r = self.metric.times(q) / tf.maximum(curvature, 1e-30)
        for i, share in enumerate(reversed(shares)):
            r += history.steps[i] * (share - history.rho[i] * _dot(history.changes[i], r))
        return r


def _begun(direction: tf.Tensor) -> Search:
    """A search along a direction, with its first trial a whole step."""
    one = tf.ones((), direction.dtype)
    return Search(direction, one, 0 * one, one * np.inf, tf.constant(0))


def _remember(history: History, step: tf.Tensor, change: tf.Tensor) -> History:
    """The history with one more pair; a pair of no positive curvature teaches nothing."""
    product = _dot(step, change)
    useful = product > 1e-10 * tf.sqrt(_dot(step, step) * _dot(change, change))

    def pushed() -> History:
        new = History((step,), (change,), (1 / product,))
        return History(*(old[1:] + one for old, one in zip(history, new, strict=True)))

    return tf.cond(useful, pushed, lambda: history)


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


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)


def _rms(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
