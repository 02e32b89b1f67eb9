"""Pictures on disk: every mode against values worked out by hand, bad bytes, atomic writing."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import stat
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TypeAlias
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from neural_style_tf import decoding, files
from neural_style_tf.errors import FileError

NOISE = np.random.default_rng(0).integers(0, 256, (19, 23, 3), dtype=np.uint8)
PHOTO = Image.fromarray(NOISE)
SMOOTH = np.fromfunction(lambda y, x, c: 40 + 5 * y + 4 * x + 20 * c, (19, 23, 3)).astype(np.uint8)
Patch: TypeAlias = pytest.MonkeyPatch
Read: TypeAlias = Callable[[bytes], files.Picture]
SETTINGS: dict[str, object] = {"weight": 500.0, "layers": ["relu1_1"], "name": "Müller 東"}


def png(header: tuple[int, int, int, int], rows: list[bytes], trns: bytes = b"") -> bytes:
    """A PNG of (width, height, bit depth, colour type), for what Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    chunks += chunk(b"tRNS", trns) if trns else b""
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(
    size: tuple[int, int], bits: list[int], photometric: int, data: bytes, order: str, packed: bool
) -> bytes:
    """A TIFF of one strip of (width, height), for what Pillow cannot write."""
    data = zlib.compress(data) if packed else data
    at = 8 + 2 * len(bits)  # the bits a sample come first, then the pixels, then the tags
    depths = struct.pack(f"{order}{len(bits)}H", *bits)
    inline = struct.pack(order + "I", 8) if len(bits) > 2 else depths.ljust(4, b"\0")
    values = {256: size[0], 257: size[1], 259: 8 if packed else 1, 262: photometric, 273: at}
    values |= {277: len(bits), 278: size[1], 279: len(data)}
    tags = {tag: struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in values.items()}
    tags[258] = struct.pack(order + "HHI", 258, 3, len(bits)) + inline
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at + len(data))
    end = struct.pack(order + "H", len(tags)) + b"".join(tags[tag] for tag in sorted(tags))
    return head + depths + data + end + bytes(4)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path: Path, monkeypatch: Patch) -> Read:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # Pillow now warns of all but tiny ones

    def read_bytes(data: bytes) -> files.Picture:
        path = tmp_path / "picture"  # without an extension: the content decides
        path.write_bytes(data)
        picture = files.read(path)
        pixels, alpha, size = picture.pixels, picture.alpha, picture.pixels.shape[1:3]
        assert (str(pixels.dtype), pixels.shape) == ("float32", (1, *size, 3))
        assert pixels.flags.c_contiguous and pixels.flags.writeable and np.isfinite(pixels).all()
        assert alpha is None or (str(alpha.dtype), alpha.shape) == ("uint8", size)
        return picture

    return read_bytes


def image_of(mode: str, *colours: int | tuple[int, ...]) -> Image.Image:
    image = Image.new(mode, (len(colours), 1))
    for x, colour in enumerate(colours):
        image.putpixel((x, 0), colour)
    return image


def floats(*row: float) -> bytes:
    return saved(Image.fromarray(np.array([row], np.float32)), "TIFF")


def u16(*values: int, order: str = ">") -> bytes:
    return struct.pack(f"{order}{len(values)}H", *values)


# Bytes of one row, and its expected RGB (a number is grey) and alpha.
CASES: dict[str, tuple[bytes, list, list | None]] = {}


def case(name: str, data: bytes, pixels: list, alpha: list | None = None) -> None:
    CASES[name] = (data, pixels, alpha)


TWO = image_of("RGB", (1, 2, 3), (200, 9, 8))
TWO_RGB = [[1, 2, 3], [200, 9, 8]]
P3 = image_of("P", 0, 1, 2)
P3.putpalette(range(1, 10))
P3_RGB = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
DEEP = (0, 257, 514, 1000, 65535, 255)  # two RGB pixels of 16 bits
DEEP_RGB = [[0, 1, 2], [1000 / 257, 255, 255 / 257]]

case("grey+alpha", saved(image_of("LA", (7, 0), (9, 200)), "PNG"), [7, 9], [0, 200])
case("opaque alpha", saved(image_of("RGBA", (1, 2, 3, 255)), "PNG"), [[1, 2, 3]])
case("RGBA", saved(image_of("RGBA", (1, 2, 3, 4)), "PNG"), [[1, 2, 3]], [4])
case("1 bit", saved(image_of("1", 0, 255, 0), "PNG"), [0, 255, 0])
case("1 bit, key", png((3, 1, 1, 0), [b"\x40"], u16(1)), [0, 255, 0], [255, 0, 255])
case("2 bits, key", png((4, 1, 2, 0), [b"\x1b"], u16(2)), [0, 85, 170, 255], [255, 255, 0, 255])
case("4 bits, key", png((2, 1, 4, 0), [b"\x3c"], u16(3)), [51, 204], [0, 255])
case("grey, key", saved(image_of("L", 5, 6), "PNG", transparency=6), [5, 6], [255, 0])
case("RGB, key", saved(TWO, "PNG", transparency=(200, 9, 8)), TWO_RGB, [255, 0])
case("palette", saved(P3, "PNG"), P3_RGB)
case("palette, one", saved(P3, "PNG", transparency=1), P3_RGB, [255, 0, 255])
case("palette, all", saved(P3, "PNG", transparency=b"\x05\x80\xff"), P3_RGB, [5, 128, 255])
case("16-bit grey", png((3, 1, 16, 0), [u16(0, 1000, 65535)]), [0, 1000 / 257, 255])
case("16-bit grey, key", png((2, 1, 16, 0), [u16(514, 515)], u16(515)), [2, 515 / 257], [255, 0])
case("16-bit grey+alpha", png((2, 1, 16, 4), [u16(512, 257, 1024, 0)]), [2, 4], [1, 0])
case("16-bit RGB", png((2, 1, 16, 2), [u16(*DEEP)]), DEEP_RGB)
case("16-bit RGB, key", png((2, 1, 16, 2), [u16(*DEEP)], u16(*DEEP[3:])), DEEP_RGB, [255, 0])
case("16-bit RGBA", png((1, 1, 16, 6), [u16(1000, 257, 0, 514)]), [[1000 / 257, 1, 0]], [2])
for order, packed in itertools.product("<>", (False, True)):
    for wide, bits, photometric, rgb in ((6, 1, 1, [v / 257 for v in DEEP]), (2, 3, 2, DEEP_RGB)):
        deep = tiff((wide, 1), [16] * bits, photometric, u16(*DEEP, order=order), order, packed)
        case(f"16-bit TIFF of {bits}, {order}, {packed}", deep, rgb)
case("white is zero", tiff((2, 1), [16], 0, u16(0, 257, order="<"), "<", False), [255, 254])
case("12-bit", tiff((2, 1), [12], 1, b"\xff\xf0\x00", "<", False), [255, 0])
case("float 0-1", floats(0, 0.5, 1), [0, 127.5, 255])
case("float 0-255", floats(0, 1, 200.5), [0, 1, 200.5])
case("CMYK", saved(image_of("CMYK", (255, 0, 0, 0), (0, 0, 0, 255)), "TIFF"), [[0, 255, 255], 0])
case("LAB", saved(image_of("LAB", (255, 128, 128), (0, 128, 128)), "TIFF"), [255, 0])
case("YCbCr", saved(image_of("YCbCr", (255, 128, 128)), "TIFF", compression="tiff_lzw"), [255])


@pytest.mark.parametrize("name", CASES)
def test_modes_read_as_worked_out_by_hand(name: str, read: Read) -> None:
    data, pixels, alpha = CASES[name]
    picture = read(data)
    expected = [np.broadcast_to(pixel, 3) for pixel in pixels]
    # Colour management rounds on its own.
    np.testing.assert_allclose(picture.pixels[0, 0], expected, atol=1 if name == "LAB" else 1e-4)
    np.testing.assert_array_equal(picture.alpha, alpha and [alpha])


def test_cmyk_goes_through_its_profile_with_adobe_inversion_undone(read: Read) -> None:
    # A table from CMYK to Lab: no ink is white, all inks are black, all else is one grey.
    curve, one = bytes(range(256)), struct.pack(">9i", *(65536, 0, 0, 0) * 2, 65536)
    cube = b"".join(bytes([{0: 255, 15: 0}.get(ink, 128), 128, 128]) for ink in range(16))
    body = b"mft1" + bytes([0, 0, 0, 0, 4, 3, 2, 0]) + one + curve * 4 + cube + curve * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(body))
    head = struct.pack(">I4sI12s", 144 + len(body), b"lcms", 0x02400000, b"prtrCMYKLab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    profile = head.ljust(128, b"\0") + tags + body
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    with_profile = read(saved(image, "JPEG", icc_profile=profile, quality=100))
    without = read(saved(image, "JPEG", quality=100))
    broken = read(saved(image, "JPEG", icc_profile=profile[:160], quality=100))
    # L* = 128/255 is the grey 119 or 120 of sRGB; cyan by the plain formula has no red.
    np.testing.assert_allclose(with_profile.pixels, 120, atol=3)
    assert with_profile.icc_profile is None
    np.testing.assert_allclose(without.pixels[0, 0, 0], [0, 255, 255], atol=2)
    np.testing.assert_array_equal(broken.pixels, without.pixels)


# What 123/456 shows by each orientation; there is no ninth.
ORIENTED = {1: "123/456", 2: "321/654", 3: "654/321", 4: "456/123", 9: "123/456"}
ORIENTED |= {5: "14/25/36", 6: "41/52/63", 7: "63/52/41", 8: "36/25/14"}


def digits(text: str) -> npt.NDArray[np.uint8]:
    return np.array([[int(digit) for digit in row] for row in text.split("/")], np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_turns_pixels_and_alpha(orientation: int, kind: str, read: Read) -> None:
    stored, shown = digits(ORIENTED[1]), digits(ORIENTED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgba = Image.fromarray(np.dstack([stored, stored, stored, stored + 100]))
    picture = read(saved(rgba, kind, exif=exif, lossless=True))
    np.testing.assert_array_equal(picture.pixels[0, ..., 0], shown)
    np.testing.assert_array_equal(picture.alpha, shown + 100)


def test_only_a_profile_of_rgb_is_handed_on(read: Read) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile, expected in ((srgb, srgb), (lab, None), (b"RGB " * 50, None)):
        assert read(saved(PHOTO, "PNG", icc_profile=profile)).icc_profile == expected


def test_an_animation_gives_its_first_frame(read: Read) -> None:
    for kind in ("GIF", "PNG", "TIFF"):
        data = saved(TWO, kind, save_all=True, append_images=[image_of("RGB", 0, 0)])
        np.testing.assert_array_equal(read(data).pixels, [[TWO_RGB]])


def has(message: str, *parts: str) -> None:
    assert all(part in message for part in parts) and "\n" not in message


NO_PICTURES = {
    "got no data": b"",
    "expected JPEG, PNG, WebP, TIFF, GIF or BMP, got text data": "日記".encode(),
    "got HTML data": b"<!DOCTYPE html><html>",
    "damaged or unusual PNG": b"\x89PNG\r\n\x1a\n",
    "got nan to nan": floats(np.nan, 1),
    "0-1 or 0-255, got -1 to 4000": floats(-1, 4000),
    "32-bit integers": saved(Image.new("I", (2, 2)), "TIFF"),
    "expected at most 178,956,970 pixels, got more": png((15_000, 15_000, 8, 2), [b""]),
}


@pytest.mark.parametrize("part", NO_PICTURES)
def test_what_is_no_picture_is_named(part: str, read: Read, tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        read(NO_PICTURES[part])
    has(str(caught.value), f"cannot read picture {tmp_path / 'picture'}: ", part)


def test_the_size_is_refused_before_decoding(read: Read, monkeypatch: Patch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 436)
    with pytest.raises(FileError, match="at most 436 pixels, got more"):
        read(png((19, 23, 8, 2), []))


NOWHERE = {
    "holiday.jpeg": "no such file; did you mean Holiday.JPG?",
    "nowhere/a.png": "nor is there a folder",
    "folder": "got a folder; name a file inside it",
    "a\nb.png": r"a\nb.png",
    "x" * 5000: "too long",
    "a\0.png": "zero byte",
    "": "got an empty one",
}


@pytest.mark.parametrize("name", NOWHERE)
def test_a_path_that_leads_nowhere(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Holiday.JPG").write_bytes(b"")
    Path("folder").mkdir()
    for function in (files.read, files.read_settings):
        with pytest.raises(FileError) as caught:
            function(name)
        has(str(caught.value), NOWHERE[name])


def test_a_lack_of_permission_is_named(tmp_path: Path, monkeypatch: Patch) -> None:
    # Permission bits do not bind root, who may run this.
    error = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr("pathlib.Path.open", Mock(side_effect=error))
    with pytest.raises(FileError, match=r"cannot read picture .*a.png: Permission denied"):
        files.read(tmp_path / "a.png")


ENCODED = {
    "JPEG": saved(PHOTO, "JPEG"),
    "JPEG progressive": saved(PHOTO, "JPEG", progressive=True),
    "PNG": saved(PHOTO, "PNG"),
    "PNG palette": saved(PHOTO.quantize(), "PNG", transparency=3),
    "PNG 16 bits": png((8, 8, 16, 6), [NOISE.tobytes()[:64]] * 8),
    "GIF": saved(PHOTO, "GIF"),
    "WebP": saved(PHOTO, "WEBP"),
    "WebP lossless": saved(PHOTO, "WEBP", lossless=True, exif=b"junkjunk"),
    "BMP": saved(PHOTO, "BMP"),
    "TIFF": saved(PHOTO, "TIFF"),
    "TIFF JPEG": saved(PHOTO, "TIFF", compression="jpeg"),
    "TIFF 16 bits": tiff((8, 8), [16] * 3, 2, NOISE.tobytes()[: 8 * 8 * 6], "<", True),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_truncated_picture_is_an_error_or_the_whole_picture(name: str, read: Read) -> None:
    data = ENCODED[name]
    whole = read(data).pixels
    for length in {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 8, len(data))}:
        with contextlib.suppress(FileError):
            np.testing.assert_array_equal(read(data[:length]).pixels, whole, str(length))
    with pytest.raises(FileError, match="truncated"):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("name", ENCODED)
def test_no_bytes_bring_out_another_error(
    name: str, read: Read, capfd: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100_000)  # a flipped header must not cost gigabytes
    chance = random.Random(name)
    for _ in range(60):
        data = bytearray(ENCODED[name])
        for _ in range(chance.choice((1, 2, 5, 20))):  # half of them in the headers
            data[chance.randrange(chance.choice((len(data), 120)))] = chance.randrange(256)
        with contextlib.suppress(FileError):
            read(bytes(data))
    if not name.startswith("TIFF "):  # libtiff itself writes to stderr, past Pillow
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("extension", files.FORMATS)
def test_what_is_written_reads_back(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"Bild 東京{extension.upper()}"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.arange(SMOOTH[..., 0].size, dtype=np.uint8).reshape(SMOOTH.shape[:2])
    files.write(path, SMOOTH[None].astype(float), alpha=alpha, icc_profile=profile)
    kind, picture = files.FORMATS[extension], files.read(path)
    assert Image.open(BytesIO(path.read_bytes())).format == kind
    assert list(tmp_path.iterdir()) == [path]
    expected = SMOOTH
    if kind == "JPEG":  # colour at full size, quality 95
        encoded = saved(Image.fromarray(SMOOTH), "JPEG", quality=95, subsampling=0)
        expected = np.asarray(Image.open(BytesIO(encoded)))
    difference = np.abs(picture.pixels[0] - expected)[alpha > 0]
    assert difference.mean() <= {"WEBP": 3, "GIF": 4}.get(kind, 0)
    assert picture.icc_profile == (None if kind in ("BMP", "GIF") else profile)
    np.testing.assert_array_equal(picture.alpha, alpha if kind in ("PNG", "TIFF", "WEBP") else None)


@pytest.mark.parametrize("extension", files.FORMATS)
def test_settings_travel_with_the_picture(extension: str, tmp_path: Path) -> None:
    path, bare = tmp_path / f"a{extension}", tmp_path / f"b{extension}"
    files.write(path, NOISE, settings=SETTINGS)
    assert files.read_settings(path) == SETTINGS
    key = {"PNG": "neural-style-tf", "JPEG": "comment"}.get(files.FORMATS[extension])
    if key is not None:
        with Image.open(path) as image:
            assert json.loads(image.info[key]) == SETTINGS
    sidecar = Path(f"{path}.json")
    assert sidecar.exists() == (extension == ".bmp")
    large = SETTINGS | {"name": "x" * 70_000}  # more than a JPEG segment holds
    files.write(path, NOISE, settings=large)
    assert files.read_settings(sidecar) == files.read_settings(path) == large
    files.write(bare, NOISE)
    with pytest.raises(FileError, match=r"in the picture or in .*b\.\w+\.json, got neither"):
        files.read_settings(bare)


@pytest.mark.parametrize("text", [b'{"a": 1,}', b"[1]", b"", b"\xff\xfe\xfd", b"[" * 100_000])
def test_bad_settings_are_refused(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(FileError) as caught:
        files.read_settings(path)
    has(str(caught.value), "a.json: expected ", "line 1 column" if text[:1] == b"{" else "JSON")


def test_pixels_are_clipped_and_rounded_once(tmp_path: Path) -> None:
    values = np.array([[-5.0, 0.4, 0.6], [254.4, 254.6, 300.0]])
    files.write(tmp_path / "a.png", values[None])
    pixels = files.read(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(pixels[0, 0], [[0, 0, 1], [254, 255, 255]])


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    for pixels in (NOISE[..., :1], NOISE[None, None], np.stack([NOISE, NOISE])):
        with pytest.raises(FileError, match="shape"):
            files.write(tmp_path / "a.png", pixels)
    with pytest.raises(FileError, match="finite"):
        files.write(tmp_path / "a.png", np.full((2, 2, 3), np.nan))
    with pytest.raises(FileError, match="alpha"):
        files.write(tmp_path / "a.png", NOISE, alpha=np.zeros((2, 2), np.uint8))
    for value in (object(), float("nan")):
        with pytest.raises(FileError, match="JSON"):
            files.write(tmp_path / "a.png", NOISE, settings={"a": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("broken", ["os.fsync", "PIL.Image.Image.save", "pathlib.Path.replace"])
@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_a_failure_leaves_the_target_as_it_was(
    name: str, broken: str, error: BaseException, tmp_path: Path, monkeypatch: Patch
) -> None:
    path = tmp_path / name
    files.write(path, NOISE, settings={"a": 1})
    before = {entry: entry.read_bytes() for entry in tmp_path.iterdir()}
    monkeypatch.setattr(broken, Mock(side_effect=error))
    kind, text = (FileError, "No space left") if isinstance(error, OSError) else (type(error), None)
    with pytest.raises(kind, match=text):
        files.write(path, 255 - NOISE, settings={"a": 2})
    monkeypatch.undo()
    assert {entry: entry.read_bytes() for entry in tmp_path.iterdir()} == before


@pytest.mark.skipif(os.name != "posix", reason="permission bits and links of POSIX")
def test_permissions_and_links_are_as_if_the_file_were_opened(tmp_path: Path) -> None:
    path, link = tmp_path / "a.png", tmp_path / "link.png"
    before = os.umask(0o027)
    files.write(path, NOISE)
    os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.symlink_to(path)
    files.write(link, 255 - NOISE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert link.is_symlink()
    np.testing.assert_array_equal(files.read(path).pixels[0], 255 - NOISE)


def test_a_good_target_is_left_alone(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    files.check_target("new.JPEG", overwrite=False)
    assert list(tmp_path.iterdir()) == []
    files.write("old.png", NOISE)
    before = Path("old.png").stat()
    files.check_target("old.png", overwrite=True)
    assert Path("old.png").stat() == before


BAD_TARGETS = {
    "old.png": "old.png exists; name another file or pass --overwrite",
    "new.bmp": "new.bmp.json exists; name another file or pass --overwrite",
    "new": "expected an extension of .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .gif, got none",
    "folder.png": "got a folder",
    "new.png/": "got a folder",
    "nowhere/new.png": "there is no folder",
    "x" * 300 + ".png": "too long",
    "/proc/new.png": "cannot write picture /proc/new.png",  # shut even to root, or not there
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_a_bad_target_is_refused(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    files.write("old.png", NOISE)
    Path("new.bmp.json").write_text("{}")
    Path("folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileError) as caught:
        files.check_target(name, overwrite="exists" not in BAD_TARGETS[name])
    has(str(caught.value), BAD_TARGETS[name])
    assert sorted(tmp_path.iterdir()) == before
