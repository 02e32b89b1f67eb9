"""The program as its user runs it: whole command lines on the tiny network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf.__main__ import parse
from neural_style_tf.commands.job import resolve
from tests import tiny
from tests.commandline import PICTURES, ROOT, SHORT, begin, error, pixels, run


def test_a_picture_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*PICTURES, *SHORT) == 0
    assert pixels("out.png").shape == (48, 64, 3)
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.png",
        "b.png",
        "content.png",
        "out.png",
        "tiny.mat",
    ]


def test_the_command_may_be_named(folder: Path) -> None:
    assert run("stylize", *PICTURES, *SHORT) == 0


def test_quiet_is_quiet(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*PICTURES, *SHORT, "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_every_flag_of_the_2017_program(folder: Path) -> None:
    """Its names, its defaults, its meanings; this command line ran there."""
    assert (
        run(
            *["--content", "content.png", "--styles", "a.png", "b.png", "--output", "out.jpg"],
            *["--iterations", "4", "--print-iterations", "2"],
            *["--checkpoint-output", "cp_{:05}.jpg", "--checkpoint-iterations", "2"],
            *["--progress-write", "--width", "40", "--style-scales", "1.0", "0.7"],
            *["--network", "tiny.mat", "--content-weight-blend", "0.5"],
            *["--content-weight", "5e0", "--style-weight", "5e2"],
            *["--style-layer-weight-exp", "0.2", "--style-blend-weights", "8", "2"],
            *["--tv-weight", "1e2", "--learning-rate", "1e1", "--beta1", "0.9"],
            *["--beta2", "0.999", "--eps", "1e-08", "--initial", "b.png"],
            *["--initial-noiseblend", "0.1", "--preserve-colors", "--pooling", "avg"],
            "--overwrite",
        )
        == 0
    )
    assert pixels("out.jpg").shape == (30, 40, 3)
    assert {path.name for path in folder.glob("cp_*")} == {
        "cp_00000.jpg",
        "cp_00002.jpg",
        "cp_00004.jpg",
    }
    assert np.loadtxt("progress.txt")[:, 0].tolist() == [0, 2, 4]


def job(*words: str) -> Any:
    return resolve(parse(["neural-style-tf", *PICTURES, "--output", "o.png", *words])[1])


def test_flags_become_the_objective(folder: Path) -> None:
    chosen = job("--content-weight-blend", "0.3", "--style-layer-weight-exp", "0.5").objective
    assert chosen.shares("content") == pytest.approx({"relu4_2": 0.3, "relu5_2": 0.7})
    shares = list(chosen.shares("style").values())
    assert shares == pytest.approx(np.array([16, 8, 4, 2, 1]) / 31)
    chosen = job("--content-layers", "relu3_1=3", "relu4_1", "--style-layers", "conv1_1").objective
    assert chosen.shares("content") == {"relu3_1": 0.75, "relu4_1": 0.25}
    assert chosen.shares("style") == {"conv1_1": 1}
    assert job("--preset", "gatys2015").pooling == "avg"
    assert job("--preset", "gatys2015", "--pooling", "max").pooling == "max"
    assert job("--preset", "gatys2015", "--tv-weight", "7").objective.tv_weight == 7


def test_blend_weights_without_values_are_equal(folder: Path) -> None:
    chosen = job("--styles", "a.png", "b.png", "--style-blend-weights")
    assert chosen.objective.blend(2) == (0.5, 0.5)


def test_presets_run_on_any_vgg(folder: Path) -> None:
    assert run(*PICTURES, *SHORT, "--preset", "johnson2016") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize("words", [["reconstruct", "--help"], ["weights", "--list"]])
def test_what_an_encoding_lacks_is_left_out(folder: Path, words: list[str]) -> None:
    """As of a terminal that knows Latin letters alone, and a user whose name has others."""
    done = subprocess.run(
        [sys.executable, "-m", "neural_style_tf", *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "ascii:strict",
            "XDG_CACHE_HOME": str(folder / "\u6211"),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "?" in done.stdout


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">/dev/full"])
def test_a_run_needs_nobody_who_listens(folder: Path, closed: str) -> None:
    """As services are started; and what is written to such a stream is in no other file."""
    command = f'exec "$0" -m neural_style_tf "$@" {closed}'
    words = [*PICTURES, *SHORT, "--print-iterations", "1"]
    process = subprocess.run(
        ["bash", "-c", command, sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == 0
    assert pixels("out.png").shape == (48, 64, 3)


def test_alpha_is_kept_at_the_new_size(folder: Path) -> None:
    rgba = np.dstack([tiny.picture(48, 64, 1), np.full((48, 64), 255, np.uint8)])
    rgba[:, 32:, 3] = 0
    Image.fromarray(rgba).save("clear.png")
    words = ["--content", "clear.png", "--styles", "a.png", *SHORT]
    assert run(*words, "--width", "32") == 0
    result = pixels("out.png")
    assert result.shape == (24, 32, 4)
    assert (result[:, :14, 3] == 255).all()
    assert (result[:, 18:, 3] == 0).all()


def test_kept_colors_are_the_contents(folder: Path) -> None:
    words = [*PICTURES, *SHORT, "--learning-rate", "1", "--initial", "content.png"]
    assert run(*words, "--preserve-colors") == 0
    chroma = np.asarray(Image.open("out.png").convert("YCbCr")).astype(int)[..., 1:]
    expected = np.asarray(Image.open("content.png").convert("YCbCr")).astype(int)[..., 1:]
    assert np.abs(chroma - expected).mean() < 2


def test_checkpoints_keep_the_colors_too(folder: Path) -> None:
    words = [*PICTURES, *SHORT, "--checkpoint-output", "cp_{}.png", "--checkpoint-iterations", "1"]
    assert run(*words, "--preserve-colors") == 0
    assert (pixels("cp_3.png") == pixels("out.png")).all()


CHECKPOINTS = ["--checkpoint-iterations", "1", "--checkpoint-output"]
BAD: list[tuple[Sequence[str], str]] = [
    ([], "--content is missing"),
    (["--content", "content.png", *SHORT], "--styles is missing"),
    (PICTURES, "--output is missing"),
    (["--content", "contents.png", "--styles", "a.png", *SHORT], "content.png"),
    (["--content", "content.png", "--styles", "a.png", "none.png", *SHORT], "none.png"),
    (["--content", ".", "--styles", "a.png", *SHORT], "folder"),
    (["--content", "tiny.mat", "--styles", "a.png", *SHORT], "cannot read picture tiny.mat"),
    ([*PICTURES, *SHORT, "--initial", "nope.png"], "nope.png"),
    ([*PICTURES, "--network", "none.mat", "--output", "o.png"], "none.mat"),
    ([*PICTURES, "--network", "a.png", "--output", "o.png"], "cannot read the network a.png"),
    ([*PICTURES, "--output", "o.png"], "neural_style_tf weights"),
    ([*PICTURES, *SHORT, "--output", "content.png"], "--overwrite"),
    ([*PICTURES, *SHORT, "--output", "no/such/folder/o.png"], "folder"),
    ([*PICTURES, *SHORT, "--output", "o.xyz"], ".png"),
    ([*PICTURES, *SHORT, "--output", "."], "."),
    ([*PICTURES, *SHORT, "--style-scales", "1", "2"], "one for each of 1 style(s), got 2"),
    ([*PICTURES, *SHORT, "--style-scales", "0"], "above 0, got 0"),
    ([*PICTURES, *SHORT, "--style-scales", "nan"], "got nan"),
    ([*PICTURES, *SHORT, "--style-scales", "0.01"], "at least 16×16"),
    ([*PICTURES, *SHORT, "--style-blend-weights", "1", "2"], "each of 1 style(s), got 2"),
    ([*PICTURES, *SHORT, "--style-blend-weights", "0"], "sum to 0"),
    ([*PICTURES, *SHORT, "--style-blend-weights", "-1"], "0 or more, got -1"),
    ([*PICTURES, *SHORT, "--style-blend-weights", "nan"], "got nan"),
    ([*PICTURES, *SHORT, "--content-weight", "-5"], "content weight must be"),
    ([*PICTURES, *SHORT, "--style-weight", "nan"], "style weight must be"),
    ([*PICTURES, *SHORT, "--tv-weight", "many"], "invalid float value: 'many'"),
    ([*PICTURES, *SHORT, "--iterations", "0"], "1 or more, got 0"),
    ([*PICTURES, *SHORT, "--iterations", "1.5"], "invalid int value"),
    ([*PICTURES, *SHORT, "--scales", "0"], "scales: expected a whole number from 1 to 16, got 0"),
    ([*PICTURES, *SHORT, "--scales", "3"], "expected at least 16×16; give fewer --scales"),
    ([*PICTURES, *SHORT, "--tolerance", "1"], "at least 0 and below 1, got 1"),
    (
        [*PICTURES, *SHORT[:-1], "progress.png", "--progress-plot"],
        "--progress-plot: expected a place of its own for progress.png, got the file that the run "
        "ends with; name another",
    ),
    ([*PICTURES, *SHORT, "--log-dir", "out.png"], "--log-dir: expected a place of its own"),
    ([*PICTURES, *SHORT, "--save-style", "out.png"], "expected a name that ends in .npz"),
    (
        [*PICTURES, "--initial", "in9.png", *SHORT, *CHECKPOINTS, "in{}.png"],
        "one of which is the file in9.png that the run reads; choose another",
    ),
    (
        ["--content-weight", "0", "--styles", "a.png", *SHORT, "--preserve-colors"],
        "--preserve-colors: expected --content, whose colors are kept, got none; leave it out",
    ),
    (
        [*PICTURES, *SHORT, "--optimizer", "lbfgs", "--learning-rate", "3"],
        "learning rate is a setting of adam, got optimizer lbfgs; choose adam or leave it out",
    ),
    (
        [*PICTURES, *SHORT, "--optimizer", "adam", "--history", "3"],
        "history is a setting of lbfgs, got optimizer adam",
    ),
    ([*PICTURES, *SHORT, "--history", "0"], "history: expected a whole number from 1 to 100"),
    ([*PICTURES, *SHORT, "--precision", "half"], "invalid choice: 'half'"),
    ([*PICTURES, *SHORT, "--memory-limit", "0"], "GiB above 0, got 0"),
    ([*PICTURES, *SHORT, "--memory-limit", "nan"], "GiB above 0, got nan"),
    ([*PICTURES, *SHORT, "--memory-limit", "0.1"], "64×48 pixels takes at least"),
    ([*PICTURES, *SHORT, "--save-style", "s.png"], "expected a name that ends in .npz"),
    ([*PICTURES, *SHORT, "--save-style", "no/s.npz"], "there is no folder"),
    ([*PICTURES, *SHORT, "--styles", "none.npz"], "cannot read style none.npz: there is no such"),
    ([*PICTURES, *SHORT, "--width", "8"], "16 to 32768 pixels, got 8"),
    ([*PICTURES, *SHORT, "--width", "1000000"], "16 to 32768 pixels"),
    ([*PICTURES, *SHORT, "--pooling", "median"], "invalid choice: 'median'"),
    ([*PICTURES, *SHORT, "--preset", "gatis"], "invalid choice"),
    ([*PICTURES, *SHORT, "--contentweight", "5"], "did you mean --content-weight?"),
    ([*PICTURES, *SHORT, "--content-layers", "relu9_9"], "it has conv1_1, relu1_1"),
    ([*PICTURES, *SHORT, "--style-layers", "relu1_1", "relu1_1=2"], "relu1_1 is given twice"),
    ([*PICTURES, *SHORT, "--style-layers", "relu1_1=x"], "LAYER=WEIGHT"),
    ([*PICTURES, *SHORT, "--style-layers", "relu1_1=0"], "sum to 0"),
    ([*PICTURES, *SHORT, "--content-weight-blend", "1.5"], "expected 0 to 1"),
    (
        [*PICTURES, *SHORT, "--content-weight-blend", "1", "--content-layers", "relu1_1"],
        "give one",
    ),
    ([*PICTURES, *SHORT, "--style-layer-weight-exp", "-2"], "0 or more"),
    ([*PICTURES, *SHORT, "--style-layer-weight-exp", "1e200"], "finite number"),
    ([*PICTURES, *SHORT, "--initial-noiseblend", "2"], "between 0 and 1, got 2"),
    ([*PICTURES, *SHORT, "--print-iterations", "0"], "--print-iterations: expected 1 or more"),
    ([*PICTURES, *SHORT, "--checkpoint-iterations", "5"], "go together"),
    ([*PICTURES, *SHORT, "--checkpoint-output", "c_%d.png"], "go together"),
    (
        [*PICTURES, *SHORT, "--checkpoint-output", "50%_{.png", "--checkpoint-iterations", "1"],
        "placeholder",
    ),
    (
        [*PICTURES, *SHORT, "--checkpoint-output", "no/{}.png", "--checkpoint-iterations", "1"],
        "folder",
    ),
    ([*PICTURES, *SHORT, "--config", "a.png"], "settings"),
    ([*PICTURES, *SHORT, "--config", "tiny.mat"], "tiny.mat"),
    ([*PICTURES, *SHORT, "--learning-rate", "0"], "above 0"),
    ([*PICTURES, *SHORT, "--log-dir", "a.png", "--network", "tiny.mat"], "--log-dir"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(w[-3:]) for w, _ in BAD])
def test_bad_input_is_one_line_before_any_work(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    message: str,
) -> None:
    monkeypatch.setattr("vgg.fetch._EMBEDDED", folder / "none.npz")
    assert message in error(capsys, *words)


def test_a_diverging_run_saves_its_last_finite_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*PICTURES, *SHORT, "--learning-rate", "1e30", "--initial", "content.png"]
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert "error: the loss became NaN or infinite at iteration 1:" in err
    assert "learning rate (1e+30)" in err
    assert (pixels("out.png") == pixels("content.png")).all()


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize("kind", [MemoryError, ResourceExhaustedError])
def test_too_little_memory_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Exception],
) -> None:
    def stylize(*args: Any, **kwargs: Any) -> Any:
        raise kind("OOM when allocating tensor\nwith a long story")

    monkeypatch.setattr("neural_style_tf.loop.stylize", stylize)
    assert run(*PICTURES, *SHORT) == 2
    err = capsys.readouterr().err
    assert (
        "error: this needs more memory than there is: lower --width (of a sound: --filters)\n"
        in err
    )
    assert "story" not in err


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The program in a process of its own, up to its first line of losses."""
    endless = ["--iterations", "10000000", "--tolerance", "0", "--print-iterations", "1000000"]
    process = begin(
        folder, *PICTURES, "--network", "tiny.mat", "--output", "out.png", *endless, *words
    )
    assert process.stdout
    while "total loss" not in (line := process.stdout.readline()):
        assert line or process.poll() is None
    time.sleep(1)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_writes_the_best_picture_so_far(folder: Path) -> None:
    process = start(folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert "Network: VGG-19 with 4/6/8/8/8 channels from tiny.mat (--network)" in err
    assert pixels("out.png").shape == (48, 64, 3)
    assert not list(folder.glob("*.tmp*"))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_second_interrupt_ends_at_once(folder: Path) -> None:
    process = start(folder)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode in (130, -signal.SIGINT)
    if Path("out.png").exists():
        assert pixels("out.png").shape == (48, 64, 3)


def test_a_reader_that_has_gone_does_not_lose_the_picture(folder: Path) -> None:
    process = subprocess.run(
        [
            f"{sys.executable} -m neural_style_tf {' '.join([*PICTURES, *SHORT])} "
            "--print-iterations 1 | head -n 1"
        ],
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in process.stderr
    assert "BrokenPipe" not in process.stderr
    assert Path("out.png").exists()
