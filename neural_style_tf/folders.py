"""Folders of other programs' making, such as a SavedModel: written whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from neural_style_tf.errors import FileError
from neural_style_tf.files import StrPath, reporting, shown


def check_target(
    path: StrPath, *, overwrite: bool, kind: str, mark: str, others: Collection[str] = ()
) -> None:
    """Find out, before any work is done, whether a folder can be written; leave no trace.

    Args:
        path: where to; an empty folder may be there.
        overwrite: whether a folder with `mark` in it may be replaced.
        kind: what is to be written, in words.
        mark: the file by which a folder of that kind is known.
        others: what else there is in one; a folder with more in it is not replaced.

    Raises:
        FileError: there is no folder for it or none that can be written to, or `path` is something
            else, or is there and `overwrite` is False.
    """
    target = Path(path)
    with reporting(f"write {kind}", path):
        if not target.resolve().parent.is_dir():
            raise FileError("there is no folder for it; create it first")
        # Permission bits do not tell of read-only or full disks.
        with tempfile.TemporaryDirectory(dir=target.resolve().parent):
            pass
    if not target.exists():
        return
    ours = (target / mark).is_file()
    if not target.is_dir() or (not ours and any(target.iterdir())):
        raise FileError(f"{shown(path)} exists and is no {kind}: name another --output")
    if ours and not overwrite:
        raise FileError(f"{shown(path)} exists; name another folder or pass --overwrite")
    foreign = sorted({each.name for each in target.iterdir()} - {mark, *others})
    if foreign:
        raise FileError(
            f"{shown(path)} holds {shown(foreign[0])}, which is no part of a {kind} and would be "
            "lost; move it, or name another folder"
        )


@contextmanager
def replacing(path: StrPath, kind: str) -> Iterator[Path]:
    """A path beside it, at which the block is to make the folder.

    At the end of the block it takes the place of `path`; where the block fails, nothing does.

    Raises:
        FileError: a disk that refuses, also where the block says so with an OSError. What was
            there is then as it was before.
    """
    target = Path(path).resolve()  # of a link what it stands for
    with (
        reporting(f"write {kind}", path),
        tempfile.TemporaryDirectory(dir=target.parent) as beside,
    ):
        made, old = Path(beside) / "made", Path(beside) / "old"
        yield made
        try:
            if target.exists():
                target.rename(old)
            made.rename(target)
        except BaseException:  # an interrupt, too: `old` goes with the temporary folder
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
        os.utime(target)
