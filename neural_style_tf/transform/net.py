"""The transform network: pixels in, a painted picture out. Pure functions of its weights.

Training, applying and exporting all run `paint`; `transform.model` is the Keras model around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from neural_style_tf.transform.architecture import Stage
from neural_style_tf.transform.convolution import convolved

# What is added to a variance before its root is taken.
EPSILON = 1e-5
# The last stage gives pixels 127.5 ± 150, so that black and white are within reach of the tangent.
MIDDLE, SPAN = 127.5, 150.0


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
