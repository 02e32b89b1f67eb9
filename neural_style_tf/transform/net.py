"""The transform network: pixels in, a painted picture out. Pure functions of its weights.

Training, applying and exporting all run `paint`; `transform.model` is the Keras model around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from neural_style_tf.transform.architecture import Stage

# What is added to a variance before its root is taken.
EPSILON = 1e-5
# The last stage gives pixels 127.5 ± 150, so that black and white are within reach of the tangent.
MIDDLE, SPAN = 127.5, 150.0

# Takes [B, H, W, C] and, per picture, scale and offset [B, C].
Norm = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def paint(
    stages: Sequence[Stage],
    weights: Mapping[str, Any],
    pixels: tf.Tensor,
    mix: tf.Tensor,
    precision: str = "float32",
    *,
    portable: bool = False,
) -> tf.Tensor:
    """Pictures in a mix of the styles that the network knows.

    Args:
        stages: `Architecture.stages`.
        weights: `{name: tensor}` of the shapes of `Architecture.shapes`.
        pixels: `[B, H, W, 3]`, RGB 0-255, any size of at least 16×16.
        mix: `[B, S]`, the share of each style; rows that sum to 1.
        precision: of convolutions and activations, "float32" or "bfloat16".
        portable: of operations alone that every runtime has, if not of the fastest.

    Returns:
        `[B, H, W, 3]`, float32, within 127.5 ± 150.
    """
    current = tf.cast(entered(pixels), precision)
    added = {stage.adds for stage in stages}
    kept: dict[str, tf.Tensor] = {}
    sizes = [tf.shape(current)[1:3]]  # of what was halved, to come back to exactly
    for stage in stages:
        if stage.stride > 1:
            sizes.append(tf.shape(current)[1:3])
        kernel = tf.cast(weights[f"{stage.name}/kernel"], precision)
        current = convolved(current, kernel, stage, sizes[-1], portable)
        if stage.enlarge:
            sizes.pop()
        if not stage.normalized:
            return left(tf.cast(current, tf.float32) + weights[f"{stage.name}/bias"])
        scale, offset = (mixed(weights, stage, part, mix) for part in ("scale", "offset"))
        current = instance_norm(current, scale, offset, portable)  # [B, h, w, C]
        if stage.rectified:
            current = tf.nn.relu(current)
        if stage.adds:
            current += kept.pop(stage.adds)
        if stage.name in added:
            kept[stage.name] = current
    raise AssertionError("the last stage has no normalization")


def entered(pixels: tf.Tensor) -> tf.Tensor:
    """Pixels 0-255 as the first stage wants them, about -1 to 1."""
    return pixels / MIDDLE - 1


def left(activations: tf.Tensor) -> tf.Tensor:
    """What the last stage gives as pixels."""
    return MIDDLE + SPAN * tf.tanh(activations)


def mixed(weights: Mapping[str, Any], stage: Stage, part: str, mix: tf.Tensor) -> tf.Tensor:
    """The scale or the offset of a mix of styles: `[B, S]` -> `[B, C]`."""
    return tf.matmul(mix, weights[f"{stage.name}/{part}"])


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
        portable: as for `paint`.

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
        padded = tf.pad(current, around, "REFLECT")
    else:
        padded = reflected(current, margin)
    made = tf.nn.conv2d(padded, kernel, stage.stride, "VALID")
    return made[:, : size[0], : size[1]] if stage.enlarge else made


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
    for axis in (1, 2):
        near, far = (
            (current[:, :1], current[:, -1:])
            if axis == 1
            else (
                current[:, :, :1],
                current[:, :, -1:],
            )
        )
        current = tf.concat([near, current, far], axis)
    made = tf.nn.conv2d(current, folded, 1, "VALID")  # [B, H+1, W+1, 4·outputs]
    return _cut(tf.nn.depth_to_space(made, 2), 1, size)


def _cut(current: tf.Tensor, first: int, size: tf.Tensor) -> tf.Tensor:
    """So many rows and columns of `[B, H, W, C]`, from the one of that number on.

    The library's own gradient, of slices, takes eight times as long as padding.
    """

    @tf.custom_gradient
    def cut(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        height, width = tf.unstack(size)
        after = tf.shape(x)[1:3] - size - first

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            rows, columns = ([first, each] for each in tf.unstack(after))
            return tf.pad(upstream, [[0, 0], rows, columns, [0, 0]])

        return x[:, first : first + height, first : first + width], gradient

    return cut(current)


def instance_norm(
    current: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, portable: bool = False
) -> tf.Tensor:
    """Each channel of each picture brought to mean 0 and variance 1, then scaled and moved.

    Args:
        current: `[B, h, w, C]`.
        scale, offset: `[B, C]`, float32.
    """
    if current.shape[0] == 1 and not portable:
        # Of a batch of one, batch normalization is the same, and one fast kernel.
        return tf.compat.v1.nn.fused_batch_norm(
            current, scale[0], offset[0], epsilon=EPSILON, is_training=True
        )[0]
    mean, variance = tf.nn.moments(tf.cast(current, tf.float32), [1, 2])  # [B, C]
    return affine(current, *folded(mean, variance, scale, offset))


def folded(
    mean: tf.Tensor, variance: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What normalization comes to, x·a + b: a and b, `[B, C]` like its arguments."""
    a = scale * tf.math.rsqrt(variance + EPSILON)
    return a, offset - mean * a


def affine(current: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`[B, h, w, C]` times a plus b, `[B, C]`."""
    a, b = (tf.cast(each[:, None, None, :], current.dtype) for each in (a, b))
    return current * a + b


def reflected(current: tf.Tensor, margin: int) -> tf.Tensor:
    """`[B, H, W, C]` with so many positions more on every side, mirrored in those at the border.

    H and W are greater than the margin.
    """
    if not margin:
        return current
    return _reflected(_reflected(current, margin, 1), margin, 2)


def _reflected(current: tf.Tensor, margin: int, axis: int) -> tf.Tensor:
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
            inner = part(upstream, margin, -margin)
            near = part(inner, 1, margin + 1) + mirror(part(upstream, None, margin))
            far = part(inner, -margin - 1, -1) + mirror(part(upstream, -margin, None))
            first, last = part(inner, None, 1), part(inner, -1, None)
            middle = part(inner, margin + 1, -margin - 1)
            return tf.concat([first, near, middle, far, last], axis)

        return tf.concat([before, x, after], axis), gradient

    return padded(current)
