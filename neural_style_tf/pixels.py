"""The one convention of pictures inside: float32, RGB, 0-255, `[1, H, W, 3]`, never clipped.

Network means and channel order live in `vgg`; clipping and rounding happen in `files`, once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image  # which imageio reads and writes with

from neural_style_tf.errors import OptionError

# Noise is drawn around the mean colour of ImageNet's photographs, as the 2017 program does by
# working in mean-subtracted values; its deviation is that program's too.
NOISE_MEAN = (123.68, 116.779, 103.939)
NOISE_DEVIATION = 0.256

LUMA = (0.299, 0.587, 0.114)  # Rec. 601

# Of the content's own detail, the share that a finer size begins with. All of it ends lower still
# by what VGG-19 sees, but the embedded network sees less, and leaves too much of the photograph.
DETAIL = 0.5


def as_pixels(picture: Any) -> tf.Tensor:
    """A picture `[H, W, 3]` or `[1, H, W, 3]`, any number type, 0-255, as float32 `[1, H, W, 3]`.

    Raises:
        OptionError: another shape, no pixels, or some that are NaN or infinite.
    """
    if isinstance(picture, np.ndarray):
        picture = picture.astype(np.float32, copy=False)
    pixels = tf.cast(tf.convert_to_tensor(picture), tf.float32)
    if len(pixels.shape) == 3:
        pixels = pixels[None]
    shape = pixels.shape
    if len(shape) != 4 or shape[0] != 1 or shape[-1] != 3 or 0 in shape:
        raise OptionError(f"expected a picture [H, W, 3], got {list(np.shape(picture))}")
    # The sum, as a mask would take as many bytes as there are numbers.
    if not tf.math.is_finite(tf.reduce_sum(pixels)):
        raise OptionError("expected pixels from 0 to 255, got some that are NaN or infinite")
    return pixels


def resize(picture: Any, height: int, width: int) -> tf.Tensor:
    """A given picture at another size, `[H, W, 3]` or `[1, H, W, 3]` -> `[1, height, width, 3]`.

    Pillow's antialiased bicubic in 8 bits, on the host, as the 2017 program does it: rounding to
    whole grey levels included, the same pictures make the same losses.
    """
    pixels = as_pixels(picture)
    if pixels.shape[1:3] == (height, width):
        return pixels
    return as_pixels(_resized(_levels(pixels), height, width))


def enlarge(pixels: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """A picture on its way at another size, `[1, H, W, 3]` -> `[1, height, width, 3]`: bicubic.

    On the device, in float32 and not clipped: unlike `resize`, which is for given pictures.
    """
    if pixels.shape[1:3] == (height, width):
        return pixels
    return tf.image.resize(pixels, (height, width), "bicubic")


def refine(pixels: tf.Tensor, content: Any, height: int, width: int) -> tf.Tensor:
    """A picture on its way at a finer size, with half of the detail that the content has there.

    That is one step up a Laplacian pyramid (Burt and Adelson 1983): enlarged, the picture has
    nothing of the new octave, and noise or the optimizer would have to find it. Of the content only
    the luma is taken, since the colors are to be the painting's.

    Args:
        pixels: `[1, h, w, 3]`.
        content: the content picture, at least as large as what is wanted; None for no detail.

    Returns:
        `[1, height, width, 3]`.
    """
    enlarged = enlarge(pixels, height, width)
    if content is None or pixels.shape[1:3] == (height, width):
        return enlarged
    return detailed(enlarged, resize(content, *pixels.shape[1:3]), resize(content, height, width))


def detailed(enlarged: tf.Tensor, coarse: tf.Tensor, fine: tf.Tensor) -> tf.Tensor:
    """An enlarged picture with half of the content's detail; see `refine`.

    Args:
        enlarged: `[1, height, width, 3]`.
        coarse: the content at the size from which that was enlarged, `[1, h, w, 3]`.
        fine: the content at its size, `[1, height, width, 3]`.
    """
    blurred = tf.image.resize(coarse, tf.shape(fine)[1:3], "bicubic")
    detail = tf.tensordot(fine - blurred, tf.constant(LUMA), 1)
    return enlarged + DETAIL * detail[..., None]


def resize_plane(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """One channel, such as alpha: uint8 `[H, W]` -> uint8 `[height, width]`."""
    return plane if plane.shape == (height, width) else _resized(plane, height, width)


def _resized(levels: np.ndarray, height: int, width: int) -> np.ndarray:
    # Across, then down: left to itself, Pillow 13 takes whichever is less work first, and what is
    # rounded in between is another grey level here and there.
    image = Image.fromarray(levels)
    for size in ((width, image.height), (width, height)):
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def resize_to_width(picture: Any, width: int) -> tf.Tensor:
    """Keep the shape of the picture; the height is rounded down, and at least 1."""
    return resize(picture, *size_at_width(picture, width))


def size_at_width(picture: Any, width: int) -> tuple[int, int]:
    """Height and width of a picture that `resize_to_width` makes so wide."""
    height, own = np.shape(picture)[-3:-1]
    if width == own:
        return height, width  # the quotient, rounded, would make some a row shorter
    return max(1, int(height / own * width)), width


def style_size(style: Any, width: float) -> tuple[int, int]:
    """Height and width of a style that is to be so wide; both rounded down, and at least 1."""
    height, own = np.shape(style)[-3:-1]
    factor = width / own
    return max(1, int(height * factor)), max(1, int(own * factor))


def resize_style(style: Any, width: float) -> tf.Tensor:
    """A style at a width: `[H, W, 3]` or `[1, H, W, 3]` -> `[1, height, width, 3]`."""
    return resize(style, *style_size(style, width))


def start(picture: tf.Tensor, noise_blend: float | tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """(1 − blend)·picture + blend·noise, where noise is about the mean colour: `[1, H, W, 3]`.

    The noise depends on the seed and the shape alone, not on the device.
    """
    noise = tf.random.stateless_normal(tf.shape(picture), (seed, 0))
    noise = noise * NOISE_DEVIATION + NOISE_MEAN
    return (1 - noise_blend) * picture + noise_blend * noise


def keep_colors(picture: Any, content: Any) -> np.ndarray:
    """The luma of `picture` with the chroma of `content`, for the eye: not differentiable.

    Rec. 601 luma, cut off to whole levels; chroma and the way back are Pillow's 8-bit YCbCr: as in
    the 2017 program, to the grey level.

    Args:
        picture: float RGB `[1, H, W, 3]`, clipped here.
        content: of the same size.

    Returns:
        float32 RGB `[1, H, W, 3]`, whole grey levels.
    """
    luma = np.clip(np.asarray(picture)[0], 0, 255) @ np.array(LUMA)  # [H, W]
    _, *chroma = Image.fromarray(_levels(content)).convert("YCbCr").split()
    y = Image.fromarray(luma.astype(np.uint8))
    return np.asarray(Image.merge("YCbCr", (y, *chroma)).convert("RGB"), np.float32)[None]


def _levels(pixels: Any) -> np.ndarray:
    """Whole grey levels: `[1, H, W, 3]` -> uint8 `[H, W, 3]`."""
    return np.clip(np.round(np.asarray(pixels)[0]), 0, 255).astype(np.uint8)
