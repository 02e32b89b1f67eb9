"""commands/fitting.py: the precision and the memory of the machine, by whole command lines."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf import files, memory, optimization
from neural_style_tf import tiles as tiles_of
from neural_style_tf.commands import fitting, runs
from neural_style_tf.losses import Loss
from neural_style_tf.networks import Network
from neural_style_tf.objective import Objective
from neural_style_tf.tiles import Tiles
from tests.commandline import PICTURES, SHORT, pixels, planned, run
from vgg.processor import features as processor_features

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("words", "fastest", "expected"),
    [
        ([], "bfloat16", "bfloat16"),
        ([], "float32", "float32"),
        (["--optimizer", "adam"], "bfloat16", "float32"),
        (["--precision", "float32"], "bfloat16", "float32"),
        (["--precision", "bfloat16", "--optimizer", "adam"], "float32", "bfloat16"),
    ],
)
def test_the_precision_is_the_machines_but_for_adam(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    fastest: str,
    expected: str,
) -> None:
    monkeypatch.setattr("neural_style_tf.commands.tensorflow.fastest_precision", lambda: fastest)
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))  # it has been said by then
    assert run(*PICTURES, *SHORT, *words) == 0
    line = next(message for message in caplog.messages if message.startswith("Network: "))
    assert line.endswith(f", {expected}")


@pytest.mark.parametrize(("words", "exact"), [([], False), (["--optimizer", "adam"], True)])
def test_convolutions_are_the_2017_programs_for_adam_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], exact: bool
) -> None:
    from neural_style_tf import loop
    from vgg import network

    asked = set()

    def chosen(shape: Sequence[int], precision: str, *, exact: bool) -> str:
        asked.add(exact)
        return "plain"

    monkeypatch.setattr(network, "algorithm", chosen)
    monkeypatch.setattr(loop, "stylize", lambda *given, **how: iter(()))
    assert run(*PICTURES, *SHORT, *words, "--output", "p.png", "--memory-limit", "4") == 0
    exported = ["--network", "tiny.mat", *words, "--output", "exported"]
    assert run("export", *exported) == 0
    assert asked == {exact}


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("AuthenticAMD\nflags\t\t: fpu avx2", "float32"),
        ("AuthenticAMD\nflags\t\t: fpu avx2 avx512f", "float32"),
        ("AuthenticAMD\nflags\t\t: avx512f avx512_bf16 avx2", "bfloat16"),
        ("GenuineIntel\nflags\t\t: avx512f avx512_bf16 avx2", "float32"),
        ("GenuineIntel\nflags\t\t: avx512f avx512_bf16 amx_bf16 amx_tile", "bfloat16"),
    ],
)
def test_bfloat16_is_for_processors_that_are_fast_in_it(
    monkeypatch: pytest.MonkeyPatch, processor: str, expected: str
) -> None:
    from neural_style_tf.commands import tensorflow

    monkeypatch.setattr(tensorflow, "on_gpu", lambda: False)
    monkeypatch.setattr(Path, "read_text", lambda path: f"vendor_id\t: {processor}\n")
    # Read anew, and not remembered.
    monkeypatch.setattr(tensorflow, "features", processor_features.__wrapped__)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert tensorflow.fastest_precision() == expected
    assert tensorflow.adds_up_in_single() == ("avx512f" in processor)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert tensorflow.fastest_precision() == "float32"
    assert not tensorflow.adds_up_in_single()


@pytest.mark.parametrize("single", [True, False])
def test_features_are_rounded_where_their_products_are_added_up_exactly(
    folder: Path, monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    monkeypatch.setattr("neural_style_tf.commands.tensorflow.adds_up_in_single", lambda: single)
    made: list[Any] = []

    def steps(painting: runs.Run, stops: object) -> Iterator[Any]:
        made.extend(painting.network()(np.zeros((1, 32, 32, 3), np.float32)).values())
        return iter(())

    monkeypatch.setattr(runs.Run, "steps", steps)
    assert run(*PICTURES, *SHORT, "--precision", "bfloat16") == 0
    assert {each.dtype.name for each in made} == {"bfloat16" if single else "float32"}


@pytest.mark.parametrize("until", [None, "pool1", "pool2"])
def test_in_tiles_the_picture_is_the_same(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    until: str | None,
) -> None:
    """The plan is made up, for want of a picture larger than the memory."""
    words = [*PICTURES, "--network", "tiny.mat", "--iterations", "6", "--scales", "1"]
    words += ["--precision", "float32", "--history", "4"]
    assert run(*words, "--output", "whole.png") == 0
    cut: list[Tiles | None] = []

    def make_loss(network: Network, objective: Objective, tiles: Tiles | None) -> Loss:
        cut.append(tiles)
        return tiles_of.make_loss(network, objective, tiles)

    monkeypatch.setattr(optimization, "make_loss", make_loss)
    plan = memory.Plan(16, 4, 2**30, until=until)
    monkeypatch.setattr(memory, "plan", lambda need, limit: plan)
    assert run(*words, "--output", "tiles.png", "--memory-limit", "2.5") == 0
    told = "Memory: about 1.0 GiB of 2.5, in tiles of 16 pixels"
    assert (told if until is None else f"{told} up to {until}") in caplog.messages
    assert np.abs(pixels("whole.png") - pixels("tiles.png")).max() <= 1
    assert [(each.side, each.until) for each in cut if each] == [(16, until)]
    assert "memory_limit" not in files.read_settings("tiles.png")


@pytest.mark.parametrize("gives_back", [False, True])
def test_memory_is_given_back_where_it_is_short_before_the_first_tensor(
    folder: Path, monkeypatch: pytest.MonkeyPatch, gives_back: bool
) -> None:
    """Which allocator TensorFlow uses is settled by its first tensor."""
    from neural_style_tf import pixels
    from neural_style_tf.commands import tensorflow

    called = []

    def as_pixels(picture: object) -> object:
        called.append("tensor")
        return convert(picture)

    convert = pixels.as_pixels
    monkeypatch.setattr(pixels, "as_pixels", as_pixels)
    monkeypatch.setattr(tensorflow, "give_back_memory", lambda: called.append("give back"))
    monkeypatch.setattr(memory, "plan", lambda need, limit: memory.Plan(16, 4, 2**30, gives_back))
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))
    assert run(*PICTURES, *SHORT, "--memory-limit", "2.5") == 0
    assert "tensor" in called
    assert called.count("give back") == gives_back
    assert called[0] == ("give back" if gives_back else "tensor")


def test_what_is_hidden_is_not_there_for_a_while() -> None:
    import colorsys

    from neural_style_tf.commands.tensorflow import _hidden

    with _hidden("colorsys"):
        assert sys.modules["colorsys"] is colorsys, "what somebody uses stays"
    del sys.modules["colorsys"]
    with _hidden("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_garbage_is_looked_for_again_where_it_was_before() -> None:
    """And not among what was imported, nor by whoever has turned it off."""
    code = (
        "import gc\n"
        "from neural_style_tf.commands import tensorflow\n"
        "def found():\n"
        "    return gc.isenabled(), gc.get_freeze_count() > 100_000\n"
        "with tensorflow._uncollected():\n"
        "    before = found()\n"
        "try:\n"
        "    with tensorflow._uncollected():\n"
        "        raise ImportError\n"
        "except ImportError:\n"
        "    failed = found()\n"
        "tensorflow.start()\n"
        "after = found()\n"
        "gc.disable()\n"
        "tensorflow.start()\n"
        "assert [before, failed, after, found()[0]] == [\n"
        "    (False, False), (True, False), (True, True), False\n"
        "], (before, failed, after, found())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_given_back_is_the_systems() -> None:
    """Whatever a tensor took is free again at once; in a process that has no tensor yet."""
    code = (
        "import sys\n"
        "from neural_style_tf.commands import tensorflow\n"
        "tensorflow.start()\n"
        "import vgg.network\n"
        "assert 'matplotlib' not in sys.modules, 'it takes a second to import, for nothing'\n"
        "tensorflow.give_back_memory()\n"
        "import tensorflow as tf\n"
        "def held():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return next(int(l.split()[1]) / 1024 for l in lines if l.startswith('VmRSS'))\n"
        "tf.ones([8]) + 1\n"
        "before = held()\n"
        "ones = tf.ones([8, 2**20]) + 1\n"
        "during = held()\n"
        "del ones\n"
        "print(during - before, held() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    during, after = map(float, done.stdout.split())  # MiB
    assert during > 30
    assert after < 8


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({"relu1_1": 1.0}, [None]),
        ({"relu2_1": 1.0}, ["pool1", None]),
        ({"relu1_2": 1.0, "pool2": 1.0}, ["pool1", None]),
        ({"relu5_1": 1.0}, ["pool1", "pool2", "pool3", None]),
    ],
)
def test_tiles_may_end_where_something_is_behind(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    layers: dict[str, float],
    expected: Sequence[str | None],
) -> None:
    needs = planned(monkeypatch)
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter(()))
    asked = [f"{layer}={weight}" for layer, weight in layers.items()]
    words = ["--content-layers", *asked, "--style-layers", *asked, "--network", "tiny.mat"]
    assert run(*PICTURES, *SHORT, *words) == 0
    (need,) = needs
    assert [cut.until for cut in need.cuts] == expected
    # The further tiles go, the less is there at once, and the further is seen.
    rests, margins = [cut.rest for cut in need.cuts], [cut.margin for cut in need.cuts]
    assert rests == sorted(rests, reverse=True)
    assert margins == sorted(margins)
    assert rests[-1] == 0


@pytest.mark.parametrize(
    ("words", "large", "gpu", "side", "counted", "expected"),
    [
        ([], 1, False, None, True, True),
        ([], 10**9, False, None, False, False),
        (["--pooling", "avg"], 1, False, None, False, True),
        ([], 1, True, None, False, False),
        ([], 1, False, 32, True, False),
    ],
)
def test_of_large_pictures_less_is_kept_for_the_way_back(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: Sequence[str],
    large: int,
    gpu: bool,
    side: int | None,
    counted: bool,
    expected: bool,
) -> None:
    """But not in tiles, which are small; they are chosen where even that will not do."""
    needs = planned(monkeypatch, side)
    built: list[bool] = []
    monkeypatch.setattr(fitting, "_LARGE", large)
    monkeypatch.setattr("neural_style_tf.commands.tensorflow.on_gpu", lambda: gpu)
    monkeypatch.setattr(
        runs.Shared, "network", lambda shared, weights, **how: built.append(how["sparing"])
    )
    monkeypatch.setattr(runs.Run, "steps", lambda run, stops: iter([run.network()][:0]))
    words = [*words, "--network", "tiny.mat", "--memory-limit", "4", "--precision", "float32"]
    assert run(*PICTURES, *SHORT, *words) == 0
    assert built == [expected]
    (need,) = needs
    assert (need.pixel < need.cuts[-1].tile) == counted
