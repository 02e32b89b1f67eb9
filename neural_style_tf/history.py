"""What L-BFGS remembers, and what it makes of it (Byrd, Nocedal & Schnabel 1994)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from neural_style_tf.metrics import Metric


class History(NamedTuple):
    """The last m steps s and changes of gradient y, in a ring: matrices S and Y, a row each.

    Attributes:
        steps, changes: `[m, …]`, of so many tensors. On a CPU `pushed` writes into them, so that
            nothing is copied, and a history is used up by it.
        products: `[m, m]`, sᵢ·yⱼ of all that are no younger than yⱼ; 0 on the diagonal where there
            is nothing yet, or no longer.
        newest: where the last ones are, int32.
    """

    steps: tf.Tensor
    changes: tf.Tensor
    products: tf.Tensor
    newest: tf.Tensor

    def forgotten(self, when: tf.Tensor) -> History:
        """Nothing, where `when`, a scalar, is true."""
        return self._replace(products=tf.where(when, tf.zeros_like(self.products), self.products))

    def holds(self) -> tf.Tensor:
        """Whether anything is remembered."""
        # Gathered, not a slice, whose place XLA would want to know beforehand.
        return tf.gather(tf.linalg.diag_part(self.products), self.newest) > 0

    def pushed(self, step: tf.Tensor, change: tf.Tensor) -> History:
        """With one more pair; a pair of no positive curvature teaches nothing."""
        product = dot(step, change)
        useful = product > 1e-10 * tf.sqrt(dot(step, step) * dot(change, change))

        def pushed() -> History:
            memory = self.products.shape[0]
            row = (self.newest + 1) % memory
            steps, changes = _put(self.steps, row, step), _put(self.changes, row, change)
            here = tf.one_hot(row, memory, dtype=step.dtype)
            # On the diagonal as it was found to be of use: the matrix product rounds otherwise.
            column = tf.where(here[:, None] > 0, product, _times(steps, change))
            return History(steps, changes, self.products * (1 - here) + column * here, row)

        return tf.cond(useful, pushed, lambda: self)

    def solve(self, gradient: tf.Tensor, metric: Metric) -> tf.Tensor:
        """The inverse Hessian's estimate times the gradient g.

        The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) a loop at a time: with R the
        upper triangle of SYᵀ, from the oldest pair to the newest, and D its diagonal,
        Ra = Sg, q = g − Yᵀa, r = γPq, Rᵀb = Da − Yr, and the answer r + Sᵀb.

        Args:
            gradient: of the shape of a step.
            metric: P, the estimate from no step at all, but for its scale γ, which the newest
                pair gives.
        """
        turn = self.newest + 1

        def aged(slots: tf.Tensor) -> tf.Tensor:
            return tf.roll(slots, -turn, 0)

        products = tf.transpose(aged(tf.transpose(aged(self.products))))
        curvatures = tf.linalg.diag_part(products)[:, None]
        known = tf.cast(curvatures > 0, gradient.dtype)
        triangle = tf.linalg.band_part(products, 0, -1) * known * known[:, 0]
        triangle += tf.linalg.diag(1 - known[:, 0])

        shares = known * aged(_times(self.steps, gradient))
        shares = tf.linalg.triangular_solve(triangle, shares, lower=False)
        q = gradient - _mixed(self.changes, tf.roll(shares, turn, 0))
        newest = tf.gather(self.changes, self.newest)
        curvature = metric.square(newest) / curvatures[-1, 0]
        r = metric.times(q) / tf.maximum(curvature, 1e-30)
        rest = curvatures * shares - known * aged(_times(self.changes, r))
        rest = tf.linalg.triangular_solve(triangle, rest, lower=False, adjoint=True)
        return r + _mixed(self.steps, tf.roll(rest, turn, 0))


def nothing(like: tf.Tensor, memory: int) -> History:
    """The history of no step yet: room for `memory` of the shape of `like`."""
    shape = tf.concat([[memory], tf.shape(like)], 0)
    # Not `tf.zeros`: a constant, or the same twice, must not be written into.
    steps, changes = (
        tf.ensure_shape(
            tf.raw_ops.Empty(shape=shape, dtype=like.dtype, init=True), (memory, *like.shape)
        )
        for _ in range(2)
    )
    return History(steps, changes, tf.zeros((memory, memory), like.dtype), tf.constant(0))


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Σ aᵢbᵢ, a scalar."""
    return tf.reduce_sum(a * b)


def _put(tensors: tf.Tensor, row: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    if tf.config.list_logical_devices("GPU"):  # XLA knows nothing else, and sees where it may write
        return tf.tensor_scatter_nd_update(tensors, row[None, None], new[None])
    return tf.raw_ops.InplaceUpdate(x=tensors, i=row[None], v=new[None])


def _times(tensors: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """`[m, …]` times `[…]` -> `[m, 1]`."""
    return tf.matmul(tf.reshape(tensors, (tensors.shape[0], -1)), tf.reshape(vector, (-1, 1)))


def _mixed(tensors: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """The sum of `[m, …]`, each times its share, `[m, 1]` -> `[…]`."""
    sums = tf.matmul(shares, tf.reshape(tensors, (tensors.shape[0], -1)), transpose_a=True)
    return tf.ensure_shape(tf.reshape(sums, tf.shape(tensors)[1:]), tensors.shape[1:])
