"""How near a reconstruction comes to what it reconstructs: in pixels, in features, in Grams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf.losses import Loss
from neural_style_tf.networks import Network, embedded
from neural_style_tf.objective import Objective, equal


def psnr(picture: Any, original: Any) -> float:
    """Peak signal-to-noise ratio of two pictures 0-255, in decibels; infinite for equal ones."""
    error = np.mean(np.square(np.asarray(picture, np.float64) - np.asarray(original, np.float64)))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def feature_errors(network: Network, picture: Any, content: Any, noise: Any) -> dict[str, float]:
    """Σ(F−P)² of each layer of the network, as a share of the noise's.

    Args:
        network: `[1, H, W, 3]` -> `{layer: features}`.
        picture: `[1, H, W, 3]`, as are the others.
        content: what was reconstructed.
        noise: what that began with.
    """
    reached, wanted, first = (embedded(network, network(p)) for p in (picture, content, noise))
    return {
        layer: _ratio(
            tf.reduce_sum(tf.math.squared_difference(reached[layer], wanted[layer])),
            tf.reduce_sum(tf.math.squared_difference(first[layer], wanted[layer])),
        )
        for layer in wanted
    }


def gram_errors(network: Network, picture: Any, style: Any, noise: Any) -> dict[str, float]:
    """Σ(G−A)² of each layer, as a share of the noise's; and of the style loss, under "total".

    Args:
        network: `[1, H, W, 3]` -> `{layer: features}`, of the layers that count alike.
        picture: `[1, H, W, 3]`.
        style: what was reconstructed, any size.
        noise: what that began with.
    """
    layers = tuple(network(noise))
    loss = Loss(network, Objective(style_layers=equal(*layers), content_weight=0, tv_weight=0))
    reached, wanted, first = (loss.moments(p) for p in (picture, style, noise))

    def apart(moments: Mapping[str, Any]) -> dict[str, Any]:
        return {
            layer: loss.style_distance(
                layer, loss.gram(layer, each), loss.gram(layer, wanted[layer])
            )
            for layer, each in moments.items()
        }

    ends, starts = apart(reached), apart(first)
    errors = {layer: _ratio(ends[layer], starts[layer]) for layer in layers}
    return {**errors, "total": _ratio(sum(ends.values()), sum(starts.values()))}


def _ratio(end: Any, start: Any) -> float:
    return float(end) / float(start) if float(start) else float(float(end) > 0)
