"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def staged(targets: Iterable[Path]) -> Iterator[dict[Path, Path]]:
    """A temporary neighbour of each target, for the block to write to.

    At the end of the block each takes the place of its target, on the disk and with the target's
    permissions; where the block fails, none does, and nothing is left.

    Raises:
        OSError: a disk that refuses.
    """
    # Names of their own, so that a target with the longest of names has a neighbour too.
    places = {
        target: target.with_name(f".neural-style-tf-{secrets.token_hex(8)}.tmp")
        for target in targets
    }
    try:
        yield places
        for target, temporary in places.items():
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
        for target, temporary in places.items():
            temporary.replace(target)
    finally:
        # On KeyboardInterrupt too. A temporary file that was renamed is not there any more.
        for temporary in places.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
