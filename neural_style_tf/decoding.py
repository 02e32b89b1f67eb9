"""The bytes of a picture file -> upright RGB, whatever depth, palette or color space they hold."""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from neural_style_tf.errors import FileError

# A header that promises more pixels is refused before decoding; also Pillow's limit.
MAX_PIXELS = 178_956_970
EXPECTED = "expected JPEG, PNG, WebP, TIFF, GIF or BMP"

_PHOTOMETRIC, _ORIENTATION = 0x0106, 0x0112  # TIFF and EXIF tags
# EXIF orientation -> what sets it upright, in this order: transpose, flip rows (y), columns (x).
_UPRIGHT = {2: "x", 3: "yx", 4: "y", 5: "t", 6: "tx", 7: "tyx", 8: "ty"}


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright.

    Attributes:
      pixels: float32 `[1, H, W, 3]`, RGB, 0-255, finite and contiguous; under full transparency,
        whatever colour the file stores there.
      alpha: uint8 `[H, W]`, 255 where opaque; None when nothing is transparent.
      icc_profile: the embedded colour profile where it describes RGB, else None (taken as sRGB).
    """

    pixels: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.uint8] | None = None
    icc_profile: bytes | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of all that is taken from a picture, SHA-256 in hexadecimal digits."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes())
        digest.update(b"" if self.alpha is None else self.alpha.tobytes())
        digest.update(self.icc_profile or b"")
        return digest.hexdigest()


@contextmanager
def decoding(kind: str) -> Iterator[None]:
    """Turns whatever a decoder throws at bad bytes into a FileError, without Pillow's warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileError:
        raise
    except MemoryError as error:
        raise FileError("there is not enough memory to decode it; make it smaller") from error
    except Exception as error:  # Pillow lets nearly every kind out, even SyntaxError
        raise FileError(
            f"{EXPECTED}, got a truncated, damaged or unusual {kind}; copy or convert it again"
        ) from error


def open_header(data: bytes, kind: str) -> ImageFile.ImageFile:
    """Reads the header only; the format is fixed, so that no other decoder meets the bytes."""
    with suppress(Image.DecompressionBombError):
        image = Image.open(BytesIO(data), formats=(kind,))
        if image.width * image.height <= MAX_PIXELS:
            return image
    raise FileError(f"expected at most {MAX_PIXELS:,} pixels, got more; make it smaller")


def decode(data: bytes, kind: str) -> Picture:
    """The picture in a file's bytes; `kind` is Pillow's name of its format.

    Raises:
      FileError: more pixels than `MAX_PIXELS`, or samples of an unusual kind. Of damaged bytes,
        anything: see `decoding`.
    """
    image = open_header(data, kind)
    # How the samples lie in the file, in Pillow's words, where its decoder says so.
    args = image.tile[0].args if image.tile else ""
    rawmode = str(args[0] if isinstance(args, tuple) and args else args)
    profile = image.info.get("icc_profile", b"")
    space = profile[16:20] if isinstance(profile, bytes) and profile[36:40] == b"acsp" else b""
    key = image.info.get("transparency")  # the colour that stands for "transparent", if one does
    if re.fullmatch(r"RGB[AX]?;16[BLN]", rawmode):
        samples, white = _deep_colour(image, rawmode, open_header(data, kind)), 65535.0
    elif image.mode.startswith(("I", "F")):
        samples, white = _deep_grey(image, rawmode)
    else:
        samples, white = np.asarray(_bytes_a_sample(image, profile, space)), 255.0
        # Pillow widens the samples of a PNG with few bits, but not always the key to them.
        if isinstance(key, int):
            key = min(key * {"1": 255, "L;2": 85, "L;4": 17}.get(rawmode, 1), 255)

    samples = np.atleast_3d(samples)  # [H, W, 1, 3 or 4]
    scale = np.float32(white / 255)
    alpha = None
    if samples.shape[2] == 4:
        alpha = np.rint(samples[..., 3] / scale).astype(np.uint8)
        samples = samples[..., :3]
    elif key is not None:
        alpha = np.where((samples == np.asarray(key)).all(axis=-1), 0, 255).astype(np.uint8)
    pixels = np.divide(samples, scale, dtype=np.float32)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels

    turn = ""
    # Damaged EXIF is no reason to refuse the pixels. A TIFF has been turned by Pillow already.
    with suppress(Exception):
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1), "")
    return Picture(
        pixels=_upright(pixels, turn)[None],  # [1, H, W, 3]
        alpha=None if alpha is None or alpha.min() == 255 else _upright(alpha, turn),
        icc_profile=profile if space == b"RGB " and image.mode != "LAB" else None,
    )


def decode_shrunk(data: bytes, shorter: int) -> npt.NDArray[np.uint8] | None:
    """A plain JPEG, its shorter side at most so many pixels: uint8 `[H, W, 3]`, upright.

    The decoder itself leaves out what is finer (Pillow's draft mode): several times faster for a
    large photograph. None where the picture is not plain RGB or grey.

    Raises:
      FileError: more pixels than `MAX_PIXELS`. Of damaged bytes, anything: see `decoding`.
    """
    image = open_header(data, "JPEG")
    if image.mode not in ("RGB", "L"):
        return None
    factor = shorter / min(image.size)
    if factor < 1:
        image.draft(image.mode, tuple(int(side * factor) for side in image.size))  # type: ignore[arg-type]
    turn = ""
    with suppress(Exception):
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1), "")
    return _upright(np.asarray(shrink(image.convert("RGB"), shorter)), turn)


def shrink(image: Image.Image, shorter: int) -> Image.Image:
    """The picture with a shorter side of at most so many pixels."""
    factor = shorter / min(image.size)
    if factor >= 1:
        return image
    size = tuple(max(1, round(side * factor)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC, reducing_gap=3)


def _deep_colour(image: Image.Image, rawmode: str, again: ImageFile.ImageFile) -> npt.NDArray:
    """Colour of 16 bits a channel, `[H, W, 3 or 4]`; `again` is the same picture, not yet decoded.

    Pillow keeps one byte of each such sample, the high one. Told that the file has the other byte
    order, it keeps the low one.
    """
    big = rawmode[-1] == "B" or (rawmode[-1] == "N" and sys.byteorder == "big")
    other = rawmode[:-1] + ("L" if big else "B")
    for i, tile in enumerate(again.tile):
        args = (other, *tile.args[1:]) if isinstance(tile.args, tuple) else other
        again.tile[i] = tile._replace(args=args)
    return np.asarray(image).astype(np.uint16) << 8 | np.asarray(again)


def _deep_grey(image: Image.Image, rawmode: str) -> tuple[npt.NDArray, float]:
    """Grey of 12 or 16 bits or of floats, `[H, W]`, and the value of white."""
    samples, white = np.asarray(image), 4095.0 if rawmode == "I;12" else 65535.0
    if image.mode == "F":
        low, high = samples.min(), samples.max()
        if not (low >= 0 and high <= 255):  # so that NaN is refused as well
            raise FileError(f"expected samples in 0-1 or 0-255, got {low:g} to {high:g}; scale it")
        return samples * np.float32(255) if high <= 1 else samples, 255.0
    if not image.mode.startswith("I;16"):
        raise FileError("expected 8 or 16 bits a sample, got signed or 32-bit integers; convert it")
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        samples = white - samples  # white is zero, which Pillow minds for 8 bits only
    return samples, white


def _bytes_a_sample(image: Image.Image, profile: bytes, space: bytes) -> Image.Image:
    """The picture as RGB or RGBA, 8 bits a sample; `profile` is its own, of the colour space."""
    if image.mode == "CMYK" and space == b"CMYK":
        # A profile that cannot be used is no reason to refuse the picture.
        with suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
    see_through = image.mode not in ("1", "L", "RGB") and image.has_transparency_data
    return image.convert("RGBA" if see_through else "RGB")


def _upright(array: npt.NDArray, turn: str) -> npt.NDArray:
    """Applies an entry of `_UPRIGHT` to `[H, W]` or `[H, W, C]`."""
    array = array.swapaxes(0, 1) if "t" in turn else array
    return np.ascontiguousarray(array[:: -1 if "y" in turn else 1, :: -1 if "x" in turn else 1])
