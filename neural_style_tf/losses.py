"""The losses of neural style transfer (Gatys et al. 2015), as functions; `Loss` ties them together.

Everything here is float32 on the device and differentiable; nothing knows where the features come
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Sums(NamedTuple):
    """What a loss needs of a picture: sums over positions, so those of its parts add up.

    Attributes:
        content: `{layer: Σ(F−P)²}`, scalars.
        products: `{layer: FᵀF}`, `[C, C]`.
        positions: `{layer: h·w}`, how many positions went into these: scalars, float32.
        variation: Σ of squared vertical and of squared horizontal differences of pixels, `[2]`.
        pairs: how many differences of each kind there were, `[2]`, float32.
    """

    content: dict[str, tf.Tensor]
    products: dict[str, tf.Tensor]
    positions: dict[str, tf.Tensor]
    variation: tf.Tensor
    pairs: tf.Tensor

    @property
    def moments(self) -> dict[str, tf.Tensor]:
        """`{layer: FᵀF/(h·w)}`, `[C, C]`."""
        return {layer: total / self.positions[layer] for layer, total in self.products.items()}


@tf.custom_gradient
def product(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """FᵀF of `[1, h, w, C]` features, summed over positions: `[C, C]`.

    Its gradient F(U + Uᵀ) is one matrix product; the library's own would be two.
    """
    flat = tf.reshape(features, (-1, features.shape[-1]))  # [h·w, C]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.matmul(flat, upstream + tf.transpose(upstream)), tf.shape(features))

    return tf.matmul(flat, flat, transpose_a=True), gradient


def gram(moments: tf.Tensor, norm: str = "hwc") -> tf.Tensor:
    """The Gram matrix of second moments FᵀF/(h·w), `[C, C]`.

    Norms, by which FᵀF is divided in all: "hwc" h·w·C, "hw" h·w, "2hwc" 2·h·w·C.
    """
    channels = moments.shape[-1]
    return moments / {"hwc": channels, "hw": 1, "2hwc": 2 * channels}[norm]


def content_distance(squares: tf.Tensor, size: tf.Tensor, norm: str = "mean") -> tf.Tensor:
    """How far features are from the content picture's, of Σ(F−P)² over `size` numbers: a scalar.

    Norms: "mean" of (F−P)², "half-sum" ½Σ(F−P)² (Gatys et al. 2015, eq. 1), "half-norm" ½√Σ(F−P)².
    """
    if norm == "mean":
        return squares / size
    if norm == "half-sum":
        return squares / 2
    # At the content picture itself the square root has no gradient; this floor gives it 0.
    return tf.sqrt(tf.maximum(squares, 1e-12)) / 2


def style_distance(g: tf.Tensor, a: tf.Tensor, norm: str = "mean") -> tf.Tensor:
    """How far two Gram matrices `[C, C]` are apart: a scalar.

    Norms: "mean" Σ(G−A)²/C², "quarter-mean" a quarter of it (Gatys et al. 2015, eq. 4, on Grams
    divided by h·w), "sum" Σ(G−A)² (Johnson et al. 2016, eq. 4).
    """
    squared = tf.math.squared_difference(g, a)
    if norm == "sum":
        return tf.reduce_sum(squared)
    return tf.reduce_mean(squared) / {"mean": 1, "quarter-mean": 4}[norm]


def variation(
    pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Squared differences of neighbours, the first of each pair in the upper left height×width.

    Args:
        pixels: `[1, H, W, 3]`.

    Returns:
        Their sums, vertical and horizontal, `[2]`, and how many there are of each, `[2]`.
    """
    parts = (pixels[:, : height + 1, :width], 1), (pixels[:, :height, : width + 1], 2)
    sums, counts = zip(*(_squared_differences(part, axis) for part, axis in parts), strict=True)
    return tf.stack(sums), tf.stack(counts)


def _squared_differences(pixels: tf.Tensor, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Σ(p[i+1] − p[i])² along axis 1 or 2 of `[1, H, W, 3]`, and how many: scalars.

    Its gradient is written out: the library's own, of slices, takes as long as a convolution.
    """

    @tf.custom_gradient
    def squares(p: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        d = p[:, 1:] - p[:, :-1] if axis == 1 else p[:, :, 1:] - p[:, :, :-1]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            scaled = d * (2 * upstream)
            first, last = (
                [pad if i == axis else (0, 0) for i in range(4)] for pad in ((1, 0), (0, 1))
            )
            return tf.pad(scaled, first) - tf.pad(scaled, last)

        return tf.reduce_sum(tf.square(d)), gradient

    size = tf.cast(tf.size(pixels) - tf.size(pixels) // tf.shape(pixels)[axis], pixels.dtype)
    return squares(pixels), size


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

    def features(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a content picture `[1, H, W, 3]`: `{layer: [1, h, w, C]}`."""
        layers = self.objective.shares("content")
        features = self.network(content) if layers else {}
        return {layer: features[layer] for layer in layers}

    def moments(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a style picture `[1, H, W, 3]`, any size: `{layer: FᵀF/(h·w)}`."""
        if not self.objective.shares("style"):
            return {}
        return self.sums(self.network(style), style, {}).moments

    def targets(self, content: tf.Tensor, styles: Sequence[tf.Tensor]) -> Targets:
        """The targets from pictures `[1, H, W, 3]` of any size.

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        return self.blended(self.features(content), [self.moments(style) for style in styles])

    def blended(
        self, content: Mapping[str, tf.Tensor], styles: Sequence[Mapping[str, tf.Tensor]]
    ) -> Targets:
        """The targets from the `features` of the content and the `moments` of each style.

        The style loss of several styles is the blend of their losses, Σ_s b_s·|G − A_s|². With
        Ā = Σ_s b_s·A_s that is |G − Ā|² + Σ_s b_s·|A_s − Ā|²: one comparison, whatever the number
        of styles, plus a constant (`spread`) known beforehand.

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        objective = self.objective
        layers = objective.shares("style")
        if layers and not styles:
            raise OptionError("expected at least one style picture, got none")
        blend = objective.blend(len(styles)) if styles else ()

        def mixed(values: Iterable[tf.Tensor]) -> tf.Tensor:
            return tf.add_n([b * value for b, value in zip(blend, values, strict=True)])

        def distance(a: tf.Tensor, layer: str) -> tf.Tensor:
            return style_distance(a, mean[layer], objective.style_norm)

        grams = [
            {
                layer: gram(tf.convert_to_tensor(style[layer]), objective.gram_norm)
                for layer in layers
            }
            for style in styles
        ]
        mean = {layer: mixed(style[layer] for style in grams) for layer in layers}
        spread = {
            layer: mixed(distance(style[layer], layer) for style in grams) for layer in layers
        }
        return Targets(dict(content), mean, spread)

    def sums(
        self,
        features: Mapping[str, tf.Tensor],
        pixels: tf.Tensor,
        content: Mapping[str, tf.Tensor],
        size: tuple[tf.Tensor, tf.Tensor] | None = None,
    ) -> Sums:
        """The sums over a picture, or over a part of one.

        Args:
            features: the network's, of the part alone.
            pixels: the part `[1, H, W, 3]`, with a row and a column more where the picture goes on.
            content: the content picture's features for the part; `{}` to leave content out.
            size: height and width of the part, without that row and column.
        """
        styles = self.objective.shares("style")
        squares = {
            layer: tf.reduce_sum(tf.math.squared_difference(features[layer], target))
            for layer, target in content.items()
        }
        products = {layer: product(features[layer]) for layer in styles}
        positions = {
            layer: tf.cast(tf.reduce_prod(tf.shape(features[layer])[1:3]), tf.float32)
            for layer in {**squares, **products}
        }
        if not self.objective.tv_weight:
            return Sums(squares, products, positions, tf.zeros(2), tf.ones(2))
        height, width = size or tf.unstack(tf.shape(pixels)[1:3])
        return Sums(squares, products, positions, *variation(pixels, height, width))

    def terms(self, sums: Sums, targets: Targets) -> Terms:
        """The loss of the picture that these are the sums of."""
        objective = self.objective
        content = style = tf.zeros(())
        for layer, share in objective.shares("content").items():
            size = sums.positions[layer] * targets.content[layer].shape[-1]
            distance = content_distance(sums.content[layer], size, objective.content_norm)
            content += share * distance
        moments = sums.moments
        for layer, share in objective.shares("style").items():
            g = gram(moments[layer], objective.gram_norm)
            distance = style_distance(g, targets.grams[layer], objective.style_norm)
            style += share * (distance + targets.spread[layer])
        content *= objective.content_weight
        style *= objective.style_weight
        # Each axis is divided by its own number of differences, as in the 2017 program.
        tv = objective.tv_weight * tf.reduce_sum(tf.math.divide_no_nan(sums.variation, sums.pairs))
        return Terms(content, style, tv, content + style + tv)

    def __call__(self, pixels: tf.Tensor, targets: Targets) -> Terms:
        """The loss of a picture `[1, H, W, 3]` of the content's size."""
        return self.terms(self.sums(self.network(pixels), pixels, targets.content), targets)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self(pixels, targets)
        return terms, tape.gradient(terms.total, pixels)
