"""Reading and writing sounds, piece by piece, and the settings that made them.

soundfile (libsndfile) reads and writes, soxr resamples. Both are an extra: they are imported when
the first sound is opened.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neural_style_tf import files
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.files import StrPath, shown

Samples = npt.NDArray[np.float32]

# The extensions that `write` takes, and libsndfile's names for the formats.
FORMATS: Mapping[str, str] = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
}
# The encodings of lossy formats, near their best.
_LOSSY: Mapping[str, tuple[str, dict[str, Any]]] = {
    "OGG": ("VORBIS", {"compression_level": 0.1}),
    "MP3": ("MPEG_LAYER_III", {"compression_level": 0.0, "bitrate_mode": "VARIABLE"}),
}
# Encodings that keep samples as they are, and of how many bits to make them where a format has not
# the same.
_BITS: Mapping[str, int] = {
    "PCM_S8": 16,
    "PCM_U8": 16,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 24,
    "FLOAT": 24,
    "DOUBLE": 24,
}
_ROOM = 2000  # bytes of settings inside a sound: libsndfile reads no more of a WAV's comment
_BLOCK = 65536  # samples that are read at a time


def packages() -> tuple[Any, Any]:
    """soundfile and soxr.

    Raises:
        OptionError: they are not installed.
    """
    try:
        return importlib.import_module("soundfile"), importlib.import_module("soxr")
    except (ImportError, OSError) as error:  # OSError: libsndfile is missing
        raise OptionError(
            f"sound needs soundfile and soxr: run `pip install soundfile soxr` ({error})"
        ) from error


class SoundFile:
    """A sound on disk.

    Attributes:
        path: as it was named.
        rate: samples a second.
        channels: sounds side by side.
        encoding: libsndfile's name of it, such as PCM_24.
        promised: samples of each channel that the file says it has.

    Raises:
        FileError: no such file, or one that is no sound.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = path
        with _opened(path) as sound:
            self.rate: int = sound.samplerate
            self.channels: int = sound.channels
            self.encoding: str = sound.subtype
            self.promised: int = sound.frames

    def pieces(self, rate: int | None = None) -> Iterator[Samples]:
        """All samples in order, `[channels, n]`, at another rate if one is given.

        Raises:
            FileError: a file that is damaged.
        """
        stream: Any = None
        if rate not in (None, self.rate):
            stream = packages()[1].ResampleStream(self.rate, rate, self.channels, "float32", "HQ")
        with _opened(self.path) as sound:
            while len(block := sound.read(_BLOCK, dtype="float32", always_2d=True)):
                yield (block if stream is None else stream.resample_chunk(block)).T
        if stream is not None:
            last = np.zeros((0, self.channels), np.float32)
            yield stream.resample_chunk(last, last=True).T


class Windows:
    """A sound read window by window, with no more than a window in memory.

    Args:
        pieces: of the sound, in order, `[channels, n]`.
        rate, channels, length: of the sound.
    """

    def __init__(self, pieces: Iterator[Samples], rate: int, channels: int, length: int) -> None:
        self.pieces = pieces
        self.rate, self.channels, self.length = rate, channels, length
        self.kept: list[Samples] = [np.zeros((channels, 0), np.float32)]
        self.begin = self.end = 0  # of what is kept

    def read(self, begin: int, end: int) -> Samples:
        """The samples `[channels, end − begin]`, silence where the sound is not.

        Windows are asked for in order: one may overlap the last, but not begin before it.
        """
        first, last = max(0, begin), min(end, self.length)
        while self.end < last and (piece := next(self.pieces, None)) is not None:
            self.kept.append(piece)
            self.end += piece.shape[1]
        samples = np.concatenate(self.kept, 1)[:, max(0, first - self.begin) :]
        self.begin = max(self.begin, min(first, self.end))
        self.kept = [samples.copy()]  # else all of the window before stays in memory
        window = np.zeros((self.channels, end - begin), np.float32)
        found = samples[:, : max(0, last - first)]
        window[:, first - begin :][:, : found.shape[1]] = found
        return window


def encoding_in(path: StrPath, wanted: str) -> str:
    """What a sound is encoded in when it is written: the wanted encoding, or what comes nearest.

    Raises:
        FileError: the extension.
    """
    kind = _format(path)
    if kind in _LOSSY:
        return _LOSSY[kind][0]
    if wanted in _BITS and packages()[0].check_format(kind, wanted):
        return wanted
    return f"PCM_{_BITS.get(wanted, 16)}"


def check_target(path: StrPath, *, overwrite: bool, settings: Mapping[str, object]) -> None:
    """Finds out whether `write` can write `path` with these settings; leaves no trace.

    Raises:
        FileError: the extension, the folder is missing or not writable, or the file is there.
    """
    _format(path)
    beside = len(_text(settings)) > _ROOM
    files.check_target(path, overwrite=overwrite, kind="sound", beside=beside)


def check_encoding(path: StrPath, rate: int, channels: int) -> None:
    """Whether the format of `path` has such a rate and so many channels.

    Raises:
        FileError: it has not.
    """
    kind = _format(path)
    try:
        with _sink(io.BytesIO(), kind, rate, channels, encoding_in(path, "PCM_16")):
            pass
    except packages()[0].LibsndfileError as error:
        raise FileError(
            f"cannot write sound {shown(path)}: {kind} has no {channels} channel(s) at {rate} Hz; "
            "choose .wav or .flac"
        ) from error


def write(
    path: StrPath,
    pieces: Iterable[npt.NDArray[Any]],
    rate: int,
    channels: int,
    encoding: str,
    settings: Mapping[str, object],
) -> None:
    """Writes a sound, whole or not at all; an existing file is replaced.

    Args:
        path: its extension chooses the format, see `FORMATS`.
        pieces: in order, `[channels, n]`, within -1 and 1.
        encoding: see `encoding_in`.
        settings: JSON in the sound's comment; where that has no room, in the file `<path>.json`.

    Raises:
        FileError: a disk that refuses. The target is then as it was before.
    """
    kind, text = _format(path), _text(settings)
    beside = len(text) > _ROOM
    with files.replacing(path, "sound") as place, place.open("xb+") as stream:
        try:
            with _sink(stream, kind, rate, channels, encoding) as sound:
                if not beside:
                    sound.comment = text
                for piece in pieces:
                    sound.write(np.ascontiguousarray(piece.T))
        except packages()[0].LibsndfileError as error:
            raise FileError(f"the {kind} encoder refused the sound ({_reason(error)})") from error
        if beside:  # once there is a sound to go with it
            files.write_bytes(files.sidecar(path), text.encode("ascii"), "settings")


def _text(settings: Mapping[str, object]) -> str:
    return json.dumps(dict(settings), allow_nan=False)


def read_settings(path: StrPath) -> dict[str, object]:
    """Reads settings from a JSON file, or from a sound that `write` gave settings to.

    Raises:
        FileError: no such file, a sound without settings, or bad JSON.
    """
    if Path(path).suffix.lower() not in FORMATS:
        return files.read_settings(path)
    with _opened(path) as sound:
        comment = sound.comment
    # A comment may well be another program's prose: then it is as if there were none.
    with suppress(ValueError):
        found = json.loads(comment)
        if isinstance(found, dict):
            return found
    beside = files.sidecar(path)
    if not beside.exists():
        raise FileError(
            f"cannot read settings {shown(path)}: expected settings in the sound's comment or in "
            f"{shown(beside)}, got neither; name a sound written with settings, or a JSON file"
        )
    return files.read_settings(beside)


@contextmanager
def _opened(path: StrPath) -> Iterator[Any]:
    """libsndfile's view of a file."""
    library = packages()[0]
    with files.opened(path, "sound") as stream:
        if not stream.read(1):
            raise FileError("the file is empty; name another file")
        stream.seek(0)
        try:
            sound = library.SoundFile(stream)
        except library.LibsndfileError as error:
            raise FileError(
                f"expected WAV, FLAC, OGG, MP3 or AIFF, got something else ({_reason(error)}); "
                "convert it (`ffmpeg -i FILE out.wav`) or name another file"
            ) from error
        with sound:
            try:
                yield sound
            except library.LibsndfileError as error:
                raise FileError(
                    f"the file is damaged or cut short ({_reason(error)}); name another file"
                ) from error


def _reason(error: Exception) -> str:
    """libsndfile's own words, without the file object's."""
    return str(getattr(error, "error_string", error)).rstrip(". ")


def _sink(stream: Any, kind: str, rate: int, channels: int, encoding: str) -> Any:
    """libsndfile's way to write."""
    quality = _LOSSY[kind][1] if kind in _LOSSY else {}
    return packages()[0].SoundFile(stream, "w", rate, channels, encoding, format=kind, **quality)


def _format(path: StrPath) -> str:
    suffix = Path(path).suffix
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        raise FileError(
            f"cannot write sound {shown(path)}: expected an extension of {', '.join(FORMATS)}, got "
            f"{shown(suffix or 'none')}; rename it"
        )
    return kind
