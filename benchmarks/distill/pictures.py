"""What the student learns on: crops of a folder's pictures, with and without noise, and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

# Longer sides are reduced to this on reading: a crop is to show things, not their grain.
LONGEST = 640
# A picture flatter than this (standard deviation in grey levels) teaches nothing.
FLATTEST = 8.0

Picture = npt.NDArray[np.uint8]


class DataError(Exception):
    """No folder, or no usable picture in it."""


def read(folder: Path) -> dict[str, Picture]:
    """Every picture below a folder by its name, RGB `[H, W, 3]`, in order of name.

    Raises:
        DataError: none.
    """
    pictures = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * LONGEST, 2 * LONGEST))
                rgb = image.convert("RGB")
        except (UnidentifiedImageError, OSError):
            continue
        rgb.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        pixels = np.asarray(rgb)
        if pixels.std((0, 1)).mean() >= FLATTEST and min(pixels.shape[:2]) >= 64:
            pictures[str(path.relative_to(folder))] = pixels
    if not pictures:
        raise DataError(f"expected a folder of pictures, got none that can be used in {folder}")
    return pictures


def crop(
    pictures: list[Picture], size: int, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A random square of a random picture at a random scale, mirrored or not: `[size, size, 3]`."""
    picture = pictures[random.integers(len(pictures))]
    height, width = picture.shape[:2]
    shorter = min(height, width)
    side = int(np.clip(shorter * random.uniform(0.35, 1.0), min(0.6 * size, shorter), shorter))
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    part = Image.fromarray(picture[top : top + side, left : left + side])
    pixels = np.asarray(part.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    return pixels[:, ::-1] if random.random() < 0.5 else pixels


def noise(size: int, exponent: float, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise of amplitude |f|^-exponent, its colours more or less alike, unit variance."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = 1 / size
    white = np.fft.rfft2(random.standard_normal((3, size, size)))
    coloured = np.fft.irfft2(white * frequency**-exponent, s=(size, size))
    mix = np.eye(3) * random.uniform(0.3, 1) + 0.4 * random.standard_normal((3, 3)) + 0.5
    mix /= np.linalg.norm(mix, axis=1, keepdims=True)
    return np.einsum("ij,jhw->hwi", mix, coloured / coloured.std()).astype(np.float32)


def sample(
    pictures: list[Picture], size: int, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A crop (60 %), a noisy crop (25 %), or noise with a trace of a crop: `[size, size, 3]`."""
    kind = random.random()
    pixels = crop(pictures, size, random)
    if 0.6 <= kind < 0.85:
        pixels = pixels + random.uniform(5, 60) * noise(size, random.uniform(0, 1.2), random)
    elif kind >= 0.85:
        trace = random.uniform(0, 0.5) * (pixels - 127)
        pixels = 127 + trace + random.uniform(20, 70) * noise(size, random.uniform(0, 1.5), random)
    # An optimisation does not clip: the student is to know what lies a little outside.
    margin = 20 if random.random() < 0.5 else 0
    return np.clip(pixels, -margin, 255 + margin).astype(np.float32)
