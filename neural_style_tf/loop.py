"""The loop: a generator of Steps. It reads, writes and prints nothing; its caller does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf.descent import Candidate, Step
from neural_style_tf.errors import OptionError
from neural_style_tf.networks import Network
from neural_style_tf.objective import Objective
from neural_style_tf.optimization import Graphs, Optimization
from neural_style_tf.pixels import as_pixels, enlarge, refine, resize, start
from neural_style_tf.schedule import Schedule
from neural_style_tf.styles import KeptStyle, Painting, Style
from neural_style_tf.tiles import Tiles

__all__ = ["Candidate", "Graphs", "Step", "stylize", "stylize_image"]

# For runs that are given none: of graphs made anew for each, TensorFlow would forget nothing. They
# are of two networks, as a run with a draft has.
_GRAPHS = Graphs(2)

# What works at a stage, and for it the styles with their widths against the picture's.
_Work = tuple[Optimization, Sequence[tuple[Style, float]]]


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
    draft: Network | None = None,
    stops: Iterable[int] = (),
    heartbeat: float = 1.0,
    graphs: Graphs | None = None,
) -> Iterator[Step]:
    """Paint the content in the styles.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: activation}` (see `vgg.load`; of
            another one see `networks.centered`).
        content: a picture `[H, W, 3]`, 0-255; the result has its size.
        styles: one or more pictures, any size; each is resized to the content's width times its
            scale. A `Style` will do too, such as a `KeptStyle`.
        objective: losses and weights; the 2017 program's by default.
        schedule: optimizer, sizes, iterations and start; `Schedule(optimizer="adam")` is the 2017
            program's.
        initial: the picture to start from (resized to the content's size); by default the content,
            as far as the schedule's noise leaves any of it.
        style_scales: one factor for each style; 1 by default.
        tiles: to bound the memory, the tiles to work in; by default all is in memory at once.
        draft: a cheaper network that sees much the same, with these layers: it paints the picture
            at all sizes, and `network` finishes it, in fewer iterations. (The losses of a
            Step are those of the network at work.)
        stops: iterations at which a Step is wanted (0 is the first picture).
        heartbeat: seconds after which a Step comes anyway. Between two Steps nothing leaves the
            device.
        graphs: to be traced, which takes some seconds, once for all runs that are alike. By default
            those of the last two networks are kept, as long as the program runs.

    Yields:
        Steps in order, the last one at the last iteration.

    Raises:
        OptionError: pictures, scales or blend weights that do not fit together; a draft where a
            style is not a painting.
        DivergedError: the loss became NaN or infinite. The Step before it holds the last finite
            picture; where the first picture's own loss is not finite there is none.
    """
    content = as_pixels(content)
    _, height, width, _ = content.shape
    objective = objective or Objective()
    schedule = (schedule or Schedule()).resolved().remembering(height, width)
    paintings = _paintings(styles, network, objective)
    factors = _one_each(style_scales, len(styles))
    stops, graphs = frozenset(stops), graphs or _GRAPHS

    def work(network: Network, paintings: Sequence[Style]) -> _Work:
        optimization = graphs.optimization(network, objective, schedule, tiles)
        return optimization, list(zip(paintings, factors, strict=True))

    own = work(network, paintings)
    drafting = None if draft is None else work(draft, _measured_anew(paintings))
    # Detail of the content is a guess where its contents are to be seen in another style; where it
    # alone is reconstructed, it would be the answer.
    guide = content if objective.shares("content") and objective.shares("style") else None
    stages = schedule.stages(height, width, drafted=draft is not None)
    draft = None
    total, whole = sum(each.iterations for each in stages), sum(each.work for each in stages)
    picture: tf.Tensor = None
    learnt: Any = None
    ready: Future[None] | None = None
    done, share = 0, 0.0
    for stage, following in zip_longest(stages, stages[1:]):
        if not stage.drafted:
            drafting = None  # with its network and graphs, unless others hold them
            wait([ready] if ready else [])
        elif stage.size == (height, width):
            ready = _meanwhile(partial(own[0].prepare, objective, len(paintings)))
        (worker, scaled), (rows, columns) = drafting or own, stage.size
        targets = worker.targets(content, scaled, objective, rows, columns)
        if picture is None:
            picture = _first(content, initial, schedule, rows, columns)
        elif picture.shape[1:3] != stage.size:
            picture = refine(picture, guide, rows, columns)
        total -= stage.iterations
        steps = worker.steps(
            *(picture, targets, stage.iterations, done, total, stops, heartbeat, learnt),
            tolerance=schedule.tolerance,
            hands_over=following is not None and following.size == stage.size,
        )
        picture = learnt = None  # else they are there as long as it is painted on
        for step in steps:
            # What a run cut short at a coarse size would end with has the full size, too.
            result = step.result._replace(pixels=step.result.pixels + worker.mean)
            yield step._replace(
                share=1.0 if step.last else share + stage.work / whole * step.share,
                pixels=step.pixels + worker.mean,
                result=result._replace(pixels=enlarge(result.pixels, height, width)),
                learnt=None,
            )
        learnt = step.learnt
        picture, done, share = result.pixels, step.iteration, share + stage.work / whole


def _meanwhile(work: Callable[[], None]) -> Future[None]:
    """Do something in a thread of its own: the loop leaves Python's time to others.

    Should it fail, whoever needs what it was to make does without, or fails and says so.
    """
    executor = ThreadPoolExecutor(1)
    found = executor.submit(work)
    executor.shutdown(wait=False)
    return found


def _paintings(styles: Sequence[Any], network: Network, objective: Objective) -> list[Style]:
    """What is given as styles, each with moments for that network and objective.

    Raises:
        OptionError: a picture in place of a list of them; a style kept with another network, or
            without layers that are compared.
    """
    if isinstance(styles, Style | str) or getattr(styles, "ndim", 4) < 4:
        raise OptionError(
            f"expected a list of styles, got {type(styles).__name__}; write [style] for one"
        )
    for style in styles:
        if isinstance(style, KeptStyle):
            style.check(getattr(network, "measures", None))
            style.only([*objective.shares("style")])
    return [style if isinstance(style, Style) else Painting(style) for style in styles]


def _measured_anew(styles: Sequence[Style]) -> list[Style]:
    """The styles for another network.

    Raises:
        OptionError: one that is no painting.
    """
    pictures = [getattr(style, "pixels", None) for style in styles]
    if any(pixels is None for pixels in pictures):
        raise OptionError(
            "a draft needs the paintings, got a kept style; give the painting or no draft"
        )
    return [Painting(pixels) for pixels in pictures]


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
    for step in stylize(*args, **kwargs):
        result = step.result  # in a list, all the pictures on the way would be kept
    return np.clip(result.pixels[0].numpy(), 0, 255)


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
