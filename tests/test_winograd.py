"""vgg/winograd.py against convolutions in float64."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from neural_style_tf.commands.tensorflow import adds_up_in_single
from tests import tiny
from vgg.weights import Weights


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 1, shape)


def plain(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`[N, H, W, in]` -> `[N, H, W, out]`, "same", as the definition has it."""
    _, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def transposed(y: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The gradient of `plain` times y: the convolution with the kernel turned about."""
    return plain(y, kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def near(given: Any, expected: np.ndarray) -> None:
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, 0, 5e-6 * np.abs(expected).max())


def test_tiles_are_odd_in_number() -> None:
    """Their rows would push each other out of the caches: nothing else tells of it but the time."""
    import tensorflow as tf

    from vgg.winograd import _Tiling

    for across in (4, 5):
        tiling = _Tiling(*map(tf.constant, (8, 4 * across, 2, across)))
        for rows in (1, 2):
            tiles = rows * across
            seen = tiling.seen(tf.constant(0), tf.constant(rows))
            assert seen.shape == (36, tiles if tiles % 2 else tiles + 1)


SIZES = ((8, 12), (5, 7), (6, 3), (1, 1), (2, 18), (28, 9), (29, 3))
# Numbers of tiles at a time: of all, of one row of tiles, of as many rows as fit.
STRIPS = {"whole": 2**22, "a row": 1, "rows": 9 * 36 * 6}


@pytest.mark.parametrize("strips", STRIPS)
@pytest.mark.parametrize(("batch", "bias"), [(1, True), (2, False)])
def test_it_is_the_convolution_and_its_gradient(
    batch: int, bias: bool, strips: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from vgg import winograd
    from vgg.winograd import WinogradConvolution

    monkeypatch.setattr(winograd, "_STRIP", STRIPS[strips])
    # Its graphs have the strips in them.
    monkeypatch.setattr(winograd, "_graph", functools.cache(winograd._graph.__wrapped__))
    kernel, offset = drawn(3, 3, 5, 6), drawn(6) if bias else np.zeros(6)
    layer = WinogradConvolution(kernel, offset.astype(np.float32) if bias else None, name="c")
    assert not layer.trainable_weights

    # One graph for all sizes, as the networks are used.
    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, c), tf.float32) for c in (5, 6)],
        autograph=False,
    )
    def both(x: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        assert y.shape.as_list() == [None, None, None, 6]
        return y, tape.gradient(y, x, upstream)

    for size in SIZES:
        x, upstream = drawn(batch, *size, 5), drawn(batch, *size, 6)
        result, gradient = both(x.astype(np.float32), upstream.astype(np.float32))
        near(result, plain(x, kernel) + offset)
        near(gradient, transposed(upstream, kernel))


@pytest.mark.skipif(not adds_up_in_single(), reason="products are rounded on their way here")
@pytest.mark.parametrize(("smooth", "most"), [(True, 0.015), (False, 0.022)])
def test_in_bfloat16_it_rounds_less_than_by_the_usual_points(smooth: bool, most: float) -> None:
    """Which would be off by 2.0 % of the deviation for what is smooth, by 3.1 for noise.

    A plain convolution is off by 0.2 %.
    """
    import tensorflow as tf

    from vgg.winograd import WinogradConvolution

    x = drawn(1, 24, 26, 64)
    if smooth:  # and rectified, as features are
        for axis in (1, 2):
            x = x + np.roll(x, 1, axis) + np.roll(x, -1, axis)
        x = np.maximum(x, 0)
    kernel = drawn(3, 3, 64, 64)
    layer = WinogradConvolution(kernel, None, name="c", dtype="bfloat16")
    x = tf.cast(x, tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    gradient = tape.gradient(y, x, x)
    assert y.dtype == gradient.dtype == tf.bfloat16
    exact = tf.cast(x, tf.float64).numpy()
    for ours, expected in ((y, plain(exact, kernel)), (gradient, transposed(exact, kernel))):
        error = tf.cast(ours, tf.float64).numpy() - expected
        assert np.sqrt(np.mean(error**2)) < most * expected.std()


@pytest.mark.parametrize("kind", ["winograd", "squared"])
@pytest.mark.parametrize("known", [(1, 6, 7), (1, None, None)])
def test_what_is_known_of_the_size_is_known_of_the_result(
    known: tuple[int | None, ...], kind: str
) -> None:
    import tensorflow as tf

    from vgg.convolution import Given, SquaredConvolution
    from vgg.winograd import WinogradConvolution

    kernel = drawn(3, 3, 2, 4)
    layer = (
        WinogradConvolution(kernel, None, name="c")
        if kind == "winograd"
        else SquaredConvolution(
            4, 3, padding="same", use_bias=False, kernel_initializer=Given(kernel)
        )
    )
    seen = []

    @tf.function(input_signature=[tf.TensorSpec((*known, 2))], autograph=False)
    def both(x: tf.Tensor) -> tf.Tensor:
        y = layer(x)
        (gradient,) = tf.gradients(y, x)
        seen.extend([y.shape.as_list(), gradient.shape.as_list()])
        return gradient

    layer(tf.zeros((1, 6, 7, 2)))  # made outside of the graph
    both(tf.zeros((1, 6, 7, 2)))
    assert seen == [[*known, 4], [*known, 2]]


@pytest.mark.parametrize("kind", ["turned", "winograd"])
def test_a_saved_network_holds_each_kernel_once_and_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import tensorflow as tf

    from vgg import network
    from vgg.portable import Portable

    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL))
    layers = ["relu2_1", "conv4_2"]
    shapes, results, kinds = [], [], []
    for algorithm in ("plain", kind):
        monkeypatch.setattr(network, "algorithm", lambda *_, a=algorithm, **__: a)
        model = network.build(weights, layers=layers)
        saved = Portable(model)
        shapes.append({name: tuple(each.shape) for name, each in saved.weights.items()})

        @tf.function(autograph=False)
        def portable(p: tf.Tensor, saved: Any = saved) -> Any:
            return saved.bound(layers)(p)

        pixels = tf.constant(tiny.picture(9, 14, 1)[None].astype(np.float32))
        results.append((portable(pixels), tf.function(model, autograph=False)(pixels)))
        graph = portable.get_concrete_function(pixels).graph
        kinds.append({each.type for each in graph.get_operations()})
    assert kinds[0] != kinds[1]
    assert shapes[0] == shapes[1]
    for ours, expected in results:
        for layer in layers:
            np.testing.assert_array_equal(ours[layer], expected[layer])
    if kind == "winograd":  # the other one is the plain one to the last bit on some processors
        assert any((results[0][0][k] != results[1][0][k]).numpy().any() for k in layers)


def test_a_saved_network_goes_back_in_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from vgg import network
    from vgg.portable import Portable

    layers = ["relu1_1", "relu2_1"]
    monkeypatch.setattr(
        network, "algorithm", lambda s, *_, **__: "squared" if s[2] == 3 else "plain"
    )
    model = network.build(Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL)), layers=layers)
    saved = Portable(model)
    pixels = tf.constant(tiny.picture(9, 14, 1)[None].astype(np.float32))
    gradients, kinds = [], []
    for call in (lambda p: saved.bound(layers)(p), model):

        @tf.function(autograph=False)
        def gradient(p: tf.Tensor, call: Any = call) -> tf.Tensor:
            features = call(p)
            (found,) = tf.gradients([tf.reduce_sum(each**2) for each in features.values()], p)
            return found

        gradients.append(gradient(pixels))
        graph = gradient.get_concrete_function(pixels).graph
        kinds.append({each.type for each in graph.get_operations()})
    np.testing.assert_array_equal(*gradients)
    assert all("DepthToSpace" in each for each in kinds)
