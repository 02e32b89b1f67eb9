"""The 2017 program's own numbers: see `benchmarks/goldens.py` for how they were recorded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf.__main__ import main
from tests import tiny

GOLDENS = Path(__file__).parent / "goldens" / "reference_program.npz"
CASES = sorted({key.split("/")[0] for key in np.load(GOLDENS) if key.endswith("/losses")})


@pytest.fixture(scope="module")
def goldens() -> Any:
    with np.load(GOLDENS) as arrays:
        return dict(arrays)


@pytest.fixture
def inputs(goldens: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the recorded command lines ran, as it was before."""
    for key, array in goldens.items():
        if key.startswith("inputs/"):
            Image.fromarray(array).save(tmp_path / key.removeprefix("inputs/"))
    tiny.write_mat(tmp_path / "tiny-2018.mat")
    tiny.write_mat(tmp_path / "tiny-2014.mat", layout="2014")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[Any, Any]:
    """The losses that our program prints on the same command line, and its last picture."""
    procedure = ["--optimizer", "adam", "--keep", "last"]
    assert main(["neural-style-tf", *command, *procedure, "--print-iterations", "1"]) == 0
    printed = re.findall(
        r"^ *(?:content|style|tv|total) loss: (\S+)$", capsys.readouterr().out, re.M
    )
    output = command[command.index("--output") + 1]
    return np.array(printed, float).reshape(-1, 4), np.asarray(Image.open(output)).astype(int)


@pytest.mark.parametrize("case", CASES)
def test_the_2017_programs_command_line_gives_its_losses_and_its_picture(
    case: str, goldens: Any, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses, picture = run([*map(str, goldens[f"{case}/command"])], capsys)
    expected = goldens[f"{case}/losses"]
    assert losses.shape == expected.shape
    # Printed with six digits: a term that is almost nothing is held against the total.
    off = np.abs(losses - expected) / np.maximum(np.abs(expected), 1e-3 * expected[:, 3:])
    assert off[:6].max() <= 1e-4
    assert off.max() <= 5e-3
    for name in goldens.get(f"{case}/files", ()):
        assert (inputs / str(name)).is_file()
    if case != "checkpoints-best":  # there the 2017 program wrote an earlier checkpoint
        apart = np.abs(picture - goldens[f"{case}/picture"].astype(int))
        assert (apart <= 1).mean() >= 0.97
