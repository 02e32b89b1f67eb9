"""tests/reference.py against arithmetic that it does not share, and against the 2017 program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from PIL import Image

from tests import reference, tiny

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
GOLDENS = Path(__file__).parent / "goldens" / "reference_program.npz"

# What the flags of each recorded case mean.
RECORDED: dict[str, dict[str, Any]] = {
    "defaults": {"rate": 10.0},
    "two-styles": {"blend": (0.8, 0.2)},
    "layout-2014": {},
    "content-weight-blend": {"content_layers": {"relu4_2": 0.5, "relu5_2": 0.5}},
    "style-layer-weight-exp": {"exponent": 0.2},
    "pooling-avg": {"pooling": "avg"},
    "checkpoints-best": {"rate": 80.0, "epsilon": 1.0, "beta1": 0.99},
}


def style_layers(exponent: float = 1.0) -> dict[str, float]:
    shares = exponent ** np.arange(5.0)
    return dict(zip(STYLE_LAYERS, (shares / shares.sum()).tolist(), strict=True))


def adam(
    content: np.ndarray,
    styles: list[np.ndarray],
    *,
    rate: float = 2.0,
    beta1: float = 0.9,
    epsilon: float = 1e-8,
    exponent: float = 1.0,
    **objective: Any,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Twenty steps of Adam from the content: losses `[21, 4]` and the 21 iterates."""
    objective = {
        "content_layers": {"relu4_2": 1.0},
        "style_layers": style_layers(exponent),
    } | objective
    weights = tiny.weights()
    pixels = content.astype(np.float64)
    mean, square = np.zeros_like(pixels), np.zeros_like(pixels)
    rows, iterates = [], []
    for step in range(1, 22):
        terms, gradient = reference.losses_and_gradient(
            weights, pixels, content, styles, **objective
        )
        rows.append(list(terms.values()))
        iterates.append(pixels)
        mean = beta1 * mean + (1 - beta1) * gradient
        square = 0.999 * square + 0.001 * gradient**2
        stride = rate * np.sqrt(1 - 0.999**step) / (1 - beta1**step)
        pixels = pixels - stride * mean / (np.sqrt(square) + epsilon)
    return np.array(rows), iterates


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_the_gradient_is_that_of_central_differences(pooling: str) -> None:
    # Odd sizes pad at each pooling; fractions of a grey level leave no ties to a maximum.
    generator = np.random.default_rng(7)
    pixels = tiny.picture(23, 19, 1) + generator.uniform(-0.4, 0.4, (23, 19, 3))
    content = tiny.picture(23, 19, 2)
    styles = [tiny.picture(21, 25, 3), tiny.picture(16, 18, 4)]
    objective: dict[str, Any] = {
        "content_layers": {"relu4_2": 0.3, "relu5_2": 0.7},
        "style_layers": style_layers(1.3),
        "blend": (0.8, 0.2),
        "pooling": pooling,
    }
    weights = tiny.weights()
    _, gradient = reference.losses_and_gradient(weights, pixels, content, styles, **objective)

    corners = [(0, 0, 0), (0, 18, 1), (22, 0, 2), (22, 18, 0)]
    picks = [tuple(generator.integers(0, pixels.shape)) for _ in range(16)]
    # Large enough for 16 digits of a loss of 10⁵, small enough that no rectifier switches.
    step = 1e-3
    for pick in corners + picks:
        totals = []
        for sign in (1, -1):
            moved = pixels.copy()
            moved[pick] += sign * step
            totals.append(reference.losses(weights, moved, content, styles, **objective)["total"])
        assert gradient[pick] == pytest.approx((totals[0] - totals[1]) / (2 * step), rel=1e-6)


def test_a_convolution_is_scipys_correlation() -> None:
    generator = np.random.default_rng(3)
    x, bias = generator.normal(size=(5, 7, 3)), generator.normal(size=4)
    kernel = generator.normal(size=(3, 3, 3, 4))
    output, _ = reference.convolve(x, kernel, bias)
    for channel in range(4):
        expected = bias[channel] + sum(
            scipy.signal.correlate2d(x[..., source], kernel[..., source, channel], mode="same")
            for source in range(3)
        )
        np.testing.assert_allclose(output[..., channel], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("pooling", "expected", "back"),
    [
        # At the border an average is over the pixels there are, and padding is never a maximum.
        (
            "max",
            [[-1, -3], [-7, -9]],
            [[1, 0, 0], [0, 0, 2], [3, 0, 4]],
        ),
        (
            "avg",
            [[-3, -4.5], [-7.5, -9]],
            [[0.25, 0.25, 1], [0.25, 0.25, 1], [1.5, 1.5, 4]],
        ),
    ],
)
def test_pooling_rounds_odd_sizes_up(
    pooling: str, expected: list[list[float]], back: list[list[float]]
) -> None:
    x = -np.array([[1, 2, 6], [4, 5, 3], [7, 8, 9.0]])[..., None]
    output, backward = reference.pool(x, pooling)
    assert output[..., 0].tolist() == expected
    assert backward(np.array([[1, 2], [3, 4.0]])[..., None])[..., 0].tolist() == back


def test_equal_pictures_leave_total_variation_only() -> None:
    picture = tiny.picture(6, 9, 1)
    terms = reference.losses(
        tiny.weights(),
        picture,
        picture,
        [picture, picture],
        content_layers={"relu4_2": 1.0},
        style_layers=style_layers(),
        blend=(0.5, 0.5),
    )
    values = picture.astype(float)
    down = [(values[y + 1, x] - values[y, x]) ** 2 for y in range(5) for x in range(9)]
    across = [(values[y, x + 1] - values[y, x]) ** 2 for y in range(6) for x in range(8)]
    expected = 100 * (np.mean(down) + np.mean(across))
    assert terms == {
        "content": 0.0,
        "style": 0.0,
        "tv": pytest.approx(expected),
        "total": pytest.approx(expected),
    }


def test_features_are_the_layers_asked_for() -> None:
    picture = tiny.picture(13, 10, 1)
    shapes = {
        name: activation.shape
        for name, activation in reference.features(
            tiny.weights(blocks=tiny.VGG16), picture, ["pool2", "conv1_1", "relu5_3"]
        ).items()
    }
    assert shapes == {"pool2": (4, 3, 6), "conv1_1": (13, 10, 4), "relu5_3": (1, 1, 8)}


@pytest.mark.parametrize("case", RECORDED)
def test_the_2017_program_printed_these_losses(case: str) -> None:
    with np.load(GOLDENS) as goldens:
        content, *styles = (goldens[f"inputs/{name}.png"] for name in ("content", "style_a"))
        if case == "two-styles":
            second = Image.fromarray(goldens["inputs/style_b.png"])
            factor = 0.6 * content.shape[1] / second.width
            styles.append(
                np.asarray(second.resize((int(second.width * factor), int(second.height * factor))))
            )
        rows, iterates = adam(content, styles, **RECORDED[case])
        recorded, picture = goldens[f"{case}/losses"], goldens[f"{case}/picture"]
    # Six digits are printed, of float32 arithmetic.
    np.testing.assert_allclose(rows, recorded, rtol=1e-4)
    # The program checks for the best at each fifth step from the first, and at the last.
    kept = min((1, 6, 11, 16, 20), key=lambda row: recorded[row, 3])
    assert kept == (11 if case == "checkpoints-best" else 20)
    off = np.abs(np.clip(iterates[kept], 0, 255).astype(np.uint8) - picture.astype(float))
    assert (off <= 1).mean() > 0.999


def test_the_recorded_inputs_are_still_drawn_alike() -> None:
    with np.load(GOLDENS) as goldens:
        for seed, name in enumerate(
            ["content", "style_a", "style_b", "content_odd", "style_odd"], start=1
        ):
            recorded = goldens[f"inputs/{name}.png"]
            height, width, _ = recorded.shape
            np.testing.assert_array_equal(tiny.picture(height, width, seed), recorded)
