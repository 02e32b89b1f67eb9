"""What many tests share: the tiny network as a file and as a model, and pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The library as the program has it, on every processor.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from neural_style_tf import Objective
from tests import tiny

# The files that take longest, which are begun first: else one worker ends with one of them, and the
# others wait.
LONGEST = (
    *("command_figures", "serving", "command_export", "transform_train", "command_audio"),
    *("command_train", "command_drafting", "audio_transfer", "command_stylize", "tiles"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them first; within a file the order stays."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test: what is on this machine is neither used nor touched."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny VGG-19 in MatConvNet's 2018 layout."""
    path = tmp_path_factory.mktemp("network") / "tiny.mat"
    tiny.write_mat(path)
    return path


@pytest.fixture(scope="session")
def network(network_file: Path) -> Any:
    """The tiny VGG-19 with every layer."""
    import vgg

    return vgg.load(network_file)


@pytest.fixture(scope="session")
def shallow(network_file: Path) -> Any:
    """The tiny VGG-19 as deep as the default objective needs."""
    import vgg

    return vgg.load(network_file, layers=Objective().layers)


@pytest.fixture(scope="session")
def content() -> npt.NDArray[np.uint8]:
    return tiny.picture(48, 64, 1)


@pytest.fixture(scope="session")
def style() -> npt.NDArray[np.uint8]:
    return tiny.picture(40, 56, 2)


@pytest.fixture(scope="session")
def other_style() -> npt.NDArray[np.uint8]:
    return tiny.picture(60, 50, 3)


@pytest.fixture
def folder(tmp_path: Path, network_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with content.png, a.png, b.png and tiny.mat."""
    for name, (height, width), seed in (
        ("content.png", (48, 64), 1),
        ("a.png", (40, 56), 2),
        ("b.png", (60, 50), 3),
    ):
        Image.fromarray(tiny.picture(height, width, seed)).save(tmp_path / name)
    shutil.copy(network_file, tmp_path / "tiny.mat")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEURAL_STYLE_NETWORK", raising=False)
    return tmp_path
