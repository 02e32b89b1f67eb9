"""How a run is made to fit its machine: the precision that is fast there, and the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from absl import logging

from neural_style_tf import memory
from neural_style_tf.commands import tensorflow
from neural_style_tf.commands.job import Job
from neural_style_tf.files import Picture
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule
from vgg.weights import Weights

if TYPE_CHECKING:
    from neural_style_tf.tiles import Reach, Tiles

# Pixels of the result from which on less is kept for the way back: what that saves is much there,
# and the seconds that it takes to compile sparing poolings, for all its sizes, are few.
_LARGE = 2**19
# Where tiles may end: of what comes behind, little is left to save.
_FIRST_BLOCKS = ("pool1", "pool2", "pool3")


def precision(job: Job) -> str:
    """The precision asked for, or what is fast here; TensorFlow has been started."""
    if job.inputs.precision != "auto":
        return job.inputs.precision
    return "float32" if job.schedule.exact else tensorflow.fastest_precision()


class Fit(NamedTuple):
    """How a run is done.

    Attributes:
        schedule: with a history that fits.
        tiles: None for none.
        sparing: whether less is kept for the way back, see `vgg.network.build`.
    """

    schedule: Schedule
    tiles: Tiles | None
    sparing: bool


def fitted(
    job: Job,
    weights: Weights,
    objective: Objective,
    used: str,
    size: tuple[int, int],
    styles: Sequence[object],
    *,
    draft: Weights | None = None,
) -> Fit:
    """How a run stays within its memory.

    To be called before the first tensor is made: where memory is short, TensorFlow is told to give
    back what it no longer needs.

    Args:
        job: what was asked for.
        weights, objective, used: the network, what is wanted of it, and its precision.
        size: height and width of the result.
        styles: as they were read; of kept ones nothing is computed.
        draft: the network that drafts, where one does.

    Raises:
        OptionError: it cannot.
    """
    from neural_style_tf.pixels import style_size
    from neural_style_tf.tiles import Tiles
    from vgg.network import footprint, held, reach

    on_gpu = tensorflow.on_gpu()
    sparing = not on_gpu and size[0] * size[1] >= _LARGE
    if job.inputs.memory_limit:
        limit = job.inputs.memory_limit * memory.GIB
    else:
        # What a GPU has free is not known here; it says so itself when it is short.
        free = None if on_gpu else memory.available()
        if free is None:
            return Fit(job.schedule, None, sparing)
        limit = memory.SHARE * free
    paintings = [
        style_size(style.pixels, size[1] * scale)
        for style, scale in zip(styles, job.style_scales, strict=True)
        if isinstance(style, Picture)
    ]
    networks = [weights] if draft is None else [weights, draft]
    exact = job.schedule.exact
    strides, channels, _ = reach(weights, objective.layers)
    cuts, reaches = _cuts(networks, objective, used, exact=exact)
    need = memory.Need(
        sizes=[size, *paintings],
        pixel=max(
            footprint(
                each, objective.layers, used, exact=exact, sparing=sparing, pooling=job.pooling
            )
            for each in networks
        ),
        # The target's, and how far the picture's are from these.
        content=sum(
            8 * channels[layer] / strides[layer] ** 2 for layer in objective.shares("content")
        ),
        weights=sum(held(each, used, exact=exact) for each in networks),
        cuts=cuts,
        history=0 if job.schedule.optimizer == "adam" else job.schedule.history,
        coarser=len(job.schedule.stages(*size, drafted=draft is not None)) > 1,
    )
    plan = memory.plan(need, limit)
    if job.inputs.memory_limit or plan.side:
        logging.info("%s", plan.told(limit))
    schedule = dataclasses.replace(job.schedule, history=plan.history or None)
    if plan.gives_back:
        tensorflow.give_back_memory()
    if plan.side is None:
        return Fit(schedule, None, sparing)
    # Tiles are small, and of several sizes.
    return Fit(schedule, Tiles(plan.side, reaches[plan.until], plan.until), sparing=False)


def _cuts(
    networks: Sequence[Weights], objective: Objective, used: str, *, exact: bool
) -> tuple[list[memory.Cut], dict[str | None, Reach]]:
    """The ways to have tiles, and how far is seen in each; arguments as for `fitted`.

    A draft has the same layers, and sees as far.
    """
    from neural_style_tf.tiles import Reach
    from vgg.network import footprint, layers_until, reach

    def most(layers: Sequence[str], after: str | None = None) -> float:
        return max(footprint(each, layers, used, exact=exact, after=after) for each in networks)

    cuts, reaches = [], {}
    for until in (*_FIRST_BLOCKS, None):
        layers = layers_until(networks[0], objective.layers, until) if until else objective.layers
        if until and not set(objective.layers) - set(layers):
            continue  # there is nothing behind
        strides, _, margin = reach(networks[0], layers)
        rest = most(objective.layers, until) if until else 0.0
        cuts.append(memory.Cut(most(layers), margin, until, rest))
        reaches[until] = Reach(strides, margin)
    return cuts, reaches
