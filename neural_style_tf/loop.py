"""The loop: a generator of Steps. It reads, writes and prints nothing; its caller does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from neural_style_tf import optimizers
from neural_style_tf.errors import DivergedError, OptionError
from neural_style_tf.losses import Loss, Network, Targets, Terms
from neural_style_tf.objective import Objective
from neural_style_tf.pixels import as_pixels, enlarge, refine, resize, start
from neural_style_tf.schedule import Schedule
from neural_style_tf.styles import Painting, Style
from neural_style_tf.tiles import TiledLoss, Tiles, make_loss
from neural_style_tf.traced import Traced

# Iterations between two looks for convergence: a line search may stand for a few.
WINDOW = 20


class Candidate(NamedTuple):
    """A picture that a run may end with: float32 RGB 0-255 `[1, H, W, 3]` on the device."""

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
    """

    iteration: int
    total: int
    share: float
    size: tuple[int, int]
    terms: Terms
    pixels: tf.Tensor
    result: Candidate

    @property
    def last(self) -> bool:
        """Whether the run is over."""
        return self.iteration == self.total


def stylize(
    network: Network,
    content: Any,
    styles: Sequence[Any],
    objective: Objective | None = None,
    schedule: Schedule | None = None,
    *,
    initial: Any = None,
    style_scales: Sequence[float] = (),
    tiles: Tiles | None = None,
    stops: Iterable[int] = (),
    heartbeat: float = 1.0,
) -> Iterator[Step]:
    """Paint the content in the styles.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: activation}` (see `vgg.load`).
        content: a picture `[H, W, 3]`, 0-255; the result has its size.
        styles: one or more pictures, any size; each is resized to the content's width times its
            scale. A `Style` will do too, such as a `KeptStyle`.
        objective: losses and weights; the 2017 program's by default.
        schedule: optimizer, sizes, iterations and start; `Schedule(optimizer="adam")` is the 2017
            program's.
        initial: the picture to start from (resized to the content's size); by default the content,
            as far as the schedule's noise leaves any of it.
        style_scales: one factor for each style; 1 by default.
        tiles: to bound the memory, the side in pixels of the tiles to work in, and how far the
            network sees (see `TiledLoss`); by default all is in memory at once.
        stops: iterations at which a Step is wanted (0 is the first picture).
        heartbeat: seconds after which a Step comes anyway. Between two Steps nothing leaves the
            device.

    Yields:
        Steps in order, the last one at the last iteration.

    Raises:
        OptionError: pictures, scales or blend weights that do not fit together.
        DivergedError: the loss became NaN or infinite. The Step before it holds the last finite
            picture; where the first picture's own loss is not finite there is none.
    """
    objective, schedule = objective or Objective(), (schedule or Schedule()).resolved()
    content = as_pixels(content)
    _, height, width, _ = content.shape
    paintings = [style if isinstance(style, Style) else Painting(style) for style in styles]
    factors = _one_each(style_scales, len(styles))
    loop = _Loop(make_loss(network, objective, tiles), schedule, frozenset(stops), heartbeat)
    sizes = schedule.sizes(height, width)
    finer = range(len(sizes))[::-1]  # how many finer sizes follow
    work = schedule.work(height, width)
    # Detail of the content is a guess where its contents are to be seen in another style; where it
    # alone is reconstructed, it would be the answer.
    guide = content if objective.shares("content") and objective.shares("style") else None
    picture: tf.Tensor = None
    done, share = 0, 0.0
    for later, (rows, columns) in zip(finer, sizes, strict=True):
        # The pictures are let go of once the targets are known.
        targets = loop.targets(
            resize(content, rows, columns),
            [(style, factor * columns) for style, factor in zip(paintings, factors, strict=True)],
        )
        own = rows * columns * schedule.iterations_at(later) / work
        first = (
            _first(content, initial, schedule, rows, columns)
            if picture is None
            else refine(picture, guide, rows, columns)
        )
        steps = loop.steps(first, targets, done, later)
        del first  # else it is there as long as the size is painted at
        for step in steps:
            # What a run cut short at a coarse size would end with has the full size, too.
            result = step.result
            yield step._replace(
                share=1.0 if step.last else share + own * step.share,
                result=result._replace(pixels=enlarge(result.pixels, height, width)),
            )
        picture, done, share = result.pixels, step.iteration, share + own


def _first(
    content: tf.Tensor, initial: Any, schedule: Schedule, height: int, width: int
) -> tf.Tensor:
    """The picture to begin with: noise, or the initial picture, or of both."""
    noise = schedule.initial_noiseblend
    if noise is None:
        noise = 1.0 if initial is None else 0.0
    picture = resize(content if initial is None else initial, height, width)
    return start(picture, noise, schedule.seed)


def stylize_image(*args: Any, **kwargs: Any) -> np.ndarray:
    """Run `stylize` to its end: float32 RGB `[H, W, 3]`, clipped to 0-255. Same arguments."""
    *_, last = stylize(*args, **kwargs)
    return np.clip(last.result.pixels[0].numpy(), 0, 255)


class _State(NamedTuple):
    """Of the loop at one size. `mark` is the result's loss when convergence was last looked for."""

    optimizer: Any
    result: Candidate
    iteration: tf.Tensor
    mark: tf.Tensor
    finite: tf.Tensor
    converged: tf.Tensor


class _Loop:
    """Iterations on the device, any number of them a call, at any size."""

    def __init__(
        self, loss: Loss, schedule: Schedule, stops: frozenset[int], heartbeat: float
    ) -> None:
        self.loss, self.schedule, self.stops, self.heartbeat = loss, schedule, stops, heartbeat
        self.optimizer = optimizers.make(schedule)
        # Traced once for all sizes, and the evaluation once for the first picture and the loop.
        self.features = Traced(loss.features)
        self.moments = Traced(loss.moments)
        self.evaluate = Traced(loss.value_and_gradient)
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        # Tiles differ in size, which XLA would compile anew each time.
        compiled = on_gpu and not isinstance(loss, TiledLoss)
        self.advance = Traced(self._advance, jit_compile=compiled or None)

    def targets(self, content: tf.Tensor, styles: Iterable[tuple[Style, float]]) -> Targets:
        """What is aimed at: a picture, and styles at widths."""
        moments = [style.moments(width, self.moments) for style, width in styles]
        return self.loss.blended(self.features(content), moments)

    def steps(self, pixels: tf.Tensor, targets: Targets, before: int, later: int) -> Iterator[Step]:
        """The Steps at one size, with the share of this size's work alone.

        Args:
            pixels: the first picture.
            targets: for this size.
            before: iterations done at coarser sizes; the first of these comes with Step 0.
            later: how many finer sizes are to follow.
        """
        own = self.schedule.iterations_at(later)
        total = before + sum(map(self.schedule.iterations_at, range(later + 1)))
        state = self._first(pixels, targets)
        del pixels  # all that is needed of it is in the state
        if not before:
            yield _step(state, own, 0, total)
        done, chunk = 0, 1
        waypoints = iter(sorted({stop - before for stop in self.stops if 0 < stop - before < own}))
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
            if done:  # the first call also traces the graph
                chunk = max(1, int(self.heartbeat / seconds))
            done = int(state.iteration)
            if done == waypoint:
                waypoint = next(waypoints, own)
            if state.converged:
                total -= own - done
            yield _step(state, own, before, total)

    def _first(self, pixels: tf.Tensor, targets: Targets) -> _State:
        """The state at the first picture."""
        optimizer = self.optimizer.start(lambda p: self.evaluate(p, targets), pixels)
        loss = optimizer.terms.total
        if not np.isfinite(loss):
            raise DivergedError(
                f"the loss of the first picture is {float(loss)}: expected a finite number; "
                "lower the weights, or check the network file and the pictures"
            )
        zero, no = tf.zeros((), tf.int32), tf.constant(False)
        return _State(optimizer, Candidate(zero, loss, pixels), zero, loss, ~no, no)

    def _advance(self, state: _State, target: tf.Tensor, targets: Targets) -> _State:
        """Iterate to `target`, to the last finite picture before it, or to convergence."""
        schedule = self.schedule

        def evaluate(pixels: tf.Tensor) -> tuple[Terms, tf.Tensor]:
            terms, gradient = self.evaluate(pixels, targets)
            return terms, gradient

        def body(*loop: Any) -> _State:
            old = _State(*loop)
            new = self.optimizer.step(evaluate, old.optimizer)
            loss = new.terms.total
            finite = tf.math.is_finite(loss)
            iteration = old.iteration + tf.cast(finite, tf.int32)
            better = finite & ((loss < old.result.loss) | (schedule.keep == "last"))
            result = _choose(better, Candidate(iteration, loss, new.pixels), old.result)
            due = iteration % WINDOW == 0
            return _State(
                _choose(finite, new, old.optimizer),
                result,
                iteration,
                tf.where(due, result.loss, old.mark),
                finite,
                due & (old.mark - result.loss < (schedule.tolerance or 0) * old.mark),
            )

        def unfinished(*loop: Any) -> tf.Tensor:
            now = _State(*loop)
            return (now.iteration < target) & now.finite & ~now.converged

        return _State(*tf.while_loop(unfinished, body, tuple(state)))


def _choose(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    return tf.cond(condition, lambda: yes, lambda: no)


def _step(state: _State, own: int, before: int, total: int) -> Step:
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


def _one_each(scales: Sequence[float], styles: int) -> Sequence[float]:
    if not scales:
        return (1.0,) * styles
    if len(scales) != styles:
        raise OptionError(
            f"expected one style scale for each of {styles} style(s), got {len(scales)}"
        )
    for scale in scales:
        if not 0 < scale < float("inf"):
            raise OptionError(f"each style scale must be a finite number above 0, got {scale}")
    return scales


def _diverged(iteration: int, schedule: Schedule) -> DivergedError:
    rate = schedule.learning_rate  # only Adam has one
    likely = f"the learning rate ({rate:g}) or a weight" if rate else "a weight"
    return DivergedError(
        f"the loss became NaN or infinite at iteration {iteration + 1}: expected a finite number; "
        f"{likely} is likely too large: lower it"
    )
