"""The convolutions of the transform network: past the border by reflection, the fastest way."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from neural_style_tf.transform.architecture import Stage
from vgg.squares import FEW, squared


def convolved(
    current: tf.Tensor,
    kernel: tf.Tensor,
    stage: Stage,
    size: tf.Tensor,
    portable: bool = False,
) -> tf.Tensor:
    """The convolution of a stage, past the border by reflection.

    Args:
        current: `[B, H, W, inputs]`.
        kernel: `[k, k, inputs, outputs]`.
        stage: which.
        size: height and width that a stage which enlarges is to have: twice its own, or one less.
        portable: of operations alone that every runtime has, if not of the fastest.

    Returns:
        `[B, h, w, outputs]`; with stride 2, h and w are half of H and W, rounded up.
    """
    if stage.enlarge and not portable and stage.kernel == 3:
        return doubled_and_convolved(current, kernel, size)
    if stage.enlarge:
        height, width = (2 * length for length in tf.unstack(tf.shape(current)[1:3]))
        current = tf.raw_ops.ResizeNearestNeighbor(images=current, size=[height, width])
    margin = stage.kernel // 2
    if portable:
        around = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
        made = tf.nn.conv2d(tf.pad(current, around, "REFLECT"), kernel, stage.stride, "VALID")
    else:
        made = within(reflected(current, margin, spare_of(stage)), kernel, stage)
    return made[:, : size[0], : size[1]] if stage.enlarge else made


def spare_of(stage: Stage) -> int:
    """Rows and columns, of any finite values, that `within` takes after those that count."""
    return int(stage.outputs <= FEW and stage.stride == 1 and stage.kernel > 1)


def within(seen: tf.Tensor, kernel: tf.Tensor, stage: Stage) -> tf.Tensor:
    """The convolution of a stage where its kernel lies within what is given.

    Args:
        seen: `[B, H + k - 1 + s, W + k - 1 + s, inputs]`, where s is `spare_of(stage)`.
        kernel: `[k, k, inputs, outputs]`.
        stage: which.

    Returns:
        `[B, H, W, outputs]`, or half of H and W, rounded up, with stride 2.
    """
    if not spare_of(stage):
        return tf.nn.conv2d(seen, kernel, stage.stride, "VALID")
    made = tf.nn.conv2d(seen, squared(kernel), 2, "VALID")
    return cut(tf.nn.depth_to_space(made, 2), 0, tf.shape(seen)[1:3] - stage.kernel)


# Of two neighbours in each direction, [parity of what is made, neighbour, tap of a 3-kernel]: after
# doubling, the three taps of an odd position fall on the first neighbour twice and on the second
# once, those of the even position that follows on the first once and on the second twice.
_TAPS = ([[1, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1]])


def doubled_and_convolved(current: tf.Tensor, kernel: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Each position repeated to 2×2, then a 3×3 convolution past the border by reflection.

    Computed before the doubling, by a 2×2 kernel for each of the four parities: four ninths of the
    multiplications, and nothing of full size is made but the result.

    Args:
        current: `[B, H, W, inputs]`.
        kernel: `[3, 3, inputs, outputs]`.
        size: height and width that are wanted of it: 2H and 2W, or one less.

    Returns:
        `[B, h, w, outputs]`.
    """
    taps = tf.constant(_TAPS, kernel.dtype)
    inputs, outputs = kernel.shape[2:]
    folded = tf.einsum("apk,bql,klio->pqiabo", taps, taps, kernel)  # [2, 2, inputs, 2, 2, outputs]
    folded = tf.reshape(folded, (2, 2, inputs, 4 * outputs))
    # What reflection finds past the border of the doubled, it finds at the border here.
    current = tf.concat([current[:, :1], current, current[:, -1:]], 1)
    current = tf.concat([current[:, :, :1], current, current[:, :, -1:]], 2)
    made = tf.nn.conv2d(current, folded, 1, "VALID")  # [B, H+1, W+1, 4·outputs]
    return cut(tf.nn.depth_to_space(made, 2), 1, size)


def cut(current: tf.Tensor, first: int, size: tf.Tensor) -> tf.Tensor:
    """So many rows and columns of `[B, H, W, C]`, from the one of that number on.

    The library's own gradient, of slices, takes eight times as long as padding.
    """

    @tf.custom_gradient
    def part(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        height, width = tf.unstack(size)
        after = tf.shape(x)[1:3] - size - first

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            rows, columns = ([first, each] for each in tf.unstack(after))
            return tf.pad(upstream, [[0, 0], rows, columns, [0, 0]])

        return x[:, first : first + height, first : first + width], gradient

    return part(current)


def reflected(current: tf.Tensor, margin: int, spare: int = 0) -> tf.Tensor:
    """`[B, H, W, C]` with so many positions more on every side, mirrored in those at the border.

    H and W are greater than the margin.

    Args:
        spare: rows and columns more at the end, 0 or 1, copies of others: nothing that counts may
            depend on them. There are none without a margin.
    """
    if not margin:
        return current
    return _reflected(_reflected(current, margin, spare, 1), margin, spare, 2)


def _reflected(current: tf.Tensor, margin: int, spare: int, axis: int) -> tf.Tensor:
    """One axis. Joined from slices: half the time of `tf.pad`, forth and back."""

    def part(x: tf.Tensor, begin: int | None, end: int | None) -> tf.Tensor:
        return x[:, begin:end] if axis == 1 else x[:, :, begin:end]

    def mirror(x: tf.Tensor) -> tf.Tensor:
        return tf.reverse(x, [axis]) if margin > 1 else x

    @tf.custom_gradient
    def padded(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        before = mirror(part(x, 1, margin + 1))
        after = mirror(part(x, -margin - 1, -1))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # What was copied out comes back to where it was from; H and W exceed 2·margin + 1.
            upstream = part(upstream, None, -spare or None)
            inner = part(upstream, margin, -margin)
            near = part(inner, 1, margin + 1) + mirror(part(upstream, None, margin))
            far = part(inner, -margin - 1, -1) + mirror(part(upstream, -margin, None))
            first, last = part(inner, None, 1), part(inner, -1, None)
            middle = part(inner, margin + 1, -margin - 1)
            return tf.concat([first, near, middle, far, last], axis)

        return tf.concat([before, x, after, part(x, None, spare)], axis), gradient

    return padded(current)
