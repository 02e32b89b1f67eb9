"""The one convention of pictures inside: float32, RGB, 0-255, `[1, H, W, 3]`, never clipped.

Network means and channel order live in `vgg`; clipping and rounding happen in `files`, once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf.errors import OptionError

# Noise is drawn around the mean colour of ImageNet's photographs, as the 2017 program does by
# working in mean-subtracted values; its deviation is that program's too.
NOISE_MEAN = (123.68, 116.779, 103.939)
NOISE_DEVIATION = 0.256

LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def as_pixels(picture: Any) -> tf.Tensor:
    """A picture `[H, W, 3]` or `[1, H, W, 3]`, any number type, 0-255, as float32 `[1, H, W, 3]`.

    Raises:
        OptionError: another shape.
    """
    if isinstance(picture, np.ndarray):
        picture = picture.astype(np.float32, copy=False)
    pixels = tf.cast(tf.convert_to_tensor(picture), tf.float32)
    if len(pixels.shape) == 3:
        pixels = pixels[None]
    if len(pixels.shape) != 4 or pixels.shape[0] != 1 or pixels.shape[-1] != 3:
        raise OptionError(f"expected a picture [H, W, 3], got {list(np.shape(picture))}")
    return pixels


def resize(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Bicubic (Keys, a = -0.5) with antialiasing: `[1, H, W, 3]` -> `[1, height, width, 3]`."""
    if pixels.shape[1:3] == (height, width):
        return pixels
    resized = tf.image.resize(pixels, (height, width), "bicubic", antialias=True)
    # Bicubic overshoots at edges; a picture has no light below black or above white.
    return tf.clip_by_value(resized, 0.0, 255.0)


def resize_plane(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """One channel, such as alpha: uint8 `[H, W]` -> uint8 `[height, width]`."""
    if plane.shape == (height, width):
        return plane
    pixels = tf.cast(plane, tf.float32)[None, ..., None]
    return np.asarray(tf.round(resize(pixels, height, width)), np.uint8)[0, ..., 0]


def resize_to_width(pixels: tf.Tensor, width: int) -> tf.Tensor:
    """Keep the shape of the picture; the height is rounded down, and at least 1."""
    _, old_height, old_width, _ = pixels.shape
    return resize(pixels, max(1, int(old_height / old_width * width)), width)


def resize_style(style: tf.Tensor, content_width: int, scale: float) -> tf.Tensor:
    """A style at `scale` times the content's width; both sides rounded down, and at least 1."""
    _, height, width, _ = style.shape
    factor = scale * content_width / width
    return resize(style, max(1, int(height * factor)), max(1, int(width * factor)))


def start(picture: tf.Tensor, noise_blend: float, seed: int) -> tf.Tensor:
    """(1 − blend)·picture + blend·noise, where noise is about the mean colour: `[1, H, W, 3]`.

    The noise depends on the seed and the shape alone, not on the device.
    """
    noise = tf.random.stateless_normal(picture.shape, (seed, 0)) * NOISE_DEVIATION + NOISE_MEAN
    return (1 - noise_blend) * picture + noise_blend * noise


def keep_colors(pixels: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """The luma of `pixels` with the chroma of `content`, both `[1, H, W, 3]`.

    RGB is luma plus a function of Cb and Cr alone (Rec. 601, full range), so that changing the
    luma adds the same to each channel.
    """
    pixels, content = (tf.clip_by_value(p, 0.0, 255.0) for p in (pixels, content))
    luma = tf.tensordot(pixels - content, tf.constant(LUMA), 1)  # [1, H, W]
    return content + luma[..., None]
