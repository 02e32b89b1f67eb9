"""The `train` command as its user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neural_style_tf.__main__ import parse
from neural_style_tf.commands import following, train
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import PRESETS
from neural_style_tf.transform import shipped
from neural_style_tf.transform.stored import Net, packed, read_net
from neural_style_tf.transform.training import Training
from tests import nets, tiny
from tests.commandline import begin, error, run
from vgg.weights import read

SHORT = ["--network", "tiny.mat", "--size", "64", "--batch-size", "2", *nets.FLAGS]
TRAIN = ["train", "--style", "a.png", "--photos", "photos", *SHORT]


def _events(folder: Path) -> bool:
    """Whether TensorBoard's file has more than its head, which comes before the first record."""
    return any(path.stat().st_size > 100 for path in folder.glob("logs/events*"))


@pytest.fixture(autouse=True)
def photos(folder: Path) -> Path:
    (folder / "photos" / "deep").mkdir(parents=True)
    for index in range(3):
        Image.fromarray(tiny.picture(70, 80, index)).save(folder / "photos" / f"{index}.png")
    Image.fromarray(tiny.picture(90, 66, 7)).save(folder / "photos" / "deep" / "a.jpg")
    return folder / "photos"


def test_a_network_is_trained_and_says_how(
    photos: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "broken.jpg").write_text("no picture")
    assert run(*TRAIN, "--steps", "4", "--output", "net.keras", "--style-weight", "70") == 0
    assert not list(Path.cwd().glob("net.keras.*")), "nothing is left over"
    net = read_net("net.keras")
    assert net.styles == ("a",)
    assert net.architecture == nets.ARCHITECTURE
    assert net.card["training"]["steps"] == 4
    assert net.card["objective"]["style_weight"] == 70
    assert net.card["losses"]["total"] > 0
    assert net.card["photographs"] == 5
    assert json.loads(json.dumps(net.card)) == net.card
    assert any(
        message.startswith("1 of 5 photographs could not be read and were skipped: ")
        and "broken.jpg" in message
        for message in caplog.messages
    )
    assert any(m.startswith("Wrote net.keras: 1 style(s), ") for m in caplog.messages)
    told = capsys.readouterr().out
    assert "Step 4/4 (" in told
    assert "examples/s, loss " in told
    # The same network for whoever has Keras.
    import keras

    import neural_style_tf.transform.model  # noqa: F401 - registers the class

    model = keras.models.load_model("net.keras")
    for name, array in net.weights.items():
        np.testing.assert_array_equal(model.named[name].numpy(), array)


@pytest.mark.parametrize(
    ("batch", "size", "cores", "abreast"),
    [(1, 64, 2, 1), (2, 64, 2, 2), (3, 64, 2, 2), (2, 64, 4, 1), (2, 1024, 2, 1), (4, 64, 1, 1)],
)
def test_photographs_of_a_batch_go_side_by_side_where_there_is_one_for_each_core(
    monkeypatch: pytest.MonkeyPatch, batch: int, size: int, cores: int, abreast: int
) -> None:
    import tensorflow as tf

    from neural_style_tf.commands import tensorflow
    from neural_style_tf.transform.train import Trainer

    asked: list[int] = []
    made: list[int] = []

    def trainer(self: Trainer, *args: Any) -> None:
        made.append(args[-1])
        raise OptionError("seen enough")

    monkeypatch.setattr(tensorflow, "cores", lambda: cores)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", asked.append)
    monkeypatch.setattr(Trainer, "__init__", trainer)
    words = ["train", "--style", "a.png", "--photos", "photos", "--network", "tiny.mat"]
    words += ["--size", str(size), "--batch-size", str(batch), *nets.FLAGS]
    assert run(*words, "--output", "net.npz", "--quiet") == 2
    assert made == [abreast]
    assert asked == ([1] if abreast > 1 else [])


def test_of_several_workers_each_counts_its_own_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from neural_style_tf.commands import distribution, tensorflow

    monkeypatch.setattr(tensorflow, "cores", lambda: 2)
    monkeypatch.setattr(distribution, "workers", lambda: 2)
    batches = {batch: train._abreast(Training(batch_size=batch, size=64)) for batch in (2, 4)}
    assert batches == {2: 1, 4: 2}


@pytest.mark.parametrize("single", [True, False])
def test_features_are_rounded_where_their_products_are_added_up_exactly(
    monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    asked = []

    def build(weights: object, *, raw: bool = False, **how: object) -> None:
        asked.append(raw)
        raise OptionError("that is all that was to be seen")

    monkeypatch.setattr("vgg.network.build", build)
    monkeypatch.setattr("neural_style_tf.commands.tensorflow.adds_up_in_single", lambda: single)
    assert run(*TRAIN, "--steps", "1", "--output", "net.npz") == 2
    assert asked == [single]


def test_several_styles_with_names_in_npz_and_tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ["train", "--styles", "a.png", "b.png", "--names", "night", "day", "--photos", "photos"]
    words += [*SHORT, "--steps", "2", "--output", "net.npz", "--quiet", "--log-dir", "logs"]
    assert run(*words) == 0
    log = EventAccumulator("logs", {"images": 0, "scalars": 0, "tensors": 0})
    log.Reload()
    tags = set(log.Tags()["tensors"])
    assert {"loss/total", "validation/total", "validation", "examples per second"} <= tags
    width, height = log.Tensors("validation")[-1].tensor_proto.string_val[:2]
    # Photographs above what each of two styles makes of them.
    assert (int(width), int(height)) == (4 * 64, 3 * 64)
    net = read_net("net.npz")
    assert net.styles == ("night", "day")
    assert net.weights["first/scale"].shape == (2, 4)
    assert (net.weights["up2/scale"][0] != net.weights["up2/scale"][1]).any()


def test_an_interrupted_training_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked to end after some steps; --resume makes what would have come of it anyway.

    To the last bit, of as many threads: each in a process of its own, as its user has it. In this
    one TensorFlow may be at work already, with other settings.
    """

    def told(*words: str) -> str:
        process = begin(folder, *TRAIN, *words)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        return str(out + err)

    steps = ["--steps", "80", "--output", "net.npz"]
    process = begin(folder, *TRAIN, *steps, "--log-dir", "logs")
    # Its first record is written when some steps are done.
    while not _events(folder) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # a batch system; Ctrl-C is the same
    out, err = process.communicate(timeout=240)
    assert process.returncode == 143, out + err
    assert "Interrupted: with --resume the same command goes on" in err
    kept = folder / "net.npz.training"
    with np.load(kept) as arrays:
        done = int(arrays["soap/0"])
    assert 0 < done < 80
    assert not (folder / "net.npz").exists()

    assert "net.npz.training exists, an interrupted training: go on with --resume" in error(
        capsys, *TRAIN, *steps
    )
    assert "its training is {'steps': 80" in error(
        capsys, *TRAIN, *steps, "--resume", "--learning-rate", "0.1"
    )
    with np.load(kept) as arrays:  # as the program kept it before: by Adam
        state = dict(arrays)
    settings = json.loads(str(state["settings"]))
    assert settings.pop("optimizer") == "soap"
    now = kept.read_bytes()
    with kept.open("wb") as file:
        np.savez(file, **{**state, "settings": np.array(json.dumps(settings))})
    assert "its optimizer is None, got soap" in error(capsys, *TRAIN, *steps, "--resume")
    with kept.open("wb") as file:
        np.savez(file, **{name: each for name, each in state.items() if name != "soap/0"})
    kept_so = error(capsys, *TRAIN, *steps, "--resume")
    assert "expected what an interrupted `train` left, got a damaged or other file" in kept_so
    kept.write_bytes(now)
    painting = Path("a.png").read_bytes()
    Path("a.png").write_bytes(Path("b.png").read_bytes())
    assert "its paintings is [" in error(capsys, *TRAIN, *steps, "--resume")
    Path("a.png").write_bytes(painting)
    assert f"Going on after step {done} of 80" in told(*steps, "--resume")
    assert not kept.exists()
    told(*steps[:2], "--output", "whole.npz")
    resumed, whole = read_net("net.npz"), read_net("whole.npz")
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], array)


def test_a_state_of_which_the_writing_was_interrupted_is_written_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from neural_style_tf import files

    class Stub:
        step = 0

        def state(self) -> dict[str, Any]:
            return {"step": np.array(self.step)}

    stub: Any = Stub()
    keeper = following.Keeper(Path("kept"), stub, {"of": "this"})
    stub.step = 5
    with monkeypatch.context() as interrupted:

        def write_bytes(*_: object) -> None:
            raise KeyboardInterrupt

        interrupted.setattr(files, "write_bytes", write_bytes)
        with pytest.raises(KeyboardInterrupt):
            keeper.keep()
    keeper.keep()
    settings, state = following.read_state(Path("kept"))
    assert (settings, int(state["step"])) == ({"of": "this"}, 5)


def test_an_interrupt_behind_the_last_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is written all the same; and were it not, there is its last state."""
    losses, kept = train._losses, []

    def interrupted(job: train.Job, *others: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        kept.append(job.kept.exists())
        return losses(job, *others)

    monkeypatch.setattr(train, "_losses", interrupted)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert run(*TRAIN, "--steps", "1", "--output", "net.keras", "--quiet") == 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert kept == [True]
    assert Path("net.keras").exists()
    assert not list(Path.cwd().glob("*.training"))


def test_a_training_that_diverges_leaves_nothing_to_go_on_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*TRAIN, "--steps", "20", "--learning-rate", "1e30", "--output", "net.npz", "--quiet"]
    assert run(*words) == 2
    assert "the loss became NaN or infinite at step" in capsys.readouterr().err
    assert not list(Path.cwd().glob("net.npz*"))


def test_begin_with_a_trained_network() -> None:
    Path("one.npz").write_bytes(packed(nets.net(("a",))))
    words = ["train", "--style", "b.png", "a.png", "--photos", "photos", *SHORT, "--steps", "1"]
    words += ["--learning-rate", "1e-9", "--initial", "one.npz", "--output", "two.npz"]
    assert run(*words) == 0
    one, two = read_net("one.npz"), read_net("two.npz")
    assert two.styles == ("b", "a")
    np.testing.assert_allclose(two.weights["up1/kernel"], one.weights["up1/kernel"], atol=1e-6)
    np.testing.assert_allclose(two.weights["up1/scale"][1], one.weights["up1/scale"][0], atol=1e-6)
    assert two.card["initial"] == ["a"]


def test_it_begins_with_the_network_that_comes_with_the_program_where_that_is_of_the_size(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = nets.net(("wave", "starry"))
    Path("ours").mkdir()
    Path("ours/some.npz").write_bytes(packed(ours))
    monkeypatch.setattr(shipped, "FOLDER", Path("ours"))
    words = [*TRAIN, "--steps", "1", "--learning-rate", "1e-9", "--output", "net.npz"]
    assert run(*words) == 0
    assert any("Beginning with the network of wave, starry" in m for m in caplog.messages)
    net = read_net("net.npz")
    assert net.card["initial"] == ["wave", "starry"]
    np.testing.assert_allclose(net.weights["up1/kernel"], ours.weights["up1/kernel"], atol=1e-6)
    # A style that it does not know lies between those that it does.
    scale = ours.weights["up1/scale"].mean(axis=0)
    np.testing.assert_allclose(net.weights["up1/scale"][0], scale, atol=1e-6)

    def initial(*more: str) -> Net | None:
        return train.resolve(parse(["neural-style-tf", *words, "--overwrite", *more])[1]).initial

    assert initial() is not None
    assert initial("--initial", "none") is None
    assert initial("--blocks", "2") is None, "of another size"


def test_a_step_sees_two_photographs_for_each_device() -> None:
    assert [Training().batch(devices) for devices in (1, 3)] == [2, 6]
    assert Training(batch_size=5).batch(1) == 5


def test_who_leaves_the_batch_to_the_program_is_told_how_large_it_was() -> None:
    words = [word for word in TRAIN if word not in ("--batch-size", "2")]
    words += ["--steps", "1", "--output", "net.npz"]
    assert run(*words) == 0
    assert read_net("net.npz").card["training"]["batch_size"] == 2
    # What is kept of an interrupted training tells it from one of another default.
    job = train.resolve(parse(["neural-style-tf", *words, "--overwrite"])[1])
    kept = job.settings(read(Path("tiny.mat")), job.objective, [])
    assert kept["training"]["batch_size"] == "2 for each device"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "--style is missing"),
        (["train", "--style", "a.png"], "--photos is missing"),
        (["train", "--style", "a.png", "--photos", "photos"], "--output is missing"),
        ([*TRAIN, "--output", "net.pb"], "expected a name that ends in .keras or .npz"),
        ([*TRAIN, "--output", "no/net.keras"], "there is no folder "),
        ([*TRAIN, "--output", "n.npz", "--steps", "0"], "steps: expected a whole number, 1 or"),
        ([*TRAIN, "--output", "n.npz", "--size", "32"], "size: expected a whole number from 64"),
        ([*TRAIN, "--output", "n.npz", "--learning-rate", "nan"], "learning rate: expected a fin"),
        ([*TRAIN, "--output", "n.npz", "--style-weight", "0"], "--style-weight: expected a number"),
        ([*TRAIN, "--output", "n.npz", "--names", "a", "b"], "--names: expected another name for"),
        ([*TRAIN, "--output", "n.npz", "--initial", "nothing"], "unknown --initial nothing"),
        ([*TRAIN, "--output", "n.npz", "--content-layers", "conv9_9"], "conv9_9"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words)


def test_bad_folders_of_photographs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--style", "a.png", *SHORT, "--output", "net.npz", "--photos"]
    assert "expected a folder of photographs, got a.png" in error(capsys, *words, "a.png")
    assert "expected a folder of photographs, got none" in error(capsys, *words, "none")
    (folder / "empty").mkdir()
    assert "expected pictures in empty, got none" in error(capsys, *words, "empty")
    (folder / "empty" / "a.jpg").write_text("no picture")
    assert "none of 1 photographs can be read" in error(capsys, *words, "empty")


def test_a_damaged_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "net.npz.training").write_bytes(b"PK\3\4 and no more")
    told = error(capsys, *TRAIN, "--output", "net.npz", "--resume")
    assert (
        "cannot read training net.npz.training: expected what an interrupted `train` left" in told
    )


@pytest.mark.parametrize("config", ["{", "[]", '{"cluster": {"worker": ["a:1"]}}'])
def test_a_cluster_that_cannot_be_meant(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, config: Any
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    assert "$TF_CONFIG: expected JSON" in error(capsys, *TRAIN, "--output", "net.npz")


def test_help_tells_the_preset_that_training_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("train", "--help")
    told = " ".join(capsys.readouterr().out.split())
    weights = PRESETS[train.PRESET].objective
    for name in ("content_weight", "style_weight", "tv_weight"):
        assert re.search(
            rf"--{name.replace('_', '-')} {name.upper()} [^-]*\(default {getattr(weights, name)}\)",
            told,
        ), name
