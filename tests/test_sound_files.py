"""Sounds on disk: what is read, what is written, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf import sound_files
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.sound_files import SoundFile, Windows
from tests import sounds

soundfile = pytest.importorskip("soundfile", reason="needs the extra `audio`")
pytest.importorskip("soxr", reason="needs the extra `audio`")

STEREO = np.stack([sounds.tones(0.5, 300, 800), sounds.clicks(0.5, level=0.2)])


def written(path: Path, samples: Any = STEREO, rate: int = 8000, **options: Any) -> Path:
    soundfile.write(path, samples.T, rate, **options)
    return path


def all_of(path: Path, rate: int | None = None) -> Any:
    return np.concatenate(list(SoundFile(path).pieces(rate)), 1)


def test_what_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", subtype="PCM_24")
    file = SoundFile(path)
    assert (file.rate, file.channels, file.encoding, file.promised) == (8000, 2, "PCM_24", 4000)
    pieces = list(file.pieces())
    assert all(piece.dtype == np.float32 for piece in pieces)
    assert np.abs(np.concatenate(pieces, 1) - STEREO).max() < 2**-22


def test_long_sounds_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_files, "_BLOCK", 999)
    path = written(tmp_path / "a.wav", subtype="FLOAT")
    assert [piece.shape for piece in SoundFile(path).pieces()] == [(2, 999)] * 4 + [(2, 4)]
    assert (all_of(path) == STEREO).all()


@pytest.mark.parametrize("rate", [16000, 6000])
def test_resampling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    monkeypatch.setattr(sound_files, "_BLOCK", 999)
    path = written(tmp_path / "a.wav", sounds.tones(1, 440)[None], subtype="FLOAT")
    samples = all_of(path, rate)
    assert samples.shape[1] == pytest.approx(rate, abs=2)
    wanted = sounds.tones(1, 440, rate=rate)
    middle = slice(rate // 4, rate // 2)
    assert np.abs(samples[0, middle] - wanted[middle]).max() < 1e-3


@pytest.mark.parametrize("extension", list(sound_files.FORMATS))
def test_every_format_there_and_back(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out{extension.upper()}"
    encoding = sound_files.encoding_in(path, "PCM_16")
    settings = {"program": "x", "styles": ["fîre.wav"]}
    sound_files.write(path, [STEREO[:, :1234], STEREO[:, 1234:]], 8000, 2, encoding, settings)
    file = SoundFile(path)
    assert (file.rate, file.channels) == (8000, 2)
    again = all_of(path)
    assert again.shape == STEREO.shape
    assert np.corrcoef(again.ravel(), STEREO.ravel())[0, 1] > 0.95
    assert sound_files.read_settings(path) == settings
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("a.wav", "PCM_16", "PCM_16"),
        ("a.wav", "PCM_24", "PCM_24"),
        ("a.wav", "FLOAT", "FLOAT"),
        ("a.wav", "PCM_U8", "PCM_U8"),
        ("a.wav", "MPEG_LAYER_III", "PCM_16"),
        ("a.wav", "VORBIS", "PCM_16"),
        ("a.flac", "PCM_24", "PCM_24"),
        ("a.flac", "FLOAT", "PCM_24"),
        ("a.flac", "PCM_32", "PCM_24"),
        ("a.flac", "PCM_U8", "PCM_16"),
        ("a.aiff", "PCM_32", "PCM_32"),
        ("a.ogg", "PCM_24", "VORBIS"),
        ("a.mp3", "FLOAT", "MPEG_LAYER_III"),
    ],
)
def test_the_depth_is_kept_where_it_can_be(name: str, given: str, kept: str) -> None:
    assert sound_files.encoding_in(name, given) == kept


def test_settings_without_room_stand_beside(tmp_path: Path) -> None:
    settings = {"styles": ["x" * 3000]}
    path = tmp_path / "out.wav"
    sound_files.write(path, [STEREO], 8000, 2, "PCM_16", settings)
    assert json.loads((tmp_path / "out.wav.json").read_text()) == settings
    assert sound_files.read_settings(path) == settings
    (tmp_path / "alone.json").write_text('{"filters": 3}')
    assert sound_files.read_settings(tmp_path / "alone.json") == {"filters": 3}


@pytest.mark.parametrize("comment", ["", "Recorded by the fire", "[1]"])
def test_a_sound_without_settings(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 8000, 1) as sound:
        if comment:
            sound.comment = comment
        sound.write(STEREO[0])
    with pytest.raises(FileError, match="expected settings in the sound's comment or in"):
        sound_files.read_settings(path)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = written(tmp_path / "out.wav")
    before = path.read_bytes()

    def breaking() -> Iterator[Any]:
        yield STEREO
        raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match=r"cannot write sound .*No space left on device"):
        sound_files.write(path, breaking(), 8000, 2, "PCM_16", {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["out.wav"]


def refusals(folder: Path) -> dict[str, tuple[Path, str]]:
    whole = written(folder / "a.flac", sounds.noise(3)[None]).read_bytes()
    files = {
        "text.wav": b"hello, world",
        "empty.wav": b"",
        "junk.mp3": np.random.default_rng(0).bytes(5000),
        "header.wav": written(folder / "b.wav").read_bytes()[:40],
        "cut.flac": whole[: len(whole) // 2],
        "movie.mp4": b"\0\0\0\x20ftypM4A " + bytes(100),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.wav").mkdir()
    other = "expected WAV, FLAC, OGG, MP3 or AIFF, got something else"
    return {
        "text": (folder / "text.wav", other),
        "empty": (folder / "empty.wav", "the file is empty"),
        "junk": (folder / "junk.mp3", other),
        "header": (folder / "header.wav", other),
        "cut": (folder / "cut.flac", "the file is damaged or cut short"),
        "movie": (folder / "movie.mp4", "convert it"),
        "missing": (folder / "a.flax", "there is no such file; did you mean"),
        "folder": (folder / "folder.wav", "expected a file, got a folder"),
    }


@pytest.mark.parametrize(
    "case", ["text", "empty", "junk", "header", "cut", "movie", "missing", "folder"]
)
def test_what_is_no_sound(tmp_path: Path, case: str) -> None:
    path, message = refusals(tmp_path)[case]
    with pytest.raises(FileError) as caught:
        all_of(path)
    text = str(caught.value)
    assert text.startswith("cannot read sound ")
    assert message in text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.m4a", "expected an extension of .wav, .flac, .ogg, .mp3, .aif, .aiff, got .m4a"),
        ("out", "got none"),
        ("nowhere/out.wav", "there is no folder"),
        ("there.wav", "exists; name another file or pass --overwrite"),
    ],
)
def test_where_nothing_can_be_written(tmp_path: Path, name: str, message: str) -> None:
    written(tmp_path / "there.wav")
    with pytest.raises(FileError, match=message):
        sound_files.check_target(tmp_path / name, overwrite=False, settings={})
    sound_files.check_target(tmp_path / "new.wav", overwrite=False, settings={})
    sound_files.check_target(tmp_path / "there.wav", overwrite=True, settings={})


def test_settings_beside_take_the_place_of_nothing(tmp_path: Path) -> None:
    path, mine = tmp_path / "out.wav", tmp_path / "out.wav.json"
    mine.write_text("mine")
    sound_files.check_target(path, overwrite=False, settings={"styles": ["short"]})
    long = {"styles": ["x" * 3000]}
    with pytest.raises(FileError, match=r"out.wav.json exists; name another file or pass"):
        sound_files.check_target(path, overwrite=False, settings=long)
    with pytest.raises(ZeroDivisionError):
        pieces = (STEREO / (1 / 0) for _ in range(1))
        sound_files.write(path, pieces, 8000, 2, "PCM_16", long)
    assert (path.exists(), mine.read_text()) == (False, "mine"), "no sound, no settings"


@pytest.mark.parametrize(("name", "rate", "channels"), [("a.mp3", 96000, 2), ("a.mp3", 44100, 6)])
def test_what_a_format_has_not(name: str, rate: int, channels: int) -> None:
    with pytest.raises(FileError, match=rf"MP3 has no {channels} channel\(s\) at {rate} Hz"):
        sound_files.check_encoding(name, rate, channels)
    sound_files.check_encoding("a.wav", rate, channels)


@pytest.mark.parametrize("missing", ["soundfile", "soxr"])
def test_without_the_packages(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(OptionError, match="sound needs soundfile and soxr: run `pip install"):
        sound_files.packages()


def windows(size: int = 100) -> Windows:
    pieces = iter([STEREO[:, at : at + size] for at in range(0, STEREO.shape[1], size)])
    return Windows(pieces, 8000, *STEREO.shape)


def test_windows_overlap_and_reach_beyond_the_ends() -> None:
    sound = windows()
    padded = np.pad(STEREO, ((0, 0), (500, 500)))
    for begin, end in ((-64, 300), (200, 900), (200, 250), (901, 905), (3000, 4200), (4100, 4300)):
        assert (sound.read(begin, end) == padded[:, begin + 500 : end + 500]).all()


def test_windows_keep_no_more_than_a_window() -> None:
    sound = windows()
    for begin in range(0, 3600, 150):
        sound.read(begin, begin + 300)
        assert sum(each.shape[1] for each in sound.kept) <= 400
        assert all(each.base is None or each.base.size <= 800 for each in sound.kept)


def test_a_sound_that_ends_sooner_than_promised_is_silent_then() -> None:
    sound = Windows(iter([STEREO]), 8000, 2, 5000)
    window = sound.read(3900, 4100)
    assert (window[:, :100] == STEREO[:, 3900:]).all()
    assert not window[:, 100:].any()
