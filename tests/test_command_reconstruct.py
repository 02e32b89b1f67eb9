"""What layers keep: reconstructions, and the program with one of its two pictures alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neural_style_tf import files
from tests.commandline import error, pixels, run

TINY = ["--network", "tiny.mat", "--output", "out.png"]


def test_the_first_layer_keeps_the_photograph(folder: Path) -> None:
    wanted = ["reconstruct", "--content", "content.png", "--content-layer", "conv1_1"]
    assert run(*wanted, *TINY, "--iterations", "60") == 0
    photograph = pixels("content.png")
    apart = np.square(pixels("out.png") - photograph).mean()
    assert apart < 0.05 * np.square(photograph - photograph.mean((0, 1))).mean()
    settings = files.read_settings("out.png")
    objective, schedule = settings["objective"], settings["schedule"]
    assert isinstance(objective, dict)
    assert isinstance(schedule, dict)
    assert objective["content_layers"] == {"conv1_1": 1}
    assert objective["style_weight"] == objective["tv_weight"] == 0
    assert schedule["scales"] == 1
    assert settings["styles"] == []


def test_a_texture_has_the_size_of_its_painting(folder: Path) -> None:
    wanted = ["reconstruct", "--styles", "b.png", "--style-layers", "conv1_1", "conv2_1=2"]
    assert run(*wanted, *TINY, "--iterations", "2", "--width", "40") == 0
    assert pixels("out.png").shape == (48, 40, 3)  # as b.png, 50×60
    settings = files.read_settings("out.png")
    objective = settings["objective"]
    assert isinstance(objective, dict)
    assert objective["style_layers"] == {"conv1_1": 1, "conv2_1": 2}
    assert objective["content_weight"] == objective["tv_weight"] == 0
    assert settings["content"] is None
    # The settings of a picture are the program's, whichever command made it.
    assert run("--config", "out.png", "--output", "again.png") == 0
    assert np.abs(pixels("out.png") - pixels("again.png")).max() <= 1


def test_a_painting_with_holes_makes_a_texture_without(folder: Path) -> None:
    alpha = np.full((40, 56), 255, np.uint8)
    alpha[:20] = 0
    files.write("holes.png", files.read("a.png").pixels, alpha=alpha)
    assert run("reconstruct", "--styles", "holes.png", *TINY, "--iterations", "1") == 0
    assert pixels("out.png").shape == (40, 56, 3)


def test_layers_are_the_presets_unless_named(folder: Path) -> None:
    wanted = ["reconstruct", "--content", "content.png", "--preset", "gatys2015"]
    assert run(*wanted, *TINY, "--iterations", "1") == 0
    objective = files.read_settings("out.png")["objective"]
    assert isinstance(objective, dict)
    assert objective["content_layers"] == {"conv4_2": 1}


def test_a_photograph_alone_where_the_style_weighs_nothing(folder: Path) -> None:
    assert run("--content", "content.png", "--style-weight", "0", *TINY, "--iterations", "1") == 0


REFUSED = (
    (["reconstruct"], "expected --content or --styles, one of them, got none"),
    (
        ["reconstruct", "--content", "content.png", "--styles", "a.png"],
        "expected --content or --styles, one of them, got both; for both there is `stylize`",
    ),
    (
        ["reconstruct", "--content", "content.png", "--style-layers", "conv1_1"],
        "--style-layers: got no style to reconstruct; give --styles in place of --content\n",
    ),
    (
        ["reconstruct", "--styles", "a.png", "--content-layer", "conv1_1"],
        "--content-layer: got no content to reconstruct; give --content in place of --styles\n",
    ),
    (
        ["reconstruct", "--content", "content.png", "--style-blend-weights", "1"],
        "--style-blend-weights: got no style to reconstruct",
    ),
    (
        ["reconstruct", "--content", "content.png", "--content-layer", "relu1_7", *TINY],
        "relu1_7",
    ),
    (["reconstruct", "--styles", "kept.npz", *TINY], "--content is missing: kept.npz is a kept"),
    (["--style-weight", "0", *TINY], "--content is missing"),
    (
        ["--content", "content.png", "--style-weight", "0", "--save-style", "s.npz", *TINY],
        "--save-style: expected --styles to keep, got none",
    ),
)


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_cannot_be_meant(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words)
