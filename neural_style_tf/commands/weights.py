"""The `weights` command: fetch the weights of a network, or say where they are looked for."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from vgg import fetch

SUMMARY = "download the VGG weights, verified, to where every command finds them"

# What --network takes for each kind of file once that is in the cache.
_NAMES = {"keras": "vgg19", "mat": "vgg19", "keras-vgg16": "vgg16"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    sizes = ", ".join(f"{name} {fetch.size(source.size)}" for name, source in fetch.SOURCES.items())
    parser.add_argument(
        "--format",
        choices=list(fetch.SOURCES),
        default="keras",
        help=f"which file: {sizes}; keras and mat are both VGG-19 (default: %(default)s)",
    )
    parser.add_argument(
        "--from",
        dest="origin",
        metavar="URL|PATH",
        help="a mirror, or a file at hand, to read in place of the publisher's URL",
    )
    parser.add_argument(
        "--sha256",
        type=_sha256,
        metavar="HEX",
        help="the digest to expect of another edition of the file (default: the published one)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"where to put it; another file there is replaced (default: in {_cache_in_help()})",
    )
    parser.add_argument(
        "--list", action="store_true", help="fetch nothing: print where each network is looked for"
    )


def run(options: argparse.Namespace) -> int:
    """Fetch the file, or list the places; the exit code.

    Raises:
        WeightsError: the file could not be fetched.
    """
    if options.list:
        _list()
        return 0
    source = fetch.SOURCES[options.format]
    if options.sha256:
        source = source._replace(algorithm="sha256", digest=options.sha256)
    meter = _Meter(sys.stderr, options.origin or source.url, source.size)
    try:
        path = fetch.fetch(
            options.origin, source=source, destination=options.output, progress=meter
        )
    finally:
        meter.close()
    done = "fetched" if meter.used else "already there"
    print(f"{path}: {done}, {source.algorithm} verified")
    print(_use(path, source.name))
    return 0


def _use(path: Path, name: str) -> str:
    """How the file at `path` gets used from now on: by itself, or by a flag."""
    chosen = _chosen("auto")
    if chosen and chosen.path.resolve() == path.resolve():
        where = " in this folder" if chosen.origin == "the current folder" else ""
        return f"It is used automatically from now on{where}."
    network = _NAMES[name]
    named = _chosen(network)
    if not named or named.path != path:
        network = shlex.quote(str(path.absolute()))  # a bare `vgg19` would mean the cache
    advice = f"Use it with --network {network}"
    return (
        f"{advice}; without, {chosen.path} ({chosen.origin}) is used." if chosen else f"{advice}."
    )


def _chosen(network: str) -> fetch.Location | None:
    return next((place for place in fetch.candidates(network) if place.exists()), None)


def _list() -> None:
    for network in ("auto", "vgg19", "vgg16", "compact"):
        for place in fetch.candidates(network):
            state = "found" if place.exists() else "not found"
            print(f"{network:8} {state:10} {place.origin:20}  {place.path}")
    chosen = _chosen("auto")
    print(f"used without --network: {chosen.path if chosen else 'none'}")


def _cache_in_help() -> str:
    # argparse expands % in help, and a home may hold one.
    return str(fetch.cache_dir()).replace("%", "%%")


def _sha256(text: str) -> str:
    digest = text.strip().lower()
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"expected 64 hexadecimal digits, got {text!r}")
    return digest


class _Meter:
    """Progress of a transfer: one line kept up to date on a terminal, else a line each 10 %."""

    def __init__(
        self, stream: TextIO, what: str, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`size` in bytes spaces the lines where the server does not tell the true one."""
        self.used = False
        self._stream, self._what, self._size, self._clock = stream, what, size, clock
        self._terminal = stream.isatty()
        self._start = self._drawn = clock()
        self._tenths = 0
        self._width = 0

    def __call__(self, received: int, total: int | None) -> None:
        now = self._clock()
        if not self.used:
            self.used = True
            self._start = now
            print(f"fetching {self._what}", file=self._stream, flush=True)
        if received == 0:
            return
        tenths = received * 10 // (total or self._size)
        if self._terminal:
            # Ten times a second is as fast as anyone reads.
            if now - self._drawn < 0.1 and received != total:
                return
            line = self._line(received, total, now)
            print(f"\r{line:{self._width}}", end="", file=self._stream, flush=True)
            self._width = len(line)
            self._drawn = now
        elif tenths > self._tenths:
            print(self._line(received, total, now), file=self._stream, flush=True)
        self._tenths = tenths

    def close(self) -> None:
        """Leave the cursor on a line of its own, for whatever is printed next."""
        if self._width:
            print(file=self._stream, flush=True)

    def _line(self, received: int, total: int | None, now: float) -> str:
        rate = received / max(now - self._start, 1e-9)  # bytes a second
        speed = f"{rate / 1e6:6.1f} MB/s"
        if not total:
            return f"{received / 1e6:7.1f} MB  {speed}"
        left = round((total - received) / rate)
        wait = f"{left // 60} min {left % 60:02} s left" if left >= 60 else f"{left} s left"
        share = f"{received / 1e6:7.1f} of {total / 1e6:.1f} MB  {received * 100 // total:3} %"
        return f"{share}  {speed}  {wait}"
