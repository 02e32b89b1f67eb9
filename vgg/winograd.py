"""Winograd's convolution: 3×3 kernels with a fourth of the multiplications.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308), F(4×4,
3×3): a tile of 4×4 outputs depends on 6×6 inputs d, and is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, where a
kernel's G g Gᵀ is known beforehand. Summed over channels, each of the 36 products of ⊙ is a product
of matrices, [tiles, in]·[in, out]: 36 multiplications where the convolution itself has 144. The
rest are sums over the 36 places of a tile, which are little work next to hundreds of channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vgg.convolution import Given

# Of the output, and of the input that it depends on.
_SIDE, _SEEN = 4, 6

# Numbers that tiles have at most at a time, before and after their products.
_STRIP = 2**23

# How often a transformed kernel is as large as the kernel.
GROWTH = _SEEN**2 // 9

# For the points 0, ±½, ±3/2 and ∞, in one dimension; in two, Kronecker products with themselves.
# Lavin & Gray's 0, ±1, ±2 round twice as much; and these numbers, but for one, have eight bits.
_B = np.array(
    [
        [9, 0, -40, 0, 16, 0],
        [0, -18, -36, 8, 16, 0],
        [0, 18, -36, -8, 16, 0],
        [0, -6, -4, 24, 16, 0],
        [0, 6, -4, -24, 16, 0],
        [0, 9, 0, -40, 0, 16],
    ]
)
_G = np.array([[64, 0, 0], [-36, -18, -9], [-36, 18, -9], [4, 6, 9], [4, -6, 9], [0, 0, 36]])
_A = np.array(
    [[8, 8, 8, 8, 8, 0], [0, 4, -4, 12, -12, 0], [0, 2, 2, 18, 18, 0], [0, 1, -1, 27, -27, 8]]
)
_INPUT = np.kron(_B, _B).astype(np.float32) / 16**2  # [36, 36]
_KERNEL = np.kron(_G, _G) / 36**2  # [36, 9]
_OUTPUT = np.kron(_A, _A).astype(np.float32) / 8**2  # [16, 36]


def transformed(kernel: Any) -> tf.Tensor:
    """G g Gᵀ of a kernel `[3, 3, in, out]`: `[36, in, out]`, float32, rounded once."""
    flat = tf.reshape(tf.cast(kernel, tf.float64), (9, -1))
    return tf.cast(tf.reshape(_KERNEL @ flat, (_SEEN**2, *kernel.shape[2:])), tf.float32)


class WinogradConvolution(keras.layers.Layer):
    """A frozen 3×3 convolution, stride 1, "same", to about six digits, in bfloat16 to two.

    It has no kernel but the transformed one, of four times the size. Not for XLA.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.given = kernel
        self.derived = self.add_weight(
            name="derived",
            shape=(_SEEN**2, *kernel.shape[2:]),
            initializer=Given(transformed(kernel)),
        )
        self.bias = (
            None
            if bias is None
            else self.add_weight(name="bias", shape=bias.shape, initializer=Given(bias))
        )

    derive = staticmethod(transformed)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """`[N, H, W, in]` -> `[N, H, W, out]`; Keras would trace the layer to find out."""
        return (*input_shape[:3], self.given.shape[3])

    def call(self, inputs: Any) -> Any:
        """`[N, H, W, in]` -> `[N, H, W, out]`."""
        # Read once, outside: a custom gradient must not touch variables.
        kernel = tf.cast(self.derived, inputs.dtype)

        @tf.custom_gradient
        def convolve(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return _run(x, kernel), lambda upstream: _run(upstream, kernel, back=True)

        result = convolve(inputs)
        return result if self.bias is None else tf.nn.bias_add(result, self.bias)


def _run(x: tf.Tensor, kernel: tf.Tensor, *, back: bool = False) -> tf.Tensor:
    """`_convolved` in a graph of its own."""
    made = _graph(tuple(kernel.shape), kernel.dtype, back)(x, kernel)
    return tf.ensure_shape(made, (*x.shape[:3], made.shape[3]))  # a loop forgets its size


@functools.cache
def _graph(shape: tuple[int, ...], dtype: tf.DType, back: bool) -> Any:
    """`_convolved` with transformed kernels of that shape and type, as a graph of its own.

    Traced once and not with each layer. Called from another graph it stays a function, within which
    what is no longer needed is freed in order.
    """
    channels = shape[2 if back else 1]
    return tf.function(
        functools.partial(_convolved, back=back),
        input_signature=[
            tf.TensorSpec((None, None, None, channels), dtype),
            tf.TensorSpec(shape, dtype),
        ],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


class _Tiling(NamedTuple):
    """How tiles lie in pictures of a size: scalars, int32.

    Attributes:
        height, width: in pixels.
        down, across: how many tiles there are. The rows of tiles of all pictures are numbered on,
            and so are their rows of pixels.
    """

    height: tf.Tensor
    width: tf.Tensor
    down: tf.Tensor
    across: tf.Tensor

    @property
    def margins(self) -> list[list[Any]]:
        """Rows, then columns, before the pictures and after that their tiles see."""
        around = _SEEN - _SIDE - 1
        return [
            [around, around + _SIDE * self.down - self.height],
            [around, around + _SIDE * self.across - self.width],
        ]

    def spare(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """How many tiles more make the number of tiles in some rows of them odd: 0 or 1.

        Sums run over places in tiles, and each place has all tiles in a row. Rows that are powers
        of two apart in memory, or nearly so, push each other out of the caches: with one tile more
        the sums take half to two thirds of the time.
        """
        return 1 - (last - first) * self.across % 2

    def seen(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """Which pixels of the pictures with their margins some rows of tiles see.

        Returns:
            `[6 * 6, tiles]`: by row and column within a tile, then by row and column of tiles, and
            any pixels for the spare one.
        """
        high, wide = (_SIDE * tiles + _SEEN - _SIDE for tiles in (self.down, self.across))
        tiles, within = tf.range(first, last), tf.range(_SEEN)
        top = tiles // self.down * high + tiles % self.down * _SIDE
        rows = within[:, None, None, None] + top[:, None]  # [6, 1, rows of tiles, 1]
        columns = within[:, None, None] + tf.range(self.across) * _SIDE
        found = tf.reshape(rows * wide + columns, (_SEEN**2, -1))
        return tf.pad(found, [[0, 0], [0, self.spare(first, last)]])

    def above(self, tile: tf.Tensor) -> tf.Tensor:
        """How many rows of pixels there are above a row of tiles."""
        return tile // self.down * self.height + tile % self.down * _SIDE

    def made(self, first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """Where pixels are among what some rows of tiles make, `[4 * 4, tiles]` as for `seen`.

        Returns:
            `[rows, width]`.
        """
        pixels, columns = tf.range(self.above(first), self.above(last)), tf.range(self.width)
        picture, row = pixels // self.height, pixels % self.height
        tile = picture * self.down + row // _SIDE - first
        within = (row % _SIDE * _SIDE)[:, None] + columns % _SIDE
        tiles = (last - first) * self.across + self.spare(first, last)
        return within * tiles + tile[:, None] * self.across + columns // _SIDE


def _convolved(x: tf.Tensor, kernel: tf.Tensor, *, back: bool) -> tf.Tensor:
    """`[N, H, W, in]` -> `[N, H, W, out]`, or on the way back from out to in.

    The gradient is the convolution with the kernel turned about. What that makes of a tile is what
    the kernel itself makes of the tile turned about, turned about: so it is the same transformed
    kernel, and the way back is the way there.

    Args:
        x: features, or what comes back.
        kernel: transformed, `[36, in, out]`.
        back: whether it is the way back.
    """
    sums = (_INPUT[:, ::-1], _OUTPUT[::-1]) if back else (_INPUT, _OUTPUT)
    into, out_of = (tf.cast(each, x.dtype) for each in sums)
    channels, out = (kernel.shape[2], kernel.shape[1]) if back else kernel.shape[1:]
    batch, height, width, _ = tf.unstack(tf.shape(x))
    tiling = _Tiling(height, width, -(-height // _SIDE), -(-width // _SIDE))
    pixels = tf.reshape(tf.pad(x, [[0, 0], *tiling.margins, [0, 0]]), (-1, channels))

    def strip(first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        # All channels of a pixel are copied in one piece, sooner than slices are put together.
        seen = tf.gather(pixels, tiling.seen(first, last))
        summed = tf.reshape(into @ tf.reshape(seen, (_SEEN**2, -1)), (_SEEN**2, -1, channels))
        products = tf.matmul(summed, kernel, transpose_b=back)  # [36, tiles, out]
        made = out_of @ tf.reshape(products, (_SEEN**2, -1))
        return tf.gather(tf.reshape(made, (-1, out)), tiling.made(first, last))

    # A few rows of tiles at a time: all of them take several times the features.
    total, row = batch * tiling.down, _SEEN**2 * max(channels, out) * tiling.across
    strips = -(-total // tf.maximum(_STRIP // row, 1))
    most = -(-total // strips)

    def body(first: tf.Tensor, found: tf.TensorArray) -> tuple[Any, ...]:
        last = tf.minimum(first + most, total)
        return last, found.write(first // most, strip(first, last))

    found = tf.TensorArray(x.dtype, -(-total // most), infer_shape=False)
    _, found = tf.while_loop(
        lambda first, _: first < total, body, (tf.constant(0), found), parallel_iterations=1
    )
    return tf.reshape(found.concat(), (batch, height, width, out))
