"""Ctrl-C while another thread works: remembered, heeded at once, and never a lock left shut."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from neural_style_tf.commands import interrupts
from tests.commandline import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# Interrupts at moments of chance, many: with a lock of Python's around, one of them leaves it shut.
MANY = """
import faulthandler, itertools, random, signal
from neural_style_tf.commands import interrupts

faulthandler.dump_traceback_later(60, exit=True)
# What a shell starts in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
chance = random.Random(0)
for _ in range(1000):
    interrupts.heed()
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 1e-3))
        for _ in interrupts.interruptible(itertools.count()):
            pass
    except KeyboardInterrupt:
        continue
    raise SystemExit("not interrupted")
print("done")
"""


def test_an_interrupt_that_a_library_swallowed_is_heeded_all_the_same() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupts.heed()
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        with pytest.raises(KeyboardInterrupt):
            list(interrupts.interruptible(iter(range(3))))
        interrupts.heed()
        assert list(interrupts.interruptible(iter(range(3)))) == [0, 1, 2]
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_at_any_moment_is_heeded_and_leaves_nothing_hanging() -> None:
    process = subprocess.run(
        [sys.executable, "-c", MANY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.stdout == "done\n", process.stderr
    assert process.returncode == 0


def test_an_error_of_the_other_thread_reaches_the_one_that_waits() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("of the thread")

    taken = []
    with pytest.raises(ValueError, match="of the thread"):
        for item in interrupts.interruptible(items()):
            taken.append(item)
    assert taken == [1]


def test_one_item_is_made_ahead_and_no_more_once_nobody_wants_them() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    wanted = interrupts.interruptible(items())
    assert next(wanted) == 0
    time.sleep(0.5)
    assert made == [0, 1]
    wanted.close()  # type: ignore[attr-defined]
    time.sleep(0.5)
    assert made == [0, 1]


def test_an_interrupt_is_put_off_until_a_piece_is_done() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    try:
        interrupts.heed()
        with pytest.raises(KeyboardInterrupt):
            for item in interrupts.interruptible(iter(range(3))):
                with interrupts.deferring():
                    os.kill(os.getpid(), signal.SIGINT)
                    done.append(item)
        assert done == [0]
    finally:
        signal.signal(signal.SIGINT, before)


BEHIND_THE_RUN = """
import os, signal, time
from neural_style_tf.commands import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts.heed()
interrupts.finish()
os.kill(os.getpid(), signal.SIGINT)
print("written", flush=True)
os.kill(os.getpid(), signal.SIGINT)
time.sleep(10)
print("not reached", flush=True)
"""
IN_THE_BACKGROUND = """
import os, signal
from neural_style_tf.commands import interrupts

signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.heed()
interrupts.exit_on_next()
os.kill(os.getpid(), signal.SIGINT)
print("written", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
print("not reached", flush=True)
"""


@pytest.mark.parametrize(
    ("code", "end"), [(BEHIND_THE_RUN, signal.SIGINT), (IN_THE_BACKGROUND, signal.SIGTERM)]
)
def test_an_interrupt_does_not_keep_the_result_from_being_written(code: str, end: int) -> None:
    """The run is over: the first one changes nothing, the second ends the process at once.

    And what a shell has a job in the background ignore does not end it at all.
    """
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (process.stdout, process.returncode) == ("written\n", 128 + end)


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "output", "code"),
    [
        (["--version"], "a pipe", 0),
        (["--version"], "a full disk", 1),
        (["--content", "nowhere.png", "--styles", "nowhere.png"], "a pipe", 2),
    ],
)
def test_the_program_leaves_with_all_that_it_has_said(
    words: list[str], output: str, code: int
) -> None:
    """It leaves at once, without Python's own end."""
    environment = {name: each for name, each in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with FULL.open("w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "neural_style_tf", *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE if output == "a pipe" else full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert process.returncode == code
    if code == 0:
        assert process.stdout.startswith("neural-style-tf ")
    if code == 2:
        assert process.stderr.startswith("error: ")
