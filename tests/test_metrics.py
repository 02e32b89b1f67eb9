"""The metrics of L-BFGS: symmetric, positive, and what the spectral one is said to be."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.metrics import IDENTITY, Metric, Spectral

SIZES = [(16, 16), (15, 22), (9, 7), (8, 13)]


def noise(size: tuple[int, int], seed: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=(1, *size, 3)), tf.float32)


@pytest.mark.parametrize("size", SIZES)
def test_the_spectral_metric_is_symmetric_and_positive(size: tuple[int, int]) -> None:
    a, b = noise(size, 0), noise(size, 1)
    metric = Spectral(a)
    crossed = float(tf.reduce_sum(a * metric.times(b)))
    back = float(tf.reduce_sum(b * metric.times(a)))
    assert crossed == pytest.approx(back, rel=1e-4, abs=1e-4)
    assert float(metric.square(a)) > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_square_is_what_the_product_gives(size: tuple[int, int]) -> None:
    x = noise(size, 2) + 0.3
    for metric in (Spectral(x), IDENTITY, Metric(lambda x: 3 * x)):
        product = float(tf.reduce_sum(x * metric.times(x)))
        assert float(metric.square(x)) == pytest.approx(product, rel=1e-5)


def test_the_spectral_metric_divides_by_a_power_of_the_frequency() -> None:
    x = np.arange(32)
    gains = []
    for cycles in (1, 2, 8):
        wave = np.broadcast_to(np.cos(2 * np.pi * cycles * x / 32)[None, None, :, None],
                               (1, 32, 32, 3)).astype(np.float32)  # fmt: skip
        gains.append(float(tf.reduce_max(Spectral(wave).times(tf.constant(wave)))))
    assert gains[0] / gains[1] == pytest.approx(2**0.75, rel=1e-3)
    assert gains[0] / gains[2] == pytest.approx(8**0.75, rel=1e-3)


def test_the_spectral_metric_is_for_xla_too() -> None:
    """As on a GPU, where the whole loop is compiled."""
    x = noise((15, 22), 3)

    def both(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        metric = Spectral(x)
        return metric.times(x), metric.square(x)

    compiled = tf.function(both, jit_compile=True)(x)
    for ours, plain in zip(compiled, both(x), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)
