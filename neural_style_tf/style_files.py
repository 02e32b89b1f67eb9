"""Styles on disk: kept by the user as files, and remembered in the cache from run to run.

A style file is a NumPy `.npz`: `settings` is JSON, and `WIDTH/LAYER` the upper triangle of that
layer's moments (they are symmetric) as float32.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural_style_tf import files
from neural_style_tf.errors import FileError
from neural_style_tf.styles import KeptStyle, Measure, Moments

# Bytes that the cache may take; the oldest go first.
_ROOM = 256 * 2**20
_KIND = "a style kept by --save-style"


def is_style(path: files.StrPath) -> bool:
    """Whether this is a style file by its name; whatever else it is will be seen on reading."""
    return Path(path).suffix.lower() == ".npz"


def check_style_target(path: files.StrPath, *, overwrite: bool) -> None:
    """Find out, before any work is done, whether `write_style` can succeed; leave no trace.

    Raises:
        FileError: it cannot, and why.
    """
    if not is_style(path):
        raise FileError(f"cannot write style {path}: expected a name that ends in .npz; rename it")
    files.check_target(path, overwrite=overwrite, kind="style")


def write_style(path: files.StrPath, style: KeptStyle) -> None:
    """Write a style, whole or not at all; an existing file is replaced.

    Raises:
        FileError: a disk that refuses.
    """
    arrays: dict[str, Any] = {
        "settings": np.array(
            json.dumps({"measured": dict(style.measured), "origin": dict(style.origin)})
        )
    }
    for width, moments in style.levels.items():
        for layer, matrix in moments.items():
            arrays[f"{width}/{layer}"] = _folded(matrix)
    files.write_bytes(path, _packed(arrays), "style")


def read_style(path: files.StrPath) -> KeptStyle:
    """Read a style.

    Raises:
        FileError: no such file, or not a style.
    """
    data = files.read_bytes(path, "style")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            settings = json.loads(str(arrays["settings"]))
            levels: dict[int, dict[str, Any]] = {}
            for key in arrays.files:
                if key != "settings":
                    width, _, layer = key.partition("/")
                    levels.setdefault(int(width), {})[layer] = _unfolded(arrays[key])
        style = KeptStyle(levels, dict(settings["measured"]), dict(settings["origin"]))
        if len({tuple(moments) for moments in levels.values()}) != 1 or min(levels) < 1:
            raise ValueError("its widths have other layers")
    # On damaged bytes zipfile, NumPy and JSON raise whatever they do.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FileError(
            f"cannot read style {path}: expected a picture, or {_KIND}, got a damaged or other "
            f".npz ({reason})"
        ) from error
    return style


@dataclass(frozen=True)
class Remembered:
    """A painting whose moments are measured once, and then found in the cache.

    Attributes:
        pixels: `[H, W, 3]`, 0-255.
        measured: whatever the moments depend on beside the pixels.
        folder: of the cache; made when it is needed.
    """

    pixels: Any
    measured: Mapping[str, Any]
    folder: Path

    def moments(self, width: float, measure: Measure) -> Moments:
        """As measured of the painting resized to that width, now or in an earlier run."""
        from neural_style_tf.pixels import resize_style

        picture = resize_style(self.pixels, width)
        digest = hashlib.sha256(json.dumps(dict(self.measured), sort_keys=True).encode())
        digest.update(repr(tuple(picture.shape)).encode() + picture.numpy().tobytes())
        path = self.folder / f"{digest.hexdigest()}.npz"
        # A cache that cannot be read or written is none, and no reason to fail.
        with suppress(Exception):
            found = read_style(path).levels[1]
            path.touch()
            return found
        moments = {layer: np.asarray(matrix) for layer, matrix in measure(picture).items()}
        with suppress(OSError, FileError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_style(path, KeptStyle({1: moments}, {}, {}))
            _tidy(self.folder)
        return moments


def _tidy(folder: Path) -> None:
    """Remove what was used longest ago, until the rest fits."""
    room = _ROOM
    kept = [(entry.stat(), entry) for entry in folder.glob("*.npz")]
    for stat, entry in sorted(kept, key=lambda pair: -pair[0].st_mtime):
        room -= stat.st_size
        if room < 0:
            entry.unlink(missing_ok=True)


def _folded(matrix: Any) -> Any:
    matrix = np.asarray(matrix, np.float32)
    return matrix[np.triu_indices(len(matrix))]


def _unfolded(triangle: Any) -> Any:
    size = int((2 * triangle.size) ** 0.5)
    if triangle.shape != (size * (size + 1) // 2,) or triangle.dtype != np.float32:
        raise ValueError("moments of an odd size or type")
    if not np.isfinite(triangle).all():
        raise ValueError("moments that are not finite")
    matrix = np.zeros((size, size), np.float32)
    matrix[np.triu_indices(size)] = triangle
    return matrix + np.triu(matrix, 1).T


def _packed(arrays: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # float32 noise does not compress
    return stream.getvalue()
