"""Watchers of Steps: what a run shows and leaves behind while it goes on.

A watcher is called with every Step and closed at the end. `stops` are the iterations at which it
wants one; it may be given others.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np

from neural_style_tf.errors import FileError, OptionError

if TYPE_CHECKING:
    from neural_style_tf.descent import Step


# Seconds beyond which a run is long, and pixels from which on its pace tells of larger sizes.
_LONG, _TELLING = 30 * 60, 256 * 256


class Watcher(Protocol):
    """Whoever follows a run."""

    @property
    def stops(self) -> Collection[int]:
        """The iterations at which a Step is wanted."""

    def __call__(self, step: Step) -> None:
        """Take note of a Step."""

    def close(self) -> None:
        """The run is over, finished or not."""


def every(period: int | None, total: int) -> frozenset[int]:
    """The iterations 1, period + 1, 2·period + 1, …: where the 2017 program prints and saves."""
    return frozenset(range(1, total + 1, period)) if period else frozenset()


def number(step: Step) -> int:
    """What the 2017 program calls this iteration: counted from 0, but the last is the total."""
    return step.total if step.last else step.iteration - 1


class Bar:
    """How far a work is: one line redrawn in place on a terminal, plain lines elsewhere.

    Args:
        stream: where to; standard output by default.
        window: how many of the last times tell the pace; None for all.
    """

    def __init__(self, stream: TextIO | None = None, window: int | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.begun = time.monotonic()
        self.now = self.begun
        self.recent: deque[tuple[float, float]] = deque([(self.begun, 0.0)], maxlen=window)

    def advance(self, share: float) -> None:
        """So much of the work is done now, 0-1; 0 says that it begins now, and what came before
        tells nothing of the pace."""
        self.now = time.monotonic()
        if share == 0:
            self.recent.clear()
        self.recent.append((self.now, share))

    @property
    def elapsed(self) -> float:
        """Seconds until the last advance."""
        return self.now - self.begun

    @property
    def remaining(self) -> float:
        """Seconds to go, at the recent pace; 0 where there is none yet."""
        (then, before), (now, share) = self.recent[0], self.recent[-1]
        return (1 - share) * (now - then) / (share - before) if share > before else 0.0

    def draw(self, before: str, after: str) -> None:
        """On a terminal, show the bar between two texts; elsewhere nothing."""
        if not self.live:
            return
        width = 24
        full = int(width * self.recent[-1][1])
        text = f"{before} {'█' * full}{'░' * (width - full)} {hms(self.remaining)} left · {after}"
        room = shutil.get_terminal_size().columns - 1
        self._write(f"\r\033[K{text[:room]}")

    def line(self, text: str) -> None:
        """A line that stays."""
        self._write(f"\r\033[K{text}\n" if self.live else f"{text}\n")

    def close(self) -> None:
        """Take the bar away."""
        if self.live:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            # Whoever read has gone (`| head`), or its disk is full, but the picture is still
            # wanted; what is written from now on, at exit too, goes nowhere.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


class Terminal:
    """A bar on a terminal, plain lines elsewhere; the losses at the iterations asked for.

    Args:
        period: iterations between two printings of the losses, as `--print-iterations`; None for
            the end alone.
        total: iterations of the run, at most.
        stream: where to; standard output by default.
    """

    def __init__(self, period: int | None, total: int, stream: TextIO | None = None) -> None:
        self.bar = Bar(stream, window=11)
        self.prints = every(period, total) | ({0} if period else frozenset())
        self.stops: Collection[int] = self.prints
        self.lined = self.bar.begun

    def __call__(self, step: Step) -> None:
        self.bar.advance(step.share)
        terms = step.terms
        if step.iteration in self.prints or step.last:
            if step.iteration:
                self.bar.line(self._iteration(step))
            for name, value in terms._asdict().items():
                self.bar.line(f"{name + ' loss:':>13s} {value:g}")
            self.lined = self.bar.now
        elif self.bar.live:
            self.bar.draw(
                f"{step.iteration:5d}/{step.total}",
                f"loss {terms.total:.3g} (content {terms.content:.2g}, style {terms.style:.2g}, "
                f"tv {terms.tv:.2g})",
            )
        elif self.bar.now - self.lined >= 10:
            self.bar.line(f"{self._iteration(step)} total loss: {terms.total:g}")
            self.lined = self.bar.now

    def close(self) -> None:
        self.bar.close()

    def _iteration(self, step: Step) -> str:
        return (
            f"Iteration {step.iteration:4d}/{step.total:4d} ({hms(self.bar.elapsed)} elapsed, "
            f"{hms(self.bar.remaining)} remaining)"
        )


class Advice:
    """One line, once, where a run will take long: how to make it shorter.

    Args:
        ways: what would, in words.
        say: told the line.
    """

    stops: Collection[int] = ()

    def __init__(self, ways: str, say: Callable[[str], None]) -> None:
        self.ways, self.say = ways, say
        self.since: tuple[tuple[int, int], float, float] | None = None
        self.told = False

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        full = step.size == tuple(step.result.pixels.shape[1:3])
        # Smaller pictures take longer for each of their pixels.
        if self.told or not (full or math.prod(step.size) >= _TELLING):
            return
        if self.since is None or self.since[0] != step.size:
            self.since = step.size, now, step.share
            return
        _, then, share = self.since
        if step.share > share:
            left = (1 - step.share) * (now - then) / (step.share - share)
            if left > _LONG:
                self.told = True
                self.say(f"About {hms(left)} to go. Shorter would be: {self.ways}")

    def close(self) -> None:
        pass


def hms(seconds: float) -> str:
    """A duration as a person says it: 12 sec, 3 min 5 sec, 2 hr 10 min."""
    minutes, sec = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} hr {minutes} min"
    return f"{minutes} min {sec} sec" if minutes else f"{sec} sec"


def checkpoint_name(template: str, iteration: int) -> str:
    """`out_{:05}.jpg` or `out_%05d.jpg` with the iteration; braces are tried before the percent.

    Raises:
        OptionError: a template that takes no number, has the same name for every number, or
            another folder.
    """
    try:
        if re.search(r"\{.*\}", template):
            name, other = template.format(iteration), template.format(iteration + 1)
        else:
            name, other = template % iteration, template % (iteration + 1)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise OptionError(
            f"expected one placeholder in --checkpoint-output, such as foo_{{:05}}.jpg or "
            f"foo_%05d.jpg, got {template!r} ({error}); write %% for a percent sign"
        ) from error
    if name == other:
        raise OptionError(
            f"expected a placeholder in --checkpoint-output, such as foo_{{:05}}.jpg, "
            f"got {template!r}: every checkpoint would have the same name"
        )
    if Path(name).parent != Path(other).parent:
        raise OptionError(
            "expected the placeholder in --checkpoint-output in the file's name, got "
            f"{template!r}: every checkpoint would have another folder"
        )
    return name


class Checkpoints:
    """The result so far, written at every so many iterations and at the last.

    Args:
        template: see `checkpoint_name`.
        write: takes a path and a Step, and writes its result there.
    """

    def __init__(
        self, template: str, period: int, total: int, write: Callable[[str, Step], None]
    ) -> None:
        self.template, self.write = template, write
        self.stops: Collection[int] = every(period, total)

    def __call__(self, step: Step) -> None:
        if step.iteration in self.stops or step.last:
            self.write(checkpoint_name(self.template, number(step)), step)

    def close(self) -> None:
        """Every checkpoint is complete when it is written."""


class LossLog:
    """The losses as a table (`progress.txt`) and a plot (`progress.png`), when the run is over.

    Args:
        folder: where the two files go.
        period: iterations between two rows; None for every iteration.
    """

    TABLE, PLOT = "progress.txt", "progress.png"

    @classmethod
    def beside(cls, options: Any) -> dict[str, Path | None]:
        """`{flag: path}` of what `--progress-write` and `--progress-plot` write beside the output.

        Raises:
            FileError: a folder is there.
        """
        folder = Path(options.output).parent
        found = {
            "--progress-write": folder / cls.TABLE if options.progress_write else None,
            "--progress-plot": folder / cls.PLOT if options.progress_plot else None,
        }
        for flag, path in found.items():
            if path and path.is_dir():
                raise FileError(f"{flag}: expected room for a file, got the folder {path}; move it")
        return found

    def __init__(
        self, folder: Path, period: int | None, total: int, *, table: bool, plot: bool
    ) -> None:
        self.folder, self.table, self.plot = folder, table, plot
        self.stops: Collection[int] = every(period or 1, total)
        self.names: tuple[str, ...] = ()
        self.rows: list[tuple[float, ...]] = []

    def __call__(self, step: Step) -> None:
        if step.iteration in self.stops or step.last:
            self.names = step.terms._fields
            self.rows.append((number(step), *step.terms))

    def close(self) -> None:
        if not self.rows:
            return
        try:
            if self.table:
                lines = ["# itr " + " ".join(self.names)]
                lines += [" ".join(f"{value:.18e}" for value in row) for row in self.rows]
                (self.folder / self.TABLE).write_text("\n".join(lines) + "\n")
            if self.plot:
                self._draw(self.folder / self.PLOT)
        except OSError as error:
            raise FileError(f"cannot write the losses into {self.folder}: {error}") from error

    def _draw(self, path: Path) -> None:
        from matplotlib.figure import Figure

        axes = (figure := Figure()).subplots()
        iterations, *columns = zip(*self.rows, strict=True)
        for name, values in zip(self.names, columns, strict=True):
            if any(values):
                axes.semilogy(iterations, [v or math.nan for v in values], label=name)
        axes.set(xlabel="iterations", ylabel="loss")
        axes.legend()
        figure.savefig(path)


def event_files(folder: Path) -> tuple[Any, Any]:
    """What writes TensorBoard event files into a folder, which is made: `tf.summary`, a writer.

    Raises:
        FileError: it cannot be written into.
    """
    import tensorflow as tf

    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tf.summary, tf.summary.create_file_writer(os.fspath(folder))
    except (OSError, tf.errors.OpError) as error:
        raise FileError(
            f"cannot write into the log folder {folder}: {error}; name another --log-dir"
        ) from error


class TensorBoard:
    """Losses at every Step and the picture at some, as TensorBoard event files.

    Args:
        folder: the log directory.
        picture: takes a Step, gives its result as float32 `[1, H, W, 3]`, 0-255.
    """

    def __init__(self, folder: Path, total: int, picture: Callable[[Step], Any]) -> None:
        self.summary, self.writer = event_files(folder)
        self.picture = picture
        self.pictures = every(max(1, total // 10), total) | {0}
        self.stops: Collection[int] = every(max(1, total // 200), total) | self.pictures

    def __call__(self, step: Step) -> None:
        with self.writer.as_default(step.iteration):
            for name, value in step.terms._asdict().items():
                self.summary.scalar(f"loss/{name}", value)
            if step.iteration in self.pictures or step.last:
                pixels = np.clip(self.picture(step), 0, 255).round().astype(np.uint8)
                self.summary.image("picture", pixels)

    def close(self) -> None:
        self.writer.close()
