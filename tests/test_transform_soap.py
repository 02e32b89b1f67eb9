"""SOAP against its paper, in NumPy float64, and against Adam where the axes are oblique."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from neural_style_tf.transform.model import keras
from neural_style_tf.transform.soap import Soap

Array = npt.NDArray[np.float64]
# Of a kernel whose axes of 2 positions, 3 and 4 channels no single gradient leaves without a trace.
SHAPE = (1, 2, 3, 4)


def followed(optimizer: Any, first: Array, gradient: Callable[[Array], Array], steps: int) -> Array:
    """Where an optimizer goes."""
    variable = keras.Variable(first, dtype="float32")
    optimizer.build([variable])
    for _ in range(steps):
        optimizer.apply_gradients([(tf.constant(gradient(variable.numpy()), tf.float32), variable)])
    return np.asarray(variable.numpy(), np.float64)


def given(optimizer: Any, first: Array, gradients: Sequence[Array]) -> Array:
    """Where it goes by these gradients, whatever the place."""
    turn = iter(gradients)
    return followed(optimizer, first, lambda _: next(turn), len(gradients))


def drawn() -> list[Array]:
    """Gradients of all sizes, for many steps."""
    generator = np.random.default_rng(3)
    scales = np.exp(generator.normal(0, 1, SHAPE))
    return [scales * generator.normal(0.3, 1, SHAPE) for _ in range(30)]


def test_it_follows_the_paper() -> None:
    """Algorithm 3, each axis with a matrix of its own, `every` 4 steps."""
    gradients, axes = drawn(), (2, 3, 4)
    x, mean, square = np.ones(axes), np.zeros(axes), np.zeros(axes)
    covariances = [np.zeros((n, n)) for n in axes]
    bases: list[Array] = []
    for step, gradient in enumerate(gradients):
        g = gradient.reshape(axes)
        for axis, n in enumerate(axes):
            unfolded = np.moveaxis(g, axis, 0).reshape(n, -1)
            covariances[axis] = 0.9 * covariances[axis] + 0.1 * unfolded @ unfolded.T
        if not step:
            bases = [np.linalg.eigh(covariance)[1][:, ::-1] for covariance in covariances]
        elif step % 4 == 0:
            pairs = zip(covariances, bases, strict=True)
            bases = [np.linalg.qr(covariance @ basis)[0] for covariance, basis in pairs]
        correction = 1 - 0.9 ** (step + 1)
        mean = 0.9 * mean + 0.1 * g
        square = 0.9 * square + 0.1 * np.einsum("abc,ai,bj,ck->ijk", g, *bases) ** 2
        ahead = np.einsum("abc,ai,bj,ck->ijk", mean / correction, *bases)
        move = ahead / (np.sqrt(square / correction) + 1e-8)
        if step:
            x = x - 0.01 * np.einsum("ijk,ai,bj,ck->abc", move, *bases)
    ours = given(Soap(0.01, beta=0.9, every=4), np.ones(SHAPE), gradients)
    np.testing.assert_allclose(ours.reshape(axes), x, atol=2e-5)


def test_the_first_step_leaves_kernels_as_they_are() -> None:
    first = followed(Soap(0.1), np.ones(SHAPE), lambda x: x + 1, 1)
    np.testing.assert_array_equal(first, np.ones(SHAPE))
    assert (followed(Soap(0.1), np.ones(SHAPE), lambda x: x + 1, 2) != first).any()


def test_what_gradients_leave_unknown_is_not_left_to_rounding() -> None:
    """A kernel whose covariances have half as many eigenvectors as axes, in the last bits other."""
    generator = np.random.default_rng(4)
    shape = (5, 5, 3, 4)
    gradients = [generator.normal(0, 1, shape) for _ in range(6)]
    rounded = [(1 + 1e-7 * generator.uniform(-1, 1, shape)) * gradient for gradient in gradients]
    one, other = (given(Soap(1.0), np.zeros(shape), each) for each in (gradients, rounded))
    assert abs(one).max() > 1
    np.testing.assert_allclose(one, other, atol=0.05)


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_what_is_no_kernel_has_adams_steps(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    gradients = [generator.normal(0.5, 1, shape) for _ in range(12)]
    optimizers = (Soap(0.1, beta=0.9), keras.optimizers.Adam(0.1, 0.9, 0.9, 1e-8))
    one, other = (given(optimizer, np.zeros(shape), gradients) for optimizer in optimizers)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_oblique_valleys_are_descended_sooner_than_by_adam() -> None:
    """½·xᵀHx of a kernel, H a product of matrices along its axes, none of them diagonal."""
    generator = np.random.default_rng(2)
    hessians = []
    for n in (9, 6, 8):
        turn = np.linalg.qr(generator.normal(0, 1, (n, n)))[0]
        hessians.append(turn @ np.diag(np.geomspace(1, 1e-2, n)) @ turn.T)
    first = generator.normal(0, 1, (3, 3, 6, 8))

    def gradient(x: Array) -> Array:
        product = np.einsum("abc,ai,bj,ck->ijk", x.reshape(9, 6, 8), *hessians)
        return np.asarray(product.reshape(x.shape))

    def loss(optimizer: Any) -> float:
        last = followed(optimizer, first, gradient, 120)
        return float(np.sum(last * gradient(last)) / 2)

    def decaying(rate: float) -> Any:
        return keras.optimizers.schedules.CosineDecay(rate, 120)

    soap = min(loss(Soap(decaying(rate))) for rate in (0.03, 0.1))
    adam = min(loss(keras.optimizers.Adam(decaying(rate))) for rate in (0.01, 0.03, 0.1))
    assert soap < 0.3 * adam


def test_it_is_made_again_of_its_settings() -> None:
    first = Soap(0.02, beta=0.9, every=5)
    again = Soap.from_config(first.get_config())
    one, other = (given(each, np.ones(SHAPE), drawn()) for each in (first, again))
    np.testing.assert_array_equal(one, other)


def test_a_gradient_that_is_not_finite_is_left_to_the_loss_to_tell() -> None:
    assert not np.isfinite(given(Soap(0.1), np.ones(SHAPE), [np.full(SHAPE, np.nan)] * 12)).any()
