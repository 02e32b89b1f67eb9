"""The `export` command; each format loaded by its own runtime and compared with Keras."""

from __future__ import annotations

import base64
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from neural_style_tf import folders
from neural_style_tf.errors import FileError
from neural_style_tf.transform.architecture import MARGIN
from neural_style_tf.transform.stored import packed
from tests import nets, tiny
from tests.commandline import ROOT, error, run

MIX = (0.25, 0.75)
EXPORT = ["export", "--model", "net.npz", "--style-blend-weights", "1", "3"]
# A thousandth of full range.
CLOSE = 0.255
# Two of each, of two sizes, neither a multiple of 4.
SIZES = ((37, 50), (64, 41))


@pytest.fixture(autouse=True)
def net(folder: Path) -> None:
    (folder / "net.npz").write_bytes(packed(nets.net()))


def batch(size: tuple[int, int], count: int = 2) -> npt.NDArray[np.float32]:
    return np.stack([tiny.picture(*size, seed) for seed in range(count)]).astype(np.float32)


def keras_paints(pixels: npt.NDArray[np.float32]) -> Any:
    """What the Keras model makes of it, with the margin that it was trained with."""
    from neural_style_tf.transform.model import TransformNet

    net = nets.net()
    model = TransformNet(net.architecture, net.styles)
    for name, array in net.weights.items():
        model.named[name].assign(array)
    mix = np.repeat(np.array([MIX], np.float32), len(pixels), 0)
    around = (MARGIN, MARGIN)
    pixels = np.pad(pixels, ((0, 0), around, around, (0, 0)), "reflect")
    return np.clip(model(pixels, mix).numpy()[:, MARGIN:-MARGIN, MARGIN:-MARGIN], 0, 255)


def test_saved_model_in_bare_tensorflow(folder: Path) -> None:
    """A process that has TensorFlow and nothing of ours."""
    assert run(*EXPORT, "--format", "saved_model", "--output", "model") == 0
    for index, size in enumerate(SIZES):
        np.save(f"in{index}.npy", batch(size, index + 1))
    code = """
import sys, numpy as np, tensorflow as tf
model = tf.saved_model.load("model")
for index in range(2):
    painted = model.signatures["serving_default"](pixels=tf.constant(np.load(f"in{index}.npy")))
    np.save(f"out{index}.npy", painted["painted"].numpy())
files = [open(name, "rb").read() for name in ("content.png", "a.png")]
made = model.signatures["bytes"](pictures=tf.constant(files))["painted_bytes"].numpy()
for index, data in enumerate(made):
    open(f"bytes{index}.png", "wb").write(data)
assert not [name for name in sys.modules if name.startswith(("neural_style_tf", "vgg"))]
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for index, size in enumerate(SIZES):
        ours = keras_paints(batch(size, index + 1))
        assert abs(np.load(f"out{index}.npy") - ours).max() < CLOSE
    for index, name in enumerate(("content.png", "a.png")):
        ours = keras_paints(np.asarray(Image.open(name), np.float32)[None])
        made = np.asarray(Image.open(f"bytes{index}.png"), np.float32)
        assert abs(made - ours[0]).max() < 0.5 + CLOSE


def test_tflite_in_its_interpreter() -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    assert run(*EXPORT, "--output", "net.tflite") == 0
    interpreter = litert.Interpreter("net.tflite")
    for size in SIZES:
        pixels = batch(size, 1)
        [given] = interpreter.get_input_details()
        interpreter.resize_tensor_input(given["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        [made] = interpreter.get_output_details()
        painted = interpreter.get_tensor(made["index"])
        assert painted.shape == pixels.shape
        assert abs(painted - keras_paints(pixels)).max() < CLOSE
    assert run(*EXPORT, "--output", "fixed.tflite", "--size", "41", "64") == 0
    runner = litert.Interpreter("fixed.tflite")
    assert runner.get_input_details()[0]["shape"].tolist() == [1, 64, 41, 3]


def test_onnx_in_its_runtime() -> None:
    pytest.importorskip("tf2onnx", reason="needs tf2onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    assert run(*EXPORT, "--format", "onnx", "--output", "net.onnx") == 0
    session = runtime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    assert [side for side in given.shape if isinstance(side, int)] == [3], "any batch, any size"
    for index, size in enumerate(SIZES):
        pixels = batch(size, index + 1)
        [painted] = session.run(None, {given.name: pixels})
        assert abs(painted - keras_paints(pixels)).max() < CLOSE


def test_an_export_is_replaced_only_if_so_wanted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*EXPORT, "--output", "model") == 0
    assert "model exists; name another folder or pass --overwrite" in error(
        capsys, *EXPORT, "--output", "model", "--quiet"
    )
    mark = folder / "model" / "variables" / "mark"
    mark.touch()
    # What somebody has put into it is not thrown away with it, and a link stays one.
    Path("model/served.txt").touch()
    told = error(capsys, *EXPORT, "--output", "model", "--overwrite")
    assert "model holds served.txt, which is no part of a SavedModel and would be lost" in told
    Path("model/served.txt").unlink()
    Path("current").symlink_to("model")
    before = Path("model/saved_model.pb").stat().st_mtime_ns
    assert run(*EXPORT, "--output", "current", "--overwrite") == 0
    assert Path("current").is_symlink()
    assert Path("model/saved_model.pb").stat().st_mtime_ns > before
    assert run(*EXPORT, "--output", "model", "--overwrite") == 0
    assert (folder / "model" / "saved_model.pb").exists()
    assert not mark.exists()
    assert not [path for path in folder.iterdir() if path.name.startswith("tmp")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export"], "--output is missing"),
        (["export", "--model", "net.npz"], "--output is missing"),
        ([*EXPORT, "--format", "onnx", "--output", "x.tflite"], "expected a name that ends in .o"),
        ([*EXPORT, "--output", "no/model"], "there is no folder for it"),
        ([*EXPORT, "--output", "tiny.mat"], "tiny.mat exists and is no SavedModel"),
        ([*EXPORT, "--output", "."], "exists and is no SavedModel"),
        ([*EXPORT, "--output", "model", "--size", "64", "64"], "--size is for --format tflite"),
        ([*EXPORT, "--output", "m.tflite", "--size", "4", "64"], "--size: expected 16 to 8192"),
        (["export", "--model", "none", "--output", "m"], "unknown --model none"),
        ([*EXPORT, "--output", "m", "--iterations", "5"], "--iterations goes without --model"),
        (["export", "--output", "m", "--styles", "a"], "--styles goes with --model"),
        (["export", "--output", "m.onnx"], "the optimization is exported as a SavedModel"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error(capsys, *words)


def test_without_tf2onnx(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = error(capsys, *EXPORT, "--output", "m.onnx")
    assert "--format onnx needs tf2onnx: run `pip install tf2onnx`" in told


def test_the_bytes_of_a_picture_are_png(folder: Path) -> None:
    """In this process, so that a picture of one channel is seen to be taken, too."""
    import tensorflow as tf

    from neural_style_tf.transform.export import Exported

    stream = io.BytesIO()
    Image.fromarray(tiny.picture(20, 24, 1)).convert("L").save(stream, "JPEG")
    module = Exported(nets.net(), MIX)
    [data] = module.serve_bytes(tf.constant([stream.getvalue()]))["painted_bytes"]
    painted = Image.open(io.BytesIO(data.numpy()))
    assert (painted.format, painted.mode, painted.size) == ("PNG", "RGB", (24, 20))


def test_it_paints_as_apply_does() -> None:
    import tensorflow as tf

    from neural_style_tf.transform.export import Exported
    from neural_style_tf.transform.painter import Painter

    pixels = batch(SIZES[0], 1)
    ours = Painter(nets.net(), MIX)(pixels).clip(0, 255)
    module = Exported(nets.net(), MIX)
    exported = module.serve(tf.constant(pixels))["painted"].numpy()
    assert abs(exported - ours).max() < CLOSE


def test_it_is_served(folder: Path) -> None:
    """By examples/serve.py, pictures in rows, as numbers and as files."""
    assert run(*EXPORT, "--output", "served") == 0
    serve = runpy.run_path(str(ROOT / "examples" / "serve.py"))["serve"]
    client = serve(folder / "served", "style").test_client()
    pixels = batch((20, 24))
    answer = client.post("/v1/models/style:predict", json={"instances": pixels.tolist()})
    assert abs(np.array(answer.json["predictions"]) - keras_paints(pixels)).max() < CLOSE
    file = {"b64": base64.b64encode(Path("content.png").read_bytes()).decode()}
    asked = {"signature_name": "bytes", "instances": [{"pictures": file}, file]}
    answer = client.post("/v1/models/style:predict", json=asked)
    ours = keras_paints(np.asarray(Image.open("content.png"), np.float32)[None])
    for each in answer.json["predictions"]:
        painted = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["b64"]))), np.float32)
        assert abs(painted - ours[0]).max() < 0.5 + CLOSE


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (["--model", "net.npz"], 100),
        (["--model", "net.npz"], 100_000),
        (["--network", "tiny.mat"], 100_000),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_disk_that_refuses_leaves_the_old_export(
    folder: Path, model: list[str], size: int
) -> None:
    """Files of more than so many bytes cannot be written, by Python or by TensorFlow."""
    old = folder / "model"
    old.mkdir()
    (old / "saved_model.pb").write_bytes(b"old")
    code = f"""
import resource, signal, sys
from neural_style_tf.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
sys.exit(main(["", "export", *{model}, "--output", "model", "--overwrite", "--quiet"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "error: cannot write SavedModel model: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (old / "saved_model.pb").read_bytes() == b"old"
    assert not list(folder.glob("tmp*"))


def test_what_cannot_take_its_place_leaves_the_old_export(folder: Path) -> None:
    old = folder / "model"
    old.mkdir()
    (old / "saved_model.pb").write_bytes(b"old")
    with pytest.raises(FileError, match="cannot write"), folders.replacing(old, "SavedModel"):
        pass  # nothing is made
    assert (old / "saved_model.pb").read_bytes() == b"old"


def test_an_interrupt_between_two_renamings_keeps_the_old_export(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder / "model"
    old.mkdir()
    (old / "saved_model.pb").write_bytes(b"old")
    rename, calls = Path.rename, []

    def interrupted(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), folders.replacing(old, "SavedModel") as made:
        made.mkdir()
    assert (old / "saved_model.pb").read_bytes() == b"old"
