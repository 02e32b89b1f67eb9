"""What L-BFGS remembers (Nocedal 1980; Nocedal & Wright 2006, algorithm 7.4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.metrics import Metric


class History(NamedTuple):
    """The last m steps and changes of gradient, in a ring.

    Attributes:
        steps, changes: m tensors of one shape; while `opened`, a `tf.TensorArray` each. A loop
            carries that as one thing, so that its graph does not grow with m, and to push is to
            move a reference: nothing is copied.
        rho: `[m]`, 1/(s·y) for each step and change, 0 where there is none yet.
        newest: where in the ring the last ones are, int32.
    """

    steps: Any
    changes: Any
    rho: tf.Tensor
    newest: tf.Tensor

    def opened(self) -> History:
        """As a loop works with it."""
        steps, changes = (_array(each) for each in (self.steps, self.changes))
        return self._replace(steps=steps, changes=changes)

    def closed(self) -> History:
        """As plain tensors."""
        slots = range(self.rho.shape[0])
        steps, changes = (
            tuple(array.read(slot) for slot in slots) for array in (self.steps, self.changes)
        )
        return self._replace(steps=steps, changes=changes)

    def holds(self) -> tf.Tensor:
        """Whether anything is remembered."""
        return tf.reduce_max(self.rho) > 0

    def pushed(self, step: tf.Tensor, change: tf.Tensor) -> History:
        """With one more pair, opened; a pair of no positive curvature teaches nothing."""
        product = dot(step, change)
        useful = product > 1e-10 * tf.sqrt(dot(step, step) * dot(change, change))

        def pushed() -> History:
            slot = (self.newest + 1) % self.rho.shape[0]
            return History(
                self.steps.write(slot, step),
                self.changes.write(slot, change),
                tf.tensor_scatter_nd_update(self.rho, [[slot]], [1 / product]),
                slot,
            )

        return tf.cond(useful, pushed, lambda: self)

    def solve(self, gradient: tf.Tensor, metric: Metric) -> tf.Tensor:
        """The two-loop recursion: the inverse Hessian's estimate times the gradient.

        Args:
            gradient: of the shape of a step.
            metric: the estimate from no step at all, but for its scale, which the newest gives.
        """
        memory = self.rho.shape[0]

        def down(age: tf.Tensor, q: tf.Tensor, shares: tf.Tensor) -> tuple[tf.Tensor, ...]:
            slot = (self.newest - age) % memory
            share = self.rho[slot] * dot(self.steps.read(slot), q)
            shares = tf.tensor_scatter_nd_update(shares, [[slot]], [share])
            return age + 1, q - share * self.changes.read(slot), shares

        def up(age: tf.Tensor, r: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            slot = (self.newest - age) % memory
            share = shares[slot] - self.rho[slot] * dot(self.changes.read(slot), r)
            return age - 1, r + self.steps.read(slot) * share

        newest = tf.constant(0)
        _, q, shares = tf.while_loop(
            lambda age, *_: age < memory, down, (newest, gradient, tf.zeros_like(self.rho))
        )
        curvature = metric.square(self.changes.read(self.newest)) * self.rho[self.newest]
        r = metric.times(q) / tf.maximum(curvature, 1e-30)
        _, r = tf.while_loop(lambda age, _: age >= 0, up, (newest + memory - 1, r))
        return r


def nothing(like: tf.Tensor, memory: int) -> History:
    """The history of no step yet, closed: room for `memory` of the shape of `like`."""
    empty = (tf.zeros_like(like),) * memory
    return History(empty, empty, tf.zeros((memory,), like.dtype), tf.constant(0))


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Σ aᵢbᵢ, a scalar."""
    return tf.reduce_sum(a * b)


def _array(tensors: tuple[tf.Tensor, ...]) -> tf.TensorArray:
    first = tensors[0]
    array = tf.TensorArray(
        first.dtype, len(tensors), clear_after_read=False, element_shape=first.shape
    )
    for slot, tensor in enumerate(tensors):
        array = array.write(slot, tensor)
    return array
