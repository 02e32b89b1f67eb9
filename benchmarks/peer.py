"""Run a style transfer program as a user does, and read what it prints and writes.

The 2017 program (anishathalye/neural-style) is GPL: here it is only run, as a process of its own,
in a checkout that the user names. Ours takes the same flags and prints the same lines, so the same
code reads both.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import tiny  # noqa: E402

TERMS = ("content", "style", "tv", "total")
OUTPUT = "output.png"
NETWORK = "tiny-2018.mat"
NETWORK_2014 = "tiny-2014.mat"

# Of the goldens. At the default of 10 a last bit of float32 becomes percents within 20 steps, for
# Adam's first step is the sign of a gradient, and a rectifier that switches turns many pixels. At 2
# it stays small, on any machine.
LEARNING_RATE = "2"

# Height, width and seed.
_PICTURES = {
    "content.png": (48, 64, 1),
    "style_a.png": (56, 64, 2),
    "style_b.png": (60, 80, 3),
    "content_odd.png": (45, 37, 4),
    "style_odd.png": (51, 63, 5),
}


class RunError(Exception):
    """A program that is not there, failed, or printed or wrote something else than expected."""


def existing(text: str) -> Path:
    """A file that an option names, made absolute: the programs run in folders of their own.

    Raises:
        argparse.ArgumentTypeError: there is none.
    """
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a file, got {text}; name one that is there")
    return path.resolve()


def interpreter(text: str) -> str:
    """A Python that an option names, by its path or as the shell finds it, made absolute.

    Raises:
        argparse.ArgumentTypeError: there is none.
    """
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a Python, got no program {text}; name another")
    return str(Path(found).absolute())  # not resolved: a virtual environment's is a link


def pair(text: str) -> tuple[Path, Path]:
    """The files of `CONTENT:STYLE`.

    Raises:
        argparse.ArgumentTypeError: one of them is none.
    """
    content, _, style = text.partition(":")
    return existing(content), existing(style)


class Program(NamedTuple):
    """How to start a program: its name in tables, its command, and flags that it always gets."""

    name: str
    command: tuple[str, ...]
    flags: tuple[str, ...] = ()


class Case(NamedTuple):
    """What is run: a name, how many styles it takes, its flags."""

    name: str
    styles: int = 1
    flags: tuple[str, ...] = ()


class Run(NamedTuple):
    """What came of it.

    Attributes:
        losses: `[rows, 4]` in the order of `TERMS`: before the first step, then as printed.
        times: `[rows]` seconds from its start at which each row was printed.
        picture: `[H, W, 3]` RGB, as written.
        files: names of the files that it wrote, sorted.
        seconds: of the whole process.
        memory: bytes, the most that it held at once (resident), looked at fifty times a second.
        lines: all that it printed.
    """

    losses: npt.NDArray[np.float64]
    times: npt.NDArray[np.float64]
    picture: npt.NDArray[np.uint8]
    files: tuple[str, ...]
    seconds: float
    memory: int
    lines: tuple[str, ...]


# What both goldens.py and parity.py run; each adds its own about sizes.
CASES = (
    Case("one-style"),
    Case("two-styles", 2, ("--style-blend-weights", "0.8", "0.2", "--style-scales", "1.0", "0.6")),
    Case("content-weight-blend", 1, ("--content-weight-blend", "0.5")),
    Case("style-layer-weight-exp", 1, ("--style-layer-weight-exp", "0.2")),
    Case("pooling-avg", 1, ("--pooling", "avg")),
    Case("preserve-colors", 1, ("--preserve-colors",)),
)


def reference_program(folder: Path, python: str = sys.executable) -> Program:
    """The 2017 program in a checkout, run by a Python that has TensorFlow, SciPy and Pillow.

    Raises:
        RunError: no such program there.
    """
    script = folder.resolve() / "neural_style.py"
    if not script.is_file():
        raise RunError(
            f"expected a checkout of anishathalye/neural-style, got {folder} without "
            "neural_style.py; clone it and name its folder with --peer"
        )
    return Program("reference", (python, str(script)))


def our_program() -> Program:
    """Ours, asked for what the 2017 program does: Adam, and the last picture, not the best."""
    flags = ("--optimizer", "adam", "--keep", "last")
    return Program("ours", (sys.executable, "-m", "neural_style_tf"), flags)


def pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """The drawn pictures by file name, `[H, W, 3]`."""
    return {name: tiny.picture(*drawn) for name, drawn in _PICTURES.items()}


def write_inputs(folder: Path) -> None:
    """Write the `pictures` and the tiny network in both its layouts."""
    for name, picture in pictures().items():
        Image.fromarray(picture).save(folder / name)
    tiny.write_mat(folder / NETWORK, layout="2018")
    tiny.write_mat(folder / NETWORK_2014, layout="2014")


def arguments(
    case: Case, *, network: str, content: str, styles: Sequence[str], iterations: int
) -> list[str]:
    """The flags of a case, from the content picture itself, since noise is not seeded there."""
    return [
        *("--network", network, "--content", content, "--styles", *styles[: case.styles]),
        *("--initial", content, "--iterations", str(iterations), *case.flags),
        *("--output", OUTPUT),
    ]


def run(program: Program, flags: Sequence[str], folder: Path, *, print_every: int = 1) -> Run:
    """Run a program in a folder until it ends, on the CPU.

    Args:
        program: which.
        flags: as from `arguments`; relative names are in `folder`.
        folder: where it runs; files that it writes are left there, but for its `OUTPUT`.
        print_every: its `--print-iterations`.

    Raises:
        RunError: it failed, or printed no whole set of losses, or wrote no picture.
    """
    before = {path.name for path in folder.iterdir()}
    lines, times, seconds, memory = _lines(
        [*program.command, *flags, *program.flags, "--print-iterations", str(print_every)], folder
    )
    rows: list[list[float]] = []
    row_times = []
    row: dict[str, float] = {}
    for line, moment in zip(lines, times, strict=True):
        match = re.fullmatch(rf"\s*({'|'.join(TERMS)}) loss: (\S+)\s*", line)
        if not match:
            continue
        row[match[1]] = float(match[2])
        if match[1] == TERMS[-1]:
            if tuple(row) != TERMS:
                raise RunError(f"expected {program.name} to print {TERMS}, got {tuple(row)}")
            rows.append(list(row.values()))
            row_times.append(moment)
            row = {}
    output = folder / OUTPUT
    if not rows or not output.is_file():
        got = f"{len(rows)} rows, {'a' if output.is_file() else 'no'} picture"
        raise RunError(f"expected {program.name} to print losses and write {OUTPUT}, got {got}")
    picture = np.asarray(Image.open(output).convert("RGB"))
    # Else the next run would be refused: neither program overwrites unasked.
    output.unlink()
    files = tuple(sorted({path.name for path in folder.iterdir()} - before))
    losses = np.array(rows)
    return Run(losses, np.array(row_times), picture, files, seconds, memory, tuple(lines))


def seconds_per_iteration(
    program: Program, flags: Sequence[str], folder: Path, iterations: int
) -> float:
    """Time of a step, from the end of the first (which compiles) to the end of the last.

    A run of its own: the 2017 program computes every printed loss anew, so printing each step
    would be held against it.
    """
    times = run(program, flags, folder, print_every=iterations).times
    return float(times[-1] - times[1]) / (iterations - 1)


def _lines(command: Sequence[str], folder: Path) -> tuple[list[str], list[float], float, int]:
    """Its lines, the second each came, its seconds in all, and its peak of memory in bytes.

    Standard error is read with standard output.
    """
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Else a pipe is written in blocks, and the moments mean nothing.
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(ROOT),
    }
    lines, times = [], []
    begun = time.perf_counter()
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RunError(f"expected a program that starts, got {error}; name another") from error
    peak = _Peak(process.pid)
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            times.append(time.perf_counter() - begun)
            lines.append(line.rstrip("\n"))
        # What a child has used is told only to who waits for it; Linux counts in KiB.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    memory = peak.found() or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if process.returncode:
        last = lines[-1] if lines else "no output"
        raise RunError(
            f"expected exit status 0, got {process.returncode} ({last}); "
            f"run it in a folder with its inputs to see more: {' '.join(command)}"
        )
    return lines, times, time.perf_counter() - begun, memory


class _Peak(threading.Thread):
    """The most memory that a process has held, for Linux: its own record, looked at until it ends.

    What `wait4` tells of a child is never less than its parent had held when it was started. (Of a
    script that starts the program without `exec`, the script alone is seen.)
    """

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.status, self.bytes, self.ended = Path(f"/proc/{process}/status"), 0, threading.Event()
        self.start()

    def run(self) -> None:
        """Look."""
        ended = False
        while not ended:
            with contextlib.suppress(OSError):
                found = re.search(r"VmHWM:\s*(\d+) kB", self.status.read_text())
                self.bytes = int(found[1]) * 1024 if found else self.bytes
            ended = self.ended.wait(0.02) or not self.status.exists()

    def found(self) -> int:
        """Bytes; the process has ended. 0 where there is no such record."""
        self.ended.set()
        self.join()
        return self.bytes
