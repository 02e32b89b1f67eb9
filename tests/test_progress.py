"""Watchers: names of checkpoints, the lines and the bar, the table and the plot of losses."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf import progress
from neural_style_tf.descent import Candidate, Step
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.losses import Terms


def step(iteration: int, total: int = 20, loss: float = 100.0) -> Step:
    terms = Terms(loss / 4, loss / 4, loss / 2, loss)
    result = Candidate(iteration, loss, None)
    return Step(iteration, total, iteration / total, (30, 40), terms, None, result)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("foo_{:05}.jpg", "foo_00007.jpg"),
        ("foo_{}.jpg", "foo_7.jpg"),
        ("foo_%05d.jpg", "foo_00007.jpg"),
        ("foo_%s.jpg", "foo_7.jpg"),
        ("100%_{}.png", "100%_7.png"),  # braces are tried before the percent sign
        ("100%%_%d.png", "100%_7.png"),
    ],
)
def test_checkpoint_names(template: str, name: str) -> None:
    assert progress.checkpoint_name(template, 7) == name


@pytest.mark.parametrize(
    "template",
    [
        "foo.jpg",
        "foo_%.jpg",
        "100%_%d.jpg",
        "foo_{1}.jpg",
        "{name}.jpg",
        "foo_{:zz}.jpg",
        "foo_%d_%d.jpg",
        "foo_%%.jpg",
        "foo_{0.real.missing}.jpg",
        "foo_{}/bar_{0}.jpg",
        "foo_%d/bar.jpg",
    ],
)
def test_templates_that_cannot_be_numbered(template: str) -> None:
    with pytest.raises(OptionError, match=r"placeholder in --checkpoint-output") as error:
        progress.checkpoint_name(template, 0)
    assert "\n" not in str(error.value)


def test_the_2017_programs_numbering() -> None:
    """After steps 1, 6, 11 …, counted from 0; the last one by the total."""
    assert sorted(progress.every(5, 20)) == [1, 6, 11, 16]
    assert [progress.number(step(i)) for i in (1, 6, 11, 16, 20)] == [0, 5, 10, 15, 20]
    assert progress.every(None, 20) == frozenset()


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    terminal = progress.Terminal(10, 20, stream)
    assert sorted(terminal.stops) == [0, 1, 11]
    for iteration in range(21):
        terminal(step(iteration, loss=1e6 / (iteration + 1)))
    terminal.close()
    text = stream.getvalue()
    assert "\r" not in text
    assert re.findall(r"^Iteration +(\d+)/  20 \(", text, re.M) == ["1", "11", "20"]
    assert re.findall(r"^ *total loss: (\S+)$", text, re.M) == [
        "1e+06",
        "500000",
        "83333.3",
        "47619",
    ]
    assert text.index("content loss") < text.index("style loss") < text.index("tv loss")


def test_what_comes_before_the_work_tells_nothing_of_its_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    bar = progress.Bar(io.StringIO())
    bar.advance(0.0)
    bar.advance(0.25)
    assert bar.elapsed == 110
    assert bar.remaining == pytest.approx(30)


def test_the_end_is_always_printed() -> None:
    stream = io.StringIO()
    terminal = progress.Terminal(None, 20, stream)
    for iteration in range(21):
        terminal(step(iteration))
    assert stream.getvalue().count("total loss") == 1


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Screen()
    terminal = progress.Terminal(None, 20, stream)
    for iteration in (0, 5, 10):
        terminal(step(iteration, loss=1234.0))
    bar = stream.getvalue().split("\r\033[K")[-1]
    assert bar.startswith("   10/20 ████████████░░░░░░░░░░░░ ")
    assert len(bar) <= 59
    terminal.close()
    assert stream.getvalue().endswith("\r\033[K")


def test_a_reader_that_has_gone_does_not_end_the_run() -> None:
    terminal = progress.Terminal(1, 20, Gone())
    for iteration in range(21):
        terminal(step(iteration))
    terminal.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 sec"),
        (59.4, "59 sec"),
        (59.6, "1 min 0 sec"),
        (185, "3 min 5 sec"),
        (7800, "2 hr 10 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert progress.hms(seconds) == words


def test_checkpoints_are_written_where_the_2017_program_does() -> None:
    written: list[tuple[str, int]] = []

    def write(path: str, step: Step) -> None:
        written.append((path, step.iteration))

    checkpoints = progress.Checkpoints("out_%02d.png", 7, 20, write)
    for iteration in range(21):
        checkpoints(step(iteration))
    assert written == [("out_00.png", 1), ("out_07.png", 8), ("out_14.png", 15), ("out_20.png", 20)]


def test_the_table_of_losses(tmp_path: Path) -> None:
    log = progress.LossLog(tmp_path, 5, 20, table=True, plot=False)
    for iteration in range(21):
        log(step(iteration, loss=1000.0 - iteration))
    log.close()
    text = (tmp_path / "progress.txt").read_text()
    assert text.splitlines()[0] == "# itr content style tv total"
    table = np.loadtxt(tmp_path / "progress.txt")
    assert table[:, 0].tolist() == [0, 5, 10, 15, 20]
    assert table[:, 4].tolist() == [999, 994, 989, 984, 980]


def test_the_table_has_every_iteration_unless_told_otherwise(tmp_path: Path) -> None:
    log = progress.LossLog(tmp_path, None, 20, table=True, plot=False)
    assert sorted(log.stops) == list(range(1, 21))


def test_a_run_without_losses_leaves_no_table(tmp_path: Path) -> None:
    progress.LossLog(tmp_path, 5, 20, table=True, plot=True).close()
    assert list(tmp_path.iterdir()) == []


def test_the_plot_of_losses(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    log = progress.LossLog(tmp_path, 5, 20, table=False, plot=True)
    for iteration in range(21):
        log(step(iteration, loss=1000.0 - iteration))
    log.close()
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    import tensorflow as tf

    def picture(step: Step) -> Any:
        return np.full((1, 30, 40, 3), 300.0)

    board = progress.TensorBoard(tmp_path / "logs", 20, picture)
    for iteration in range(21):
        board(step(iteration, loss=1000.0 - iteration))
    board.close()
    (events,) = (tmp_path / "logs").iterdir()
    tags = [
        value.tag
        for record in tf.data.TFRecordDataset(str(events))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    ]
    assert tags.count("loss/total") == 21
    assert tags.count("picture") == 12


def test_a_log_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write into the log folder"):
        progress.TensorBoard(tmp_path / "file" / "logs", 20, lambda step: None)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def sized(share: float, size: tuple[int, int], full: tuple[int, int]) -> Step:
    result = Candidate(1, 1.0, np.zeros((1, *full, 3), np.float32))
    return step(1)._replace(share=share, size=size, result=result)


def test_a_long_run_says_once_what_would_be_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    said: list[str] = []
    advice = progress.Advice("less", said.append)
    full = (2048, 2048)
    # The first Step at a size only starts the clock; a small size tells nothing.
    for seconds, share, size in (
        (0, 0.0, (64, 64)),
        (500, 0.001, (64, 64)),
        (600, 0.002, (512, 512)),
        (700, 0.012, (512, 512)),  # 1 % in 100 s
        (800, 0.022, (512, 512)),
    ):
        clock.now = seconds
        advice(sized(share, size, full))
    assert said == ["About 2 hr 44 min to go. Shorter would be: less"]
    advice.close()


def test_a_short_run_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    said: list[str] = []
    advice = progress.Advice("less", said.append)
    for i in range(11):
        clock.now = 100 * i
        advice(sized(i / 10, (100, 100), (100, 100)))
    assert said == []
