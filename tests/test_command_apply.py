"""The `apply` command as its user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf import files, memory
from neural_style_tf.commands import apply, interrupts
from neural_style_tf.transform.stored import packed
from tests import nets, tiny
from tests.commandline import error, pixels, run

APPLY = ["apply", "--model", "net.npz", "--precision", "float32"]


@pytest.fixture(autouse=True)
def net(folder: Path) -> None:
    (folder / "net.npz").write_bytes(packed(nets.net()))


@pytest.fixture(autouse=True)
def long(folder: Path) -> None:
    Image.fromarray(tiny.picture(100, 10, 1)).save("long.png")


@pytest.fixture
def album(folder: Path) -> Path:
    (folder / "in" / "deep").mkdir(parents=True)
    for name, seed in (("x.png", 4), ("y.jpg", 5), ("deep/z.webp", 6), ("deep/w.gif", 7)):
        Image.fromarray(tiny.picture(20 + seed, 31, seed)).save(folder / "in" / name)
    return folder / "in"


def painted(path: str, mix: tuple[float, float]) -> np.ndarray:
    levels = nets.painted(nets.net(), np.asarray(Image.open(path).convert("RGB")), mix)
    return np.rint(levels.clip(0, 255)).astype(int)


def test_a_picture_of_any_size(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for height, width in ((37, 50), (61, 43), (5, 9)):
        Image.fromarray(tiny.picture(height, width, 1)).save("p.png")
        assert run(*APPLY, "--input", "p.png", "--output", "out.png", "--overwrite") == 0
        assert pixels("out.png").shape == (height, width, 3)
        assert abs(pixels("out.png") - painted("p.png", (0.5, 0.5))).max() <= 1
    assert any(m.startswith("Wrote out.png: 9×5, in ") for m in caplog.messages)


def test_a_picture_at_another_width(capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.dstack([tiny.picture(60, 80, 1), np.full((60, 80, 1), 9, np.uint8)])
    Image.fromarray(picture).save("p.png")
    assert run(*APPLY, "--input", "p.png", "--output", "out.png", "--width", "40") == 0
    out = np.asarray(Image.open("out.png"))
    assert out.shape == (30, 40, 4)
    assert (out[..., 3] == 9).all()
    smaller = Image.fromarray(picture[..., :3]).resize((40, 30), Image.Resampling.BICUBIC)
    smaller.save("smaller.png")
    assert abs(out[..., :3].astype(int) - painted("smaller.png", (0.5, 0.5))).max() <= 2
    told = files.read_settings("out.png")["painted"]
    assert isinstance(told, dict)
    assert told["width"] == 40
    # A folder painted at another width is another result.
    words = [*APPLY, "--input", "p.png", "--output", "out/"]
    assert run(*words) == 0
    assert "was made otherwise" in error(capsys, *words, "--width", "40")


def test_who_paints_a_large_picture_hears_of_larger_strokes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(apply, "_LARGE", 99)
    words = [*APPLY, "--input", "long.png", "--output", "out.png", "--overwrite"]
    for more, told in (([], True), (["--width", "20"], False), (["--quiet"], False)):
        caplog.clear()
        assert run(*words, *more) == 0
        assert (
            "For larger strokes give a smaller --width, such as 1024" in caplog.messages
        ) == told


def test_the_styles_are_mixed_as_asked() -> None:
    for words, mix in (
        (["--styles", "b"], (0, 1)),
        (["--style-blend-weights", "3", "1"], (0.75, 0.25)),
        (["--styles", "b", "a", "--style-blend-weights", "3", "1"], (0.25, 0.75)),
    ):
        out = ["--output", "out.png", "--overwrite"]
        assert run(*APPLY, "--input", "content.png", *out, *words) == 0
        assert abs(pixels("out.png") - painted("content.png", mix)).max() <= 1, words


def test_strength_and_colors(content: np.ndarray) -> None:
    words = [*APPLY, "--input", "content.png", "--output"]
    assert run(*words, "full.png") == 0
    assert run(*words, "half.png", "--strength", "0.5") == 0
    assert run(*words, "none.png", "--strength", "0") == 0
    assert run(*words, "colors.png", "--preserve-colors") == 0
    assert abs(pixels("half.png") - (pixels("full.png") + content) / 2).max() <= 1
    assert (pixels("none.png") == content).all()
    kept, given = (
        np.asarray(Image.open(p).convert("YCbCr")).astype(int)
        for p in ("colors.png", "content.png")
    )
    inside = ((pixels("colors.png") > 0) & (pixels("colors.png") < 255)).all(axis=2)
    assert abs(kept - given)[inside][:, 1:].max() <= 2


def test_alpha_profile_and_orientation_are_kept() -> None:
    picture = tiny.picture(20, 30, 1)
    alpha = np.full((20, 30, 1), 77, np.uint8)
    profile = b"\0" * 16 + b"RGB " + b"\0" * 16 + b"acsp" + b"\0" * 88
    Image.fromarray(np.dstack([picture, alpha])).save("p.png", icc_profile=profile)
    assert run(*APPLY, "--input", "p.png", "--output", "out.png") == 0
    out = Image.open("out.png")
    assert out.mode == "RGBA"
    assert np.asarray(out)[..., 3].tolist() == alpha[..., 0].tolist()
    assert out.info["icc_profile"] == profile
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save("p.jpg", exif=exif)
    assert run(*APPLY, "--input", "p.jpg", "--output", "turned.png") == 0
    assert pixels("turned.png").shape == (30, 20, 3)


def test_little_memory_means_tiles_and_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(tiny.picture(150, 130, 1)).save("p.png")
    assert run(*APPLY, "--input", "p.png", "--output", "whole.png") == 0
    monkeypatch.setattr(memory, "BASE", 0)
    monkeypatch.setattr(apply, "_SIDES", (64, 32))
    sides = []
    find = apply._Work._side

    def spy(work: apply._Work, height: int, width: int) -> int | None:
        sides.append(find(work, height, width))
        return sides[-1]

    monkeypatch.setattr(apply._Work, "_side", spy)
    limit = ["--memory-limit", str(2.4e6 / memory.GIB)]
    assert run(*APPLY, "--input", "p.png", "--output", "tiles.png", *limit) == 0
    assert sides == [64]
    assert abs(pixels("tiles.png") - pixels("whole.png")).max() <= 1


def test_a_folder_is_painted_and_gone_on_with(
    album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*APPLY, "--input", "in", "--output", "in/out"]
    assert run(*words) == 0
    out = album / "out"
    made = {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("*.*")}
    assert sorted(made) == ["deep/w.png", "deep/z.webp", "x.png", "y.jpg"]
    assert abs(pixels("in/out/x.png") - painted("in/x.png", (0.5, 0.5))).max() <= 1
    assert any(m.startswith("Wrote 4 picture(s) to in/out, in ") for m in caplog.messages)
    (out / "x.png").unlink()
    Image.fromarray(tiny.picture(22, 33, 8)).save(album / "v.png")
    assert run(*words) == 0
    assert "Pictures to paint: 2, there already: 3" in caplog.messages
    assert (out / "v.png").exists()
    for name, time in made.items():
        assert (name == "x.png") == ((out / name).stat().st_mtime_ns != time)
    assert run(*words) == 0, "nothing to do"


def test_results_of_something_else_are_not_taken_for_these(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*APPLY, "--input", "in/*.png", "--output", "out"]
    assert run(*words) == 0
    before = pixels("out/x.png")
    capsys.readouterr()
    told = error(capsys, *words, "--styles", "a")
    assert "out/x.png exists and was made otherwise: name another --output or pass" in told
    assert run(*words, "--styles", "a", "--overwrite") == 0
    assert (pixels("out/x.png") != before).any()
    Image.fromarray(tiny.picture(22, 33, 9)).save(album / "x.png")
    assert "out/x.png exists and was made otherwise" in error(
        capsys, *words, "--styles", "a", "--quiet"
    )


def test_what_cannot_be_read_does_not_stop_the_others(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (album / "a.png").write_text("no picture")
    assert run(*APPLY, "--input", "in", "--output", "out", "--quiet") == 2
    assert sorted(p.name for p in Path("out").rglob("*.*")) == ["w.png", "x.png", "y.jpg", "z.webp"]
    assert "error: 1 of 5 pictures could not be painted, the others are there" in (
        capsys.readouterr().err
    )


def test_one_picture_into_a_folder() -> None:
    assert run(*APPLY, "--input", "content.png", "--output", "out/") == 0
    assert pixels("out/content.png").shape == (48, 64, 3)


def test_a_result_says_what_made_it() -> None:
    assert run(*APPLY, "--input", "content.png", "--output", "out.png") == 0
    told = files.read_settings("out.png")["painted"]
    assert isinstance(told, dict)
    assert told["styles"] == {"a": 0.5, "b": 0.5}
    assert told["strength"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["apply"], "--model is missing"),
        (["apply", "--model", "net.npz"], "--input is missing"),
        ([*APPLY, "--input", "content.png"], "--output is missing"),
        (["apply", "--model", "stary", "--input", "a.png", "--output", "o.png"], "unknown --model"),
        (["apply", "--model", "a.npz", "--input", "a.png", "--output", "o.png"], "no such file"),
        (["apply", "--model", "tiny.mat", "--input", "a.png", "--output", "o.png"], "network tin"),
        ([*APPLY, "--input", "none.png", "--output", "o.png"], "there is no such file"),
        ([*APPLY, "--input", "none/*.png", "--output", "o"], "expected pictures like none/*.png"),
        ([*APPLY, "--input", "a.png", "--output", "a.png"], "a.png exists"),
        ([*APPLY, "--input", "a.png", "b.png", "--output", "tiny.mat"], "expected a folder for 2"),
        ([*APPLY, "--input", "a.png", "./a.png", "--output", "o"], "would both become o/a.png"),
        ([*APPLY, "--input", "a.png", "--output", "o.png", "--strength", "2"], "--strength: ex"),
        ([*APPLY, "--input", "a.png", "--output", "o.png", "--styles", "c"], "unknown style c"),
        ([*APPLY, "--input", "a.png", "--output", "o.png", "--style-blend-weights", "1"],
         "expected one style blend weight for each of 2 style(s), got 1"),
        ([*APPLY, "--input", "a.png", "--output", "o.png", "--memory-limit", "0"], "--memory-l"),
        ([*APPLY, "--input", "a.png", "--output", "o.png", "--width", "8"], "--width: expected 16"),
        ([*APPLY, "--input", "long.png", "--output", "o.png", "--width", "30000"],
         "pixels in all, got 30000×300000; give a smaller one"),
        ([*APPLY, "--input", "tiny.mat", "--output", "o.png"], "expected JPEG, PNG, WebP"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words)


def test_a_picture_too_large_even_for_tiles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*APPLY, "--input", "content.png", "--output", "o.png", "--memory-limit", "0.1"]
    assert run(*words, "--quiet") == 2
    told = capsys.readouterr().err
    assert "a picture of 64×48 pixels takes at least" in told
    assert "or a larger --memory-limit" in told


@pytest.mark.parametrize("words", [[], ["--overwrite"]])
def test_when_interrupted_it_says_what_is_there_and_what_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    album: Path,
    words: list[str],
) -> None:
    interruptible = interrupts.interruptible

    def interrupted(items: Iterator[Any]) -> Iterator[Any]:
        for number, item in enumerate(interruptible(items)):
            if number == 2:
                raise KeyboardInterrupt
            yield item

    (album / "a.png").write_bytes(b"no picture")  # comes first
    with monkeypatch.context() as patched:
        patched.setattr(interrupts, "interruptible", interrupted)
        patched.setattr(interrupts, "exit_on_next", lambda: None)
        assert run(*APPLY, "--input", "in", "--output", "out", *words) == 130
    there = [path for path in Path("out").rglob("*") if path.is_file()]
    assert len(there) == 1
    how = " without --overwrite" if words else ""
    told = f"Interrupted: 1 of 5 pictures are there, the same command{how} goes on with the others"
    assert told in caplog.messages
    (album / "a.png").unlink()
    assert run(*APPLY, "--input", "in", "--output", "out") == 0
    assert "Pictures to paint: 3, there already: 1" in caplog.messages


def test_a_picture_named_within_the_output_folder_is_not_left_out_in_silence(
    capsys: pytest.CaptureFixture[str], album: Path
) -> None:
    told = error(capsys, *APPLY, "--input", "in/x.png", "long.png", "--output", "in")
    assert "expected pictures outside of the output folder in, got in/x.png" in told
