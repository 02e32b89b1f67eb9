"""The loss and its gradient against independent float64 NumPy, and each preset against its text."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from neural_style_tf.commands.tensorflow import adds_up_in_single
from neural_style_tf.distances import gram
from neural_style_tf.errors import OptionError
from neural_style_tf.losses import Loss
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.pixels import as_pixels
from neural_style_tf.sums import Sums, Variation, product
from tests import reference, tiny
from vgg.network import build
from vgg.weights import Weights

Picture = npt.NDArray[np.uint8]


@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("size", [(48, 64), (37, 45)])
@pytest.mark.parametrize(
    "objective",
    [
        Objective(),
        Objective(
            content_layers={"relu4_2": 0.3, "relu5_2": 0.7},
            style_layers={"relu1_1": 1, "relu3_1": 0.2, "relu5_1": 0.04},
            style_blend_weights=(8, 2),
        ),
    ],
    ids=["default", "blends"],
)
def test_loss_and_gradient_agree_with_float64(
    network_file: Any, pooling: str, size: tuple[int, int], objective: Objective, style: Picture
) -> None:
    import vgg

    content, start = tiny.picture(*size, 1), tiny.picture(*size, 5) * np.float32(0.9) + 7
    styles = [style, tiny.picture(33, 41, 3)][: len(objective.style_blend_weights) or 1]
    loss = Loss(vgg.load(network_file, pooling, objective.layers), objective)
    targets = loss.targets(as_pixels(content), [as_pixels(each) for each in styles])
    terms, gradient = loss.value_and_gradient(as_pixels(start), targets)

    expected, slope = reference.losses_and_gradient(
        tiny.weights(),
        start,
        content,
        styles,
        content_layers=objective.shares("content"),
        style_layers=objective.shares("style"),
        content_weight=objective.content_weight,
        style_weight=objective.style_weight,
        tv_weight=objective.tv_weight,
        blend=objective.blend(len(styles)),
        pooling=pooling,
    )
    for name, value in expected.items():
        assert getattr(terms, name).numpy() == pytest.approx(value, rel=2e-5), name
    assert np.linalg.norm(gradient[0] - slope) <= 2e-4 * np.linalg.norm(slope)


def test_gradient_is_the_slope_of_the_loss(shallow: Any, content: Picture, style: Picture) -> None:
    """Central differences along a direction, in the program itself, graph and eager alike."""
    loss = Loss(shallow, Objective())
    targets = loss.targets(as_pixels(content), [as_pixels(style)])
    start = as_pixels(tiny.picture(48, 64, 5))
    _, gradient = tf.function(loss.value_and_gradient)(start, targets)
    direction = gradient / tf.norm(gradient)
    ahead, behind = (loss(start + h * direction, targets).total for h in (0.5, -0.5))
    assert float(ahead - behind) == pytest.approx(float(tf.norm(gradient)), rel=1e-2)


@pytest.mark.parametrize(
    "objective",
    [Objective(), Objective(content_layers={"relu1_1": 1}, style_layers={"relu3_1": 1})],
    ids=["of a style", "of the content"],
)
def test_a_part_that_is_computed_again_makes_no_difference(
    content: Picture, style: Picture, objective: Objective
) -> None:
    """To the last bit; and it is not kept, but there is another convolution on the way back."""
    wide = Weights(tiny.weights((64, 6, 8, 8, 8)), np.array(tiny.MEAN_PIXEL))
    start = as_pixels(tiny.picture(48, 64, 5))
    found, convolutions = [], []
    for sparing in (False, True):
        network = build(wide, layers=objective.layers, sparing=sparing).centered
        assert (network.again == "relu1_1") == sparing
        loss = Loss(network, objective)
        targets = loss.targets(as_pixels(content), [as_pixels(style)])
        graph = tf.function(loss.value_and_gradient).get_concrete_function(start, targets)
        terms, gradient = graph(start, targets)
        found.append([*terms, gradient])
        convolutions.append(sum(each.type == "Conv2D" for each in graph.graph.get_operations()))
    for kept, again in zip(*found, strict=True):
        np.testing.assert_array_equal(kept, again)
    assert convolutions[1] == convolutions[0] + 1


def test_blended_styles_cost_the_sum_of_their_losses(
    shallow: Any, content: Picture, style: Picture, other_style: Picture
) -> None:
    """One comparison with the blend and a constant is Σ b_s·|G − A_s|², not |G − Σ b_s·A_s|²."""
    pixels = as_pixels(tiny.picture(48, 64, 5))

    def style_loss(styles: list[Picture], weights: tuple[float, ...] = ()) -> float:
        loss = Loss(shallow, Objective(style_blend_weights=weights))
        targets = loss.targets(as_pixels(content), [as_pixels(each) for each in styles])
        return float(loss(pixels, targets).style)

    apart = 0.8 * style_loss([style]) + 0.2 * style_loss([other_style])
    assert style_loss([style, other_style], (0.8, 0.2)) == pytest.approx(apart, rel=1e-5)
    assert style_loss([style, style]) == pytest.approx(style_loss([style]), rel=1e-5)


def test_gram_norms() -> None:
    features = np.random.default_rng(0).normal(size=(1, 5, 7, 3)).astype(np.float32)
    flat = features.reshape(-1, 3).astype(np.float64)
    raw = flat.T @ flat
    for norm, divisor in (("hwc", 5 * 7 * 3), ("hw", 5 * 7), ("2hwc", 2 * 5 * 7 * 3)):
        g = gram(product(tf.constant(features)) / (5 * 7), norm)
        assert g.numpy() == pytest.approx(raw / divisor, rel=1e-5)


@pytest.mark.skipif(not adds_up_in_single(), reason="products are rounded on their way here")
@pytest.mark.parametrize(
    ("size", "error"), [((37, 29), 5e-4), ((7, 5), 1e-3), ((3, 2), 2e-3), ((1, 1), 2e-3)]
)
def test_products_of_features_in_bfloat16(size: tuple[int, int], error: float) -> None:
    """All positions count, and rounding stays far below what eight bits would leave."""
    random = np.random.default_rng(0)
    drawn = random.exponential(size=(1, *size, 8)) + random.exponential(size=8)
    drawn[0, -1, -1] = 40.0  # what is left over once the positions are split evenly
    features = tf.cast(tf.constant(drawn, tf.float32), tf.bfloat16)
    flat = tf.cast(features, tf.float64).numpy().reshape(-1, 8)
    with tf.GradientTape() as tape:
        tape.watch(features)
        made = product(features)
        upstream = random.normal(size=(8, 8))
        loss = tf.reduce_sum(made * tf.constant(upstream, tf.float32))
    assert made.dtype == tf.float32
    off = made.numpy() / (flat.T @ flat) - 1
    assert np.sqrt(np.mean(off**2)) < error
    gradient = tape.gradient(loss, features)
    assert gradient.dtype == tf.bfloat16
    expected = flat @ (upstream + upstream.T)
    got = tf.cast(gradient, tf.float64).numpy().reshape(-1, 8)
    np.testing.assert_allclose(got, expected, 0, 1e-2 * np.abs(expected).max())


def test_a_loss_of_features_in_bfloat16_is_nearly_the_same(
    content: Picture, style: Picture
) -> None:
    """And what it compares with is float32 all the same."""
    from vgg.network import build
    from vgg.weights import Weights

    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL))
    objective = Objective()
    results = []
    for precision in ("float32", "bfloat16"):
        # Averages, for where two pixels are nearly alike the greater may be the other one.
        network = build(
            weights, pooling="avg", layers=objective.layers, precision=precision, raw=True
        )
        loss = Loss(network, objective)
        targets = loss.targets(as_pixels(content), [as_pixels(style)])
        assert {each.dtype for each in tf.nest.flatten(targets)} == {tf.float32}
        terms, gradient = loss.value_and_gradient(as_pixels(tiny.picture(48, 64, 5)), targets)
        results.append((np.array(terms), gradient.numpy().ravel()))
    (exact, a), (rounded, b) = results
    assert rounded == pytest.approx(exact, rel=0.02)
    assert a @ b > 0.99 * np.linalg.norm(a) * np.linalg.norm(b)


def _literal(name: str, f: dict[str, Any], p: dict[str, Any], a: dict[str, Any]) -> float:
    """Each recipe's formula, written out from its text; f, p, a are features of one size."""
    objective = PRESETS[name].objective
    (deep,) = objective.content_layers

    def flat(x: Any) -> Any:
        return x.reshape(-1, x.shape[-1])

    difference = f[deep] - p[deep]
    total = 0.0
    for layer in objective.style_layers:
        x, y = flat(f[layer]), flat(a[layer])
        m, n = x.shape
        if name.startswith("gatys2015"):
            # E = 1/(4N²M²)·Σ(G − A)², w = 1/5, α/β = 1e-3
            total += 1e3 / 5 * np.sum((x.T @ x - y.T @ y) ** 2) / (4 * n**2 * m**2)
        elif name == "johnson2016":
            # ‖G − A‖²_F with G = FᵀF/(C·H·W)
            total += 1e-3 * np.sum((x.T @ x / (m * n) - y.T @ y / (m * n)) ** 2)
        else:
            # ‖G − A‖² with G = FᵀF/(2·H·W·C)
            total += 1e-4 * np.sum((x.T @ x / (2 * m * n) - y.T @ y / (2 * m * n)) ** 2)
    if name.startswith("gatys2015"):
        return float(np.sum(difference**2) / 2 + total)
    if name == "johnson2016":
        return float(np.mean(difference**2) + total)
    return float(np.sqrt(np.sum(difference**2)) / 2 + total)


@pytest.mark.parametrize(
    "name", [name for name in PRESETS if name not in ("athalye2015", "one-pass")]
)  # "one-pass" is the first with other weights
def test_presets_are_what_their_texts_say(network: Any, name: str) -> None:
    pictures = [tiny.picture(48, 64, seed) for seed in (5, 1, 2)]  # start, content, style
    objective = PRESETS[name].objective
    loss = Loss(network, objective)
    start, content, style = map(as_pixels, pictures)
    terms = loss(start, loss.targets(content, [style]))
    f, p, a = (
        reference.features(tiny.weights(), each, objective.layers, "max") for each in pictures
    )
    assert float(terms.total) == pytest.approx(_literal(name, f, p, a), rel=2e-5)


def test_the_unsquared_norm_has_a_gradient_at_the_content_itself(
    network: Any, content: Picture, style: Picture
) -> None:
    loss = Loss(network, PRESETS["vgg16-all"].objective)
    pixels = as_pixels(content)
    _, gradient = loss.value_and_gradient(pixels, loss.targets(pixels, [as_pixels(style)]))
    assert np.isfinite(gradient).all()


def test_terms_that_are_not_wanted_are_zero(shallow: Any, content: Picture) -> None:
    loss = Loss(shallow, Objective(style_weight=0, tv_weight=0))
    terms = loss(as_pixels(tiny.picture(48, 64, 5)), loss.targets(as_pixels(content), []))
    assert (float(terms.style), float(terms.tv)) == (0, 0)
    assert float(terms.total) == float(terms.content) > 0


def test_styles_are_needed_where_style_is(shallow: Any, content: Picture) -> None:
    with pytest.raises(OptionError, match="at least one style picture, got none"):
        Loss(shallow, Objective()).targets(as_pixels(content), [])


def test_moments_are_symmetric_to_the_last_bit() -> None:
    """Of a kept style there is one triangle: it is to be all that is known of a measured one."""
    matrix = np.random.default_rng(1).normal(0, 1, (5, 5)).astype(np.float32)
    nothing = Variation(tf.zeros(2), tf.ones(2))
    sums = Sums({}, {"a": tf.constant(matrix)}, {"a": tf.constant(4.0)}, nothing)
    found = sums.moments["a"].numpy()
    np.testing.assert_array_equal(np.triu(found), np.triu(matrix / 4))
    np.testing.assert_array_equal(found, found.T)


def before(operation: Any) -> set[str]:
    """The types of all that has to be done first."""
    seen, found = {operation.name}, [operation]
    for each in found:
        for other in (*(tensor.op for tensor in each.inputs), *each.control_inputs):
            if other.name not in seen:
                seen.add(other.name)
                found.append(other)
    return {each.type for each in found}


def test_the_way_back_through_gram_matrices_waits_its_turn(
    content: Picture, style: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that can be cut has the loss and gradient of one that can not, in another order."""
    # Some would go forward by the way of a gradient, too.
    monkeypatch.setattr("vgg.network.algorithm", lambda shape, precision, *, exact: "plain")
    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL, np.float32))
    objective = Objective(content_layers={"relu2_1": 1.0, "relu4_2": 0.5})
    network = build(weights, layers=objective.layers).centered
    pixels = as_pixels(tiny.picture(48, 64, 5)) - 120
    found, waiting = [], []
    for model in (network, lambda pixels: network(pixels)):
        loss = Loss(model, objective)
        targets = loss.targets(as_pixels(content) - 120, [as_pixels(style) - 120])
        graph = tf.function(loss.value_and_gradient).get_concrete_function(pixels, targets)
        found.append(graph(pixels, targets))
        products = [op for op in graph.graph.get_operations() if op.type == "MatMul"]
        waiting.append(sum("Conv2DBackpropInput" in before(op) for op in products))
    assert waiting == [4, 0]  # relu5_1 has nothing to wait for
    (terms, gradient), (plain, expected) = found
    np.testing.assert_allclose(terms, plain, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
