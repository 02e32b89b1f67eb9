"""The transform network against NumPy, at any size, whole and in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.errors import OptionError
from neural_style_tf.transform.architecture import Architecture, Stage
from neural_style_tf.transform.convolution import convolved, doubled_and_convolved, reflected
from neural_style_tf.transform.net import instance_norm, paint
from neural_style_tf.transform.painter import Painter, footprint
from tests import nets, tiny

AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]


def drawn(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)


@pytest.mark.parametrize("size", [(32, 32), (37, 50), (18, 21)])
def test_the_network_is_that_of_the_papers(size: tuple[int, int]) -> None:
    net, picture = nets.net(), tiny.picture(*size, 1)
    ours = Painter(net, (0.25, 0.75))(picture)
    assert ours.shape == (1, *size, 3)
    np.testing.assert_allclose(ours[0], nets.painted(net, picture, (0.25, 0.75)), atol=2e-2)
    alone = paint(
        net.architecture.stages(),
        net.weights,
        tf.constant(picture[None], tf.float32),
        tf.constant([[0.25, 0.75]]),
    )
    wanted = nets.painted(net, picture, (0.25, 0.75), margin=0)
    np.testing.assert_allclose(alone[0], wanted, atol=2e-2)


def test_a_mix_of_one_is_that_style_and_others_differ() -> None:
    net, picture = nets.net(), tiny.picture(24, 24, 1)[None].astype(np.float32)
    alone = nets.net(("b",))
    weights = {
        name: net.weights[name][1:] if name.endswith(("/scale", "/offset")) else net.weights[name]
        for name in alone.weights
    }
    only_b = Painter(alone._replace(weights=weights), (1.0,))(picture)
    np.testing.assert_allclose(Painter(net, (0, 1))(picture), only_b, atol=1e-3)
    assert abs(Painter(net, (0.5, 0.5))(picture) - only_b).max() > 5


@pytest.mark.parametrize("mix", [(), (1.0,), (0.2, 0.3, 0.5)])
def test_there_is_a_share_for_each_style(mix: tuple[float, ...]) -> None:
    with pytest.raises(OptionError, match=rf"share for each of 2 style\(s\), got {len(mix)}"):
        Painter(nets.net(), mix)


def test_a_batch_is_each_of_its_pictures() -> None:
    net = nets.net()
    stages, mixes = net.architecture.stages(), tf.constant([[1.0, 0], [0.3, 0.7]])
    pictures = tf.constant(np.stack([tiny.picture(24, 30, s) for s in (1, 2)]), tf.float32)
    for portable in (False, True):
        together = paint(stages, net.weights, pictures, mixes, portable=portable)
        for index in range(2):
            own = slice(index, index + 1)
            alone = paint(stages, net.weights, pictures[own], mixes[own])
            np.testing.assert_allclose(together[own], alone, atol=1e-2)


def test_bfloat16_is_near() -> None:
    net, picture = nets.net(), tiny.picture(40, 40, 1)[None].astype(np.float32)
    exact = Painter(net, (0.5, 0.5))(picture)
    coarse = Painter(net, (0.5, 0.5), "bfloat16")(picture)
    assert 0 < abs(exact - coarse).mean() < 5


@pytest.mark.parametrize("margin", [1, 2, 4])
def test_reflection_and_its_gradient_are_those_of_pad(margin: int) -> None:
    x = drawn(2, 11, 12, 3)
    weight = drawn(2, 11 + 2 * margin, 12 + 2 * margin, 3)

    def pad(x: tf.Tensor) -> tf.Tensor:
        around = [margin, margin]
        return tf.pad(x, [[0, 0], around, around, [0, 0]], "REFLECT")

    def both(function: Any) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = function(x)
            total = tf.reduce_sum(weight * tf.square(made))
        return made, tape.gradient(total, x)

    ours, wanted = both(lambda x: reflected(x, margin)), both(pad)
    np.testing.assert_array_equal(ours[0], wanted[0])
    np.testing.assert_allclose(ours[1], wanted[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(10, 8), (9, 8), (10, 7)])
def test_convolving_what_is_doubled_is_done_before_doubling(height: int, width: int) -> None:
    x, kernel, weight = drawn(2, 5, 4, 3), drawn(3, 3, 3, 2), drawn(2, height, width, 2)

    def plain(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        doubled = tf.repeat(tf.repeat(x, 2, 1), 2, 2)
        made = tf.nn.conv2d(tf.pad(doubled, AROUND, "REFLECT"), kernel, 1, "VALID")
        return made[:, :height, :width]

    def before(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return doubled_and_convolved(x, kernel, tf.constant([height, width]))

    def both(function: Any) -> tuple[tf.Tensor, Any]:
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            made = function(x, kernel)
            total = tf.reduce_sum(weight * tf.square(made))
        return made, tape.gradient(total, (x, kernel))

    ours, wanted = both(before), both(plain)
    np.testing.assert_allclose(ours[0], wanted[0], atol=1e-5)
    for own, other in zip(ours[1], wanted[1], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(16, 18), (17, 16), (16, 17), (19, 17)])
@pytest.mark.parametrize(
    "stage",
    [
        Stage("last", 1, 5, 3),
        Stage("last", 3, 5, 3),
        Stage("last", 9, 5, 4),
        Stage("last", 3, 5, 5),
        Stage("down", 3, 5, 3, stride=2),
        Stage("up", 3, 5, 3, enlarge=True),
        Stage("up", 5, 5, 3, enlarge=True),
    ],
)
def test_each_convolution_is_the_plain_one(stage: Stage, height: int, width: int) -> None:
    x, kernel = drawn(2, height, width, 5), drawn(stage.kernel, stage.kernel, 5, stage.outputs)
    size = tf.constant([2 * height - 1, 2 * width])

    def both(portable: bool) -> tuple[tf.Tensor, Any]:
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            made = convolved(x, kernel, stage, size, portable)
            weight = tf.reshape(tf.range(tf.size(made)) % 7, tf.shape(made))
            total = tf.reduce_sum(tf.cast(weight, tf.float32) * made)
        return made, tape.gradient(total, (x, kernel))

    ours, wanted = both(portable=False), both(portable=True)
    for own, other in zip((ours[0], *ours[1]), (wanted[0], *wanted[1]), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5 * np.abs(other).max())


def test_the_fused_normalization_is_the_plain_one() -> None:
    x, scale, offset = 3 * drawn(1, 9, 7, 4) + 2, drawn(1, 4), drawn(1, 4)
    for precision in ("float32", "bfloat16"):
        fused, plain = (
            instance_norm(tf.cast(x, precision), scale, offset, portable=portable)
            for portable in (False, True)
        )
        assert fused.dtype == plain.dtype == precision
        tolerance = 1e-5 if precision == "float32" else 0.1
        np.testing.assert_allclose(
            tf.cast(fused, "float32"), tf.cast(plain, "float32"), atol=tolerance
        )


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("size", [(131, 97), (64, 64), (16, 40)])
def test_tiles_make_the_same_picture(size: tuple[int, int], blocks: int) -> None:
    """Down to rounding, and so without a seam: of any size, at any size of tiles."""
    painter = Painter(nets.net(architecture=Architecture((4, 6, 8), blocks, 5)), (0.3, 0.7))
    picture = tiny.picture(*size, 1)[None].astype(np.float32)
    whole = painter(picture)
    for side in (64, 33, 17):
        assert abs(painter(picture, side) - whole).max() < 0.02, side


def test_tiles_in_bfloat16() -> None:
    painter = Painter(nets.net(), (1, 0), "bfloat16")
    picture = tiny.picture(60, 70, 1)[None].astype(np.float32)
    assert abs(painter(picture, 32) - painter(picture)).mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (2, 60), (7, 5)])
def test_the_smallest_of_pictures(size: tuple[int, int]) -> None:
    painter = Painter(nets.net(), (1, 0))
    picture = tiny.picture(*size, 1)[None].astype(np.float32)
    assert painter(picture).shape == (1, *size, 3)
    assert np.isfinite(painter(picture)).all()


def test_tiles_take_less_memory_by_the_estimate() -> None:
    net, size = nets.net(), (2000, 3000)
    assert footprint(net, "float32", size, 512) < footprint(net, "float32", size)
    assert footprint(net, "float32", size, 256) < footprint(net, "float32", size, 512)
    assert footprint(net, "bfloat16", size) < footprint(net, "float32", size)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (4, 4)}, "widths: expected three whole numbers from 1 to 1024, got (4, 4)"),
        ({"widths": (0, 4, 4)}, "widths: expected three whole numbers"),
        ({"blocks": -1}, "blocks: expected a whole number from 0 to 64, got -1"),
        ({"ends": 4}, "ends: expected an odd number from 1 to 15, got 4"),
    ],
)
def test_sizes_that_no_network_has(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Architecture(**values)
    assert message in str(caught.value)
