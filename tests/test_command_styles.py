"""commands/styles.py: styles kept, given and remembered, by whole command lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf.losses import Loss
from tests import tiny
from tests.commandline import PICTURES, SHORT, error, pixels, run
from vgg.weights import Weights, write_npz


def test_a_style_that_was_kept_stands_for_its_painting(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["--content", "content.png", "--network", "tiny.mat", "--iterations", "4"]
    words += ["--scales", "1"]
    assert run(*words, "--styles", "a.png", "--output", "1.png", "--save-style", "a.npz") == 0
    assert run(*words, "--styles", "a.npz", "--output", "2.png") == 0
    assert np.abs(pixels("1.png") - pixels("2.png")).max() <= 1
    # At another size, beside a picture, and with an output of its own.
    words += ["--styles", "a.npz", "b.png", "--width", "100", "--style-scales", "0.5", "1"]
    assert run(*words, "--output", "3.png", "--save-style", "ab.npz") == 0
    assert run(*words, "--output", "3.png", "--save-style", "ab.npz") == 2
    assert run("--config", "3.png", "--output", "4.png") == 0
    assert "strokes" not in caplog.text
    words = ["--config", "2.png", "--width", "100", "--output", "5.png"]
    assert run(*words) == 0
    told = "a.npz was kept for results up to 64 pixels wide: at 100 its strokes stay as small"
    assert told in caplog.messages


def test_a_style_is_for_the_network_that_measured_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*PICTURES, *SHORT, "--save-style", "a.npz") == 0
    capsys.readouterr()
    words = ["--content", "content.png", "--styles", "a.npz", "--output", "o.png"]
    words += ["--network", "tiny.mat"]
    message = error(capsys, *words, "--pooling", "avg")
    assert "cannot use style a.npz: expected one kept with VGG-19" in message
    assert "avg pooling, got VGG-19 with 4/6/8/8/8 channels, max pooling" in message
    message = error(capsys, *words, "--style-layers", "relu2_2")
    assert "a.npz: the kept style lacks relu2_2: expected one of relu1_1, relu2_1" in message
    convolutions = {name: (k * 1.1, b) for name, (k, b) in tiny.weights().items()}
    write_npz(folder / "other.npz", Weights(convolutions, np.array(tiny.MEAN_PIXEL)))
    words[-1] = "other.npz"
    assert "max pooling, and other weights" in error(capsys, *words)


def test_a_style_that_lacks_numbers_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*PICTURES, *SHORT, "--save-style", "a.npz") == 0
    with np.load("a.npz") as arrays:
        kept = dict(arrays)
    key = next(key for key in kept if key.endswith("/relu3_1"))
    np.savez("a.npz", **{**kept, key: np.zeros(1, np.float32)})
    words = ["--content", "content.png", "--styles", "a.npz", "--output", "o.png"]
    capsys.readouterr()
    message = error(capsys, *words, "--network", "tiny.mat")
    assert "cannot use style a.npz: expected 8 channels of relu3_1, got 1; it is damaged" in message


def test_a_painting_is_measured_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run finds the moments in the cache, and makes the same picture."""
    assert run(*PICTURES, *SHORT) == 0

    def refused(self: Any, style: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(Loss, "moments", refused)
    assert run(*PICTURES, *SHORT[:-1], "again.png") == 0
    assert (pixels("out.png") == pixels("again.png")).all()
