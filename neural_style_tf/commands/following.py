"""Watchers of a training: what it shows, and what it leaves behind while it goes on."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from neural_style_tf import files
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.progress import Bar, event_files, hms

if TYPE_CHECKING:
    from neural_style_tf.transform.train import Record, Trainer


class Watcher(Protocol):
    """Whoever follows a training."""

    def __call__(self, record: Record) -> None:
        """Take note of a Record."""

    def close(self) -> None:
        """It is over, finished or not."""


class Terminal:
    """A bar on a terminal, a line now and then elsewhere: losses, examples a second, time left.

    Args:
        period: seconds between two lines where there is no terminal.
    """

    def __init__(self, done: int, total: int, period: float = 30.0) -> None:
        self.bar = Bar(window=11)
        self.bar.recent[0] = (self.bar.begun, done / total)
        self.period, self.lined = period, self.bar.begun

    def __call__(self, record: Record) -> None:
        self.bar.advance(record.step / record.total)
        terms = record.terms
        pace = f"{record.examples / record.seconds:.1f} examples/s"
        losses = (
            f"loss {terms.total:.4g} (content {terms.content:.3g}, style {terms.style:.3g}, "
            f"tv {terms.tv:.3g})"
        )
        if self.bar.live and not record.last:
            self.bar.draw(f"{record.step:6d}/{record.total}", f"{pace}, {losses}")
        elif record.last or self.bar.now - self.lined >= self.period:
            self.bar.line(
                f"Step {record.step}/{record.total} ({hms(self.bar.elapsed)} elapsed, "
                f"{hms(self.bar.remaining)} remaining), {pace}, {losses}"
            )
            self.lined = self.bar.now

    def close(self) -> None:
        self.bar.close()


class Keeper:
    """Keeps the state of a training in a file, from time to time and whenever it is told to.

    Args:
        path: of the file.
        trainer: whose state.
        settings: plain data that tells this training from others.
        period: seconds between two times.
        writes: whether this process is the one that does.
    """

    def __init__(
        self,
        path: Path,
        trainer: Trainer,
        settings: Mapping[str, Any],
        period: float = 60.0,
        writes: bool = True,
    ) -> None:
        self.path, self.trainer, self.settings = path, trainer, settings
        self.period, self.writes = period, writes
        self.kept = time.monotonic()
        self.step = trainer.step

    def __call__(self, record: Record) -> None:
        if time.monotonic() - self.kept >= self.period:
            self.keep()

    def keep(self) -> None:
        """Write the state, whole or not at all.

        Raises:
            FileError: a disk that refuses.
        """
        if self.writes and self.trainer.step > self.step:
            step = self.trainer.step
            stream = io.BytesIO()
            state: dict[str, Any] = dict(self.trainer.state())
            np.savez(stream, settings=np.array(json.dumps(self.settings)), **state)
            files.write_bytes(self.path, stream.getvalue(), "training")
            self.step = step  # not before: an interrupt meanwhile is to keep it after all
        self.kept = time.monotonic()

    def close(self) -> None:
        """What a training ends with that went wrong is not to be gone on with."""


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The settings and the state that a `Keeper` wrote.

    Raises:
        FileError: no such file, or something else.
    """
    data = files.read_bytes(path, "training")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            settings = json.loads(str(arrays["settings"]))
            return dict(settings), {n: arrays[n] for n in arrays.files if n != "settings"}
    # On damaged bytes zipfile, NumPy and JSON raise whatever they do.
    except Exception as error:
        raise unreadable(path) from error


def unreadable(path: Path) -> FileError:
    """What there is to say of a damaged training."""
    return FileError(
        f"cannot read training {files.shown(path)}: expected what an interrupted `train` left, got "
        "a damaged or other file; remove it to begin anew"
    )


def check_same(settings: Mapping[str, Any], kept: Mapping[str, Any], path: Path) -> None:
    """Whether a training that was kept is this one.

    Raises:
        OptionError: it is another.
    """
    for name, value in settings.items():
        if kept.get(name) != value:
            raise OptionError(
                f"cannot go on with {files.shown(path)}: its {name} is {kept.get(name)}, got "
                f"{value}; give the flags of then, or remove the file to begin anew"
            )


class TensorBoard:
    """Losses, and a strip of photographs beside what the network makes of them.

    Args:
        folder: the log directory.
        total: steps of the training.
        strip: gives the strip as uint8 `[H, W, 3]` and its losses by name.
    """

    def __init__(
        self,
        folder: Path,
        total: int,
        strip: Callable[[], tuple[np.ndarray, Mapping[str, float]]],
    ) -> None:
        self.summary, self.writer = event_files(folder)
        self.strip = strip
        self.stops: Sequence[int] = range(max(1, total // 20), total + 1, max(1, total // 20))

    def __call__(self, record: Record) -> None:
        with self.writer.as_default(record.step):
            for name, value in record.terms._asdict().items():
                self.summary.scalar(f"loss/{name}", value)
            self.summary.scalar("examples per second", record.examples / record.seconds)
            if record.step in self.stops or record.last:
                picture, losses = self.strip()
                self.summary.image("validation", picture[None])
                for name, value in losses.items():
                    self.summary.scalar(f"validation/{name}", value)
        self.writer.flush()  # by itself it waits for minutes

    def close(self) -> None:
        self.writer.close()
