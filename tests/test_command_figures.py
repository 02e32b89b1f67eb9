"""The figures as their user makes them: whole, again, interrupted, and refused."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf import files
from neural_style_tf.losses import Loss
from tests import tiny
from tests.commandline import begin, error, pixels, run

SMALL = ["--network", "tiny.mat", "--width", "32", "--iterations", "2", "--output-dir", "out"]
FIGURES = ["figures", "--content", "content.png", "--style", "a.png", *SMALL]
TWO = [*FIGURES, "--style", "a.png", "b.png"]
# All but the grid, which has nearly as many cells as all others together.
SOME = ["--only", "1", "3", "4", "5", "6", "7", "8"]
NAMES = (
    *("1-reconstructions", "3-pooling", "4-denoising", "5-start", "6-addition", "7-tweaks"),
    "8-blend",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, network_file: Path) -> Path:
    """A folder in which figures have been made of two paintings, beside published ones."""
    folder = tmp_path_factory.mktemp("figures")
    shutil.copy(network_file, folder / "tiny.mat")
    for name, seed in (("content", 1), ("a", 2), ("b", 3)):
        Image.fromarray(tiny.picture(48, 64, seed)).save(folder / f"{name}.png")
    content, alpha = folder / "content.png", np.full((48, 64), 255, np.uint8)
    alpha[:9] = 0
    files.write(content, files.read(content).pixels, alpha=alpha)
    (folder / "published").mkdir()
    Image.new("RGB", (40, 30), (255, 0, 255)).save(folder / "published" / "swe02.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(*TWO, *SOME, "--published", "published") == 0
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, as the current one."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def figure(folder: Path, name: str) -> list[dict[str, Any]]:
    """The cells that a figure's JSON describes."""
    contents = json.loads((folder / "out" / f"{name}.json").read_text())
    return [cell for row in contents["rows"] for cell in row["cells"]]


def test_every_figure_has_a_sheet_cells_and_settings(finished: Path) -> None:
    page = (finished / "out" / "index.html").read_text()
    for name in NAMES:
        with Image.open(finished / "out" / f"{name}.png") as drawn:
            assert f'src="{name}.png"' in page
            assert f'width="{drawn.width}" height="{drawn.height}"' in page
        for cell in figure(finished, name):
            assert files.read(finished / "out" / cell["file"]).pixels.shape[2] in (16, 32)
            if "run" in cell:
                assert np.isfinite(cell["run"]["loss"])
                assert cell["run"]["settings"]["schedule"]["iterations"]
    assert not list((finished / "out").rglob("*.tmp"))


def test_reconstructions_are_judged(finished: Path) -> None:
    first, *rest = figure(finished, "1-reconstructions")
    assert "run" not in first
    judged = [cell["run"] for cell in rest if "run" in cell]
    for cell in judged[:5]:
        assert set(cell["feature_errors"]) == {f"relu{block}_2" for block in range(1, 6)}
        assert 5 < cell["psnr"] < 60
    assert [len(cell["gram_errors"]) for cell in judged[5:]] == [2, 3, 4, 5, 6]
    # Two iterations from noise: on the way, and no further.
    assert 0 < judged[0]["feature_errors"]["relu1_2"] < 1


def test_published_pictures_stand_below_ours(finished: Path) -> None:
    sheet = pixels(str(finished / "out" / "7-tweaks.png"))
    assert (sheet == (255, 0, 255)).all(-1).sum() > 500
    assert not (pixels(str(finished / "out" / "3-pooling.png")) == (255, 0, 255)).all(-1).any()


def test_a_cell_is_what_stylize_makes_of_its_settings(again: Path) -> None:
    cell = "out/cells/style-layer-weight-exp-0.2.png"
    assert run("--config", cell, "--output", "same.png") == 0
    assert np.abs(pixels(cell) - pixels("same.png")).max() <= 1


def test_the_sum_is_half_of_each(finished: Path) -> None:
    cells = finished / "out" / "cells"
    content, style, both = (
        pixels(str(cells / f"{name}.png")) for name in ("content", "style", "sum")
    )
    assert np.abs((content + style) / 2 - both).max() <= 1


def times(pattern: str = "*.png") -> dict[str, int]:
    """When each cell that is painted was written."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in Path("out/cells").glob(pattern)
        if path.stem not in ("content", "style", "other-style", "sum")
    }


def test_finished_cells_are_not_painted_again(again: Path) -> None:
    before = times()
    Path("out/cells/tv-0.png").unlink()
    Path("out/cells/blend-1.json").unlink()
    Path("out/cells/noise.json").write_text("{")
    Path("out/4-denoising.png").unlink()
    Path("content.png").rename("moved.png")  # the same picture by another name is the same
    assert run(*TWO, *SOME, "--content", "moved.png") == 0
    changed = {name for name, then in times().items() if before.get(name) != then}
    assert changed == {"tv-0.png", "blend-1.png", "noise.png", "noise-0001.png"}
    assert Path("out/4-denoising.png").exists()


def test_what_was_made_of_something_else_is_painted_again(again: Path) -> None:
    before = times()
    shutil.copy("a.png", "b.png")
    assert run(*TWO, "--only", "8", "3") == 0
    changed = {name for name, then in times().items() if before[name] != then}
    assert changed == {f"blend-{share}.png" for share in ("0.25", "0.5", "0.75", "1")}
    shown = [name for name in NAMES if f"{name}.png" in Path("out/index.html").read_text()]
    assert shown == list(NAMES), "the others are of the first painting alone"
    before = times()
    assert run(*TWO, "--only", "4", "--seed", "1") == 0
    changed = {name for name, then in times().items() if before[name] != then}
    assert changed == {"default.png", "default-0001.png", "tv-0.png", "tv-10x.png"}
    shown = [name for name in NAMES if f"{name}.png" in Path("out/index.html").read_text()]
    assert shown == ["4-denoising"], "of the others some cells are of another seed"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupted_command_goes_on_where_it_was(folder: Path) -> None:
    command = [*FIGURES, "--only", "4", "--iterations", "150"]
    program = begin(folder, *command)
    cells = folder / "out" / "cells"
    end = time.monotonic() + 120
    while not list(cells.glob("*.json")):
        assert time.monotonic() < end
        assert program.poll() is None
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=240)
    assert program.returncode == 130, err
    assert "of 3 pictures are there, the same command goes on" in err
    assert "Traceback" not in err + out
    done = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 1 <= len(done) < 3
    assert not list(cells.glob("*.tmp"))
    assert run(*command) == 0
    now = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert len(now) == 3
    assert all(now[name] == then for name, then in done.items())


def test_lines_tell_how_far_it_is(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced, plain = [], Loss.value_and_gradient

    def counted(loss: Loss, *args: Any) -> Any:
        traced.append(loss)
        return plain(loss, *args)

    monkeypatch.setattr(Loss, "value_and_gradient", counted)
    assert run(*TWO, "--only", "8") == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "1/5 default",
        *(f"{k}/5 blend-{share}" for k, share in enumerate(("0.25", "0.5", "0.75", "1"), 2)),
    ]
    assert all("loss" in line and "remaining" in line for line in lines)
    assert "Pictures to paint: 5, there already: 0" in caplog.text
    assert "retracing" not in caplog.text
    assert len(traced) == 1, "all are alike"


def test_quiet_is_quiet(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*FIGURES, "--only", "6", "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_a_page_of_somebody_else_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/cells").mkdir(parents=True)
    Path("out/index.html").write_text("<p>mine</p>")
    assert "out/index.html is there and is none of ours" in error(capsys, *FIGURES, "--only", "6")


def test_an_emerging_picture_has_its_own_loss(finished: Path) -> None:
    for row in json.loads((finished / "out" / "5-start.json").read_text())["rows"]:
        first, last = row["cells"]
        assert first["result"]["iteration"] == 1
        assert first["result"]["loss"] > last["run"]["loss"]


def test_textures_of_a_photograph_with_holes_have_none(finished: Path) -> None:
    cells = finished / "out" / "cells"
    assert pixels(str(cells / "content-relu1_2.png")).shape[2] == 4
    assert pixels(str(cells / "default.png")).shape[2] == 4
    assert pixels(str(cells / "style-up-to-conv1_1.png")).shape[2] == 3


def test_what_is_done_stays_where_a_later_run_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from neural_style_tf.commands import cells
    from neural_style_tf.errors import FileError

    paint = cells.Cells.paint

    def full(self: Any, recipe: Any, watch: Any) -> Any:
        if recipe.name == "tv-10x":
            raise FileError("the disk is full")
        return paint(self, recipe, watch)

    monkeypatch.setattr(cells.Cells, "paint", full)
    assert run(*FIGURES, "--only", "4") == 2
    assert "error: the disk is full" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    before = times()
    assert run(*FIGURES, "--only", "4") == 0
    assert {name for name, then in times().items() if before.get(name) != then} == {"tv-10x.png"}


REFUSED = (
    (["figures"], "--content is missing"),
    (["figures", "--content", "content.png", *SMALL], "--style is missing"),
    (["figures", "--content", "content.png", "--style", "a.png"], "--output-dir is missing"),
    ([*FIGURES, "--style", "a.png", "b.png", "a.png"], "expected one or two paintings, got 3"),
    ([*FIGURES, "--only", "9"], "--only: expected numbers from 1 to 8, got 9"),
    ([*FIGURES, "--only", "4", "--output-dir", ""], "--output-dir is missing"),
    ([*FIGURES, "--published", "nowhere"], "--published: expected a folder, got nowhere"),
    (
        [*FIGURES, "--width", "48", "--published", "."],
        "--published: expected pictures such as athalye_example1_default.jpg in ., got none",
    ),
    ([*FIGURES, "--content", "contents.png"], "did you mean content.png?"),
    ([*FIGURES, "--style", "missing.png"], "missing.png"),
    ([*FIGURES, "--width", "8"], "--width: expected 16 to"),
    ([*FIGURES, "--iterations", "0"], "iterations: expected a whole number, 1 or more, got 0"),
    ([*FIGURES, "--only", "4", "--output-dir", "a.png"], "cannot make the folder a.png"),
    (FIGURES, "a.png would be 16×11 pixels: expected at least 16×16"),
    ([*FIGURES, "--network", "content.png"], "content.png"),
    ([*FIGURES, "--outputdir", "x"], "did you mean --output-dir?"),
)


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_cannot_be_meant(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words)
