"""Objective: validation, presets, JSON, and moving to a network with fewer layers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from neural_style_tf.errors import OptionError
from neural_style_tf.objective import LAYERS, PRESETS, Objective
from neural_style_tf.schedule import ADAM, Schedule
from neural_style_tf.settings import from_mapping


def test_defaults_are_those_of_the_2017_program() -> None:
    objective = Objective()
    assert objective.shares("content") == {"relu4_2": 1.0}
    assert objective.shares("style") == dict.fromkeys(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), 0.2
    )
    weights = (objective.content_weight, objective.style_weight, objective.tv_weight)
    assert weights == (5, 500, 100)


def test_adam_is_that_of_the_2017_program() -> None:
    schedule = Schedule(optimizer="adam").resolved()
    assert (schedule.iterations, schedule.tolerance) == (1000, 0)
    assert (schedule.learning_rate, schedule.beta1) == (10, 0.9)
    assert (schedule.beta2, schedule.epsilon) == (0.999, 1e-8)
    assert schedule.sizes(480, 640) == [(480, 640)]


@pytest.mark.parametrize("name", ["learning_rate", "beta1", "beta2", "epsilon"])
def test_a_setting_of_adam_means_adam(name: str) -> None:
    settings: dict[str, Any] = {name: 0.5}
    schedule = Schedule(**settings).resolved()
    assert (schedule.optimizer, schedule.iterations) == ("adam", 1000)
    assert schedule.adam == ADAM | settings
    with pytest.raises(OptionError, match=r"is a setting of adam, got optimizer lbfgs"):
        Schedule(optimizer="lbfgs", **settings)


def test_the_default_paints_coarse_to_fine() -> None:
    schedule = Schedule().resolved()
    assert (schedule.optimizer, schedule.iterations) == ("lbfgs", 100)
    assert schedule.resolved() == schedule
    assert schedule.sizes(341, 256) == [(85, 64), (170, 128), (341, 256)]
    assert schedule.sizes(255, 1000) == [(128, 500), (255, 1000)]
    assert schedule.sizes(100, 100) == [(100, 100)]
    assert schedule.sizes(20, 40) == [(20, 40)]
    assert Schedule(optimizer="adam", scales=2).sizes(64, 96) == [(32, 48), (64, 96)]
    assert Schedule(scales=1).sizes(512, 512) == [(512, 512)]
    with pytest.raises(OptionError, match=r"3 scales of 80×60 pixels begin with 20×15"):
        Schedule(scales=3).sizes(60, 80)


@pytest.mark.parametrize("preset", PRESETS)
def test_json_round_trip(preset: str) -> None:
    objective = PRESETS[preset].objective
    assert Objective.from_dict(json.loads(json.dumps(objective.to_dict()))) == objective


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_use_layers_that_their_network_has(preset: str) -> None:
    recipe = PRESETS[preset]
    missing = ("conv3_4", "relu3_4", "conv4_4", "relu4_4", "conv5_4", "relu5_4")
    vgg16 = [layer for layer in LAYERS if layer not in missing]
    assert set(recipe.objective.layers) <= set(LAYERS if recipe.network == "VGG-19" else vgg16)


def test_layers_without_weight_are_not_computed() -> None:
    objective = Objective(content_layers={"relu4_2": 1, "relu5_2": 0})
    assert "relu5_2" not in objective.layers
    assert Objective(content_weight=0).layers == tuple(Objective().style_layers)
    assert Objective(style_weight=0).layers == ("relu4_2",)


def test_shares_and_blends_sum_to_one() -> None:
    objective = Objective(style_layers={"relu1_1": 3, "relu2_1": 1}, style_blend_weights=(8, 2))
    assert objective.shares("style") == {"relu1_1": 0.75, "relu2_1": 0.25}
    assert objective.blend(2) == (0.8, 0.2)
    assert Objective().blend(4) == (0.25,) * 4


@pytest.mark.parametrize("kind", [int, np.float32, np.int64, np.float64])
def test_numbers_of_any_kind_are_weights(kind: Any) -> None:
    objective = Objective(
        content_weight=kind(7),
        style_layers={"relu1_1": kind(1)},
        style_blend_weights=(kind(2),) * 2,
    )
    assert objective == Objective(
        content_weight=7, style_layers={"relu1_1": 1}, style_blend_weights=(2, 2)
    )
    assert json.loads(json.dumps(objective.to_dict())) == {
        **objective.to_dict(),
        "style_blend_weights": [2, 2],
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content_weight": -1}, "content weight must be a finite number, 0 or more, got -1"),
        ({"style_weight": math.nan}, "got nan"),
        ({"tv_weight": math.inf}, "got inf"),
        ({"content_weight": "5"}, "got 5"),
        ({"content_weight": 0, "style_weight": 0, "tv_weight": 0}, "all 0: expected at least one"),
        ({"style_layers": {"relu1_1": 0}}, "style layers sum to 0"),
        ({"style_layers": {}}, "style layers sum to 0"),
        ({"content_layers": {"relu1_1": -1}}, "each of the content layers must be"),
        ({"style_blend_weights": (0, 0)}, "style blend weights sum to 0"),
        ({"style_blend_weights": (1, -1)}, "0 or more, got -1"),
        ({"style_blend_weights": (1e308, 1e308)}, "blend weights sum to more than a number can be"),
        ({"style_layers": dict.fromkeys(("relu1_1", "relu2_1"), 1e308)}, "expected smaller ones"),
        ({"content_norm": "max"}, "expected mean, half-sum, half-norm"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Objective(**fields)


def test_blend_weights_must_match_the_styles() -> None:
    with pytest.raises(OptionError, match=r"each of 3 style\(s\), got 2"):
        Objective(style_blend_weights=(1, 1)).blend(3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"contentweight": 1}, "unknown objective setting 'contentweight': expected"),
        ({"content_weight": "much"}, "expected float, got 'much'"),
        ({"content_weight": True}, "expected float, got True"),
        ({"style_layers": ["relu1_1"]}, "expected numbers"),
        ({"style_blend_weights": ["a"]}, "expected numbers"),
        ([1, 2], "expected an object"),
    ],
)
def test_wrong_settings_are_refused(data: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        from_mapping(Objective, data)


def test_a_shallower_network_answers_with_the_nearest_layers() -> None:
    upto = LAYERS[: LAYERS.index("relu5_1") + 1]
    objective = Objective(content_layers={"relu4_2": 0.5, "relu5_2": 0.5})
    moved, changes = objective.on(upto)
    assert moved.content_layers == {"relu4_2": 0.5, "relu5_1": 0.5}
    assert changes == {"relu5_2": "relu5_1"}
    assert moved.style_layers == objective.style_layers


def test_two_layers_that_move_to_one_add_up() -> None:
    objective = Objective(style_layers={"conv4_1": 1, "conv5_1": 2})
    moved, changes = objective.on(["conv4_1", "relu4_1"])
    assert moved.style_layers == {"conv4_1": 3}
    assert changes["conv5_1"] == "conv4_1"


def test_a_layer_that_no_vgg_has_stays_to_be_refused_by_the_network() -> None:
    moved, changes = Objective(content_layers={"relu9_9": 1}).on(LAYERS)
    assert moved.content_layers == {"relu9_9": 1}
    assert changes == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iterations": 0}, "iterations: expected a whole number, 1 or more, got 0"),
        ({"learning_rate": 0}, "learning rate: expected a finite number above 0"),
        ({"learning_rate": math.nan}, "got nan"),
        ({"beta1": 1}, "at least 0 and below 1"),
        ({"beta2": -0.1}, "at least 0 and below 1"),
        ({"epsilon": 0}, "above 0"),
        ({"initial_noiseblend": 1.5}, "between 0 and 1"),
        ({"seed": -1}, "0 to 2147483647"),
        ({"optimizer": "sgd"}, "optimizer: expected lbfgs or adam"),
        ({"scales": 0}, "scales: expected a whole number from 1 to 16, got 0"),
        ({"tolerance": 1}, "tolerance: expected at least 0 and below 1"),
        ({"keep": "first"}, "keep: expected best or last"),
        ({"iterations": 10.5}, "iterations: expected a whole number, 1 or more, got 10.5"),
        ({"scales": 1.5}, "scales: expected a whole number"),
        ({"history": 2.5}, "history: expected a whole number"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"learning_rate": 1.0, "history": 5}, "history is a setting of lbfgs, got optimizer adam"),
    ],
)
def test_a_schedule_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Schedule(**fields)
