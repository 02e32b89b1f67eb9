"""The losses of neural style transfer (Gatys et al. 2015), as functions; `Loss` ties them together.

Everything here is float32 on the device and differentiable; nothing knows where the features come
from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective

Network = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]


class Terms(NamedTuple):
    """The loss and what it is made of, each weighted: scalars, float32."""

    content: tf.Tensor
    style: tf.Tensor
    tv: tf.Tensor
    total: tf.Tensor


# A picture -> its loss and the gradient of the total: what optimizers work with.
Evaluate = Callable[[tf.Tensor], tuple[Terms, tf.Tensor]]


class Targets(NamedTuple):
    """What a picture is compared with: computed once, used at every step.

    Attributes:
        content: `{layer: features [1, h, w, C]}` of the content picture.
        grams: `{layer: [C, C]}`, the blend Σ_s b_s·A_s of the styles' Gram matrices.
        spread: `{layer: scalar}`, what separates the styles from their blend; see `Loss.targets`.
    """

    content: dict[str, tf.Tensor]
    grams: dict[str, tf.Tensor]
    spread: dict[str, tf.Tensor]


def gram(features: tf.Tensor, norm: str = "hwc") -> tf.Tensor:
    """The Gram matrix FᵀF of `[1, h, w, C]` features, divided as `norm` says: `[C, C]`.

    Norms: "hwc" by h·w·C, "hw" by h·w, "2hwc" by 2·h·w·C.
    """
    channels = features.shape[-1]
    flat = tf.reshape(features, (-1, channels))  # [h·w, C]
    positions = tf.cast(tf.shape(flat)[0], flat.dtype)
    divisor = positions * {"hwc": channels, "hw": 1, "2hwc": 2 * channels}[norm]
    return _self_product(flat) / divisor


@tf.custom_gradient
def _self_product(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """FᵀF, whose gradient F(U + Uᵀ) is one matrix product; the library's own would be two."""
    return (
        tf.matmul(flat, flat, transpose_a=True),
        lambda upstream: tf.matmul(flat, upstream + tf.transpose(upstream)),
    )


def content_distance(features: tf.Tensor, target: tf.Tensor, norm: str = "mean") -> tf.Tensor:
    """How far features are from the content picture's, both `[1, h, w, C]`: a scalar.

    Norms: "mean" of (F−P)², "half-sum" ½Σ(F−P)² (Gatys et al. 2015, eq. 1), "half-norm" ½√Σ(F−P)².
    """
    squared = tf.math.squared_difference(features, target)
    if norm == "mean":
        return tf.reduce_mean(squared)
    if norm == "half-sum":
        return tf.reduce_sum(squared) / 2
    # At the content picture itself the square root has no gradient; this floor gives it 0.
    return tf.sqrt(tf.maximum(tf.reduce_sum(squared), 1e-12)) / 2


def style_distance(g: tf.Tensor, a: tf.Tensor, norm: str = "mean") -> tf.Tensor:
    """How far two Gram matrices `[C, C]` are apart: a scalar.

    Norms: "mean" Σ(G−A)²/C², "quarter-mean" a quarter of it (Gatys et al. 2015, eq. 4, on Grams
    divided by h·w), "sum" Σ(G−A)² (Johnson et al. 2016, eq. 4).
    """
    squared = tf.math.squared_difference(g, a)
    if norm == "sum":
        return tf.reduce_sum(squared)
    return tf.reduce_mean(squared) / {"mean": 1, "quarter-mean": 4}[norm]


def total_variation(pixels: tf.Tensor) -> tf.Tensor:
    """Mean squared vertical plus mean squared horizontal difference of `[1, H, W, 3]`: a scalar.

    Each axis is divided by its own number of differences, as in the 2017 program.
    """
    return _mean_squared_difference(pixels, axis=1) + _mean_squared_difference(pixels, axis=2)


def _mean_squared_difference(pixels: tf.Tensor, axis: int) -> tf.Tensor:
    """Mean of (p[i+1] − p[i])² along axis 1 or 2 of `[1, H, W, 3]`: a scalar.

    Its gradient is written out: the library's own, of slices, takes as long as a convolution.
    """

    @tf.custom_gradient
    def mean_square(p: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        d = p[:, 1:] - p[:, :-1] if axis == 1 else p[:, :, 1:] - p[:, :, :-1]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            scaled = d * (2 * upstream / tf.cast(tf.size(d), d.dtype))
            zero = tf.zeros_like(p[:, :1] if axis == 1 else p[:, :, :1])
            return tf.concat([zero, scaled], axis) - tf.concat([scaled, zero], axis)

        return tf.reduce_mean(tf.square(d)), gradient

    return mean_square(pixels)


class Loss(tf.Module):
    """A network and an Objective: targets from pictures, the loss of a picture, its gradient.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: [1, h, w, C]}`, with at least
            `objective.layers`.
        objective: what is wanted.
    """

    def __init__(self, network: Network, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def targets(self, content: tf.Tensor, styles: Sequence[tf.Tensor]) -> Targets:
        """Features of the content and Grams of the styles, pictures `[1, H, W, 3]` of any size.

        The style loss of several styles is the blend of their losses, Σ_s b_s·|G − A_s|². With
        Ā = Σ_s b_s·A_s that is |G − Ā|² + Σ_s b_s·|A_s − Ā|²: one comparison, whatever the number
        of styles, plus a constant (`spread`) known beforehand.

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        objective = self.objective
        content_layers, style_layers = objective.shares("content"), objective.shares("style")
        if style_layers and not styles:
            raise OptionError("expected at least one style picture, got none")
        features = self.network(content) if content_layers else {}
        grams: dict[str, list[tf.Tensor]] = {layer: [] for layer in style_layers}
        for style in styles if style_layers else ():
            outputs = self.network(style)
            for layer in style_layers:
                grams[layer].append(gram(outputs[layer], objective.gram_norm))
        blend = objective.blend(len(styles)) if styles else ()
        mean = {
            layer: tf.add_n([b * a for b, a in zip(blend, each, strict=True)])
            for layer, each in grams.items()
        }
        spread = {
            layer: tf.add_n(
                [
                    b * style_distance(a, mean[layer], objective.style_norm)
                    for b, a in zip(blend, each, strict=True)
                ]
            )
            for layer, each in grams.items()
        }
        return Targets({layer: features[layer] for layer in content_layers}, mean, spread)

    def __call__(self, pixels: tf.Tensor, targets: Targets) -> Terms:
        """The loss of a picture `[1, H, W, 3]` of the content's size."""
        objective = self.objective
        features = self.network(pixels)
        content = style = tf.zeros(())
        for layer, share in objective.shares("content").items():
            target = targets.content[layer]
            content += share * content_distance(features[layer], target, objective.content_norm)
        for layer, share in objective.shares("style").items():
            g = gram(features[layer], objective.gram_norm)
            distance = style_distance(g, targets.grams[layer], objective.style_norm)
            style += share * (distance + targets.spread[layer])
        content *= objective.content_weight
        style *= objective.style_weight
        tv = objective.tv_weight * total_variation(pixels) if objective.tv_weight else tf.zeros(())
        return Terms(content, style, tv, content + style + tv)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self(pixels, targets)
        return terms, tape.gradient(terms.total, pixels)
