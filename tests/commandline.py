"""The program run in this process, as its user would: what the tests of its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf.__main__ import main

PICTURES = ["--content", "content.png", "--styles", "a.png"]
SHORT = ["--network", "tiny.mat", "--iterations", "3", "--output", "out.png"]


def run(*words: str) -> int:
    return main(["neural-style-tf", *words])


def pixels(path: str) -> Any:
    return np.asarray(Image.open(path)).astype(int)


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a bad command line gets."""
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")}
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    after = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*")}
    assert before == after, "something was written"
    return err
