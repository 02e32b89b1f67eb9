"""How a network is computed: by which algorithm, with what copies, in how much memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import tiny
from vgg.weights import Weights

WEIGHTS = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL))


def computed_by(monkeypatch: pytest.MonkeyPatch, **least: int) -> None:
    """Choose an algorithm for 3×3 kernels of so many channels or more; the plain one below."""

    from vgg import network

    def chosen(shape: tuple[int, ...], *_: Any, **__: Any) -> str:
        return next((k for k, n in least.items() if shape[0] == 3 and shape[2] >= n), "plain")

    monkeypatch.setattr(network, "algorithm", chosen)


def differentiated(model: Any, pixels: Any) -> list[Any]:
    """The activations, and the gradient of their squares."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(pixels)
        outputs = model(pixels)
        total = tf.add_n([tf.reduce_sum(each**2) for each in outputs.values()])
    return [*outputs.values(), tape.gradient(total, pixels)]


@pytest.mark.parametrize("kind", ["turned", "winograd"])
@pytest.mark.parametrize("size", [(9, 7), (1, 1)])
def test_all_algorithms_compute_the_same_convolutions_and_gradients(
    monkeypatch: pytest.MonkeyPatch, kind: str, size: tuple[int, int]
) -> None:
    import tensorflow as tf

    from vgg import network

    pixels = tf.constant(tiny.picture(*size, 1)[None].astype(np.float32))
    counts, results = [], []
    for least in (1, 8, 10**6):
        computed_by(monkeypatch, **{kind: least})
        model = network.build(WEIGHTS, layers=["conv2_2", "relu5_1"], pooling="avg")
        counts.append(sum(hasattr(layer, "derived") for layer in model.layers))
        results.append(differentiated(model, pixels))
    assert counts[0] > counts[1] > counts[2] == 0
    for result in results[:2]:
        for ours, plain in zip(result, results[2], strict=True):
            assert ours.shape == plain.shape
            np.testing.assert_allclose(ours, plain, 1e-4, 1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("size", [(8, 12), (9, 7), (6, 5), (1, 1), (2, 1)])
def test_the_way_back_to_few_channels_is_the_same_in_squares(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    import tensorflow as tf

    from vgg import network
    from vgg.convolution import SquaredConvolution

    pixels = tf.constant(tiny.picture(*size, 1)[None].astype(np.float32))
    results = []
    for kind in ("squared", "plain"):
        monkeypatch.setattr(
            network, "algorithm", lambda s, *_, k=kind, **__: k if s[2] == 3 else "plain"
        )
        model = network.build(WEIGHTS, layers=["conv1_1", "relu1_2"])
        assert sum(isinstance(layer, SquaredConvolution) for layer in model.layers) == (
            kind == "squared"
        )
        results.append(differentiated(tf.function(model, autograph=False), pixels))
    *features, ours = results[0]
    *usual, plain = results[1]
    for one, other in zip(features, usual, strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours.shape == plain.shape
    np.testing.assert_allclose(ours, plain, 0, 1e-6 * np.abs(plain).max())


WIDE, MANY, FIRST = (3, 3, 256, 64), (3, 3, 128, 128), (3, 3, 3, 64)
HALF: dict[str, Any] = {"precision": "bfloat16"}


@pytest.mark.parametrize(
    ("flags", "onednn", "shape", "options", "expected"),
    [
        ("avx2 avx512f", True, WIDE, {}, "turned"),
        ("avx2 avx512f", True, WIDE, {"precision": "bfloat16"}, "turned"),
        ("avx2 avx512f", True, MANY, {}, "winograd"),
        ("avx2 avx512f", True, MANY, {"exact": True}, "plain"),
        ("avx2 avx512f", True, MANY, {"precision": "bfloat16"}, "plain"),
        ("avx2 avx512f", True, (3, 3, 512, 512), {"exact": True}, "turned"),
        ("avx2 avx512f", True, (3, 3, 64, 128), {}, "plain"),
        ("avx2 avx512f", True, FIRST, {}, "squared"),
        ("avx2 avx512f", True, FIRST, {"exact": True}, "plain"),
        ("avx2 avx512f", True, FIRST, {"precision": "bfloat16"}, "plain"),
        ("avx2 avx512f", True, (5, 5, 3, 64), {}, "plain"),
        ("avx2 avx512f", True, (3, 3, 128, 256), HALF, "plain"),
        ("avx2 avx512f avx512_bf16", True, (3, 3, 128, 256), HALF, "winograd"),
        ("avx2 avx512f avx512_bf16", True, (3, 3, 512, 512), HALF, "winograd"),
        ("avx2 avx512f avx512_bf16", True, (3, 3, 512, 512), {**HALF, "exact": True}, "turned"),
        ("avx2 avx512f avx512_bf16", True, (5, 5, 512, 512), HALF, "turned"),
        ("avx2 avx512f avx512_bf16", True, (1, 1, 512, 512), HALF, "plain"),
        ("avx2 avx512f avx512_bf16", True, MANY, HALF, "plain"),
        ("avx2 avx512f avx512_bf16", True, MANY, {}, "winograd"),
        ("avx2 avx512f avx512_bf16", True, FIRST, HALF, "plain"),
        ("avx2 avx512f avx512_bf16", False, (3, 3, 512, 512), HALF, "plain"),
        ("avx2 avx512f avx512_bf16 amx_bf16", True, (3, 3, 512, 512), HALF, "turned"),
        ("avx2 avx512f avx512_bf16 amx_bf16", True, (3, 3, 512, 512), {}, "winograd"),
        ("avx2", True, MANY, {}, "winograd"),
        ("avx2", True, MANY, {"exact": True}, "turned"),
        ("avx2", True, MANY, {"precision": "bfloat16"}, "plain"),
        ("avx2", True, (3, 3, 512, 512), {}, "winograd"),
        ("avx2", True, (3, 3, 64, 128), {}, "winograd"),
        ("avx2", True, (3, 3, 64, 64), {}, "turned"),
        ("avx2", True, FIRST, {}, "turned"),
        ("avx2", True, (5, 5, 512, 512), {}, "turned"),
        ("avx2", True, (1, 1, 512, 512), {}, "plain"),
        ("avx2", False, MANY, {}, "plain"),
        ("asimd", True, WIDE, {}, "plain"),
        ("", True, WIDE, {}, "turned"),
        ("", True, MANY, {}, "plain"),
        ("", True, FIRST, {}, "plain"),
        ("avx2 avx512f", False, WIDE, {}, "plain"),
    ],
)
def test_the_algorithm_is_the_one_that_is_fastest(
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    onednn: bool,
    shape: tuple[int, ...],
    options: dict[str, Any],
    expected: str,
) -> None:
    from vgg import convolution

    monkeypatch.setattr(convolution, "_on_onednn", lambda: onednn)
    monkeypatch.setattr(convolution, "features", lambda: frozenset(flags.split()))
    assert convolution.algorithm(shape, **options) == expected


def test_an_exact_network_is_built_without_winograds_algorithm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vgg import network

    asked = []

    def chosen(shape: tuple[int, ...], precision: str, *, exact: bool) -> str:
        asked.append(exact)
        return "plain"

    monkeypatch.setattr(network, "algorithm", chosen)
    for exact in (False, True):
        network.build(WEIGHTS, exact=exact)
        network.held(WEIGHTS, exact=exact)
        assert set(asked) == {exact}
        asked.clear()


@pytest.mark.parametrize("least", [{}, {"turned": 1}, {"turned": 8}, {"winograd": 6}])
def test_what_is_held_are_the_kernels_as_they_are_computed_with(
    monkeypatch: pytest.MonkeyPatch, least: dict[str, int]
) -> None:
    from vgg import network

    computed_by(monkeypatch, **least)
    model = network.build(WEIGHTS)
    assert network.held(WEIGHTS) == sum(each.numpy().nbytes for each in model.weights)


def test_what_is_held_of_transformed_kernels_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the others it is as much as in float32: they are there as they were read, too."""
    from vgg import network

    computed_by(monkeypatch, winograd=6)
    model = network.build(WEIGHTS, precision="bfloat16")
    transformed = {layer.name: layer for layer in model.layers if hasattr(layer, "derived")}
    kernels = {name: kernel for name, (kernel, _) in WEIGHTS.convolutions.items()}
    held = network.held(WEIGHTS, "bfloat16") - sum(b.nbytes for *_, b in tiny.weights().values())
    assert 0 < len(transformed) < len(kernels)
    assert held == sum(
        transformed[name].derived.numpy().nbytes if name in transformed else kernel.nbytes
        for name, kernel in kernels.items()
    )


@pytest.mark.parametrize("size", [(9, 7), (32, 48)])
def test_rectified_after_the_pooling_all_is_the_same_to_the_last_bit(size: tuple[int, int]) -> None:
    import tensorflow as tf

    from vgg.convolution import Rectifier
    from vgg.network import build

    asked = ["pool1", "relu2_1", "conv4_2"]
    pixels = tf.constant(tiny.picture(*size, 1)[None].astype(np.float32))
    late, plain = build(WEIGHTS, layers=asked), build(WEIGHTS)
    assert sum(isinstance(layer, Rectifier) for layer in late.layers) == 3
    assert not any(isinstance(layer, Rectifier) for layer in plain.layers)
    averaged = build(WEIGHTS, layers=asked, pooling="avg")
    assert not any(isinstance(layer, Rectifier) for layer in averaged.layers)
    results = []
    for model in (late, plain):
        results.append(differentiated(lambda p, m=model: {k: m(p)[k] for k in asked}, pixels))
    for ours, usual in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, usual)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_with_sparing_poolings_all_is_the_same_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, pooling: str, precision: str, gpu: bool
) -> None:
    """On a GPU there are none."""
    import tensorflow as tf

    from vgg.network import build
    from vgg.pooling import SparingMaxPooling

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] if gpu else [])
    pixels = tf.constant(tiny.picture(37, 45, 1)[None].astype(np.float32))
    results = []
    for sparing in (False, True):
        how: dict[str, Any] = {"pooling": pooling, "precision": precision, "raw": True}
        model = build(WEIGHTS, layers=["pool1", "relu2_1", "conv5_1"], sparing=sparing, **how)
        found = sum(isinstance(layer, SparingMaxPooling) for layer in model.layers)
        assert found == (4 if sparing and pooling == "max" and not gpu else 0)
        results.append(differentiated(tf.function(model), pixels))
    for ours, usual in zip(*results, strict=True):
        np.testing.assert_array_equal(tf.cast(ours, tf.float32), tf.cast(usual, tf.float32))


def test_the_footprint_is_what_is_kept_for_the_way_back() -> None:
    from vgg.network import footprint

    # relu1_1, of 4 channels, and on top its gradient, with what it takes to make it.
    assert footprint(WEIGHTS, ["relu1_1"]) == 4 * 4 * (1 + 1)
    deep = [footprint(WEIGHTS, [layer]) for layer in ("relu1_1", "relu2_1", "relu4_2")]
    assert deep == sorted(deep)
    assert footprint(WEIGHTS, ["relu5_1"], "bfloat16") < 0.8 * footprint(WEIGHTS, ["relu5_1"])
    # In two, at a pooling, which both of them have.
    halves = footprint(WEIGHTS, ["pool1"]), footprint(WEIGHTS, ["relu4_2"], after="pool1")
    assert max(halves) < footprint(WEIGHTS, ["relu4_2"]) < sum(halves)
    # The first layer is float32 where somebody asks for its inside, or for nothing else.
    within, without = (
        footprint(WEIGHTS, [layer, "relu4_2"], "bfloat16") for layer in ("conv1_1", "relu1_1")
    )
    assert within == without + 2 * 4
    assert footprint(WEIGHTS, ["relu1_1"], "bfloat16") == footprint(WEIGHTS, ["relu1_1"])


def test_the_footprint_of_sparing_poolings_has_a_byte_for_each_square() -> None:
    from vgg.network import footprint

    for precision, size in (("float32", 4), ("bfloat16", 2)):
        whole, sparing = (
            footprint(WEIGHTS, ["relu1_1", "relu3_1"], precision, sparing=each)
            for each in (False, True)
        )
        # relu1_2, of 4 channels, and relu2_2, of 6 at a fourth of the pixels.
        assert whole - sparing == pytest.approx((size - 1 / 4) * (4 + 6 / 4))
    # An `Opening` keeps what comes through it.
    single = {name: pair for name, pair in tiny.weights().items() if name != "conv1_2"}
    opened = Weights(single, np.array(tiny.MEAN_PIXEL))
    differences = [
        footprint(opened, ["relu3_1"], precision, sparing=False)
        - footprint(opened, ["relu3_1"], precision, sparing=True)
        for precision in ("float32", "bfloat16")
    ]
    assert differences == pytest.approx([(4 - 1 / 4) * (4 + 6 / 4), (2 - 1 / 4) * 6 / 4])
    # Averages need nothing for it.
    averaged = (
        footprint(WEIGHTS, ["relu3_1"], sparing=each, pooling="avg") for each in (False, True)
    )
    assert len(set(averaged)) == 1
    # What is asked for is kept all the same.
    asked = ["relu1_2", "relu3_1"]
    saved = footprint(WEIGHTS, asked) - footprint(WEIGHTS, asked, sparing=True)
    assert saved == pytest.approx((4 - 1 / 4) * 6 / 4)


def test_a_wide_first_layer_is_computed_again_where_little_is_to_be_kept() -> None:
    from vgg.network import build, footprint

    wide = Weights(tiny.weights((64, 6, 8, 8, 8)), np.array(tiny.MEAN_PIXEL))
    asked = ["relu1_1", "relu2_1"]
    assert build(wide, layers=asked, sparing=True).again == "relu1_1"
    assert build(wide, layers=asked, sparing=True).centered.again == "relu1_1"
    how: dict[str, Any] = {"sparing": True}
    for weights, layers, changed in (
        (wide, asked, {"sparing": False}),
        (wide, asked, {**how, "precision": "bfloat16"}),
        (WEIGHTS, asked, how),
        (wide, ["conv1_1", *asked], how),
        (wide, ["relu1_1"], how),
        (wide, ["relu1_2", "relu2_1"], how),
    ):
        assert build(weights, layers=layers, **changed).again is None
    # Kept is then relu2_1 at a fourth of the pixels, pool1 and the places of its numbers: less than
    # what block 1 takes by itself: the activation, and what comes back from two sides.
    assert footprint(wide, asked, sparing=True) == 3 * 4 * 64
    assert footprint(wide, asked, sparing=True, after="pool1") == footprint(
        wide, asked, after="pool1"
    )


def test_the_footprint_has_the_largest_of_winograds_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgg.network import footprint

    shallow, deep = (footprint(WEIGHTS, [layer]) for layer in ("relu2_1", "relu5_1"))
    half = footprint(WEIGHTS, ["relu5_1"], "bfloat16")
    # From 8 channels in on, that is from block 3 on: 8 channels out at a sixteenth of the pixels.
    computed_by(monkeypatch, winograd=8)
    assert footprint(WEIGHTS, ["relu2_1"]) == shallow
    assert footprint(WEIGHTS, ["relu5_1"]) == pytest.approx(deep + 2 * 4 * 8 / 16)
    assert footprint(WEIGHTS, ["relu5_1"], "bfloat16") == pytest.approx(half + 2 * 2 * 8 / 16)


def test_the_footprint_has_what_goes_into_winograds_algorithm_in_any_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vgg.network import footprint

    # Between the factors of conv1_2 there are 9 and 3 channels, the 3×3 one from 9 to 3.
    factored = Weights(tiny.factored((9, 3)), np.array(tiny.MEAN_PIXEL))
    plain = footprint(factored, ["relu1_2"])
    computed_by(monkeypatch, winograd=9)
    assert footprint(factored, ["relu1_2"]) == pytest.approx(plain + 2 * 4 * 9)


def test_the_footprint_has_what_is_between_factors() -> None:
    from vgg.network import footprint

    ranks = (3, 9)  # and 4 channels in and out of conv1_2
    factored = Weights(tiny.factored(ranks), np.array(tiny.MEAN_PIXEL))
    kept = 4 * (4 + 4)
    assert footprint(WEIGHTS, ["relu1_2"]) == pytest.approx(kept + 4 * 4)
    assert footprint(factored, ["relu1_2"]) == pytest.approx(kept + 4 * (sum(ranks) + 4))
