"""A trained network at work on pictures of any size, whole or in tiles, with the same result."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.traced import Traced
from neural_style_tf.transform.net import paint
from neural_style_tf.transform.stored import Net
from neural_style_tf.transform.tiling import Tiling

# Reflection at a quarter of the size, rounded up, needs this much of a picture.
SMALLEST = 16


class Painter:
    """Paints in a mix of the styles of a network.

    Args:
        net: the network.
        mix: the share of each of its styles; they sum to 1.
        precision: of convolutions and activations, "float32" or "bfloat16".
    """

    def __init__(self, net: Net, mix: Sequence[float], precision: str = "float32") -> None:
        self.net, self.precision = net, precision
        self.mix = np.array([mix], np.float32)  # [1, S]
        stages = net.architecture.stages()
        self.tiling = Tiling(stages, net.weights, self.mix, precision)

        def whole(pixels: tf.Tensor) -> tf.Tensor:
            # Constants in the graph: oneDNN lays out the kernels once.
            weights = {name: tf.constant(weight) for name, weight in net.weights.items()}
            return paint(stages, weights, pixels, tf.constant(self.mix), precision)

        self.whole = Traced(whole)

    def __call__(
        self, pixels: npt.NDArray[np.float32], side: int | None = None
    ) -> npt.NDArray[np.float32]:
        """A picture, painted.

        Args:
            pixels: `[1, H, W, 3]`, RGB 0-255, any size.
            side: of the tiles to work in, in pixels, to bound the memory; None for none.

        Returns:
            float32 `[1, H, W, 3]`, not clipped.
        """
        height, width = pixels.shape[1:3]
        rows, columns = max(0, SMALLEST - height), max(0, SMALLEST - width)
        if rows or columns:
            pixels = np.pad(pixels, ((0, 0), (0, rows), (0, columns), (0, 0)), "edge")
        if side is None:
            painted = self.whole(tf.constant(pixels)).numpy()
        else:
            painted = self.tiling(pixels, side)
        return painted[:, :height, :width]


def footprint(net: Net, precision: str, *, tiled: bool) -> float:
    """Bytes for each pixel of a picture that painting it takes: what came of measuring.

    Whole, the largest stage is there several times: enlarged, with its margin, convolved and
    normalized. In tiles, the largest that is kept and the one made of it; see `Tiling`.
    """
    full, half, quarter = net.architecture.widths
    item = 2 if precision == "bfloat16" else 4
    pictures = 2 * 12  # given and painted, float32
    if tiled:
        return pictures + item * (3 + max(half / 4 + quarter / 16, 3 * quarter / 16))
    return pictures + item * (2.2 * half + 2.2 * full)


def mixture(styles: Sequence[str], weights: Sequence[float]) -> list[float]:
    """Shares that sum to 1; equal ones where no weights are given."""
    if not weights:
        return [1 / len(styles)] * len(styles)
    total = math.fsum(weights)
    return [weight / total for weight in weights]
