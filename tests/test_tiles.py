"""Tile by tile is the same loss and gradient as at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.losses import Loss
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.pixels import as_pixels
from neural_style_tf.tiles import Reach, TiledLoss, Tiles
from tests import tiny
from vgg.errors import WeightsError
from vgg.network import build, layers_until, reach
from vgg.weights import Weights, read


@pytest.fixture(scope="module")
def weights(network_file: Path) -> Weights:
    return read(network_file)


def pair(
    weights: Weights,
    objective: Objective,
    pooling: str,
    side: int,
    precision: str = "float32",
    until: str | None = None,
) -> tuple[Loss, Loss]:
    """The loss at once, and in tiles of that side, of all or of the layers until that one."""
    network = build(
        weights, pooling=pooling, layers=objective.layers, precision=precision, raw=True
    ).centered
    layers = layers_until(weights, objective.layers, until) if until else objective.layers
    strides, _, margin = reach(weights, layers)
    tiles = Tiles(side, Reach(strides, margin), until)
    return Loss(network, objective), TiledLoss(network, objective, tiles)


def less_mean(height: int, width: int, seed: int) -> tf.Tensor:
    """A picture as a centered network takes it."""
    return as_pixels(tiny.picture(height, width, seed)) - tiny.MEAN_PIXEL


def apart(a: Any, b: Any) -> float:
    """The norm of the difference against the norm."""
    return float(tf.norm(a - b) / tf.maximum(tf.norm(a), 1e-20))


NO_CONTENT = Objective(content_layers={}, content_weight=0, tv_weight=0)
NO_STYLE = Objective(style_layers={}, style_weight=0)
BOTH_ENDS = Objective(content_layers={"relu1_2": 1, "relu4_2": 2})
DEEP = Objective(content_layers={"relu4_2": 1, "relu5_2": 2}, style_layers={"conv3_2": 1})


# One column of tiles, one row, both; sizes that no stride divides, a last tile of one pixel.
@pytest.mark.parametrize("until", [None, "pool1", "pool3"])
@pytest.mark.parametrize(
    ("objective", "pooling", "size", "side"),
    [
        (Objective(), "max", (113, 97), 32),
        (Objective(), "avg", (80, 80), 48),
        (BOTH_ENDS, "max", (61, 75), 32),
        (DEEP, "max", (96, 64), 64),
        (DEEP, "avg", (37, 131), 48),
        (NO_CONTENT, "max", (70, 40), 16),
        (NO_STYLE, "avg", (70, 40), 16),
        (PRESETS["gatys2015"].objective, "avg", (61, 75), 32),
        (PRESETS["vgg16-all"].objective, "max", (61, 75), 32),
    ],
)
def test_tiles_give_the_loss_and_gradient_of_the_whole(
    weights: Weights,
    objective: Objective,
    pooling: str,
    size: tuple[int, int],
    side: int,
    until: str | None,
) -> None:
    whole, tiled = pair(weights, objective, pooling, side, until=until)
    content, start = (less_mean(*size, seed) for seed in (1, 5))
    styles = [less_mean(67, 90, 2)] if objective.style_weight else []
    targets = whole.targets(content, styles)
    for ours, theirs in zip(
        tf.nest.flatten(tiled.targets(content, styles)), tf.nest.flatten(targets), strict=True
    ):
        assert ours.shape == theirs.shape
        assert apart(theirs, ours) < 1e-5 or float(tf.norm(theirs)) < 1e-6

    terms, gradient = whole.value_and_gradient(start, targets)
    found, slope = tiled.value_and_gradient(start, targets)
    for name, term in terms._asdict().items():
        assert float(getattr(found, name)) == pytest.approx(float(term), rel=1e-5), name
    assert slope.shape == gradient.shape
    # A maximum of two that are alike to the last bit may be either.
    assert apart(gradient, slope) < 1e-4
    assert float(tiled(start, targets).total) == pytest.approx(float(terms.total), rel=1e-5)


@pytest.mark.parametrize("until", [None, "pool2"])
def test_tiles_in_bfloat16_differ_by_rounding_alone(weights: Weights, until: str | None) -> None:
    whole, tiled = pair(weights, Objective(), "avg", 32, "bfloat16", until)
    content, start = (less_mean(70, 100, seed) for seed in (1, 5))
    targets = whole.targets(content, [less_mean(67, 90, 2)])
    terms, gradient = whole.value_and_gradient(start, targets)
    found, slope = tiled.value_and_gradient(start, targets)
    assert np.array(found) == pytest.approx(np.array(terms), rel=2e-3)
    assert apart(gradient, slope) < 0.06


def test_a_graph_of_any_size_takes_small_pictures_whole(weights: Weights) -> None:
    whole, tiled = pair(weights, Objective(), "max", 64)
    style = less_mean(48, 48, 2)
    spec = tf.TensorSpec((1, None, None, 3), tf.float32)
    features = tf.function(tiled.features, input_signature=[spec])
    for size in ((64, 48), (90, 70)):
        content, start = (less_mean(*size, seed) for seed in (1, 5))
        targets = whole.targets(content, [style])
        for layer, target in features(content).items():
            assert apart(target, targets.content[layer]) < 1e-5
        terms, gradient = whole.value_and_gradient(start, targets)
        found, slope = tf.function(tiled.value_and_gradient)(start, targets)
        assert float(found.total) == pytest.approx(float(terms.total), rel=1e-6)
        assert apart(gradient, slope) < 1e-5


@pytest.mark.parametrize("until", [None, "pool1"])
def test_what_is_slow_in_tiles_is_not_done(weights: Weights, until: str | None) -> None:
    """The library's gradient of slices takes as long as a convolution; one tile needs no loop."""
    whole, tiled = pair(weights, Objective(), "max", 32, until=until)
    start = less_mean(64, 48, 5)
    tiled.value_and_gradient(start, whole.targets(start, [start]))
    tiled.value_and_gradient(start[:, :32, :32], whole.targets(start[:, :32, :32], [start]))
    graphs = [each.graph.graph.get_operations() for each in (tiled.at_once, tiled.in_two_passes)]
    loops = [sum("While" in each.type for each in graph) for graph in graphs]
    assert loops == [0, 2]
    slices = [
        each.inputs[-1].shape[-1]
        for each in tiled.part.graph.graph.get_operations()
        if each.type == "StridedSliceGrad"
    ]
    assert set(slices) <= {3}  # of pixels alone


def test_reach_refuses_a_layer_that_is_none(weights: Weights) -> None:
    with pytest.raises(WeightsError, match="nope"):
        reach(weights, iter(["relu1_1", "nope"]))


@pytest.mark.parametrize("layer", ["conv1_1", "relu2_2", "pool2", "conv4_2", "relu5_1"])
def test_reach_is_what_the_network_sees(weights: Weights, layer: str) -> None:
    """Pixels beyond the margin change nothing in a part; the outermost within do."""
    strides, channels, margin = reach(weights, [layer])
    stride = strides[layer]
    # Average pooling hides nothing.
    network = build(weights, pooling="avg", layers=[layer])
    size = 2 * margin + 32
    part = slice((margin + 16 - 16 % stride) // stride, (margin + 16) // stride + 16 // stride)
    noise = np.random.default_rng(0).uniform(0, 255, (1, 8, size, 3)).astype(np.float32)
    plain = tf.repeat(tf.constant(noise[:, :1]), size, axis=1)
    features = network(plain)[layer]
    assert features.shape[-1] == channels[layer]
    assert features.shape[1] == -(-size // stride)

    def changed(rows: slice) -> bool:
        other = plain.numpy()
        other[:, rows] = 255 - other[:, rows]
        return bool(np.any(network(other)[layer][:, part] != features[:, part]))

    top, bottom = part.start * stride, part.stop * stride
    assert not changed(slice(0, top - margin))
    assert not changed(slice(bottom + margin, None))
    # The margin is rounded up to a stride: what is nearer by one stride is seen.
    assert changed(slice(max(0, top - margin), top - margin + stride))
    assert changed(slice(bottom - 1, bottom + margin))
