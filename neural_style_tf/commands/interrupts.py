"""Ctrl-C at once, though TensorFlow's calls cannot be interrupted.

And SIGTERM, with which services, batch systems and containers ask a program to end: all that is
said of Ctrl-C here is meant of it, too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The signal that came. No Event: its lock is Python's, and a second Ctrl-C would wait for the
# first's.
_asked = 0
_deferred = False


def heed() -> None:
    """From now on a Ctrl-C is remembered, should a library swallow the exception.

    TensorFlow and Keras do, now and then, while they build a graph; `interruptible` raises it
    again.
    """

    global _asked

    def handler(number: int, _: object) -> None:
        global _asked
        _asked = number
        if not _deferred:
            raise KeyboardInterrupt

    _asked = 0
    with contextlib.suppress(ValueError):  # only the main thread may
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, handler)


def exit_code() -> int:
    """Of the interrupted process: 128 and the signal, as shells have it."""
    return 128 + (_asked or signal.SIGINT)


def check() -> None:
    """Raise the Ctrl-C of which a library has swallowed the exception, if there was one.

    Raises:
        KeyboardInterrupt: there was.
    """
    if _asked:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deferring() -> Iterator[None]:
    """A Ctrl-C in here is only remembered, for the next `check`."""
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False


def interruptible(items: Iterator[T]) -> Iterator[T]:
    """The same items, made in another thread, so that this one can be interrupted while waiting.

    One item is made ahead: the device works while its caller writes a checkpoint.
    """
    # Not `Queue`: its lock is Python's, and an interrupt right behind the acquiring leaves it shut.
    made: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work() -> None:
        try:
            for item in items:
                made.put(("item", item))
                if not wanted.get():
                    return
            made.put(("end", None))
        except BaseException as error:  # handed on to whoever asked for the items
            made.put(("error", error))

    with deferring():  # the start of a thread waits for it with a lock of Python's
        # A daemon: after an interrupt nobody waits for the iteration under way.
        threading.Thread(target=work, daemon=True, name="device").start()
    try:
        while True:
            check()
            try:
                # The time limit lets Windows see Ctrl-C; elsewhere the wait itself is interrupted.
                what, value = made.get(timeout=0.5)
            except queue.Empty:
                continue
            if what == "end":
                return
            if what == "error":
                raise value
            wanted.put(True)
            yield value
    finally:
        wanted.put(False)


def finish() -> None:
    """From now on the first Ctrl-C changes nothing: all that is left is to write the result."""
    with contextlib.suppress(ValueError):  # only the main thread may
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, lambda *_: exit_on_next())


def exit_on_next() -> None:
    """From now on, Ctrl-C ends the process at once."""
    with contextlib.suppress(ValueError):  # only the main thread may
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, lambda number, _: os._exit(128 + number))


def leave(code: int) -> NoReturn:
    """End the process, its work done.

    At once: to take TensorFlow down in order takes up to a second, and aborts where a thread is
    inside it still, as after an interrupt. Only of several workers each tells the others first.
    """
    if "TF_CONFIG" in os.environ and code != exit_code():
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # whoever read it has enough
            pass
        except OSError:
            code = code or 1
        except (ValueError, AttributeError):  # closed, or there is none
            pass
    os._exit(code)
