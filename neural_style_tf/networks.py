"""What a network is to the numerics: pixels in, features out, and what it may tell of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

Network = Callable[[tf.Tensor], Mapping[str, tf.Tensor]]


def centered(network: Network) -> tuple[Network, tf.Tensor]:
    """The network as it takes pixels less its mean, and that mean, `[3]`.

    The 2017 program changes pixels so: numbers about 0 are rounded less. A network that knows of no
    mean (attributes `centered` and `mean`, as `vgg.load` has) is taken as it is, with a mean of 0.
    """
    mean = getattr(network, "mean", None)
    return (network, tf.zeros(3)) if mean is None else (network.centered, mean)  # type: ignore


def tapped(
    network: Network,
    pixels: tf.Tensor,
    tap: Callable[[str, Callable[[tf.Tensor], tf.Tensor], tf.Tensor], tf.Tensor],
) -> dict[str, tf.Tensor]:
    """The network's features, each of which goes on in the network as `tap` gives it.

    `tap` takes a layer, the part of the network that ends there, and what that part is given; where
    a network can be cut (`parts`, as `vgg.load(…).centered` has), and but for the deepest, behind
    which there is nothing.
    """
    parts = getattr(network, "parts", None)
    if not (isinstance(parts, Mapping) and parts):
        return dict(network(pixels))
    features, current = {}, pixels
    *_, deepest = parts
    for layer, part in parts.items():
        current = part(current) if layer == deepest else tap(layer, part, current)
        features[layer] = current
    return features


def halves(network: Network, layer: str) -> tuple[Network, Network]:
    """The network in two: pixels -> features so far and that layer's, and these -> the rest.

    For networks that have `halves`, as `vgg.load(…).centered` has.
    """
    first, rest = network.halves(layer)  # type: ignore
    return first, rest


def embedded(network: Network, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The network's features in all channels of the one that it was made from; see `Space`."""
    embeddings = getattr(network, "embeddings", {})
    return {
        layer: tf.tensordot(tf.cast(each, tf.float32), embeddings[layer], 1)
        if layer in embeddings
        else each
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

    def of_features(self, difference: tf.Tensor) -> tf.Tensor:
        """(F−P)M of a difference `[…, k]` of features."""
        return difference if self.metric is None else tf.tensordot(difference, self.metric, 1)

    def of_grams(self, difference: tf.Tensor) -> tf.Tensor:
        """M(G−A)M of a difference `[…, k, k]` of Gram matrices."""
        return difference if self.metric is None else self.metric @ difference @ self.metric
