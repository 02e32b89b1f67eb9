"""What trains a transform network: SOAP (Vyas et al. 2024, arXiv:2409.11321), as a Keras optimizer.

What Gram matrices say of a network's weights is lopsided: along few directions the loss is steep,
along most it is flat, and these are not the weights' own axes, along which Adam has its steps. In
the axes of the gradient's own covariance a short training is as far in less than half as many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.transform.model import keras

# In shares of a covariance's mean eigenvalue; see `_ridge`.
_RIDGE = 1e-8


class _Kept(NamedTuple):
    """What is remembered of one variable: moments of its gradient, and for each axis two matrices.

    Attributes:
        mean, square: of the gradient and, in the basis, of its squares, averaged; of its shape.
        covariances, bases: of each axis a matrix, its eigenvectors as columns; none for Adam.
    """

    mean: Any
    square: Any
    covariances: Sequence[Any]
    bases: Sequence[Any]


class Soap(keras.optimizers.Optimizer):
    """Adam in the eigenvectors of what Shampoo takes for the curvature, for kernels.

    A kernel `[k, k, in, out]` has three axes: positions, channels in and channels out. For each the
    gradient's covariance along it is averaged, and its eigenvectors are followed by a step of
    orthogonal iteration now and then. The first gradient only teaches: kernels stay as they are.
    Whatever is no kernel has Adam's steps (Kingma, Ba 2015).

    Departures from the paper: the first gradient counts among the squares, too, so that no step
    after it can be a leap, and the bases change before a step is made in them, not after. An axis
    longer than the others together has eigenvectors that the first gradients tell nothing of, which
    would be left to rounding: hence `_ridge`, and float64, for eigenvalues are squares of what
    gradients have seven digits of.

    Args:
        learning_rate: a number or a schedule; about the size of each number's step, in its unit.
        beta: of all averages, how much of the past is kept at each step.
        epsilon: added to the root of the squares.
        every: steps from one change of the bases to the next.
    """

    def __init__(
        self, learning_rate: Any, beta: float = 0.95, epsilon: float = 1e-8, every: int = 10
    ) -> None:
        super().__init__(learning_rate, name="soap")
        self.beta, self.epsilon, self.every = beta, epsilon, every
        self.kept: list[_Kept] = []
        # Traced once, for the axes of all kernels: by itself each would take its part of a second.
        square = tf.TensorSpec((None, None), tf.float64)
        signature = square, square, tf.TensorSpec((), tf.int64)
        self._followed = tf.function(self._eigenvectors, signature, autograph=False)

    def build(self, variables: Sequence[Any]) -> None:
        """Make room for what is remembered of these."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            mean, square = (
                self.add_variable_from_reference(variable, name) for name in ("mean", "square")
            )
            axes = _axes(variable.shape)
            covariances, bases = (
                [self.add_variable((n, n), start, "float64", name=name) for n in axes]
                for name, start in (("covariance", "zeros"), ("basis", "identity"))
            )
            self.kept.append(_Kept(mean, square, covariances, bases))

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move one variable, by a gradient of its shape."""
        kept = self.kept[self._get_variable_index(variable)]
        step = tf.cast(self.iterations.value, gradient.dtype) + 1
        gradient = tf.reshape(gradient, _axes(gradient.shape) or gradient.shape)
        bases = [tf.cast(basis, gradient.dtype) for basis in self._bases(kept, gradient)]
        back = [tf.transpose(basis) for basis in bases]
        mean = self._averaged(kept.mean, gradient)
        square = self._averaged(kept.square, _turned(gradient, bases) ** 2)
        correction = 1 - self.beta**step
        root = tf.sqrt(square / correction) + self.epsilon
        move = _turned(_turned(mean, bases) / correction / root, back)
        if bases:
            move = tf.where(step > 1, move, 0.0)
        self.assign_sub(variable, learning_rate * tf.reshape(move, variable.shape))

    def get_config(self) -> dict[str, Any]:
        """What it was made with."""
        own = {"beta": self.beta, "epsilon": self.epsilon, "every": self.every}
        return {"learning_rate": super().get_config()["learning_rate"], **own}

    def _averaged(self, kept: Any, new: tf.Tensor) -> tf.Tensor:
        """What is remembered with the new put in, of the new one's shape."""
        value = self.beta * tf.reshape(kept.value, new.shape) + (1 - self.beta) * new
        self.assign(kept, tf.reshape(value, kept.shape))
        return value

    def _bases(self, kept: _Kept, gradient: tf.Tensor) -> list[tf.Tensor]:
        """Of each axis the eigenvectors, with what a gradient tells of them taken in."""
        exact, step = tf.cast(gradient, tf.float64), tf.cast(self.iterations.value, tf.int64)
        bases = []
        for axis, (covariance, basis) in enumerate(zip(kept.covariances, kept.bases, strict=True)):
            others = [other for other in range(len(gradient.shape)) if other != axis]
            own = self._averaged(covariance, tf.tensordot(exact, exact, [others, others]))
            found = self._followed(basis.value, own, step)
            bases.append(tf.ensure_shape(found, own.shape))
            self.assign(basis, bases[-1])
        return bases

    def _eigenvectors(self, basis: tf.Tensor, covariance: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Those of a covariance, the largest first; after the first step nearly so."""
        covariance += _ridge(covariance)

        def iterated() -> tf.Tensor:
            return tf.linalg.qr(tf.matmul(covariance, basis))[0]

        def later() -> tf.Tensor:
            return tf.cond(step % self.every == 0, iterated, lambda: basis)

        def first() -> tf.Tensor:
            # Of what is not finite it would find none, and say so: the loss will tell.
            finite = tf.where(tf.math.is_finite(covariance), covariance, tf.zeros_like(covariance))
            return tf.linalg.eigh(finite)[1][:, ::-1]

        return tf.cond(step == 0, first, later)


def _ridge(covariance: tf.Tensor) -> tf.Tensor:
    """What is added to a covariance so that each eigenvector can be told from all others.

    A diagonal of unequal numbers, far below what gradients tell and far above float64's rounding.
    """
    n = tf.shape(covariance)[0]
    steps = tf.linspace(tf.constant(2, tf.float64), 1, n)
    share = _RIDGE * tf.linalg.trace(covariance) / tf.cast(n, tf.float64)
    return share * tf.linalg.diag(steps)


def _axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Positions, channels in and channels out of a kernel; none of what is not one."""
    return (math.prod(shape[:2]), *shape[2:]) if len(shape) == 4 else ()


def _turned(tensor: tf.Tensor, bases: Sequence[tf.Tensor]) -> tf.Tensor:
    """A tensor in other bases, one for each of its axes; without, as it is."""
    for basis in bases:  # the first axis becomes the last: after as many, all are in place again
        tensor = tf.tensordot(tensor, basis, [[0], [0]])
    return tensor
