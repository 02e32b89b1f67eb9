"""The loss of neural style transfer (Gatys et al. 2015): `Loss` ties sums and distances together.

Everything but features is float32, on the device and differentiable; nothing knows where features
come from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.distances import (
    content_distance,
    gram,
    gram_size,
    squared_distance,
    squared_error,
    style_distance,
    style_size,
)
from neural_style_tf.errors import OptionError
from neural_style_tf.networks import Network, Space, tapped
from neural_style_tf.objective import Objective
from neural_style_tf.sums import Sums, Variation, passed, positions, product, variation


class Terms(NamedTuple):
    """The loss and what it is made of, each weighted: scalars, float32."""

    content: tf.Tensor
    style: tf.Tensor
    tv: tf.Tensor
    total: tf.Tensor


def unknown(dtype: tf.DType = tf.float32) -> Terms:
    """The losses of a picture that has not been looked at: infinite."""
    return Terms(*(tf.constant(float("inf"), dtype),) * 4)


# A picture -> its loss and the gradient of the total: what optimizers work with.
Evaluate = Callable[[tf.Tensor], tuple[Terms, tf.Tensor]]


class Targets(NamedTuple):
    """What a picture is compared with: computed once, used at every step.

    Attributes:
        content: `{layer: features [1, h, w, C]}` of the content picture.
        grams: `{layer: [C, C]}`, the blend Σ_s b_s·A_s of the styles' Gram matrices.
        spread: `{layer: scalar}`, what separates the styles from their blend; see `Loss.mixed`.
        weights: how much content, style and total variation count, scalars; where there are none,
            as much as the objective says.
    """

    content: dict[str, tf.Tensor]
    grams: dict[str, tf.Tensor]
    spread: dict[str, tf.Tensor]
    weights: tuple[tf.Tensor, ...] = ()


class Loss(tf.Module):
    """A network and an Objective: targets from pictures, the loss of a picture, its gradient.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: [1, h, w, C]}`, float32 or bfloat16,
            with at least `objective.layers`; with `embeddings`, `{layer: [k, C]}`, of layers that
            have k channels instead (see `Space`), as `vgg.load` has.
        objective: what is wanted.
    """

    def __init__(self, network: Network, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.spaces = {
            layer: Space(matrix.shape[1], tf.matmul(matrix, matrix, transpose_b=True))
            for layer, matrix in getattr(network, "embeddings", {}).items()
        }

    def space(self, layer: str, features: tf.Tensor) -> Space:
        """Where a layer is compared, of which these are features, `[…, k]`, or moments."""
        return self.spaces.get(layer) or Space(features.shape[-1])

    def gram(self, layer: str, moments: tf.Tensor) -> tf.Tensor:
        """The Gram matrix of a layer's moments `[…, k, k]`, as this loss takes it."""
        return gram(moments, self.objective.gram_norm, self.space(layer, moments).channels)

    def style_distance(self, layer: str, g: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        """How far Gram matrices of a layer are apart for this loss, `[…, k, k]` -> `[…]`."""
        return style_distance(g, a, self.objective.style_norm, self.space(layer, a))

    def features(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a content picture `[1, H, W, 3]`: `{layer: [1, h, w, C]}`."""
        return self._of(content, self.objective.shares("content"))

    def moments(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a style picture `[1, H, W, 3]`, any size: `{layer: FᵀF/(h·w)}`."""
        layers = self.objective.shares("style")
        return self.sums(self._made(style, layers), {}, None).moments if layers else {}

    def style_features(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `moments` are of: `{layer: [1, h, w, C]}`."""
        return self._of(style, self.objective.shares("style"))

    def _of(self, picture: tf.Tensor, layers: Collection[str]) -> dict[str, tf.Tensor]:
        features = self._made(picture, layers) if layers else {}
        return {layer: tf.cast(features[layer], tf.float32) for layer in layers}

    def _made(self, picture: tf.Tensor, layers: Collection[str]) -> Mapping[str, tf.Tensor]:
        """What the network makes of a picture.

        Raises:
            OptionError: it lacks some of the layers.
        """
        features = self.network(picture)
        missing = [layer for layer in layers if layer not in features]
        if missing:
            raise OptionError(
                f"the objective compares {', '.join(missing)}: expected a network that gives them, "
                f"got one of {', '.join(features)}; load it with layers=objective.layers"
            )
        return features

    def targets(self, content: tf.Tensor, styles: Sequence[tf.Tensor]) -> Targets:
        """The targets from pictures `[1, H, W, 3]` of any size.

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        return self.blended(self.features(content), [self.moments(style) for style in styles])

    def blended(
        self,
        content: Mapping[str, tf.Tensor],
        styles: Sequence[Mapping[str, tf.Tensor]],
        objective: Objective | None = None,
    ) -> Targets:
        """The targets from the `features` of the content and the `moments` of each style.

        Args:
            content, styles: these.
            objective: another one of this loss's `form`, to say how much each counts.

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        objective = objective or self.objective
        layers = objective.shares("style")
        weights = tuple(tf.constant(weight, tf.float32) for weight in objective.weights)
        if not layers:
            return Targets(dict(content), {}, {}, weights)
        if not styles:
            raise OptionError("expected at least one style picture, got none")
        moments = {layer: tf.stack([style[layer] for style in styles]) for layer in layers}
        blend = tf.constant(objective.blend(len(styles)))
        return self.mixed(content, moments, blend, weights)

    def mixed(
        self,
        content: Mapping[str, tf.Tensor],
        moments: Mapping[str, tf.Tensor],
        blend: tf.Tensor,
        weights: tuple[tf.Tensor, ...],
    ) -> Targets:
        """The targets from moments of any number of styles.

        The style loss of several styles is the blend of their losses, Σ_s b_s·|G − A_s|². With
        Ā = Σ_s b_s·A_s that is |G − Ā|² + Σ_s b_s·|A_s − Ā|²: one comparison, whatever the number
        of styles, plus a constant (`spread`) known beforehand.

        Args:
            content: `features` of the content.
            moments: `moments` of the styles, `{layer: [S, C, C]}`.
            blend: the share of each, `[S]`, of sum 1.
            weights: of the terms. They are part of the graph's input, not of the graph, so that it
                is the same one, to the last bit, where they are given later.
        """
        mean: dict[str, tf.Tensor] = {}
        spread: dict[str, tf.Tensor] = {}
        for layer in self.objective.shares("style"):
            grams = self.gram(layer, moments[layer])  # [S, C, C]
            mean[layer] = tf.reduce_sum(blend[:, None, None] * grams, 0)
            distances = self.style_distance(layer, grams, mean[layer])  # [S]
            spread[layer] = tf.reduce_sum(blend * distances)
        return Targets(dict(content), mean, spread, weights)

    def sums(
        self,
        features: Mapping[str, tf.Tensor],
        content: Mapping[str, tf.Tensor],
        variation: Variation | None,
        products: Mapping[str, tf.Tensor] | None = None,
    ) -> Sums:
        """The sums over a picture, or over a part of one.

        Args:
            features: the network's, of the part alone; of a part of its layers.
            content: the content picture's features for the part; `{}` to leave content out.
            variation: of the part's pixels; None to leave it out.
            products: of the features, of those layers that have had theirs taken.
        """
        styles = [layer for layer in self.objective.shares("style") if layer in features]
        squares = {
            layer: squared_distance(features[layer], target, self.space(layer, target))
            for layer, target in content.items()
        }
        taken = products or {}
        products = {
            layer: taken[layer] if layer in taken else product(features[layer]) for layer in styles
        }
        counts = {layer: positions(features[layer]) for layer in {**squares, **products}}
        return Sums(squares, products, counts, variation or Variation(tf.zeros(2), tf.ones(2)))

    def variation(
        self, pixels: tf.Tensor, size: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, Variation | None]:
        """As the function of this name, where it counts."""
        return variation(pixels, size) if self.objective.tv_weight else (pixels, None)

    def terms(self, sums: Sums, targets: Targets) -> Terms:
        """The loss of the picture that these are the sums of."""
        objective = self.objective
        content = style = tf.zeros(())
        for layer, share in objective.shares("content").items():
            size = sums.positions[layer] * self.space(layer, targets.content[layer]).channels
            distance = content_distance(sums.content[layer], size, objective.content_norm)
            content += share * distance
        for layer, share in objective.shares("style").items():
            product, target = sums.products[layer], targets.grams[layer]
            space = self.space(layer, product)
            scale = 1 / gram_size(sums.positions[layer], space.channels, objective.gram_norm)
            part = tf.constant(share / style_size(space.channels, objective.style_norm))
            error = squared_error(product, scale, target, part, space)
            style += error + share * targets.spread[layer]
        content_weight, style_weight, tv_weight = targets.weights or objective.weights
        content *= content_weight
        style *= style_weight
        # Each axis is divided by its own number of differences, as in the 2017 program.
        squares, pairs = sums.variation
        tv = tv_weight * tf.reduce_sum(tf.math.divide_no_nan(squares, pairs))
        return Terms(content, style, tv, content + style + tv)

    def __call__(self, pixels: tf.Tensor, targets: Targets) -> Terms:
        """The loss of a picture `[1, H, W, 3]` of the content's size."""
        pixels, varied = self.variation(pixels)
        return self.terms(self.seen(self.network, pixels, targets.content, varied), targets)

    def seen(
        self,
        network: Network,
        inputs: tf.Tensor,
        content: Mapping[str, tf.Tensor],
        variation: Variation | None,
    ) -> Sums:
        """The sums over what a network, or a part of one, makes of its inputs; see `sums`."""
        styles = self.objective.shares("style")
        products: dict[str, tf.Tensor] = {}

        def tap(layer: str, part: Callable[..., tf.Tensor], x: tf.Tensor) -> tf.Tensor:
            def through(x: tf.Tensor) -> Any:
                return passed(part(x)) if layer in styles else part(x)

            again = layer == getattr(network, "again", None)
            made = (tf.recompute_grad(through) if again else through)(x)
            if layer in styles:
                made, products[layer] = made
            return made

        return self.sums(tapped(network, inputs, tap), content, variation, products)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self(pixels, targets)
        return terms, tape.gradient(terms.total, pixels)
