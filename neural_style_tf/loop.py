"""The loop: a generator of Steps. It reads, writes and prints nothing; its caller does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from neural_style_tf import optimizers
from neural_style_tf.errors import DivergedError, OptionError
from neural_style_tf.losses import Loss, Network, Terms
from neural_style_tf.objective import Objective
from neural_style_tf.pixels import as_pixels, resize, resize_style, start
from neural_style_tf.schedule import Schedule


class Candidate(NamedTuple):
    """A picture that a run may end with: float32 RGB 0-255 `[1, H, W, 3]` on the device."""

    iteration: int
    loss: float
    pixels: tf.Tensor


class Step(NamedTuple):
    """Where a run stands: one record for every watcher.

    Attributes:
        iteration: how many are done, 0 for the first picture.
        total: iterations that the run will do.
        size: height and width in pixels.
        terms: the weighted losses of this iteration's picture, as numbers.
        pixels: this iteration's picture, on the device, not clipped; whoever wants it on the host
            pays for the copy.
        result: what the run would end with if it ended here.
    """

    iteration: int
    total: int
    size: tuple[int, int]
    terms: Terms
    pixels: tf.Tensor
    result: Candidate


def stylize(
    network: Network,
    content: Any,
    styles: Sequence[Any],
    objective: Objective | None = None,
    schedule: Schedule | None = None,
    *,
    initial: Any = None,
    style_scales: Sequence[float] = (),
    stops: Iterable[int] = (),
    heartbeat: float = 1.0,
) -> Iterator[Step]:
    """Paint the content in the styles.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: activation}` (see `vgg.load`).
        content: a picture `[H, W, 3]`, 0-255; the result has its size.
        styles: one or more pictures, any size; each is resized to the content's width times its
            scale.
        objective: losses and weights; the 2017 program's by default.
        schedule: optimizer, iterations and start; the 2017 program's by default.
        initial: the picture to start from (resized to the content's size); by default the content,
            as far as the schedule's noise leaves any of it.
        style_scales: one factor for each style; 1 by default.
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
    objective, schedule = objective or Objective(), schedule or Schedule()
    content = as_pixels(content)
    _, height, width, _ = content.shape
    scales = _one_each(style_scales, len(styles))
    resized = [
        resize_style(style, width, scale) for style, scale in zip(styles, scales, strict=True)
    ]
    loss = Loss(network, objective)
    targets = loss.targets(content, resized)
    first = content if initial is None else resize(initial, height, width)
    noise = schedule.initial_noiseblend
    noise = (0.0 if initial is not None else 1.0) if noise is None else noise
    run = _Loop(loss, targets, schedule)
    yield from run.steps(start(first, noise, schedule.seed), set(stops), heartbeat)


def stylize_image(*args: Any, **kwargs: Any) -> np.ndarray:
    """Run `stylize` to its end: float32 RGB `[H, W, 3]`, clipped to 0-255. Same arguments."""
    *_, last = stylize(*args, **kwargs)
    return np.clip(last.result.pixels[0].numpy(), 0, 255)


class _State(NamedTuple):
    optimizer: Any
    result: Candidate
    iteration: tf.Tensor
    finite: tf.Tensor


class _Loop:
    """Iterations on the device, any number of them a call."""

    def __init__(self, loss: Loss, targets: Any, schedule: Schedule) -> None:
        self.schedule = schedule
        self.optimizer = optimizers.make(schedule)
        # A graph of its own, traced once for the first picture and for the loop.
        self.evaluate = tf.function(lambda pixels: loss.value_and_gradient(pixels, targets))
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        self.advance = tf.function(self._advance, jit_compile=on_gpu or None)

    def steps(self, pixels: tf.Tensor, stops: set[int], heartbeat: float) -> Iterator[Step]:
        total = self.schedule.iterations
        optimizer = self.optimizer.start(self.evaluate, pixels)
        loss = optimizer.terms.total
        if not np.isfinite(loss):
            raise DivergedError(
                f"the loss of the first picture is {float(loss)}: expected a finite number; "
                "lower the weights, or check the network file and the pictures"
            )
        zero = tf.zeros((), tf.int32)
        state = _State(optimizer, Candidate(zero, loss, pixels), zero, tf.constant(True))
        yield _step(state, total)
        done, chunk = 0, 1
        waypoints = iter(sorted({stop for stop in stops if 0 < stop < total} | {total}))
        waypoint = next(waypoints)
        while done < total:
            target = min(waypoint, done + chunk)
            begun = time.perf_counter()
            state = self.advance(state, tf.constant(target))
            finite = bool(state.finite)  # waits for the device
            seconds = (time.perf_counter() - begun) / (target - done)
            if not finite:
                yield _step(state, total)
                raise _diverged(int(state.iteration), self.schedule)
            if done:  # the first call also traces the graph
                chunk = max(1, int(heartbeat / seconds))
            done = target
            if done == waypoint:
                waypoint = next(waypoints, total)
            yield _step(state, total)

    def _advance(self, state: _State, target: tf.Tensor) -> _State:
        """Iterate to `target`, or to the last finite picture before it."""

        def body(*loop: Any) -> _State:
            old = _State(*loop)
            new = self.optimizer.step(self.evaluate, old.optimizer)
            loss = new.terms.total
            finite = tf.math.is_finite(loss)
            iteration = old.iteration + tf.cast(finite, tf.int32)
            better = finite & ((loss < old.result.loss) | (self.schedule.keep == "last"))
            return _State(
                _choose(finite, new, old.optimizer),
                _choose(better, Candidate(iteration, loss, new.pixels), old.result),
                iteration,
                finite,
            )

        def unfinished(*loop: Any) -> tf.Tensor:
            now = _State(*loop)
            return (now.iteration < target) & now.finite

        return _State(*tf.while_loop(unfinished, body, tuple(state)))


def _choose(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    return tf.cond(condition, lambda: yes, lambda: no)


def _step(state: _State, total: int) -> Step:
    result, pixels = state.result, state.optimizer.pixels
    return Step(
        int(state.iteration),
        total,
        (pixels.shape[1], pixels.shape[2]),
        Terms(*(float(term) for term in state.optimizer.terms)),
        pixels,
        Candidate(int(result.iteration), float(result.loss), result.pixels),
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
    return DivergedError(
        f"the loss became NaN or infinite at iteration {iteration + 1}: expected a finite number; "
        f"the learning rate ({schedule.learning_rate:g}) or a weight is likely too large: lower it"
    )
