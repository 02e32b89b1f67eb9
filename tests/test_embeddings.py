"""Layers with some of the channels, compared as if they had them all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf import files
from neural_style_tf.losses import Loss
from neural_style_tf.networks import embedded
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.pixels import as_pixels
from neural_style_tf.schedule import Schedule
from neural_style_tf.serving.module import Stylizer
from neural_style_tf.tiles import Reach, TiledLoss, Tiles
from neural_style_tf.transform.model import TransformNet
from neural_style_tf.transform.photos import Photos
from neural_style_tf.transform.train import Trainer
from neural_style_tf.transform.training import Training
from tests import nets, reference, tiny
from tests.refusals import convolutions, refusal
from vgg.network import build, reach
from vgg.portable import Portable
from vgg.weights import Weights, read, write_npz

OBJECTIVES = {
    "default": Objective(style_blend_weights=(8, 2)),
    "half-sum, quarter-mean, hw": PRESETS["gatys2015"].objective,
    "sum": PRESETS["johnson2016"].objective,
    "half-norm, 2hwc": PRESETS["vgg16-all"].objective,
}


@pytest.fixture(scope="module")
def slim() -> Weights:
    """A network of which all but one block stand for more channels than they have."""
    random = np.random.default_rng(7)
    whole = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL), {"name": "slim"})
    embeddings = {
        name.replace("conv", kind): random.normal(0, 0.5, (bias.size, 2 * bias.size + 1))
        for name, (*_, bias) in whole.convolutions.items()
        for kind in ("conv", "relu")
        if not name.startswith("conv5")
    }
    given = {layer: matrix.astype(np.float32) for layer, matrix in embeddings.items()}
    return dataclasses.replace(whole, embeddings=given)


def widened(network: Any) -> Any:
    """The same with all channels, computed at every position."""
    return lambda pixels: {
        layer: tf.einsum("bhwk,kc->bhwc", f, network.embeddings[layer])
        if layer in network.embeddings
        else f
        for layer, f in network(pixels).items()
    }


@pytest.mark.parametrize(
    ("name", "tiled"), [*((name, False) for name in OBJECTIVES), ("default", True)]
)
def test_the_loss_is_that_of_all_channels(slim: Weights, name: str, tiled: bool) -> None:
    objective = OBJECTIVES[name]
    network = build(slim, layers=objective.layers)
    assert network.embeddings
    loss = Loss(network, objective)
    if tiled:
        strides, _, margin = reach(slim, objective.layers)
        loss = TiledLoss(network, objective, Tiles(32, Reach(strides, margin)))
    content, start = (as_pixels(tiny.picture(61, 75, seed)) for seed in (1, 5))
    styles = [as_pixels(tiny.picture(40, 56, seed)) for seed in (2, 3)]
    styles = styles[: len(objective.style_blend_weights) or 1]

    terms, gradient = loss.value_and_gradient(start, loss.targets(content, styles))
    wide = Loss(widened(network), objective)
    expected, slope = wide.value_and_gradient(start, wide.targets(content, styles))
    for term, value in expected._asdict().items():
        assert float(getattr(terms, term)) == pytest.approx(float(value), rel=1e-4), term
    assert np.linalg.norm(gradient - slope) <= 1e-3 * np.linalg.norm(slope)
    plain = Loss(lambda p: network(p), objective)
    without = plain(start, plain.targets(content, styles))
    assert float(without.style) != pytest.approx(float(expected.style), rel=1e-2)


def test_training_minimizes_that_loss(slim: Weights, tmp_path: Path) -> None:
    for index in range(3):
        files.write(str(tmp_path / f"{index}.png"), tiny.picture(80, 96, index))
    photos = Photos(files.pictures_in(tmp_path), files.read_shrunk, 64, 0)
    network = build(slim, layers=Objective().layers)
    curves = []
    for each in (network, widened(network)):
        loss = Loss(each, Objective())
        styles = [loss.moments(as_pixels(tiny.picture(48, 48, seed))) for seed in (8, 9)]
        training = Training(steps=2, batch_size=2, size=64)
        trainer = Trainer(TransformNet(nets.ARCHITECTURE, ("a", "b")), loss, styles, training)
        curves.append([record.terms.style for record in trainer.records(photos, heartbeat=0)])
        curves.append(trainer.loudness.numpy())
    np.testing.assert_allclose(curves[0], curves[2], rtol=1e-3)
    np.testing.assert_allclose(curves[1], curves[3], rtol=1e-4)


def test_what_is_served_has_all_channels(slim: Weights) -> None:
    objective = Objective()
    model = build(slim, layers=objective.layers)
    pixels = as_pixels(tiny.picture(40, 48, 1))
    served = Stylizer(Portable(model), objective, Schedule()).features(pixels)
    for layer, f in widened(model)(pixels).items():
        np.testing.assert_allclose(served[layer], f, rtol=1e-3, atol=1e-2)
        gram = reference.gram(np.asarray(f, np.float64)[0])
        np.testing.assert_allclose(served[f"gram_{layer}"], gram, rtol=1e-3, atol=1e-3)


def test_a_model_knows_those_of_its_layers(slim: Weights) -> None:
    kept = slim.embeddings
    assert slim.embedding("conv1_1") is kept["conv1_1"]
    only = dataclasses.replace(slim, embeddings={"relu1_1": kept["relu1_1"]})
    assert only.embedding("conv1_1") is only.embedding("relu1_1") is kept["relu1_1"]
    assert only.embedding("conv1_2") is only.embedding("pool1") is None
    model = build(slim, layers=["relu1_1", "pool2", "relu5_1"])
    assert list(model.embeddings) == list(model.centered.embeddings) == ["relu1_1", "pool2"]
    bound = Portable(model).bound(["relu1_1", "relu5_1"])
    assert list(bound.embeddings) == list(bound.centered.embeddings) == ["relu1_1"]
    assert list(Portable(model).bound(["relu5_1"]).embeddings) == []
    pixels = as_pixels(tiny.picture(20, 24, 1))
    given = model(pixels)
    wide = embedded(model, given)
    assert [wide[layer].shape[-1] for layer in ("relu1_1", "pool2", "relu5_1")] == [9, 13, 8]
    np.testing.assert_allclose(
        wide["pool2"], given["pool2"] @ slim.embeddings["relu2_2"], rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(wide["relu1_1"], widened(model)(pixels)["relu1_1"], rtol=1e-4)
    for layer, activation in bound.centered(pixels - bound.mean).items():
        np.testing.assert_allclose(activation, given[layer], rtol=1e-5)


def test_a_file_keeps_them(slim: Weights, tmp_path: Path) -> None:
    path = tmp_path / "slim.npz"
    write_npz(path, slim)
    found = read(path)
    assert list(found.embeddings) == list(slim.embeddings)
    for layer, matrix in slim.embeddings.items():
        np.testing.assert_array_equal(found.embeddings[layer], matrix)
    assert found.fingerprint == slim.fingerprint
    assert found.fingerprint != dataclasses.replace(slim, embeddings={}).fingerprint


@pytest.mark.parametrize(
    ("layer", "matrix", "message"),
    [
        (
            "relu9_9",
            np.ones((4, 5)),
            "expected embeddings of conv1_1, relu1_1, …, got one of relu9_9",
        ),
        ("relu1_1", np.ones((3, 5)), "expected an embedding [4, n] of relu1_1, got [3, 5]"),
        ("relu1_1", np.ones(4), "expected an embedding [4, n] of relu1_1, got [4]"),
        ("relu1_1", np.full((4, 5), np.nan), "expected finite numbers in the embedding of relu1_1"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    tmp_path: Path, layer: str, matrix: Any, message: str
) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, Weights(convolutions(), np.array(tiny.MEAN_PIXEL), {}, {layer: matrix}))
    assert message in refusal(path)
