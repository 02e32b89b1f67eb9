"""The `audio` command, as its user would run it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from neural_style_tf.audio.loudness import Meter
from neural_style_tf.sound_files import read_settings
from tests.commandline import begin, error, run
from tests.sounds import RATE, clicks, noise, tones

TO = ["--output", "out.wav"]
SOUNDS = ["--content", "content.wav", "--style", "style.wav"]
SHORT = ["--filters", "16", "--iterations", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    keep("content.wav", tones(1, 300, 500), "PCM_24")
    keep("style.wav", clicks(1))
    return tmp_path


def keep(path: str, samples: Any, encoding: str = "PCM_16", rate: int = RATE) -> None:
    soundfile.write(path, np.transpose(samples), rate, encoding)


def made(*words: str) -> Any:
    """What a run writes, `[n, channels]`."""
    assert run("audio", *SHORT, *words) == 0
    return soundfile.read("out.wav", always_2d=True)[0]


def loudness(samples: Any) -> float:
    meter = Meter(RATE, samples.shape[1])
    meter.add(samples.T)
    return meter.loudness


def test_a_sound_in_the_texture_of_another(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    progress = ["--print-iterations", "1", "--progress-write", "--progress-plot"]
    found = made(*SOUNDS, *TO, "--plot", *progress)
    kind, given = soundfile.info("out.wav"), soundfile.read("content.wav", always_2d=True)[0]
    assert (kind.frames, kind.samplerate, kind.channels) == (RATE, RATE, 1)
    assert kind.subtype == "PCM_24", "the depth of the content"
    assert loudness(found) == pytest.approx(loudness(given), abs=0.1)
    assert np.abs(found).max() <= 0.99
    with Image.open("out.png") as plot:
        # Three spectrograms side by side: their places are bright and dark in their own ways.
        assert plot.width > 2.5 * plot.height
    told = capsys.readouterr().out
    assert told.count("total loss:") == 5, "before the first, and after each of 2 and 2"
    assert "1.0 s at 8000 Hz, mono; 16 random filters, on" in caplog.text
    assert "Wrote out.wav: 1.0 s of 1.0, PCM_24, loss " in caplog.text
    written = {path.name for path in Path().iterdir()}
    assert {"progress.txt", "progress.png"} <= written, written


def test_the_settings_make_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    first = made(*SOUNDS, *TO, "--seed", "5", "--content-weight", "0.5", "--quiet")
    assert capsys.readouterr() == ("", "")
    settings = read_settings("out.wav")
    assert settings["objective"]["content_weight"] == 0.5  # type: ignore[index]
    Path("kept.json").write_text(json.dumps(settings))
    assert run("audio", "--config", "kept.json", "--output", "again.wav") == 0
    np.testing.assert_array_equal(first, soundfile.read("again.wav", always_2d=True)[0])
    # Another optimizer has its own defaults, and of the file's settings only those not its own.
    words = ["--config", "out.wav", "--optimizer", "adam", "--iterations", "2"]
    assert run("audio", *words, "--output", "c.wav") == 0
    assert read_settings("c.wav")["schedule"]["learning_rate"] == 0.03  # type: ignore[index]


def test_stereo_at_another_rate(caplog: pytest.LogCaptureFixture) -> None:
    left, right = tones(1, 300, 500, rate=11025), 0.3 * noise(1, 3, rate=11025)
    keep("content.wav", np.stack([left, right]), rate=11025)
    found = made(*SOUNDS, *TO)
    assert found.shape == (11025, 2)
    assert soundfile.info("out.wav").samplerate == 11025
    given = soundfile.read("content.wav")[0]
    assert _levels(found) == pytest.approx(_levels(given), rel=0.2), "the stereo image stays"
    assert "style.wav is resampled from 8000 to 11025 Hz" in caplog.text
    assert "1.0 s at 11025 Hz, stereo" in caplog.text


def _levels(sound: Any) -> float:
    """Of one channel against the other."""
    first, second = np.sqrt(np.square(sound).mean(0))
    return float(first / second)


def test_texture_alone_of_several_styles() -> None:
    keep("other.wav", noise(1.5))
    words = ["--styles", "style.wav", "other.wav", "--style-blend-weights", "3", "1"]
    assert len(made(*words, *TO, "--duration", "1.25")) == 10000
    objective: Any = read_settings("out.wav")["objective"]
    assert objective == {"style_weight": 1.0, "style_blend_weights": [3.0, 1.0]}


def test_lossy_formats_have_settings_too() -> None:
    keep("content.wav", tones(1, 300, 500, rate=16000), rate=16000)
    assert run("audio", *SHORT, *SOUNDS, "--output", "out.mp3") == 0
    assert soundfile.info("out.mp3").samplerate == 16000
    assert read_settings("out.mp3")["content"] == "content.wav"


def test_an_interrupt_ends_with_the_best_so_far(folder: Path) -> None:
    many = ["--iterations", "100000", "--tolerance", "0", "--filters", "16"]
    process = begin(folder, "audio", *SOUNDS, *TO, *many, "--print-iterations", "1")
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        if line.startswith("  total loss:"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "ending with the best sound so far" in err
    assert soundfile.info("out.wav").frames == RATE


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_meanwhile_is_an_error_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def temporary(dir: Path) -> Any:
        asked.append(dir)
        return FULL.open("wb", buffering=0)

    monkeypatch.setattr("tempfile.TemporaryFile", temporary)
    Path("deep").mkdir()
    assert run("audio", *SHORT, *SOUNDS, "--output", "deep/out.wav", "--quiet") == 2
    told = capsys.readouterr().err
    assert told.startswith("error: cannot write into deep: No space left on device")
    assert told.count("\n") == 1
    assert asked[-1] == Path("deep"), "beside the result, where there has to be room anyway"
    assert not list(Path("deep").iterdir())


SILENT = np.zeros(RATE)
NAN = np.full(RATE, np.nan)
EXPECTED = "expected WAV, FLAC, OGG, MP3 or AIFF, got something else"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--style", "style.wav"], "--output is missing: expected a path such as out.wav"),
        (["--content", "content.wav", *TO], "--style is missing: expected one or more sounds"),
        ([*SOUNDS, "--output", "out.txt"], "expected an extension of .wav, .flac"),
        ([*SOUNDS, "--output", "no/out.wav"], "no"),
        ([*SOUNDS, "--output", "style.wav"], "--overwrite"),
        (["--style", "style.wav", *TO, "--duration", "1e12"], "at most 86400, a day, got 1000000"),
        (
            [*SOUNDS, "--output", "progress.wav", "--plot", "--progress-plot"],
            "--progress-plot: expected a place of its own for progress.png",
        ),
        (["--style", "missing.wav", *TO], "cannot read sound missing.wav"),
        (["--style", "silent.wav", *TO], "the sound is silent (nothing in it is above -70 LUFS)"),
        (["--style", "empty.wav", *TO], "the sound is empty"),
        (["--style", "nothing.wav", *TO], "the file is empty"),
        (["--style", "nan.wav", *TO], "it has samples that are NaN or infinite"),
        (["--style", "text.wav", *TO], EXPECTED),
        (["--style", "short.wav", *TO], "lasts 0.40 s: expected at least 0.45"),
        (["--content", "short.wav", "--style", "style.wav", *TO], "expected at least 0.45"),
        (["--style", "style.wav", *TO, "--duration", "0.1"], "--duration: expected at least 0.45"),
        (
            ["--style", "style.wav", *TO, "--duration", "nan"],
            "--duration: expected seconds above 0",
        ),
        ([*SOUNDS, *TO, "--duration", "2"], "--duration is for texture without --content"),
        (["--style", "style.wav", *TO, "--content-weight", "1"], "got no content"),
        ([*SOUNDS, *TO, "--style-weight", "0"], "--style-weight: expected a number above 0"),
        ([*SOUNDS, *TO, "--style-blend-weights", "1", "2"], "got 2"),
        ([*SOUNDS, *TO, "--filters", "0"], "--filters: expected 1 to 65536, got 0"),
        ([*SOUNDS, *TO, "--print-iterations", "0"], "--print-iterations: expected 1 or more"),
        ([*SOUNDS, *TO, "--config", "content.wav"], "got neither"),
        ([*SOUNDS, *TO, "--config", "bad.json"], "filters"),
        ([*SOUNDS, "--output", "out.mp3"], "MP3 has no 9 channel(s) at 8000 Hz"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    keep("silent.wav", SILENT)
    keep("empty.wav", np.zeros(0))
    keep("nan.wav", NAN, "FLOAT")
    keep("short.wav", clicks(0.4))
    Path("nothing.wav").touch()
    Path("text.wav").write_text("no sound\n" * 9)
    Path("bad.json").write_text('{"filters": "many"}')
    if "9 channel" in message:
        keep("content.wav", np.stack([tones(1, 300)] * 9))
    assert message in error(capsys, "audio", *words)
