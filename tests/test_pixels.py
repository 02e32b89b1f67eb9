"""Sizes, resizing, the start and kept colors, against Pillow and the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from neural_style_tf import pixels
from neural_style_tf.errors import OptionError
from tests import tiny


def test_resizing_is_pillows_to_the_grey_level() -> None:
    """What the 2017 program does with its default resampling."""
    picture = tiny.picture(50, 70, 1)
    expected = np.asarray(Image.fromarray(picture).resize((33, 21)))
    assert (pixels.resize(picture, 21, 33)[0].numpy() == expected).all()


def test_the_same_size_is_left_as_it_is() -> None:
    picture = tiny.picture(20, 30, 1) + np.float32(0.25)
    assert (pixels.resize(picture, 20, 30)[0].numpy() == picture).all()


@pytest.mark.parametrize(
    ("size", "width", "expected"), [((171, 256), 100, (66, 100)), ((37, 45), 33, (27, 33))]
)
def test_width_rounds_the_height_down(
    size: tuple[int, int], width: int, expected: tuple[int, int]
) -> None:
    resized = pixels.resize_to_width(np.zeros((*size, 3), np.uint8), width)
    assert resized.shape[1:3] == expected


def test_a_style_is_scaled_against_the_contents_width() -> None:
    style = np.zeros((507, 640, 3), np.uint8)
    assert pixels.resize_style(style, 256).shape[1:3] == (202, 256)
    assert pixels.resize_style(style, 128).shape[1:3] == (101, 128)
    assert pixels.resize_style(style, 1e-7).shape[1:3] == (1, 1)


def test_the_start_blends_picture_and_noise() -> None:
    picture = pixels.as_pixels(tiny.picture(200, 200, 1))
    noise = pixels.start(picture, 1.0, 0).numpy()[0] - pixels.NOISE_MEAN
    assert np.abs(noise.mean((0, 1))).max() < 0.01
    assert noise.std() == pytest.approx(0.256, rel=0.02)
    half = pixels.start(picture, 0.5, 0).numpy()
    assert half == pytest.approx((picture.numpy() + noise + pixels.NOISE_MEAN) / 2, abs=1e-4)
    assert (pixels.start(picture, 0.0, 0) == picture).numpy().all()


def test_the_noise_is_the_seeds() -> None:
    picture = pixels.as_pixels(tiny.picture(20, 20, 1))
    first, again, other = (pixels.start(picture, 1.0, seed).numpy() for seed in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).any()


def test_kept_colors_are_the_luma_of_one_and_the_chroma_of_the_other() -> None:
    result, content = tiny.picture(40, 50, 1), tiny.picture(40, 50, 2)
    kept = pixels.keep_colors(pixels.as_pixels(result), pixels.as_pixels(content))
    assert kept.shape == (1, 40, 50, 3)
    inside = np.all((kept > 0) & (kept < 255), -1)[0]  # elsewhere a channel had to be clipped
    assert inside.mean() > 0.5
    luma = kept[0] @ pixels.LUMA - result @ np.array(pixels.LUMA)
    assert np.abs(luma[inside]).max() <= 2
    blue, red = (
        (kept[0, ..., i] - kept[0] @ pixels.LUMA) - (content[..., i] - content @ pixels.LUMA)
        for i in (2, 0)
    )
    assert np.abs(blue[inside]).max() <= 3
    assert np.abs(red[inside]).max() <= 3


def test_kept_colors_clip_what_cannot_be_seen_first() -> None:
    bright, grey = np.full((1, 2, 2, 3), 900.0), np.full((1, 2, 2, 3), 100.0)
    assert (pixels.keep_colors(bright, grey) >= 254).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
    picture = np.full((30, 40, 3), 100.0)
    picture[7, 8, 1] = value
    with pytest.raises(OptionError, match="from 0 to 255, got some that are NaN or infinite"):
        pixels.as_pixels(picture)


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 4), (2, 4, 4, 3), (4, 4, 1), (0, 4, 3), (1, 4, 0, 3)]
)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"expected a picture \[H, W, 3\], got \["):
        pixels.as_pixels(np.zeros(shape, np.uint8))


def test_an_alpha_plane_follows_the_size() -> None:
    plane = np.zeros((10, 20), np.uint8)
    plane[:, 10:] = 255
    resized = pixels.resize_plane(plane, 5, 10)
    assert resized.shape == (5, 10)
    assert (resized[:, :3] == 0).all()
    assert (resized[:, 7:] == 255).all()


def test_a_finer_size_has_half_of_what_the_coarse_content_lacks() -> None:
    """In luma; the colors stay those of the coarse picture."""
    style = tiny.picture(40, 56, 2)
    coarse = pixels.resize(style, 20, 28)
    enlarged = pixels.enlarge(coarse, 40, 56)
    detail = (pixels.refine(coarse, style, 40, 56) - enlarged).numpy()
    lacking = (pixels.as_pixels(style) - enlarged).numpy() @ np.array(pixels.LUMA)
    assert np.abs(lacking).max() > 5
    assert np.abs(detail - lacking[..., None] / 2).max() < 1e-3
    assert (pixels.refine(coarse, None, 40, 56).numpy() == enlarged.numpy()).all()
    assert pixels.refine(coarse, style, 20, 28) is coarse


@pytest.mark.parametrize("size", [(78, 77), (313, 600), (965, 1920)])
def test_at_its_own_width_a_picture_has_its_own_size(size: tuple[int, int]) -> None:
    """Where height / width · width is, rounded, less than the height."""
    assert int(size[0] / size[1] * size[1]) < size[0]
    assert pixels.size_at_width(np.zeros((*size, 3)), size[1]) == size
