"""Descent: iterations on the device over one tensor, whatever it holds, as a generator of Steps.

Pictures, spectrograms and sounds are all brought nearer to an Objective by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.errors import DivergedError
from neural_style_tf.losses import Terms
from neural_style_tf.optimizers import Optimizer
from neural_style_tf.schedule import Schedule
from neural_style_tf.traced import Traced

# Iterations between two looks for convergence: a line search may stand for a few.
WINDOW = 20


class Candidate(NamedTuple):
    """A picture that a run may end with: float32 RGB 0-255 `[1, H, W, 3]` on the device.

    Of a sound, `pixels` are frames or samples; see `audio.transfer`.
    """

    iteration: int
    loss: float
    pixels: tf.Tensor


class Step(NamedTuple):
    """Where a run stands: one record for every watcher.

    Attributes:
        iteration: how many are done at all sizes together, 0 for the first picture.
        total: iterations that the run will do; less once it has converged at a size.
        share: of the whole work, how much is done, 0-1: an iteration counts by its pixels.
        size: height and width in pixels at which it works now.
        terms: the weighted losses of this iteration's picture, as numbers.
        pixels: this iteration's picture, on the device, not clipped; whoever wants it on the host
            pays for the copy.
        result: what the run would end with if it ended here, of full size. Losses at different
            sizes are not compared: it is the best of the size that the run has reached.
        learnt: what the optimizer has learnt of the loss, with the last Step of a `Descent` that is
            to hand it over.
    """

    iteration: int
    total: int
    share: float
    size: tuple[int, int]
    terms: Terms
    pixels: tf.Tensor
    result: Candidate
    learnt: Any = None

    @property
    def last(self) -> bool:
        """Whether the run is over."""
        return self.iteration == self.total


class State(NamedTuple):
    """Of the loop at one size.

    `mark` is the result's loss when convergence was last looked for: there is some where it has
    fallen by less than the share `tolerance` since.
    """

    optimizer: Any
    result: Candidate
    iteration: tf.Tensor
    tolerance: tf.Tensor
    mark: tf.Tensor
    finite: tf.Tensor
    converged: tf.Tensor


class Descent:
    """Iterations on the device, any number of them a call, over tensors of any height and width.

    Args:
        evaluate: takes a tensor `[1, H, W, C]` and targets, gives the loss and its gradient.
        optimizer: takes the targets and a tensor of the size, gives what minimizes the loss there.
        schedule: which tensor to keep, and the tolerance where none is given.
        compiled: whether XLA may compile the iterations on a GPU.
    """

    def __init__(
        self,
        evaluate: Callable[[tf.Tensor, Any], tuple[Terms, tf.Tensor]],
        optimizer: Callable[[Any, tf.Tensor], Optimizer],
        schedule: Schedule,
        *,
        compiled: bool = True,
    ) -> None:
        self.optimizer, self.schedule = optimizer, schedule
        # Each is traced once for all sizes.
        self.evaluate = Traced(evaluate)
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        self.advance = Traced(self.until, jit_compile=(compiled and on_gpu) or None)

    def steps(
        self,
        pixels: tf.Tensor,
        targets: Any,
        own: int,
        before: int = 0,
        after: int = 0,
        stops: Iterable[int] = (),
        heartbeat: float = 1.0,
        learnt: Any = None,
        *,
        tolerance: float | None = None,
        hands_over: bool = False,
    ) -> Iterator[Step]:
        """The Steps from one start to one end, with the share of this work alone.

        Args:
            pixels: where to start.
            targets: nested tensors, for `evaluate`.
            own: iterations, at most.
            before: iterations done before these; the first of all comes with Step 0.
            after: iterations to follow these, at most.
            stops: iterations at which a Step is wanted, counted as `before` is.
            heartbeat: seconds after which a Step comes anyway. Between two Steps nothing leaves the
                device.
            learnt: of a Step of this size, on a loss that is much the same.
            tolerance: as a schedule's, in place of its own.
            hands_over: whether the last Step is to have `learnt`.
        """
        total = before + own + after
        state = self.begin(pixels, targets, learnt, tolerance)
        state = self.advance(state, tf.constant(0), targets)
        del pixels, learnt  # all that is needed of them is in the state
        if not state.finite:
            raise DivergedError(
                "the loss at the start, or its gradient, is NaN or infinite: expected finite "
                "numbers; lower the weights, or check the network and what it was given"
            )
        if not before:
            yield _step(state, own, 0, total)
        done, chunk = 0, 1
        waypoints = iter(sorted({stop - before for stop in stops if 0 < stop - before < own}))
        waypoint = next(waypoints, own)
        while done < own and not state.converged:
            target = min(waypoint, done + chunk)
            begun = time.perf_counter()
            state = self.advance(state, tf.constant(target), targets)
            finite = bool(state.finite)  # waits for the device
            seconds = (time.perf_counter() - begun) / (target - done)
            if not finite:
                yield _step(state, own, before, total)
                raise _diverged(before + int(state.iteration), self.schedule)
            chunk = max(1, int(min(heartbeat / seconds, own)))
            done = int(state.iteration)
            if done == waypoint:
                waypoint = next(waypoints, own)
            if state.converged:
                total -= own - done
            step = _step(state, own, before, total)
            if hands_over and (done == own or state.converged):
                step = step._replace(learnt=state.optimizer.learnt)
            yield step

    def prepare(self, pixels: tf.Tensor, targets: Any) -> None:
        """Trace now what `steps` needs; the size does not count.

        Where XLA is to compile it all, which it does for each size anew, nothing is done.
        """
        if not self.advance.jit_compile:
            self.advance(self.begin(pixels, targets), tf.constant(0), targets)

    def begin(
        self,
        pixels: tf.Tensor,
        targets: Any,
        learnt: Any = None,
        tolerance: float | None = None,
    ) -> State:
        """The state before the first picture is looked at, which is iteration 0 of `until`."""
        optimizer = self.optimizer(targets, pixels).start(pixels, learnt)
        before, loss, yes = tf.constant(-1), optimizer.terms.total, tf.constant(True)
        share = (self.schedule.tolerance or 0.0) if tolerance is None else tolerance
        result = Candidate(before, loss, pixels)
        return State(optimizer, result, before, tf.constant(share, loss.dtype), loss, yes, ~yes)

    def until(self, state: State, target: tf.Tensor, targets: Any) -> State:
        """Iterate to `target`, to the last finite picture before it, or to convergence.

        Like `begin`, this may be a part of a larger graph.
        """
        schedule, optimizer = self.schedule, self.optimizer(targets, state.optimizer.pixels)

        def evaluate(pixels: tf.Tensor) -> tuple[Terms, tf.Tensor]:
            terms, gradient = self.evaluate(pixels, targets)
            return terms, gradient

        def body(*loop: Any) -> State:
            old = State(*loop)
            new = optimizer.step(evaluate, old.optimizer)
            loss = new.terms.total
            finite = tf.math.is_finite(loss)
            iteration = old.iteration + tf.cast(finite, tf.int32)
            better = finite if schedule.keep == "last" else finite & (loss < old.result.loss)
            result = _choose(better, Candidate(iteration, loss, new.pixels), old.result)
            due = iteration % WINDOW == 0
            return State(
                _choose(finite, new, old.optimizer),
                result,
                iteration,
                old.tolerance,
                tf.where(due, result.loss, old.mark),
                finite,
                # 0 is never: a last picture that is worse than one before is no convergence.
                due & (old.tolerance > 0) & (old.mark - result.loss < old.tolerance * old.mark),
            )

        def unfinished(*loop: Any) -> tf.Tensor:
            now = State(*loop)
            return (now.iteration < target) & now.finite & ~now.converged

        return State(*tf.while_loop(unfinished, body, tuple(state)))


def _choose(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    return tf.cond(condition, lambda: yes, lambda: no)


def _step(state: State, own: int, before: int, total: int) -> Step:
    result, pixels = state.result, state.optimizer.pixels
    iteration = int(state.iteration)
    return Step(
        before + iteration,
        total,
        iteration / own,
        (pixels.shape[1], pixels.shape[2]),
        Terms(*(float(term) for term in state.optimizer.terms)),
        pixels,
        Candidate(before + int(result.iteration), float(result.loss), result.pixels),
    )


def _diverged(iteration: int, schedule: Schedule) -> DivergedError:
    rate = schedule.learning_rate  # only Adam has one
    likely = f"the learning rate ({rate:g}) or a weight" if rate else "a weight"
    return DivergedError(
        f"the loss became NaN or infinite at iteration {iteration + 1}: expected a finite number; "
        f"{likely} is likely too large: lower it"
    )
