"""The embedded network: it is there, it is small, and it sees what VGG-19 sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vgg
from neural_style_tf import Objective
from neural_style_tf.__main__ import parse
from neural_style_tf.commands.job import resolve
from neural_style_tf.networks import embedded
from vgg import fetch
from vgg.weights import Weights, read

ROOT = Path(__file__).parent.parent
FILE = ROOT / "vgg" / "compact.npz"
GOLDEN = Path(__file__).parent / "goldens" / "vgg19_example.npz"
LAYERS = (*Objective().layers, "relu5_2")


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read(FILE)


def test_it_is_small_and_says_where_it_comes_from(weights: Weights) -> None:
    assert FILE.stat().st_size <= 3_000_000
    with np.load(FILE, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fU" for name in arrays.files)
    assert weights.name == "compact"
    assert "VGG-19" in weights.metadata["teacher"]
    assert "CC BY 4.0" in weights.metadata["license"]
    assert {"made_by", "pictures", "settings", "missed"} <= weights.metadata.keys()


def test_it_is_what_one_gets_without_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NEURAL_STYLE_NETWORK", raising=False)
    assert fetch.find("auto") == (FILE, "embedded")
    assert fetch.find("compact") == (FILE, "embedded")


def test_it_has_every_layer_that_the_2017_program_names(weights: Weights) -> None:
    """Whatever its flags ask for, no layer has to be replaced by a near one."""
    for words in ([], ["--content-weight-blend", "0.5"], ["--style-layer-weight-exp", "0.2"]):
        line = ["neural-style-tf", "--content", "c.png", "--styles", "s.png", *words]
        job = resolve(parse([*line, "--output", "o.png"])[1])
        assert job.objective.on(weights.layers)[1] == {}


# Mean activations of each channel over the example picture; VGG-19's were recorded by
# `benchmarks/compact.py --golden`.
@pytest.mark.parametrize(
    ("layer", "most", "alike"),
    [
        ("relu1_1", 0.03, 0.999),
        ("relu2_1", 0.15, 0.96),
        ("relu3_1", 0.16, 0.955),
        ("relu4_1", 0.16, 0.955),
        ("relu4_2", 0.2, 0.945),
        ("relu5_1", 0.42, 0.76),
        ("relu5_2", 0.52, 0.73),
    ],
)
def test_it_sees_what_vgg19_sees(
    seen: dict[str, Any], layer: str, most: float, alike: float
) -> None:
    with np.load(GOLDEN) as golden:
        expected = golden[layer]
    assert seen[layer].shape[-1] == len(expected)
    means = seen[layer].numpy().mean((0, 1, 2))
    assert np.linalg.norm(means - expected) <= most * np.linalg.norm(expected)
    # Each channel is VGG-19's own, not any other in its place.
    assert np.corrcoef(means, expected)[0, 1] > alike


@pytest.fixture(scope="module")
def seen() -> Any:
    picture = np.asarray(Image.open(ROOT / "examples" / "content.jpg").convert("RGB"), np.float32)
    model = vgg.load("compact", layers=LAYERS)
    return embedded(model, model(picture[None]))
