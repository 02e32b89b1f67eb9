"""Reading and writing pictures, and the settings that made them.

On disk a picture may be grey, CMYK, 16 bits deep, lying on its side, see-through or cut short. All
of that is settled here: `read` returns upright RGB or raises; only `write` clips and rounds.
imageio writes; reading asks its backend Pillow for the depth and keys that imageio does not tell.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from neural_style_tf.decoding import (
    EXPECTED,
    MAX_PIXELS,
    Picture,
    decode,
    decode_shrunk,
    decoding,
    open_header,
    shrink,
)
from neural_style_tf.errors import FileError
from neural_style_tf.staging import staged

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Picture",
    "check_target",
    "opened",
    "pictures_in",
    "read",
    "read_bytes",
    "read_settings",
    "read_shrunk",
    "replacing",
    "shown",
    "sidecar",
    "write",
    "write_bytes",
]

StrPath: TypeAlias = str | os.PathLike[str]

# The extensions that `write` takes, and Pillow's names for the formats.
FORMATS: Mapping[str, str] = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
}
_QUALITY: Mapping[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}

_KEYWORD = "neural-style-tf"
_DESCRIPTION = 0x010E  # EXIF tag
_MAX_JSON = 2**24  # bytes of a settings file
_ROOM = 65_000  # bytes of settings inside a picture: a JPEG segment counts its length in 16 bits

_PICTURE = re.compile(
    rb"(?s)(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<GIF>GIF8[79]a)|(?P<BMP>BM)"
    rb"|(?P<TIFF>II[*+]\0|MM\0[*+])|(?P<WEBP>RIFF.{4}WEBP)"
)
# What people hand over by mistake.
_STRANGER = re.compile(
    rb"(?si)(?P<HEIC>.{4}ftyp(hei[cx]|mif1))|(?P<AVIF>.{4}ftypavif)|(?P<Photoshop>8BPS)"
    rb"|(?P<video>.{4}ftyp|.{8}AVI |\x1aE\xdf\xa3)|(?P<PDF>%PDF)|(?P<ZIP>PK\x03\x04)"
    rb"|(?P<HTML>\s*<(!doctype )?html)|(?P<SVG>\s*(<\?xml[^>]*>\s*)?<svg)"
    rb"|(?P<no>\Z)|(?P<text>[^\0-\x08\x0e-\x1f]+\Z)"
)


def read(path: StrPath) -> Picture:
    """Reads JPEG, PNG, WebP, TIFF, BMP or the first frame of a GIF, upright by its EXIF.

    16-bit samples keep their precision (v/257). A float TIFF is taken as 0-1 when no sample exceeds
    1, else as 0-255. CMYK becomes sRGB by its embedded profile, or else by Pillow's plain formula.

    Raises:
      FileError: whatever is wrong with the file; no other error leaves, for any content. A
        truncated picture is an error, not a picture that is half grey.
    """
    with reporting("read picture", path):
        data, kind = _load(path)
        if kind is not None:
            with decoding(kind):
                return decode(data, kind)
        stranger = _STRANGER.match(data[:1000])
        found = f"{stranger.lastgroup} data" if stranger else "unknown data"
        raise FileError(f"{EXPECTED}, got {found}; convert it or name another file")


def read_shrunk(path: StrPath, shorter: int) -> npt.NDArray[np.uint8]:
    """Reads a picture for its colors alone, its shorter side at most so many pixels: `[H, W, 3]`.

    As `read` does, but in 8 bits, and of a JPEG no more is decoded than that takes.

    Raises:
      FileError: see `read`.
    """
    with reporting("read picture", path):
        data, kind = _load(path)
        if kind == "JPEG":
            with decoding(kind):
                shrunk = decode_shrunk(data, shorter)
            if shrunk is not None:
                return shrunk
    image = Image.fromarray(_quantise(read(path).pixels))
    return np.asarray(shrink(image, shorter))


def pictures_in(folder: StrPath) -> list[str]:
    """All files in a folder, and in the folders in it, that are pictures by their names, in order.

    Raises:
      FileError: there are none.
    """
    found = sorted(
        os.path.join(place, name)  # noqa: PTH118 - a Path takes ten times longer, of 100,000 files
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(tuple(FORMATS)) and not name.startswith(".")
    )
    if not found:
        raise FileError(
            f"expected pictures in {shown(folder)}, got none; their names end in "
            f"{', '.join(FORMATS)}"
        )
    return found


def check_target(
    path: StrPath, *, overwrite: bool, kind: str = "picture", beside: bool = False
) -> None:
    """Finds out, before any work is done, whether `path` can be written; leaves no trace.

    Args:
      path: where to; the extension of a picture must be in `FORMATS`.
      overwrite: whether a file that is there may be replaced.
      kind: what is to be written, in words.
      beside: whether settings will be in the file `<path>.json`, as those of a BMP always are.

    Raises:
      FileError: the extension, the folder is missing or not writable, `path` is no plain file, or
        it exists and `overwrite` is False.
    """
    with reporting(f"write {kind}", path):
        if kind == "picture":
            format, target = _target(path)
        else:
            format, target = "", _named(path)
        if not target.parent.is_dir():
            raise FileError(f"there is no folder {shown(target.parent)}; create it first")
        beside |= format == "BMP"  # it has no room for them
        for file in (target, sidecar(target)) if beside else (target,):
            if file.exists() and not (overwrite and file.is_file()):
                raise FileError(f"{shown(file)} exists; name another file or pass --overwrite")
        # Permission bits do not tell of read-only or full disks. This file has no name on Linux,
        # and elsewhere goes when it is closed.
        with tempfile.TemporaryFile(dir=target.parent):
            pass


def write(
    path: StrPath,
    pixels: npt.ArrayLike,
    *,
    alpha: npt.NDArray[np.uint8] | None = None,
    icc_profile: bytes | None = None,
    settings: Mapping[str, object] | None = None,
) -> None:
    """Writes a picture, whole or not at all; an existing file is replaced.

    Args:
      path: its extension chooses the format, see `FORMATS`.
      pixels: `[1, H, W, 3]` or `[H, W, 3]`, RGB; clipped to 0-255 and rounded here.
      alpha: uint8 `[H, W]`; kept in PNG, WebP and TIFF, dropped elsewhere.
      icc_profile: kept in PNG, JPEG, WebP and TIFF, dropped elsewhere.
      settings: JSON inside the picture: PNG text "neural-style-tf", JPEG and GIF comment, TIFF and
        WebP image description. Where there is no room (BMP), in the file `<path>.json`.

    Raises:
      FileError: wrong shapes, pixels that are not finite, settings that JSON cannot hold, a picture
        too large for its format, or a disk that refuses. The target is then as it was before.
    """
    with reporting("write picture", path):
        kind, target = _target(path)
        samples = _quantise(pixels)  # [H, W, 3]
        if alpha is not None and kind in ("PNG", "WEBP", "TIFF"):
            wanted = (np.dtype(np.uint8), samples.shape[:2])
            if (alpha.dtype, alpha.shape) != wanted:
                raise FileError(f"expected alpha {wanted}, got {(alpha.dtype, alpha.shape)}")
            samples = np.dstack([samples, alpha])  # [H, W, 4]
        try:  # ASCII on one line, which the text field of every format can hold
            text = None if settings is None else json.dumps(dict(settings), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise FileError(f"expected settings that JSON can hold: {error}") from error
        if text is None or (kind != "BMP" and len(text) < _ROOM):
            _replace({target: _encode(samples, kind, icc_profile, text)})
        else:
            # The picture last: once it is there, all is there.
            picture = _encode(samples, kind, icc_profile, None)
            _replace({sidecar(target): text.encode("ascii"), target: picture})


def read_bytes(path: StrPath, kind: str) -> bytes:
    """All bytes of a file of some other kind, `kind` in words.

    Raises:
      FileError: no such file, a folder, or a disk that refuses.
    """
    with opened(path, kind) as stream:
        return stream.read()


def write_bytes(path: StrPath, data: bytes, kind: str) -> None:
    """Writes a file of some other kind, whole or not at all; an existing file is replaced.

    Raises:
      FileError: a disk that refuses. The file is then as it was before.
    """
    with reporting(f"write {kind}", path):
        _replace({Path(os.path.realpath(_checked(path))): data})


@contextmanager
def replacing(path: StrPath, kind: str) -> Iterator[Path]:
    """A temporary neighbour to write a file of some other kind to, piece by piece.

    At the end of the block it takes the place of `path`; where the block fails, nothing does.

    Raises:
      FileError: a disk that refuses. The file is then as it was before.
    """
    with reporting(f"write {kind}", path):
        target = Path(os.path.realpath(_checked(path)))
        with staged([target]) as places:
            yield places[target]


@contextmanager
def opened(path: StrPath, kind: str) -> Iterator[IO[bytes]]:
    """A file of some other kind, to be read.

    Raises:
      FileError: no such file, a folder, or a disk that refuses; and whatever the block raises as a
        FileError, with the file's name.
    """
    with reporting(f"read {kind}", path), _opened(path) as stream:
        yield stream


def read_settings(path: StrPath) -> dict[str, object]:
    """Reads settings from a JSON file, or from a picture that `write` gave settings to.

    Raises:
      FileError: no such file, a picture without settings, bad JSON, or JSON that is no object.
    """
    with reporting("read settings", path):
        data, kind = _load(path)
        if kind is None:
            return _from_json(data)
        # A comment may well be another program's prose: then it is as if there were none.
        with suppress(FileError):
            return _from_json(_embedded(data, kind))
        beside = sidecar(_checked(path))
        if not beside.exists():
            raise FileError(
                f"expected settings in the picture or in {shown(beside)}, got neither; "
                "name a picture written with settings, or a JSON file"
            )
    return read_settings(beside)


@contextmanager
def reporting(action: str, path: StrPath) -> Iterator[None]:
    """Completes an error's message with what was being done to which file."""
    try:
        yield
    except (FileError, OSError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}; check the disk and the permissions"
        reason = " ".join(reason.split())
        raise FileError(f"cannot {action} {shown(path)}: {reason}") from error


def shown(path: StrPath) -> str:
    """The path as it can stand in a one-line message on any terminal."""
    name = os.fsdecode(path)
    return name if name and name.isprintable() else ascii(name)


def _checked(path: StrPath) -> Path:
    name = os.fsdecode(path)
    if not name or "\0" in name:
        raise FileError("expected a file name, got an empty one or one with a zero byte")
    return Path(name)


def sidecar(path: StrPath) -> Path:
    """Where the settings are of a file that has no room for them: `<path>.json`."""
    return Path(path).with_name(Path(path).name + ".json")


def _target(path: StrPath) -> tuple[str, Path]:
    """The format that the extension asks for, and the file to write, behind any symbolic links."""
    target = _named(path)
    suffix = _checked(path).suffix
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        found = shown(suffix or "none")
        raise FileError(f"expected an extension of {', '.join(FORMATS)}, got {found}; rename it")
    return kind, target


def _named(path: StrPath) -> Path:
    """The file to write, behind any symbolic links."""
    named = _checked(path)
    if named.is_dir() or os.fsdecode(path).endswith((os.sep, "/")):
        raise FileError("expected a file name, got a folder; add a name such as result.png")
    return Path(os.path.realpath(named))


def _load(path: StrPath) -> tuple[bytes, str | None]:
    """All bytes of a picture and its format; of anything else only the start, and None."""
    with _opened(path) as stream:
        head = stream.read(_MAX_JSON)
        picture = _PICTURE.match(head)
        return (head + stream.read(), picture.lastgroup) if picture else (head, None)


def _opened(path: StrPath) -> IO[bytes]:
    file = _checked(path)
    if file.is_dir():
        raise FileError("expected a file, got a folder; name a file inside it")
    try:
        return file.open("rb")
    except FileNotFoundError:
        raise FileError(f"there is no such file; {_hint(file)}") from None


def _hint(missing: Path) -> str:
    """What the user may have meant by a file that is not there."""
    if not missing.parent.is_dir():
        return f"nor is there a folder {shown(missing.parent)}"
    # difflib is too slow for folders of a million files.
    names = [entry.name for entry in itertools.islice(missing.parent.iterdir(), 10_000)]
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(missing.name.casefold(), folded, n=1)
    return f"did you mean {shown(folded[close[0]])}?" if close else "check the name"


def _quantise(pixels: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """`[1, H, W, 3]` or `[H, W, 3]` of any range -> uint8 `[H, W, 3]`."""
    array = np.asarray(pixels)
    shape = list(array.shape)
    if not (len(shape) in (3, 4) and shape[-1] == 3 and array.size and shape[:-3] in ([], [1])):
        raise FileError(f"expected pixels of shape [1, H, W, 3] or [H, W, 3], got {shape}")
    array = array.reshape(shape[-3:])
    samples = np.empty(array.shape, np.uint8)
    # Row by row: the run still holds its memory, and copies of a large picture would come on top.
    for row, levels in zip(array, samples, strict=True):
        exact = row.astype(np.float32)
        if not np.isfinite(exact).all():
            raise FileError(
                "expected finite pixels, got NaN or infinity; try a lower learning rate"
            )
        levels[:] = np.rint(exact.clip(0, 255))
    return samples


def _encode(samples: npt.NDArray, kind: str, icc_profile: bytes | None, text: str | None) -> bytes:
    """The bytes of the whole file; in memory, so that an encoder that fails leaves no file."""
    options: dict[str, Any] = dict(_QUALITY.get(kind, {}))
    if icc_profile is not None and kind not in ("BMP", "GIF"):
        options["icc_profile"] = icc_profile
    if text is not None and kind == "PNG":
        options["pnginfo"] = chunks = PngImagePlugin.PngInfo()
        chunks.add_text(_KEYWORD, text)
    elif text is not None and kind in ("JPEG", "GIF"):
        options["comment"] = text.encode("ascii")
    elif text is not None:
        options["exif"] = exif = Image.Exif()
        exif[_DESCRIPTION] = text
    import imageio.v3 as iio  # here, since reading does without it

    try:
        return iio.imwrite(
            "<bytes>", samples, plugin="pillow", extension=f".{kind.lower()}", **options
        )
    except Exception as error:
        size = f"{samples.shape[1]}×{samples.shape[0]}"
        raise FileError(f"the {kind} encoder refused {size} pixels ({error}); try .png") from error


def _replace(files: Mapping[Path, bytes]) -> None:
    """Writes all files or none: each to a temporary neighbour, on the disk, then renamed."""
    with staged(files) as places:
        for target, data in files.items():
            # Unlike tempfile, plain open leaves the permissions to the umask.
            with places[target].open("xb") as stream:
                stream.write(data)


def _from_json(text: bytes | str) -> dict[str, object]:
    try:
        value = json.loads(text) if len(text) < _MAX_JSON else None
    except (ValueError, RecursionError) as error:
        raise FileError(f"expected JSON, got an error: {error}; correct the file") from error
    if not isinstance(value, dict):
        raise FileError("expected a JSON object such as {...}, got something else; correct it")
    return value


def _embedded(data: bytes, kind: str) -> bytes | str:
    """The text in a picture where `write` puts settings; empty if there is none."""
    with decoding(kind):
        image = open_header(data, kind)
        if isinstance(image, PngImagePlugin.PngImageFile):
            return image.text.get(_KEYWORD, "")
        if kind in ("JPEG", "GIF"):
            return image.info.get("comment", b"")
        return str(image.getexif().get(_DESCRIPTION, ""))
