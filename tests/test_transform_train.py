"""Training: what a step is, that it goes on as if it had not stopped, and on several workers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from neural_style_tf import DivergedError, Loss, Objective, files
from neural_style_tf.transform.architecture import MARGIN
from neural_style_tf.transform.model import TransformNet
from neural_style_tf.transform.photos import Photos
from neural_style_tf.transform.train import Trainer
from neural_style_tf.transform.training import Training
from tests import nets, tiny
from tests.commandline import ROOT

SIZE = 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    for index in range(5):
        Image.fromarray(tiny.picture(80, 96, index)).save(folder / f"{index}.png")
    return Photos(files.pictures_in(folder), files.read_shrunk, SIZE, 0)


def trainer(network: Any, abreast: int = 1, **settings: Any) -> Trainer:
    loss = Loss(network, Objective())
    styles = [loss.moments(tf.constant(tiny.picture(64, 64, s)[None], tf.float32)) for s in (8, 9)]
    training = Training(**{"steps": 6, "batch_size": 2, "size": SIZE, **settings})
    model = TransformNet(nets.ARCHITECTURE, ("a", "b"))
    return Trainer(model, loss, styles, training, abreast=abreast)


def losses(trainer: Trainer, photos: Photos) -> Iterator[float]:
    for record in trainer.records(photos, heartbeat=0):
        yield record.terms.total


def test_the_loss_falls(shallow: Any, photos: Photos) -> None:
    curve = list(losses(trainer(shallow, steps=30, learning_rate=1e-2), photos))
    assert len(curve) == 30
    assert np.mean(curve[-4:]) < 0.7 * np.mean(curve[:4])


def test_a_training_that_is_stopped_goes_on_as_if_it_had_not(shallow: Any, photos: Photos) -> None:
    whole = trainer(shallow)
    curve = list(losses(whole, photos))
    first = trainer(shallow)
    before = [loss for _, loss in zip(range(3), losses(first, photos), strict=False)]
    kept = {name: array.copy() for name, array in first.state().items()}
    second = trainer(shallow, seed=5)  # nothing of its own is left
    second.training = first.training
    second.restore(kept)
    assert second.step == 3
    assert before + list(losses(second, photos)) == curve
    for name, array in whole.state().items():
        np.testing.assert_array_equal(second.state()[name], array, name)


def test_a_step_goes_by_the_mean_of_the_pictures_gradients(shallow: Any, photos: Photos) -> None:
    """Against the losses of each picture in its style, differentiated one by one."""
    ours = trainer(shallow, batch_size=3, steps=1)
    variables = [ours.model.named[name].value for name in ours.model.named]
    loss, loudness = ours.loss, []
    for style in (8, 9):
        moments = loss.moments(tf.constant(tiny.picture(64, 64, style)[None], tf.float32))
        targets = loss.blended({}, [moments])
        zero = {layer: tf.zeros_like(g) for layer, g in targets.grams.items()}
        apart = [tf.reduce_mean((targets.grams[layer] - zero[layer]) ** 2) for layer in zero]
        loudness.append((500 * np.mean(apart), moments))
    gradients = [np.zeros(variable.shape) for variable in variables]
    totals = []
    for number in range(3):
        photo = tf.constant(photos.example(number)[None], tf.float32)
        scale, moments = loudness[number % 2]
        top, left = ours.corner(tf.constant(number, tf.int64)).numpy()
        part = np.s_[:, top : top + SIZE - 2 * MARGIN, left : left + SIZE - 2 * MARGIN]
        with tf.GradientTape() as tape:
            painted = ours.model(photo, tf.one_hot([number % 2], 2))
            terms = loss(painted[part], loss.blended(loss.features(photo[part]), [moments]))
        own = tape.gradient(terms.total, variables)
        gradients = [a + b.numpy() / scale / 3 for a, b in zip(gradients, own, strict=True)]
        totals.append(float(terms.total))
    [record] = ours.records(photos)
    assert record.terms.total == pytest.approx(np.mean(totals), rel=1e-4)
    assert (record.step, record.total, record.examples, record.last) == (1, 1, 3, True)
    most = max(abs(gradient).max() for gradient in gradients)
    for kept, gradient in zip(ours.optimizer.kept, gradients, strict=True):
        found = kept.mean.numpy() / (1 - ours.optimizer.beta)
        np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-4 * most)


@pytest.mark.parametrize(("steps", "first"), [(400, 20), (50, 5), (6, 0)])
def test_the_learning_rate_rises_and_falls(shallow: Any, steps: int, first: int) -> None:
    optimizer = trainer(shallow, steps=steps, learning_rate=0.1).optimizer
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates[:first], np.linspace(0, 0.1, first, False), atol=1e-6)
    turn = np.linspace(0, np.pi, steps + 1 - first)
    np.testing.assert_allclose(rates[first:], 0.05 * (1 + np.cos(turn)), atol=1e-6)


def test_what_is_judged_lies_anywhere_within_what_is_painted(shallow: Any) -> None:
    one, other = trainer(shallow), trainer(shallow, seed=1)
    numbers = [tf.constant(number, tf.int64) for number in range(200)]
    corners = np.array([one.corner(number) for number in numbers])
    assert corners.min() == 0
    assert corners.max() == 2 * MARGIN
    np.testing.assert_allclose(corners.mean(0), MARGIN, atol=1)
    np.testing.assert_array_equal([one.corner(number) for number in numbers], corners)
    assert (np.array([other.corner(number) for number in numbers]) != corners).any()


def test_photographs_side_by_side_are_the_same_training(shallow: Any, photos: Photos) -> None:
    curves = [list(losses(trainer(shallow, n, batch_size=3, steps=3), photos)) for n in (1, 3)]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


def test_validation_paints_every_photograph_in_every_style(shallow: Any, photos: Photos) -> None:
    ours = trainer(shallow)
    crops = np.stack([photos.example(number) for number in range(3)])
    painted, terms = ours.validate(crops)
    assert painted.shape == (2, 3, SIZE - 2 * MARGIN, SIZE - 2 * MARGIN, 3)
    assert terms.total > 0
    photo = tf.constant(crops[1][None], tf.float32)
    whole = ours.model(photo, tf.constant([[0.0, 1.0]]))[0]
    np.testing.assert_allclose(painted[1, 1], whole[MARGIN:-MARGIN, MARGIN:-MARGIN], atol=1e-2)


def test_a_loss_that_is_not_finite(shallow: Any, photos: Photos) -> None:
    with pytest.raises(DivergedError, match=r"at step \d+: .* learning rate \(1e\+30\)"):
        list(losses(trainer(shallow, learning_rate=1e30, steps=20), photos))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_two_workers_do_what_one_does(folder: Path, precision: str) -> None:
    """Two processes on the loopback interface, with the same batch in all: the same network."""
    (folder / "photos").mkdir()
    for index in range(5):
        Image.fromarray(tiny.picture(80, 96, index)).save(folder / "photos" / f"{index}.png")
    words = ["train", "--style", "a.png", "b.png", "--photos", "photos", *nets.FLAGS]
    words += ["--network", "tiny.mat", "--size", "64", "--steps", "3", "--batch-size", "4"]
    words += ["--precision", precision]
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}

    def begin(output: str, index: int | None) -> subprocess.Popen[str]:
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if index is not None:
            environment["TF_CONFIG"] = config
        return subprocess.Popen(
            [sys.executable, "-m", "neural_style_tf", *words, "--output", output],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    together = [begin(f"both{index}.npz", index) for index in range(2)]
    told = [worker.communicate(timeout=240) for worker in together]
    assert [worker.returncode for worker in together] == [0, 0], told
    alone = begin("one.npz", None)
    told.append(alone.communicate(timeout=240))
    assert alone.returncode == 0, told
    assert not (folder / "both1.npz").exists(), "one of them writes"
    one, both = (dict(np.load(folder / name)) for name in ("one.npz", "both0.npz"))
    cards = [json.loads(str(each.pop("settings")))["card"] for each in (one, both)]
    assert cards[1]["losses"]["total"] == pytest.approx(cards[0]["losses"]["total"], rel=1e-4)
    for name, array in one.items():
        # The offset at the end of a block has no gradient but rounding, which Adam enlarges: the
        # next normalization takes it away.
        if not name.endswith("_2/offset"):
            np.testing.assert_allclose(both[name], array, atol=2e-4, err_msg=name)
