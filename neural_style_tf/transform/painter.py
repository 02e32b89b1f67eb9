"""A trained network at work on pictures of any size, whole or in tiles, with the same result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.errors import OptionError
from neural_style_tf.pixels import as_pixels
from neural_style_tf.traced import Traced
from neural_style_tf.transform.architecture import MARGIN
from neural_style_tf.transform.net import paint
from neural_style_tf.transform.stored import Net
from neural_style_tf.transform.tiling import Tiling


class Painter:
    """Paints in a mix of the styles of a network.

    Args:
        net: the network.
        mix: the share of each of its styles; they sum to 1.
        precision: of convolutions and activations, "float32" or "bfloat16".

    Raises:
        OptionError: shares of another number than styles.
    """

    def __init__(self, net: Net, mix: Sequence[float], precision: str = "float32") -> None:
        if len(mix) != len(net.styles):
            raise OptionError(
                f"expected one share for each of {len(net.styles)} style(s), got {len(mix)}"
            )
        self.net, self.precision = net, precision
        self.mix = np.array([mix], np.float32)  # [1, S]
        stages = net.architecture.stages()
        self.tiling = Tiling(stages, net.weights, self.mix, precision)

        def whole(pixels: tf.Tensor) -> tf.Tensor:
            # Constants in the graph: oneDNN lays out the kernels once.
            weights = {name: tf.constant(weight) for name, weight in net.weights.items()}
            return paint(stages, weights, pixels, tf.constant(self.mix), precision)

        self.whole = Traced(whole)

    def __call__(self, pixels: Any, side: int | None = None) -> npt.NDArray[np.float32]:
        """A picture, painted.

        Args:
            pixels: `[H, W, 3]` or `[1, H, W, 3]`, RGB 0-255, any size and number type.
            side: of the tiles to work in, in pixels, to bound the memory; None for none.

        Returns:
            float32 `[1, H, W, 3]`, not clipped.

        Raises:
            OptionError: pixels of another shape, or some that are NaN or infinite.
        """
        around = (MARGIN, MARGIN)
        pixels = np.pad(as_pixels(pixels).numpy(), ((0, 0), around, around, (0, 0)), "reflect")
        if side is None:
            painted = self.whole(tf.constant(pixels)).numpy()
        else:
            painted = self.tiling(pixels, side)
        return painted[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def footprint(net: Net, precision: str, size: tuple[int, int], side: int | None = None) -> float:
    """Bytes that painting a picture takes, beside TensorFlow: what came of measuring.

    Whole, what its second enlargement gets, makes and adds is there at once, of full size. In tiles
    that is of a tile, with what the C library keeps of others; and of the picture, what is kept at
    half and at a quarter of its size (see `Tiling`). Measured with benchmarks/feedforward.py.

    Args:
        size: height and width of the picture.
        side: of the tiles, None for none.
    """
    full, half, quarter = net.architecture.widths
    item = 2 if precision == "bfloat16" else 4
    pixels = size[0] * size[1]
    if side is None:
        return pixels * (24 + 2.8 * item * (half + full))
    kept = half / 2 + 3 * quarter / 16
    return pixels * (36 + 1.1 * item * kept) + 6.3 * item * (half + full) * side**2
