"""Adam rounds as the 2017 program does: the same numbers to the last bit.

Its first steps jump across the kinks of rectifiers and poolings, so what differs in the seventh
digit is in the fourth after five steps. Here the objective stands as its formulas do, in a
TensorFlow 1 graph for one size, of the library's own operations and gradients.
"""

from __future__ import annotations

import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from neural_style_tf import Objective, Schedule, stylize
from neural_style_tf.losses import Loss
from neural_style_tf.networks import centered
from neural_style_tf.pixels import as_pixels
from neural_style_tf.sums import host_moments
from neural_style_tf.traced import Traced
from tests import tiny

v1 = tf.compat.v1
MEAN = np.array(tiny.MEAN_PIXEL, np.float32)
CONTENT, STYLE = tiny.picture(61, 90, 1), tiny.picture(70, 90, 2)
# Powers of two, as a VGG has them: what is divided by such a number is not rounded. Matrices of
# very few channels would be multiplied in another way.
WEIGHTS = tiny.weights((16, 32, 32, 32, 32))
OBJECTIVE = Objective(content_layers={"relu4_2": 1, "relu5_2": 1})
STEPS = 4
# On these, products of matrices depend on whether a matrix is turned about before or meanwhile.
other_products = pytest.mark.skipif(
    "avx512f" not in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else True,
    reason="needs AVX-512: elsewhere Gram matrices are added up in another order",
)
Pictures = list[npt.NDArray[np.float32]]


def plain_layers(pixels: Any) -> dict[str, Any]:
    """Of pixels less the mean, each activation."""
    layers: dict[str, Any] = {}
    current, block = pixels, "1"
    for name, (kernel, bias) in WEIGHTS.items():
        if name[4] != block:
            current = tf.nn.max_pool2d(current, 2, 2, "SAME")
            block = name[4]
        current = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(current, kernel, 1, "SAME"), bias))
        layers[name.replace("conv", "relu")] = current
    return layers


def plain_loss(picture: Any, content: Any, grams: Any) -> Any:
    layers = plain_layers(picture)
    parts = [
        0.5 * 5.0 * (2 * tf.nn.l2_loss(layers[name] - content[name]) / content[name].size)
        for name in OBJECTIVE.content_layers
    ]
    style = []
    for name in OBJECTIVE.style_layers:
        flat = tf.reshape(layers[name], (-1, layers[name].shape[-1]))
        size = np.prod(layers[name].shape)
        g = tf.matmul(tf.transpose(flat), flat) / size
        style.append(0.2 * 2 * tf.nn.l2_loss(g - grams[name]) / grams[name].size)
    height, width = picture.shape[1:3]
    # TensorFlow adds up by the names of operations, and these come before strided_slice_2 to _5.
    pairs = np.prod(picture[:, 1:].shape), np.prod(picture[:, :, 1:].shape)
    down = picture[:, 1:] - picture[:, : height - 1]
    across = picture[:, :, 1:] - picture[:, :, : width - 1]
    tv = 100.0 * 2 * (tf.nn.l2_loss(down) / pairs[0] + tf.nn.l2_loss(across) / pairs[1])
    *_, content_loss = accumulate(parts, tf.add)
    *_, style_loss = accumulate(style, tf.add)
    return content_loss + 500.0 * style_loss + tv


def of_graph(picture: npt.NDArray[Any], names: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Activations of a picture, in a graph of its own."""
    with tf.Graph().as_default(), v1.Session() as session:
        pixels = v1.placeholder(tf.float32, (1, *picture.shape))
        wanted = {name: each for name, each in plain_layers(pixels).items() if name in names}
        found: dict[str, npt.NDArray[np.float32]] = session.run(
            wanted, {pixels: (picture - MEAN)[None]}
        )
        return found


@pytest.fixture(scope="module")
def plain() -> tuple[Pictures, Pictures]:
    """The pictures of a run from the content, and the gradient at each."""
    content = of_graph(CONTENT, OBJECTIVE.content_layers)
    grams = {}
    for name, features in of_graph(STYLE, OBJECTIVE.style_layers).items():
        flat = features.reshape(-1, features.shape[-1])
        grams[name] = np.matmul(flat.T, flat) / flat.size
    with tf.Graph().as_default(), v1.Session() as session:
        pixels = v1.Variable((CONTENT - MEAN)[None])
        loss = plain_loss(pixels, content, grams)
        optimizer = v1.train.AdamOptimizer(10.0, 0.9, 0.999, 1e-8)
        ((gradient, _),) = optimizer.compute_gradients(loss)
        step = optimizer.minimize(loss)
        session.run(v1.global_variables_initializer())
        pictures, gradients = [], []
        for _ in range(STEPS + 1):
            pictures.append(session.run(pixels))
            gradients.append(session.run(gradient))
            session.run(step)
        return pictures, gradients


def same(ours: Any, plain: Any) -> float:
    """The share of numbers that are the same to the last bit."""
    return float(np.mean(np.asarray(ours) == np.asarray(plain)))


@pytest.fixture(scope="module")
def network() -> Any:
    from vgg.network import build
    from vgg.weights import Weights

    return build(Weights(WEIGHTS, MEAN), layers=OBJECTIVE.layers, exact=True)


def test_features(network: Any) -> None:
    """On every processor."""
    names = OBJECTIVE.layers
    network, mean = centered(network)
    ours = Traced(network)(as_pixels(CONTENT) - mean)
    for name, features in of_graph(CONTENT, names).items():
        assert same(ours[name], features) > 0.999, name


@other_products
def test_gradients(network: Any, plain: tuple[Pictures, Pictures]) -> None:
    network, mean = centered(network)
    loss = Loss(network, OBJECTIVE)
    content = loss.features(as_pixels(CONTENT) - mean)
    style = loss.style_features(as_pixels(STYLE) - mean)
    moments = {layer: host_moments(features) for layer, features in style.items()}
    targets, gradient = loss.blended(content, [moments]), Traced(loss.value_and_gradient)
    for picture, expected in zip(*plain, strict=True):
        assert same(gradient(tf.constant(picture), targets)[1], expected) > 0.999


@other_products
def test_steps_of_adam(network: Any, plain: tuple[Pictures, Pictures]) -> None:
    schedule = Schedule(optimizer="adam", iterations=STEPS, keep="last")
    run = (network, CONTENT, [STYLE], OBJECTIVE, schedule)
    steps = stylize(*run, initial=CONTENT, stops=range(STEPS + 1))
    for step, expected in zip(steps, plain[0], strict=True):
        assert same(step.pixels, expected + MEAN) > 0.999, step.iteration
