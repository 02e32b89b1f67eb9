"""Ctrl-C at once, though TensorFlow's calls cannot be interrupted."""

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

EXIT_CODE = 130  # 128 + SIGINT, as shells have it

_asked = threading.Event()


def heed() -> None:
    """From now on a Ctrl-C is remembered, should a library swallow the exception.

    TensorFlow and Keras do, now and then, while they build a graph; `interruptible` raises it
    again.
    """

    def handler(*_: object) -> NoReturn:
        _asked.set()
        raise KeyboardInterrupt

    _asked.clear()
    with contextlib.suppress(ValueError):  # only the main thread may
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, handler)


def check() -> None:
    """Raise the Ctrl-C of which a library has swallowed the exception, if there was one.

    Raises:
        KeyboardInterrupt: there was.
    """
    if _asked.is_set():
        raise KeyboardInterrupt


def interruptible(items: Iterator[T]) -> Iterator[T]:
    """The same items, made in another thread, so that this one can be interrupted while waiting.

    One item is made ahead: the device works while its caller writes a checkpoint.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1)
    unwanted = threading.Event()

    def work() -> None:
        try:
            for item in items:
                made.put(("item", item))
                if unwanted.is_set():
                    return
            made.put(("end", None))
        except BaseException as error:  # handed on to whoever asked for the items
            made.put(("error", error))

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
            yield value
    finally:
        unwanted.set()
        with contextlib.suppress(queue.Empty):
            made.get_nowait()


def exit_on_next() -> None:
    """From now on, Ctrl-C ends the process at once."""
    with contextlib.suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_CODE))


def leave() -> NoReturn:
    """End the interrupted process, its work done.

    The thread may be inside TensorFlow still; taking the interpreter down under it would abort.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(EXIT_CODE)
