"""The loss of random features, averaged over all the filters that might have been drawn.

What a rectified random filter makes of two patches is known in the mean without drawing any (the
arc-cosine kernels of Cho & Saul 2009): with f = max(0, w·p), w Gaussian of variance σ², and θ
between p and q,

    E[f(p)·f(q)]   = σ²·|p||q|·J₁(θ)/2π,      J₁ = sin θ + (π−θ)·cos θ
    E[f(p)²·f(q)²] = σ⁴·|p|²|q|²·J₂(θ)/2π,    J₂ = 3 sin θ cos θ + (π−θ)·(1 + 2 cos²θ)

Content and style loss are sums of such products, so their means follow exactly, and they cost what
the patches' inner products cost: some thirtieth of the filters themselves. The minimum of this loss
is where the filters' own begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from neural_style_tf.audio.recipe import LAYER, TAPS
from neural_style_tf.losses import Terms
from neural_style_tf.objective import Objective


class ExpectedTargets(NamedTuple):
    """What a sound is compared with: frames, since there are no filters.

    Attributes:
        content: `{layer: frames [1, channels, T, bins]}`, empty where content does not count.
        styles: of each style, some of its frames `[1, excerpts, T, bins]`.
        energies: of each style, the mean of |A|² over C², a scalar.
    """

    content: dict[str, tf.Tensor]
    styles: tuple[tf.Tensor, ...]
    energies: tuple[tf.Tensor, ...]


class ExpectedLoss:
    """The mean of `Loss(RandomFeatures(filters), objective)` over the filters.

    Args:
        objective: of the layer "random", with the norms "mean", "hw" and "mean".
        variance: of the filters' weights.
        filters: how many there are.
    """

    def __init__(self, objective: Objective, variance: float, filters: int) -> None:
        self.objective, self.variance, self.filters = objective, variance, filters

    def targets(self, content: tf.Tensor | None, styles: Sequence[tf.Tensor]) -> ExpectedTargets:
        """The targets from frames; see there."""
        objective = self.objective
        kept = {LAYER: content} if objective.shares("content") else {}
        styles = tuple(styles) if objective.shares("style") else ()
        return ExpectedTargets(kept, styles, tuple(self._alike(style, style) for style in styles))

    def value_and_gradient(
        self, frames: tf.Tensor, targets: ExpectedTargets
    ) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, channels, T, bins]`."""
        with tf.GradientTape() as tape:
            tape.watch(frames)
            content = style = tf.zeros(())
            if targets.content:
                content = self.objective.content_weight * self._content(
                    frames, targets.content[LAYER]
                )
            if targets.styles:
                style = self.objective.style_weight * self._style(frames, targets)
            terms = Terms(content, style, tf.zeros(()), content + style)
        return terms, tape.gradient(terms.total, frames)

    def _content(self, frames: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """The mean of (F−P)²: E[f(p)²] − 2·E[f(p)·f(P)] + E[f(P)²]."""
        length, other = _lengths(frames), _lengths(content)
        inner = _windowed(tf.reduce_sum(frames * content, -1))
        both = length * other
        cosine = inner / tf.maximum(both, 1e-12)
        squares = tf.square(length) / 2 + tf.square(other) / 2 - 2 * both * _first_order(cosine)
        return self.variance * tf.reduce_mean(squares)

    def _style(self, frames: tf.Tensor, targets: ExpectedTargets) -> tf.Tensor:
        """The mean of Σ_s b_s·|G − A_s|²/C²."""
        blend = self.objective.blend(len(targets.styles))
        loss = self._alike(frames, frames)
        for share, style, energy in zip(blend, targets.styles, targets.energies, strict=True):
            loss += share * (energy - 2 * self._alike(frames, style))
        return loss

    def _alike(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """The mean of ⟨G_a, G_b⟩/C², G = FᵀF/positions: that of k(p, q)² over all pairs."""
        lengths, others = _lengths(a), _lengths(b)  # [1, rows, positions]
        rows, patches = tf.shape(lengths)[1], tf.shape(lengths)[2]
        columns, other_patches = tf.shape(others)[1], tf.shape(others)[2]
        bins = a.shape[-1]
        inner = tf.matmul(tf.reshape(a, (-1, bins)), tf.reshape(b, (-1, bins)), transpose_b=True)
        inner = tf.reshape(inner, (rows, tf.shape(a)[2], columns, tf.shape(b)[2]))
        # Of two patches: the sum of the inner products of their frames.
        inner = tf.add_n([inner[:, k : k + patches, :, k : k + other_patches] for k in range(TAPS)])
        both = lengths[0][:, :, None, None] * others[0]
        squares = tf.square(both) * self._squared(inner / tf.maximum(both, 1e-12))
        return self.variance**2 * tf.reduce_mean(squares)

    def _squared(self, cosine: tf.Tensor) -> tf.Tensor:
        """E[(Σ_c f_c(p)·f_c(q)/C)²]/(σ²|p||q|)², of which 1/C is of one filter with itself."""
        same = 1 / self.filters

        @tf.custom_gradient
        def squared(c: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            c, sine, rest = _angles(c)
            first, slope = (sine + rest * c) / (2 * math.pi), rest / (2 * math.pi)
            second = (3 * sine * c + rest * (1 + 2 * c * c)) / (2 * math.pi)
            value = (1 - same) * first * first + same * second

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return upstream * (2 * (1 - same) * first * slope + same * 4 * first)

            return value, gradient

        return squared(cosine)


@tf.custom_gradient
def _first_order(cosine: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """J₁/2π. Its slope by cos θ is (π−θ)/2π; the library's own has no value where θ is 0."""
    cosine, sine, rest = _angles(cosine)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * rest / (2 * math.pi)

    return (sine + rest * cosine) / (2 * math.pi), gradient


def _angles(cosine: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """cos θ within its bounds, sin θ and π − θ."""
    cosine = tf.clip_by_value(cosine, -1.0, 1.0)
    return cosine, tf.sqrt(1 - tf.square(cosine)), math.pi - tf.acos(cosine)


def _lengths(frames: tf.Tensor) -> tf.Tensor:
    """|p| of every patch: `[1, rows, T, bins]` -> `[1, rows, T − 10]`."""
    return tf.sqrt(tf.maximum(_windowed(tf.reduce_sum(tf.square(frames), -1)), 1e-24))


def _windowed(values: tf.Tensor) -> tf.Tensor:
    """Sums over the frames of each patch: `[1, rows, T]` -> `[1, rows, T − 10]`."""
    length = tf.shape(values)[2] - TAPS + 1
    return tf.add_n([values[:, :, k : k + length] for k in range(TAPS)])
