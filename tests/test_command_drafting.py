"""commands/drafting.py: which runs are drafted, by whole command lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf import files, memory
from neural_style_tf.commands import runs
from tests import tiny
from tests.commandline import PICTURES, planned, run
from vgg import fetch
from vgg.weights import Weights, read, write_npz

SAID = "Drafted with the embedded network, which is several times as fast"
FAST = ["--iterations", "4", "--output", "out.png", "--print-iterations", "1"]


@pytest.fixture
def teacher(folder: Path) -> str:
    """A network in whose first layer are the kernels that the embedded one was distilled from."""
    embedded = read(fetch.find("compact").path)
    convolutions: dict[str, Any] = {**tiny.weights((96, 8, 8, 8, 8))}
    for ours, theirs in zip(convolutions["conv1_1"], embedded.convolutions["conv1_1"], strict=True):
        ours[..., -theirs.shape[-1] :] = theirs
    write_npz(folder / "teacher.npz", Weights(convolutions, embedded.mean))
    return "teacher.npz"


def test_the_networks_own_iterations_come_after_the_draft(
    teacher: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*PICTURES, *FAST, "--network", teacher, "--scales", "2") == 0
    assert SAID in caplog.messages
    # 2 and 8 of the draft, 4 of the network.
    assert "Iteration   14/  14" in capsys.readouterr().out
    assert files.read_settings("out.png")["draft"] == "auto"


@pytest.mark.parametrize(
    "words",
    [
        ["--draft", "none"],
        ["--optimizer", "adam"],
        ["--style-weight", "0"],
        ["--content-weight", "0"],
        ["--initial", "content.png"],
        ["--network", "compact"],
        ["--network", "tiny.mat"],
        ["--content-layers", "relu5_4"],
    ],
)
def test_no_draft(
    teacher: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
) -> None:
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))  # it has been said by then
    assert run(*PICTURES, *FAST, "--network", teacher, *words) == 0
    assert SAID not in caplog.messages


@pytest.mark.parametrize("first", ["half of the kernels", "factored", "as cheap"])
def test_a_network_that_begins_otherwise_is_not_drafted(
    teacher: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))
    weights = read(Path(teacher))
    convolutions: dict[str, Any] = {**weights.convolutions}
    kernel, bias = convolutions["conv1_1"]
    if first == "as cheap":
        embedded = read(fetch.find("compact").path)
        kernel, bias = embedded.convolutions["conv1_1"]
        convolutions = {**embedded.convolutions, "conv1_1": (kernel, bias + 1e-5)}
    elif first == "factored":
        convolutions["conv1_1"] = kernel, np.eye(96, dtype=np.float32)[None, None], bias
    else:
        convolutions["conv1_1"] = kernel[..., :80], bias[:80]
        after, bias = convolutions["conv1_2"]
        convolutions["conv1_2"] = after[..., :80, :], bias
    write_npz(Path("other.npz"), Weights(convolutions, weights.mean))
    assert run(*PICTURES, *FAST, "--network", "other.npz") == 0
    assert SAID not in caplog.messages


def test_a_kept_style_is_not_drafted(teacher: str, caplog: pytest.LogCaptureFixture) -> None:
    assert run(*PICTURES, *FAST, "--network", teacher, "--save-style", "kept.npz") == 0
    assert SAID in caplog.messages
    caplog.clear()
    words = ["--content", "content.png", "--styles", "kept.npz", "--overwrite"]
    assert run(*words, *FAST, "--network", teacher) == 0
    assert SAID not in caplog.messages


def test_a_draft_in_tiles(
    teacher: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network has other channels than the draft; tests/test_loop.py compares pictures."""
    monkeypatch.setattr(memory, "plan", lambda need, limit: memory.Plan(32, 4, 2**30))
    words = [*PICTURES, "--iterations", "2", "--network", teacher, "--scales", "1"]
    words += ["--content-layers", "relu2_1", "--style-layers", "relu1_1"]
    assert run(*words, "--output", "out.png") == 0
    assert SAID in caplog.messages
    assert "in tiles of 32 pixels" in caplog.text


@pytest.mark.parametrize("draft", ["auto", "none"])
def test_memory_is_planned_for_both_networks(
    teacher: str, monkeypatch: pytest.MonkeyPatch, draft: str
) -> None:
    from neural_style_tf.commands.tensorflow import fastest_precision
    from vgg.network import held

    compact = Path(__file__).parent.parent / "vgg" / "compact.npz"
    needs = planned(monkeypatch)
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))
    assert run(*PICTURES, *FAST, "--network", teacher, "--scales", "1", "--draft", draft) == 0
    (need,) = needs
    assert need.coarser == (draft == "auto")
    networks = [Path(teacher), *([compact] if draft == "auto" else [])]
    assert need.weights == sum(held(read(path), fastest_precision()) for path in networks)
