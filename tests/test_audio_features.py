"""Random features, and the loss of them, against NumPy in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.audio.features import RandomFeatures, random_filters, variance
from neural_style_tf.audio.recipe import FILTERS, LAYER, RECIPE
from neural_style_tf.distances import content_distance, gram, style_distance
from neural_style_tf.losses import Loss
from tests import sounds

BINS, COUNT = 5, 7


def drawn(rows: int, frames: int, seed: int = 0) -> Any:
    return np.abs(np.random.default_rng(seed).normal(size=(1, rows, frames, BINS)))


def patches(frames: Any) -> Any:
    """`[1, rows, T, bins]` -> `[rows, T − 10, 11·bins]`."""
    length = frames.shape[2] - 10
    return np.concatenate([frames[0, :, k : k + length] for k in range(11)], -1)


@pytest.fixture(scope="module")
def filters() -> Any:
    return random_filters(BINS, COUNT, seed=4).numpy().astype(np.float64)


@pytest.mark.parametrize(("rows", "frames"), [(1, 11), (2, 32), (1, 33), (3, 54), (2, 80)])
def test_filtering_and_its_gradient(filters: Any, rows: int, frames: int) -> None:
    network = RandomFeatures(filters.astype(np.float32))
    x, matrix = drawn(rows, frames), filters.reshape(-1, COUNT)
    upstream = np.random.default_rng(1).normal(size=(1, rows, frames - 10, COUNT))
    given = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        ours = network.filtered(given)
        total = tf.reduce_sum(ours * tf.constant(upstream, tf.float32))
    assert ours.numpy()[0] == pytest.approx(patches(x) @ matrix, abs=1e-5)
    wanted = np.zeros_like(x)
    for k, part in enumerate(np.split(upstream[0] @ matrix.T, 11, -1)):
        wanted[0, :, k : k + frames - 10] += part
    assert tape.gradient(total, given).numpy() == pytest.approx(wanted, abs=1e-5)


def test_the_network_rectifies(filters: Any) -> None:
    network = RandomFeatures(filters.astype(np.float32))
    x = drawn(1, 40)
    wanted = np.maximum(patches(x) @ filters.reshape(-1, COUNT), 0)
    assert network(tf.constant(x, tf.float32))[LAYER].numpy()[0] == pytest.approx(wanted, abs=1e-5)


def test_filters_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 11 taps, got 3"):
        RandomFeatures(np.zeros((3, BINS, COUNT), np.float32))


def test_the_loss_and_its_gradient(filters: Any) -> None:
    """Two channels, two styles, against NumPy."""
    objective = sounds.recipe(content_weight=0.3, style_weight=2.0)
    loss = Loss(RandomFeatures(filters.astype(np.float32)), objective)
    x, content, *styles = (drawn(2, 40, seed) for seed in range(4))
    tensors = [tf.constant(each, tf.float32) for each in (x, content, *styles)]
    targets = loss.targets(tensors[1], tensors[2:])
    terms, gradient = loss.value_and_gradient(tensors[0], targets)

    matrix = filters.reshape(-1, COUNT)
    features = [
        np.maximum(patches(each) @ matrix, 0).reshape(-1, COUNT) for each in (x, content, *styles)
    ]
    f, p, *others = features
    positions = len(f)
    grams = [each.T @ each / positions for each in (f, *others)]
    wanted_content = 0.3 * np.mean((f - p) ** 2)
    wanted_style = 2.0 * np.mean([np.mean((grams[0] - a) ** 2) for a in grams[1:]])
    assert float(terms.content) == pytest.approx(wanted_content, rel=1e-5)
    assert float(terms.style) == pytest.approx(wanted_style, rel=1e-5)
    assert float(terms.total) == pytest.approx(wanted_content + wanted_style, rel=1e-5)

    apart = grams[0] - np.mean(grams[1:], 0)
    slope = 0.3 * 2 * (f - p) / f.size + 2.0 * 4 * f @ apart / positions / COUNT**2
    slope = ((slope * (f > 0)) @ matrix.T).reshape(2, 30, -1)
    wanted = np.zeros_like(x)
    for k, part in enumerate(np.split(slope, 11, -1)):
        wanted[0, :, k : k + 30] += part
    assert gradient.numpy() == pytest.approx(wanted, rel=1e-3, abs=1e-7)


def test_weights_mean_what_they_mean_in_the_notebook() -> None:
    """Content 1e-2 against style 1 is the notebook's objective, 430 frames of it, but a factor."""
    generator = np.random.default_rng(0)
    notebooks = 4 / ((1025 + FILTERS) * 11)
    f, p, s = (np.abs(generator.standard_normal((420, FILTERS), np.float32)) for _ in range(3))
    content = 1e-2 * np.sum((f - p) ** 2)
    style = np.sum((f.T @ f / 430 - s.T @ s / 430) ** 2)
    scale = np.float32(np.sqrt(variance(1025) / notebooks))
    ours = [tf.constant(scale * each) for each in (f, p, s)]
    squares = tf.reduce_sum(tf.square(ours[0] - ours[1]))
    our_content = RECIPE.content_weight * content_distance(squares, f.size, RECIPE.content_norm)
    grams = [gram(tf.matmul(x, x, transpose_a=True) / 420, RECIPE.gram_norm) for x in ours]
    our_style = RECIPE.style_weight * style_distance(grams[0], grams[2], RECIPE.style_norm)
    assert float(our_content / our_style) == pytest.approx(content / style, rel=1e-4)
    assert float(our_content) * 430**2 == pytest.approx(content, rel=1e-4)


def test_the_seed_is_the_filters() -> None:
    first, again, other = (random_filters(BINS, COUNT, seed).numpy() for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).any()
    assert len({tap.tobytes() for tap in first}) == 11
    many = random_filters(40, 400).numpy()
    assert many.var() == pytest.approx(variance(40), rel=0.02)
