"""The losses of neural style transfer (Gatys et al. 2015), as functions; `Loss` ties them together.

Everything here is float32 on the device and differentiable; nothing knows where the features come
from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective

Network = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]


def centered(network: Network) -> tuple[Network, tf.Tensor]:
    """The network as it takes pixels less its mean, and that mean, `[3]`.

    The 2017 program changes pixels so: numbers about 0 are rounded less. A network that knows of no
    mean (attributes `centered` and `mean`, as `vgg.load` has) is taken as it is, with a mean of 0.
    """
    mean = getattr(network, "mean", None)
    return (network, tf.zeros(3)) if mean is None else (network.centered, mean)  # type: ignore


def embedded(network: Network, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The network's features in all channels of the one that it was made from; see `Space`."""
    embeddings = getattr(network, "embeddings", {})
    return {
        layer: tf.tensordot(each, embeddings[layer], 1) if layer in embeddings else each
        for layer, each in features.items()
    }


@dataclass(frozen=True)
class Space:
    """Where the features of a layer are compared.

    A layer may have k of the C channels of the network that its own was made from, and an embedding
    E, `[k, C]`: features F stand for FE. They are compared as those would be, and cost what they
    are: |(F−P)E|² is the sum of (F−P)M∘(F−P), and with Gram matrices |Eᵀ(G−A)E|² that of
    M(G−A)M∘(G−A).

    Attributes:
        channels: C.
        metric: M = EEᵀ, `[k, k]`; None where the layer has all channels.
    """

    channels: int
    metric: tf.Tensor | None = None

    def of_grams(self, difference: tf.Tensor) -> tf.Tensor:
        """M(G−A)M of a difference `[…, k, k]` of Gram matrices."""
        return difference if self.metric is None else self.metric @ difference @ self.metric


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
        spread: `{layer: scalar}`, what separates the styles from their blend; see `Loss.mixed`.
        weights: how much content, style and total variation count, scalars; where there are none,
            as much as the objective says.
    """

    content: dict[str, tf.Tensor]
    grams: dict[str, tf.Tensor]
    spread: dict[str, tf.Tensor]
    weights: tuple[tf.Tensor, ...] = ()


class Variation(NamedTuple):
    """Of the differences of neighbouring pixels, vertical and horizontal.

    Attributes:
        squares: the sums of their squares, `[2]`.
        pairs: how many there were of each, `[2]`, float32.
    """

    squares: tf.Tensor
    pairs: tf.Tensor


class Sums(NamedTuple):
    """What a loss needs of a picture: sums over positions, so those of its parts add up.

    Attributes:
        content: `{layer: Σ(F−P)²}`, scalars.
        products: `{layer: FᵀF}`, `[C, C]`.
        positions: `{layer: h·w}`, how many positions went into these: scalars, float32.
        variation: of pixels.
    """

    content: dict[str, tf.Tensor]
    products: dict[str, tf.Tensor]
    positions: dict[str, tf.Tensor]
    variation: Variation

    @property
    def moments(self) -> dict[str, tf.Tensor]:
        """`{layer: FᵀF/(h·w)}`, `[C, C]`, symmetric to the last bit."""
        return {
            layer: symmetric(total / self.positions[layer])
            for layer, total in self.products.items()
        }


@tf.custom_gradient
def product(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """FᵀF of `[1, h, w, C]` features, summed over positions: `[C, C]`.

    Its gradient F(U + Uᵀ) is one matrix product; the library's own would be two.
    """
    flat = tf.reshape(features, (-1, features.shape[-1]))  # [h·w, C]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.matmul(flat, upstream + tf.transpose(upstream)), tf.shape(features))

    return tf.matmul(flat, flat, transpose_a=True), gradient


def symmetric(matrix: tf.Tensor) -> tf.Tensor:
    """The upper triangle of `[C, C]`, mirrored.

    The library's FᵀF may differ from its own transpose in the last bit. Of a style one triangle is
    kept; what was kept and what has just been measured are to give the same picture.
    """
    upper = tf.linalg.band_part(tf.ones_like(matrix), 0, -1) > 0
    return tf.where(upper, matrix, tf.transpose(matrix))


def moments(features: tf.Tensor) -> tf.Tensor:
    """FᵀF/(h·w) of `[1, h, w, C]` features: `[C, C]`."""
    return product(features) / positions(features)


def host_moments(features: tf.Tensor) -> npt.NDArray[np.float32]:
    """The same by NumPy, whose sums, in another order, round otherwise: as in the 2017 program."""
    flat = np.reshape(features, (-1, features.shape[-1]))
    return np.matmul(flat.T, flat) / np.float32(len(flat))


def positions(features: tf.Tensor) -> tf.Tensor:
    """h·w of `[1, h, w, C]` features, float32."""
    return tf.cast(tf.reduce_prod(tf.shape(features)[1:3]), tf.float32)


def gram(moments: tf.Tensor, norm: str = "hwc", channels: int | None = None) -> tf.Tensor:
    """The Gram matrix of second moments FᵀF/(h·w), `[…, C, C]`.

    Norms, by which FᵀF is divided in all: "hwc" h·w·C, "hw" h·w, "2hwc" 2·h·w·C.

    Args:
        moments, norm: of these.
        channels: C, where the layer has not all of them; see `Space`.
    """
    # A graph multiplies by what it was to be divided by: written so, all round alike.
    return moments * (1 / gram_size(1, channels or moments.shape[-1], norm))


def gram_size(positions: Any, channels: int, norm: str) -> Any:
    """What FᵀF of h·w positions is divided by; see `gram`."""
    return positions * {"hwc": channels, "hw": 1, "2hwc": 2 * channels}[norm]


def squared_distance(f: tf.Tensor, p: tf.Tensor, space: Space) -> tf.Tensor:
    """Σ(F−P)² of features `[1, h, w, C]`, compared in that space: a scalar."""
    if space.metric is None:
        return tf.reduce_sum(tf.math.squared_difference(f, p))
    difference = tf.reshape(f - p, (-1, p.shape[-1]))
    return tf.reduce_sum(tf.matmul(difference, space.metric) * difference)


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


def style_distance(
    g: tf.Tensor, a: tf.Tensor, norm: str = "mean", space: Space | None = None
) -> tf.Tensor:
    """How far Gram matrices `[…, C, C]` are apart: `[…]`.

    Norms: "mean" Σ(G−A)²/C², "quarter-mean" a quarter of it (Gatys et al. 2015, eq. 4, on Grams
    divided by h·w), "sum" Σ(G−A)² (Johnson et al. 2016, eq. 4).

    Args:
        g, a, norm: of these.
        space: where they are compared; as they are by default.
    """
    space, difference = space or Space(a.shape[-1]), g - a
    squared = difference * space.of_grams(difference)
    return tf.reduce_sum(squared, (-2, -1)) / style_size(space.channels, norm)


def style_size(channels: int, norm: str) -> int:
    """What the squared differences of Gram matrices `[C, C]` are divided by; see `style_distance`.

    Their mean is a quarter of what it would be, where a norm has the factor 1/4.
    """
    return {"mean": 1, "quarter-mean": 4, "sum": 0}[norm] * channels**2 or 1


def _squared_error(
    product: tf.Tensor, scale: tf.Tensor, target: tf.Tensor, share: tf.Tensor, space: Space
) -> tf.Tensor:
    """share·Σ(scale·FᵀF − A)²: a scalar.

    The numbers of its gradient are multiplied with each other before the matrix is, so that it is
    rounded once, as TensorFlow does with the constants of the 2017 program.
    """

    @tf.custom_gradient
    def error(product: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        difference = product * scale - target
        compared = space.of_grams(difference)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return compared * (2 * share * upstream * scale)

        return share * tf.reduce_sum(difference * compared), gradient

    return error(product)


def variation(
    pixels: tf.Tensor, size: tuple[tf.Tensor, tf.Tensor] | None = None
) -> tuple[tf.Tensor, Variation]:
    """Squared differences of neighbours, the first of each pair in the upper left height×width.

    Args:
        pixels: `[1, H, W, 3]`, a row and a column more than `size` at most.
        size: height and width; by default those of the pixels.

    Returns:
        The pixels, and of their variation what `Sums` holds. Where the network is given these
        pixels, its gradient is the first that the differences' are added to, one after the other:
        in this order the 2017 program adds up.
    """
    height, width = size or tf.unstack(tf.shape(pixels)[1:3])

    @tf.custom_gradient
    def varied(p: tf.Tensor) -> tuple[Any, Callable[..., tf.Tensor]]:
        vertical = p[:, 1:, :width] - p[:, :-1, :width]
        horizontal = p[:, :height, 1:] - p[:, :height, :-1]
        right, below = tf.shape(p)[2] - width, tf.shape(p)[1] - height

        # Written out: the library's own gradient, of slices, takes as long as a convolution.
        def gradient(upstream: tf.Tensor, of_sums: tf.Tensor) -> tf.Tensor:
            down, across = vertical * (2 * of_sums[0]), horizontal * (2 * of_sums[1])
            for change, rows, columns in (
                (down, (1, 0), (0, right)),
                (-down, (0, 1), (0, right)),
                (across, (0, below), (1, 0)),
                (-across, (0, below), (0, 1)),
            ):
                upstream += tf.pad(change, ((0, 0), rows, columns, (0, 0)))
            return upstream

        sums = [tf.reduce_sum(tf.square(each)) for each in (vertical, horizontal)]
        return (tf.identity(p), tf.stack(sums)), gradient

    shape = tf.shape(pixels)
    pairs = tf.stack([(shape[1] - 1) * width, (shape[2] - 1) * height]) * shape[3]
    same, sums = varied(pixels)
    return same, Variation(sums, tf.cast(pairs, tf.float32))


class Loss(tf.Module):
    """A network and an Objective: targets from pictures, the loss of a picture, its gradient.

    Args:
        network: `[1, H, W, 3]` float32 RGB 0-255 -> `{layer: [1, h, w, C]}`, with at least
            `objective.layers`; with `embeddings`, `{layer: [k, C]}`, of layers that have k channels
            instead (see `Space`), as `vgg.load` has.
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
        layers = self.objective.shares("content")
        features = self.network(content) if layers else {}
        return {layer: features[layer] for layer in layers}

    def moments(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What is compared of a style picture `[1, H, W, 3]`, any size: `{layer: FᵀF/(h·w)}`."""
        if not self.objective.shares("style"):
            return {}
        return self.sums(self.network(style), {}, None).moments

    def style_features(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `moments` are of: `{layer: [1, h, w, C]}`."""
        layers = self.objective.shares("style")
        features = self.network(style) if layers else {}
        return {layer: features[layer] for layer in layers}

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

        Raises:
            OptionError: style blend weights of another number than styles, or no style.
        """
        layers = self.objective.shares("style")
        weights = tuple(tf.constant(weight, tf.float32) for weight in self.objective.weights)
        if not layers:
            return Targets(dict(content), {}, {}, weights)
        if not styles:
            raise OptionError("expected at least one style picture, got none")
        moments = {layer: tf.stack([style[layer] for style in styles]) for layer in layers}
        blend = tf.constant(self.objective.blend(len(styles)))
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
    ) -> Sums:
        """The sums over a picture, or over a part of one.

        Args:
            features: the network's, of the part alone.
            content: the content picture's features for the part; `{}` to leave content out.
            variation: of the part's pixels; None to leave it out.
        """
        styles = self.objective.shares("style")
        squares = {
            layer: squared_distance(features[layer], target, self.space(layer, target))
            for layer, target in content.items()
        }
        products = {layer: product(features[layer]) for layer in styles}
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
            error = _squared_error(product, scale, target, part, space)
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
        return self.terms(self.sums(self.network(pixels), targets.content, varied), targets)

    def value_and_gradient(self, pixels: tf.Tensor, targets: Targets) -> tuple[Terms, tf.Tensor]:
        """The loss and the gradient of its total, `[1, H, W, 3]`."""
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            terms = self(pixels, targets)
        return terms, tape.gradient(terms.total, pixels)
