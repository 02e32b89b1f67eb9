"""The program run in this process, as its user would: what the tests of its commands share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf import memory
from neural_style_tf.__main__ import main

ROOT = Path(__file__).parent.parent
PICTURES = ["--content", "content.png", "--styles", "a.png"]
SHORT = ["--network", "tiny.mat", "--iterations", "3", "--output", "out.png"]


def run(*words: str) -> int:
    return main(["neural-style-tf", *words])


def begin(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The program in a process of its own, which SIGINT can interrupt.

    A shell that starts something in the background has it ignore SIGINT, and that is inherited: by
    these tests, too, where they run in the background. What is handled here is not ignored there.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "neural_style_tf", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def planned(monkeypatch: pytest.MonkeyPatch, side: int | None = None) -> list[memory.Need]:
    """What runs say that they need, which get this plan for it whatever that is.

    Args:
        side: of the tiles of the plan, None for none.
    """
    needs: list[memory.Need] = []

    def plan(need: memory.Need, limit: float) -> memory.Plan:
        needs.append(need)
        return memory.Plan(side, 4, 2**30)

    monkeypatch.setattr(memory, "plan", plan)
    return needs


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
