"""The loss that is expected of random filters, against the mean over many draws of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.audio.expected import ExpectedLoss
from neural_style_tf.audio.recipe import LAYER
from tests import sounds
from tests.test_audio_features import patches

BINS, FILTERS, VARIANCE = 5, 6, 0.02
OBJECTIVE = sounds.recipe(content_weight=0.3, style_weight=2.0, style_blend_weights=(3.0, 1.0))


def drawn(rows: int, frames: int, seed: int) -> Any:
    return np.abs(np.random.default_rng(seed).normal(size=(1, rows, frames, BINS)))


X, CONTENT = drawn(2, 15, 0), drawn(2, 15, 1)
STYLES = drawn(1, 18, 2), drawn(3, 14, 3)


def tensors(*arrays: Any) -> list[Any]:
    return [tf.constant(array, tf.float32) for array in arrays]


def evaluated(x: Any = X, content: Any = CONTENT, styles: Any = STYLES) -> Any:
    loss = ExpectedLoss(OBJECTIVE, VARIANCE, FILTERS)
    return loss.value_and_gradient(
        tf.constant(x, tf.float32), loss.targets(tensors(content)[0], tensors(*styles))
    )


def test_the_mean_over_draws() -> None:
    generator = np.random.default_rng(7)
    f_patches, p_patches, *s_patches = (
        patches(each).reshape(-1, 11 * BINS) for each in (X, CONTENT, *STYLES)
    )
    contents, styles = [], []
    for _ in range(4000):
        matrix = generator.normal(0, np.sqrt(VARIANCE), (11 * BINS, FILTERS))
        f, p, *others = (
            np.maximum(each @ matrix, 0) for each in (f_patches, p_patches, *s_patches)
        )
        contents.append(0.3 * np.mean((f - p) ** 2))
        g, *grams = (each.T @ each / len(each) for each in (f, *others))
        parts = [np.mean((g - a) ** 2) for a in grams]
        styles.append(2.0 * (0.75 * parts[0] + 0.25 * parts[1]))
    terms, _ = evaluated()
    for ours, draws in ((terms.content, contents), (terms.style, styles)):
        error = np.std(draws) / np.sqrt(len(draws))
        assert error < 0.02 * np.mean(draws)
        assert abs(float(ours) - np.mean(draws)) < 4 * error


def test_the_gradient_is_the_slope() -> None:
    _, gradient = evaluated()
    for seed in range(3):
        along = np.random.default_rng(seed).normal(size=X.shape)
        ahead, behind = (float(evaluated(X + step * along)[0].total) for step in (1e-2, -1e-2))
        assert np.sum(gradient * along) == pytest.approx((ahead - behind) / 2e-2, rel=1e-2)


def test_the_content_alone_has_no_content_loss() -> None:
    terms, _ = evaluated(x=CONTENT)
    assert float(terms.content) == pytest.approx(0, abs=1e-6)
    assert float(terms.style) > 0


def test_a_style_itself_has_no_style_loss() -> None:
    terms, gradient = evaluated(x=STYLES[0], content=STYLES[0], styles=(STYLES[0], STYLES[0]))
    far, _ = evaluated()
    assert float(terms.total) == pytest.approx(0, abs=1e-5 * float(far.total))
    assert np.isfinite(gradient).all()


def test_silence_has_a_finite_gradient() -> None:
    terms, gradient = evaluated(x=np.zeros_like(X))
    assert np.isfinite(float(terms.total))
    assert np.isfinite(gradient).all()


def test_what_does_not_count_is_left_out() -> None:
    content, style = tensors(CONTENT, STYLES[0])
    texture = ExpectedLoss(sounds.recipe(content_weight=0.0), VARIANCE, FILTERS)
    assert texture.targets(content, [style]).content == {}
    copy = ExpectedLoss(sounds.recipe(style_weight=0.0), VARIANCE, FILTERS)
    targets = copy.targets(content, [])
    assert list(targets.content) == [LAYER]
    terms, _ = copy.value_and_gradient(content, targets)
    assert float(terms.style) == 0
