"""A draft by a cheaper network, which another one finishes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from neural_style_tf import Graphs, Objective, Schedule, loop
from neural_style_tf.errors import OptionError
from neural_style_tf.losses import Loss
from neural_style_tf.pixels import as_pixels, resize_style
from neural_style_tf.styles import KeptStyle
from neural_style_tf.tiles import Reach, Tiles
from tests import tiny
from vgg.network import build, reach
from vgg.weights import Weights

Picture = npt.NDArray[np.uint8]
MEAN = np.array(tiny.MEAN_PIXEL, np.float32)

# Most of these runs are alike, and tracing their graphs would take most of the time.
GRAPHS = Graphs()
stylize = functools.partial(loop.stylize, graphs=GRAPHS)
stylize_image = functools.partial(loop.stylize_image, graphs=GRAPHS)


def test_a_draft_is_finished_by_the_network(shallow: Any, content: Picture, style: Picture) -> None:
    other = build(Weights(tiny.near(), MEAN), layers=Objective().layers)
    schedule = Schedule(iterations=6, scales=2, tolerance=0)
    steps = list(
        stylize(shallow, content, [style], schedule=schedule, draft=other, stops=range(99))
    )
    # Three at half the size and twelve at the full one with the draft, six with the network.
    assert [(step.iteration, step.size) for step in steps] == [
        *((i, (24, 32)) for i in range(4)),
        *((i, (48, 64)) for i in (*range(4, 16), *range(16, 22))),
    ]
    assert all(step.total == 21 for step in steps)
    assert [step.last for step in steps] == [False] * 21 + [True]
    shares = [step.share for step in steps]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    for network, part in ((other, steps[4:16]), (shallow, steps[16:])):
        loss = Loss(network, Objective())
        targets = loss.targets(as_pixels(content), [resize_style(style, 64)])
        for step in part:
            total = float(loss(step.pixels, targets).total)
            assert step.terms.total == pytest.approx(total, rel=1e-4)
    assert steps[-1].result.iteration >= 15
    # It goes on from where the draft ended.
    assert steps[16].terms.total < 2 * steps[-1].terms.total


def test_what_the_draft_has_learnt_is_gone_on_with(
    shallow: Any, content: Picture, style: Picture
) -> None:
    """A draft by the network itself is as if there were none."""
    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL, np.float32))
    same = build(weights, layers=Objective().layers)
    schedule = Schedule(iterations=11, scales=1, tolerance=0)
    stops = range(99)
    *_, last = stylize(shallow, content, [style], schedule=schedule, draft=same, stops=stops)
    one = dataclasses.replace(schedule, iterations=33)
    alone = list(stylize(shallow, content, [style], schedule=one, stops=stops))
    assert last.iteration == 33
    assert last.result.loss == pytest.approx(alone[33].result.loss, rel=1e-3)
    assert last.result.loss < 0.99 * alone[31].result.loss  # a start anew takes that long


def test_a_draft_of_few_channels_in_tiles(content: Picture, style: Picture) -> None:
    """The tiles are those of both networks, though one has fewer channels."""
    few = Weights(tiny.weights((3, 5, 8, 8, 8)), np.array(tiny.MEAN_PIXEL, np.float32))
    many = Weights(tiny.weights((8, 8, 8, 8, 8)), few.mean)
    eye = np.eye(8, dtype=np.float32)
    embeddings = {"relu1_1": eye[:3], "relu2_1": eye[:5]}
    objective = Objective(content_layers={"relu2_1": 1.0}, style_layers={"relu1_1": 1.0})
    draft, network = (
        build(weights, layers=objective.layers)
        for weights in (dataclasses.replace(few, embeddings=embeddings), many)
    )
    strides, _, margin = reach(many, objective.layers)
    given = network, content, [style], objective, Schedule(iterations=3, scales=1)
    whole = stylize_image(*given, draft=draft)
    tiled = stylize_image(*given, draft=draft, tiles=Tiles(16, Reach(strides, margin)))
    assert np.abs(whole - tiled).max() < 1


def test_a_draft_needs_the_paintings(shallow: Any, content: Picture) -> None:
    moments = dict.fromkeys(Objective().layers)
    kept = KeptStyle({64: moments}, shallow.measures, {})
    with pytest.raises(OptionError, match="a draft needs the paintings, got a kept style"):
        next(stylize(shallow, content, [kept], draft=shallow))
