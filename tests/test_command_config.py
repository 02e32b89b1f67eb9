"""The settings of a run, taken by `--config`: of pictures, of JSON, and beside flags."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neural_style_tf import files
from neural_style_tf.__main__ import parse
from neural_style_tf.commands.job import Job, resolve
from neural_style_tf.objective import PRESETS
from neural_style_tf.schedule import PATIENT, Schedule
from tests.commandline import PICTURES, SHORT, error, pixels, run

WISHES = ["--content", "content.png", "--styles", "a.png", "b.png", "--network", "tiny.mat"]
WISHES += ["--style-blend-weights", "0.7", "0.3", "--style-scales", "1", "0.6", "--seed", "5"]
WISHES += ["--preset", "gatys2015", "--style-weight", "300", "--iterations", "4"]
WISHES += ["--initial-noiseblend", "0.5", "--width", "48"]


def test_the_settings_of_a_run_give_its_picture_again(folder: Path) -> None:
    """Also where flags, presets and several styles were in play."""
    assert run(*WISHES, "--output", "out.png") == 0
    assert run("--config", "out.png", "--output", "again.png") == 0
    assert files.read_settings("out.png") == files.read_settings("again.png")
    assert np.abs(pixels("out.png") - pixels("again.png")).max() <= 1
    assert run("--config", "out.png", "--output", "other.png", "--seed", "6") == 0
    assert np.abs(pixels("other.png") - pixels("again.png")).max() > 1


def resolved(*words: str) -> Job:
    return resolve(parse(["neural-style-tf", *words, "--output", "o.png"])[1])


@pytest.mark.parametrize("output", ["out.jpg", "out.webp", "out.tif"])
def test_every_format_keeps_the_settings(folder: Path, output: str) -> None:
    assert run(*WISHES, "--output", output) == 0
    assert resolved("--config", output).to_dict() == resolved(*WISHES).to_dict()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optimizer", "adam"], Schedule(optimizer="adam")),
        (["--learning-rate", "5"], Schedule(learning_rate=5.0)),
    ],
)
def test_another_optimizer_than_the_recorded_one_has_its_own_defaults(
    folder: Path, words: list[str], expected: Schedule
) -> None:
    """One of Adam's settings means Adam, as anywhere."""
    assert run(*PICTURES, *SHORT) == 0
    again = resolved("--config", "out.png").schedule
    assert (again.optimizer, again.iterations) == ("lbfgs", 3)
    assert resolved("--config", "out.png", *words).schedule == expected.resolved()


def test_more_iterations_than_the_recorded_ones_are_patient(folder: Path) -> None:
    """The recorded tolerance was that of a run for which nobody had said how many."""
    for tolerance, expected in ((None, PATIENT["lbfgs"]), (0.125, 0.125)):
        given = () if tolerance is None else ("--tolerance", str(tolerance))
        first = resolved(*PICTURES, *given).schedule
        recorded = dataclasses.asdict(first)
        Path("run.json").write_text(
            json.dumps({"content": "content.png", "styles": ["a.png"], "schedule": recorded})
        )
        assert resolved("--config", "run.json").schedule == first
        more = resolved("--config", "run.json", "--iterations", "500").schedule
        assert (more.iterations, more.tolerance) == (500, expected)


def test_flags_undo_what_is_recorded(folder: Path) -> None:
    Path("run.json").write_text(
        json.dumps({"content": "content.png", "styles": ["a.png"], "preserve_colors": True})
    )
    assert resolved("--config", "run.json").inputs.preserve_colors
    assert not resolved("--config", "run.json", "--no-preserve-colors").inputs.preserve_colors


def test_a_preset_says_what_an_objective_leaves_open(folder: Path) -> None:
    settings: dict[str, Any] = {"content": "content.png", "styles": ["a.png", "b.png"]}
    settings["objective"] = {"content_weight": 7, "style_blend_weights": [4, 1]}
    Path("run.json").write_text(json.dumps(settings | {"preset": "gatys2015"}))
    expected = dataclasses.replace(
        PRESETS["gatys2015"].objective, content_weight=7, style_blend_weights=[4, 1]
    )
    assert resolved("--config", "run.json").objective == expected


def test_another_preset_keeps_the_recorded_blend(folder: Path) -> None:
    """Of the styles a preset says nothing; other styles have a blend of their own."""
    blend = ["--style-blend-weights", "4", "1"]
    assert run(*PICTURES[:2], "--styles", "a.png", "b.png", *blend, *PICTURES[4:], *SHORT) == 0
    again = resolved("--config", "out.png", "--preset", "johnson2016").objective
    published = PRESETS["johnson2016"].objective
    assert dataclasses.replace(again, style_blend_weights=()) == published
    assert list(again.style_blend_weights) == [4.0, 1.0]
    other = resolved("--config", "out.png", "--preset", "johnson2016", "--styles", "a.png")
    assert other.objective == published


def test_a_json_file_of_settings(folder: Path) -> None:
    Path("run.json").write_text(
        json.dumps(
            {
                "content": "content.png",
                "styles": ["a.png"],
                "network": "tiny.mat",
                "schedule": {"iterations": 2},
                "objective": {"tv_weight": 0},
            }
        )
    )
    assert run("--config", "run.json", "--output", "out.png") == 0
    settings = files.read_settings("out.png")
    assert settings["schedule"]["iterations"] == 2  # type: ignore[index]
    assert settings["objective"]["tv_weight"] == 0  # type: ignore[index]
    assert settings["objective"]["content_weight"] == 5  # type: ignore[index]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style_scales": [10**400]}, "'style_scales': expected a list of float"),
        ({"objective": {"style_weight": 10**400}}, "'style_weight': expected float"),
        ({"initial": "\ud800.png"}, "'initial': expected str"),
        ({"initial": "a\0.png"}, "zero byte"),
    ],
)
def test_settings_that_no_run_writes(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    message: str,
) -> None:
    given = {"content": "content.png", "styles": ["a.png"], "network": "tiny.mat", **settings}
    Path("run.json").write_text(json.dumps(given))
    assert message in error(capsys, "--config", "run.json", "--output", "out.png")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("[]", "object"),
        ("{", "JSON"),
        ('{"painted": {}}', "expected what `stylize` wrote, got a picture that `apply` painted"),
        ('{"contents": "a.png"}', "unknown inputs setting 'contents'"),
        ('{"styles": "a.png"}', "expected a list of str"),
        ('{"width": "wide"}', "expected int, got 'wide'"),
        ('{"preset": "nope"}', "unknown preset"),
        ('{"schedule": {"iterations": 0}}', "1 or more, got 0"),
        ('{"objective": {"tv_weight": -1}}', "tv weight"),
        ('{"objective": 5}', "expected an object"),
    ],
)
def test_bad_settings_files(
    folder: Path, capsys: pytest.CaptureFixture[str], settings: str, message: str
) -> None:
    Path("bad.json").write_text(settings)
    words = [] if "styles" in settings else ["--styles", "a.png"]
    assert message in error(
        capsys,
        "--config",
        "bad.json",
        "--content",
        "content.png",
        *words,
        *SHORT[:2],
        "--output",
        "out.png",
    )
