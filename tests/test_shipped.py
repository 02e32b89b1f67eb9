"""The networks that come with the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neural_style_tf.transform import shipped
from neural_style_tf.transform.stored import read_net
from tests.commandline import ROOT, pixels, run


def test_there_are_at_least_three_styles_and_they_are_small() -> None:
    assert len(shipped.names()) >= 3
    for path in set(shipped.names().values()):
        assert path.stat().st_size <= 10**6


@pytest.mark.parametrize("name", list(shipped.names()))
def test_a_style_paints_by_its_name(name: str, folder: Path) -> None:
    assert run("apply", "--model", name, "--input", "content.png", "--output", "out.png") == 0
    apart = abs(pixels("out.png") - pixels("content.png"))
    assert apart.mean() > 10, "it is painted"
    # A photograph is recognized by its light and dark: the picture is still of it.
    light, before = (
        np.asarray(Image.open(p).convert("L").resize((16, 12)), float).ravel()
        for p in ("out.png", "content.png")
    )
    assert abs(np.corrcoef(light, before)[0, 1]) > 0.3


def test_each_style_is_another() -> None:
    for path in set(shipped.names().values()):
        net = read_net(path)
        for index, one in enumerate(net.weights["up2/scale"]):
            for other in net.weights["up2/scale"][index + 1 :]:
                assert abs(one - other).max() > 0.05


def test_cards_say_what_they_were_trained_on() -> None:
    text = (shipped.FOLDER / "CARD.md").read_text()
    for name, path in shipped.names().items():
        assert f"`{name}`" in text
        card = read_net(path).card
        assert {"program", "training", "objective", "losses", "photographs"} <= card.keys()
        assert json.loads(json.dumps(card)) == card
    assert (ROOT / "docs" / "nets.jpg").exists()
