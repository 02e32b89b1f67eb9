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
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vgg.convolution import Given

# Of the output, and of the input that it depends on.
_SIDE, _SEEN = 4, 6

# Numbers that tiles have at most at a time, before and after their products.
_STRIP = 2**22

# How often a transformed kernel is as large as the kernel.
GROWTH = _SEEN**2 // 9

# For the points 0, ±1, ±2 and ∞, in one dimension; in two, Kronecker products with themselves.
_B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
_INPUT = np.kron(_B, _B).astype(np.float32)  # [36, 36]
_KERNEL = np.kron(_G, _G)  # [36, 9]
_OUTPUT = np.kron(_A, _A).astype(np.float32)  # [16, 36]


def transformed(kernel: Any) -> tf.Tensor:
    """G g Gᵀ of a kernel `[3, 3, in, out]`: `[36, in, out]`, float32, rounded once."""
    flat = tf.reshape(tf.cast(kernel, tf.float64), (9, -1))
    return tf.cast(tf.reshape(_KERNEL @ flat, (_SEEN**2, *kernel.shape[2:])), tf.float32)


class WinogradConvolution(keras.layers.Layer):
    """A frozen 3×3 convolution, stride 1, "same", float32, to about six digits.

    It has no kernel but the transformed one, of four times the size.
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
        kernel = tf.convert_to_tensor(self.derived)

        @tf.custom_gradient
        def convolve(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return _run(_convolved, x, kernel), lambda upstream: _run(_back, upstream, kernel)

        result = convolve(inputs)
        return result if self.bias is None else tf.nn.bias_add(result, self.bias)


def _run(function: Callable[..., tf.Tensor], x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """What a function makes of `[N, H, W, C]` and a transformed kernel `[36, in, out]`."""
    made = _graph(function, x.shape[-1], tuple(kernel.shape))(x, kernel)
    return tf.ensure_shape(made, (*x.shape[:3], made.shape[3]))  # a loop forgets its size


@functools.cache
def _graph(function: Callable[..., tf.Tensor], channels: int, shape: tuple[int, ...]) -> Any:
    """A function of `[N, H, W, channels]` and a kernel of that shape, as a graph of its own.

    Traced once and not with each layer. Called from another graph it stays a function, within which
    what is no longer needed is freed in order.
    """
    return tf.function(
        function,
        input_signature=[
            tf.TensorSpec((None, None, None, channels), tf.float32),
            tf.TensorSpec(shape, tf.float32),
        ],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def _convolved(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`[N, H, W, in]` -> `[N, H, W, out]`."""
    _, channels, out = kernel.shape
    over = _SEEN - _SIDE

    def strip(first: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, _: Any) -> tuple[Any, Any]:
        # With one tile more each way to look into: [4, 4, N, rows + 1, columns + 1, in].
        seen = _split(x, 1, first, rows + 1, columns + 1)
        # A tile sees the first two rows and columns of the next one, too.
        seen = tf.concat([seen[:, :, :, :rows], seen[:over, :, :, 1:]], 0)
        seen = tf.concat([seen[:, :, :, :, :columns], seen[:, :over, :, :, 1:]], 1)
        tiles = tf.shape(seen)[2:5]  # [6, 6, N, rows, columns, in]
        summed = _INPUT @ tf.reshape(seen, (_SEEN**2, -1))
        products = tf.reshape(summed, (_SEEN**2, -1, channels)) @ kernel  # [36, tiles, out]
        made = _OUTPUT @ tf.reshape(products, (_SEEN**2, -1))
        made = _joined(tf.reshape(made, tf.concat([(_SIDE, _SIDE), tiles, (out,)], 0)))
        height, width = tf.unstack(tf.shape(x)[1:3])
        return made[: height - first * _SIDE, :, :width], ()

    return _by_strips(strip, x, kernel, out)


def _back(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The gradient `[N, H, W, in]` of `[N, H, W, out]`: each step of `_convolved` transposed."""
    _, channels, out = kernel.shape
    over = _SEEN - _SIDE

    def strip(first: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, rest: Any) -> tuple[Any, Any]:
        made = _split(upstream, 0, first, rows, columns)  # [4, 4, N, rows, columns, out]
        tiles = tf.shape(made)[2:5]
        products = tf.matmul(_OUTPUT, tf.reshape(made, (_SIDE**2, -1)), transpose_a=True)
        summed = tf.matmul(tf.reshape(products, (_SEEN**2, -1, out)), kernel, transpose_b=True)
        seen = tf.matmul(_INPUT, tf.reshape(summed, (_SEEN**2, -1)), transpose_a=True)
        seen = tf.reshape(seen, tf.concat([(_SEEN, _SEEN), tiles, (channels,)], 0))
        for place, tile in ((0, 3), (1, 4)):
            own, next_one = tf.split(seen, (_SIDE, over), place)
            seen = _padded(own, {tile: (0, 1)}) + _padded(
                next_one, {tile: (1, 0), place: (0, _SIDE - over)}
            )
        # What the strip before has left for the first rows, and what this one leaves.
        seen = _joined(seen) + _padded(rest, {0: (0, rows * _SIDE)})
        height, width = tf.unstack(tf.shape(upstream)[1:3])
        # The first row and column of all are of the zeros around the picture.
        begin = tf.cast(first == 0, tf.int32)
        ready = tf.where((first + rows) * _SIDE < height, rows * _SIDE, height + 1 - first * _SIDE)
        left = tf.ensure_shape(seen[rows * _SIDE :], rest.shape)
        return seen[begin:ready, :, 1 : width + 1], left

    batch, _, width, _ = tf.unstack(tf.shape(upstream))
    columns = -(-width // _SIDE) + 1
    nothing = tf.zeros((_SIDE, batch, columns * _SIDE, channels))
    return _by_strips(strip, upstream, kernel, channels, nothing)


def _by_strips(
    strip: Callable[..., tuple[Any, Any]], x: tf.Tensor, kernel: tf.Tensor, out: int, rest: Any = ()
) -> tf.Tensor:
    """`[N, H, W, out]`, a few rows of tiles at a time: all tiles take several times the features.

    Args:
        strip: takes the first row of tiles, how many rows and columns there are, and what the
            strip before has left for it; gives `[rows, N, W, out]`, and what it leaves.
        x, kernel: looked at for their shapes.
        out: channels.
        rest: what is left for the first strip.
    """
    batch, height, width, _ = tf.unstack(tf.shape(x))
    total, columns = -(-height // _SIDE), -(-width // _SIDE)
    row = _SEEN**2 * max(kernel.shape[1:]) * batch * columns
    strips = -(-total // tf.maximum(_STRIP // row, 1))
    most = -(-total // strips)

    def body(first: tf.Tensor, found: tf.TensorArray, rest: Any) -> tuple[Any, ...]:
        rows = tf.minimum(most, total - first)
        made, rest = strip(first, rows, columns, rest)
        return first + rows, found.write(first // most, made), rest

    found = tf.TensorArray(x.dtype, -(-total // most), infer_shape=False)
    _, found, _ = tf.while_loop(
        lambda first, *_: first < total,
        body,
        (tf.constant(0), found, rest),
        parallel_iterations=1,
    )
    return tf.transpose(tf.ensure_shape(found.concat(), (None, None, None, out)), (1, 0, 2, 3))


def _split(
    x: tf.Tensor, before: int, first: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor
) -> tf.Tensor:
    """Tiles of `[N, H, W, C]` by place: `[4, 4, N, rows, columns, C]`.

    That is row and column within a tile, then tiles, of which there are `first` rows above. They
    begin so many pixels `before` the picture, around which all is 0.
    """
    top = first * _SIDE - before
    above = -tf.minimum(top, 0)
    x = x[:, top + above : top + rows * _SIDE]
    shape = tf.shape(x)
    below, right = rows * _SIDE - above - shape[1], columns * _SIDE - before - shape[2]
    x = _padded(x, {1: (above, below), 2: (before, right)})
    x = tf.reshape(x, (shape[0], rows, _SIDE, columns, _SIDE, x.shape[3]))
    return tf.transpose(x, (2, 4, 0, 1, 3, 5))


def _joined(places: tf.Tensor) -> tf.Tensor:
    """The reverse of `_split`, rows first: `[H, N, W, C]`."""
    x = tf.transpose(places, (3, 0, 2, 4, 1, 5))
    rows, _, batch, columns, _, channels = tf.unstack(tf.shape(x))
    return tf.reshape(x, (rows * _SIDE, batch, columns * _SIDE, channels))


def _padded(x: tf.Tensor, zeros: dict[int, tuple[Any, Any]]) -> tf.Tensor:
    """With so many zeros before and after, by axis."""
    return tf.pad(x, [zeros.get(axis, (0, 0)) for axis in range(len(x.shape))])
