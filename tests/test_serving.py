"""The exported optimization in a process that has TensorFlow and nothing of ours."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from neural_style_tf import Loss, Objective, Schedule, stylize
from neural_style_tf.objective import PRESETS
from neural_style_tf.pixels import as_pixels, resize, resize_style
from neural_style_tf.serving import stylizer
from neural_style_tf.serving.module import Stylizer
from neural_style_tf.serving.resampling import resample
from neural_style_tf.serving.signatures import signatures
from tests import tiny
from tests.commandline import ROOT, run
from vgg.network import build
from vgg.portable import Portable
from vgg.weights import Weights

# So many that a difference in the last bit would have grown to another picture.
ITERATIONS = 40
CONTENT = tiny.picture(150, 131, 1)
STYLES = (tiny.picture(90, 77, 2), tiny.picture(60, 150, 3))
_CALLS = """
import sys, numpy as np, tensorflow as tf
for name in ("neural_style_tf", "vgg"):
    sys.modules[name] = None  # not to be had
model = tf.saved_model.load("model")
given = dict(np.load("given.npz"))
content, styles = given["content"], given["styles"]
sizes, blend = tf.constant(given["sizes"]), tf.constant([1.0, 3.0])
run = {"iterations": tf.constant(40), "seed": tf.constant(7)}
as_float = lambda array: tf.constant(array, tf.float32)
made = {}
made["default"] = model.serving_default(as_float(content), as_float(styles[:1, :90, :77]))
made["float"] = model.stylize(as_float(content), as_float(styles), sizes, blend, **run)
made["uint8"] = model.stylize_uint8(tf.constant(content), tf.constant(styles), sizes, blend, **run)
png = lambda array: tf.io.encode_png(array)
files = tf.stack([png(styles[0, :90, :77]), png(styles[1, :60, :150])])
made["bytes"] = model.stylize_bytes(png(content[0]), files, blend, **run)
made["loss"] = model.loss(as_float(content), as_float(content), as_float(styles), sizes, blend)
made["features"] = model.features(as_float(content))
made["metadata"] = model.metadata()
np.savez("made.npz", **{f"{k}/{n}": v.numpy() for k, each in made.items() for n, v in each.items()})
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, network_file: Path) -> Path:
    """A folder with the SavedModel `model`, and what a process of its own made with it."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(network_file, folder / "tiny.mat")
    words = ["export", "--network", str(folder / "tiny.mat"), "--output", str(folder / "model")]
    assert run(*words, "--iterations", str(ITERATIONS), "--quiet") == 0
    styles = np.full((2, 90, 150, 3), 9, np.uint8)
    for place, style in zip(styles, STYLES, strict=True):
        place[: style.shape[0], : style.shape[1]] = style
    sizes = np.array([style.shape[:2] for style in STYLES], np.int32)
    np.savez(folder / "given.npz", content=CONTENT[None], styles=styles, sizes=sizes)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _CALLS],
        cwd=folder,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def made(exported: Path) -> dict[str, Any]:
    return dict(np.load(exported / "made.npz"))


def program(network: Any, styles: Any, objective: Objective, seed: int) -> npt.NDArray[Any]:
    schedule = Schedule(iterations=ITERATIONS, seed=seed)
    *_, last = stylize(network, CONTENT, styles, objective, schedule)
    return np.clip(last.result.pixels.numpy(), 0, 255)


def test_it_paints_what_the_program_paints(made: dict[str, Any], shallow: Any) -> None:
    one = program(shallow, STYLES[:1], Objective(), 0)
    assert abs(made["default/picture"] - one).max() < 1
    both = program(shallow, STYLES, Objective(style_blend_weights=(1, 3)), 7)
    assert abs(made["float/picture"] - both).max() < 1
    assert abs(made["uint8/picture"] - both).max() <= 1
    decoded = np.asarray(Image.open(io.BytesIO(made["bytes/picture_bytes"].item())))
    np.testing.assert_array_equal(decoded[None], made["uint8/picture"])
    assert abs(one - both).max() > 5, "blend and seed count"


@pytest.mark.parametrize("preset", ["athalye2015", "johnson2016"])
def test_the_stylizer_is_the_loop_to_the_last_bit(preset: str) -> None:
    """In johnson2016 a layer is both content's and style's: three gradients meet there."""
    weights = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL, np.float32))
    objective, schedule = PRESETS[preset].objective, Schedule(iterations=30, scales=1)
    network = build(weights, layers=objective.layers)
    portable = Portable(network)
    given = [as_pixels(tiny.picture(height, 64, 1)) for height in (48, 40)]

    @tf.function(autograph=False)
    def served(content: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
        with tf.name_scope(""):
            return stylizer.stylize(
                *(portable.bound(objective.layers), objective, schedule, content),
                stylizer.Styles(style, tf.constant([[40, 64]]), tf.ones(1)),
                tuple(tf.constant(weight, tf.float32) for weight in objective.weights),
                *(tf.constant(30), tf.constant(0), tf.constant(1.0)),
            ).pixels

    *_, last = stylize(network, given[0], [given[1][0]], objective, schedule)
    np.testing.assert_array_equal(last.result.pixels, served(*given))


def test_losses_features_and_metadata(made: dict[str, Any], shallow: Any) -> None:
    loss = Loss(shallow, Objective(style_blend_weights=(1, 3)))
    pixels = as_pixels(CONTENT)
    terms = loss(pixels, loss.targets(pixels, [resize_style(each, 131) for each in STYLES]))
    for name, term in terms._asdict().items():
        np.testing.assert_allclose(made[f"loss/{name}_loss"], term, rtol=1e-4, atol=1e-5)
    for layer, activations in shallow(pixels).items():
        np.testing.assert_allclose(made[f"features/{layer}"], activations, rtol=1e-3, atol=1e-3)
        flat = activations.numpy().reshape(-1, activations.shape[-1])
        gram = flat.T @ flat / flat.size
        np.testing.assert_allclose(made[f"features/gram_{layer}"], gram, rtol=1e-3)
    about = json.loads(made["metadata/json"].item())
    assert about["network"]["name"].startswith("VGG-19")
    assert about["defaults"]["iterations"] == ITERATIONS


def test_inputs_are_documented_and_have_defaults(exported: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((exported / "model" / "saved_model.pb").read_bytes())
    signature = model.meta_graphs[0].signature_def["stylize"]
    assert signature.defaults["style_weight"].float_val[0] == 500
    assert [d.size for d in signature.inputs["content"].tensor_shape.dim] == [1, -1, -1, 3]
    readme = (exported / "model" / "assets.extra" / "README.md").read_text()
    for name, each in model.meta_graphs[0].signature_def.items():
        if not name.startswith("__"):
            assert f"## {name}\n" in readme
            assert all(f"| `{given}` |" in readme for given in each.inputs)


def test_what_is_wrong_is_named(exported: Path) -> None:
    call = tf.saved_model.load(str(exported / "model")).signatures["loss"]
    good: dict[str, Any] = {
        "picture": tf.zeros((1, 32, 32, 3)),
        "content": tf.zeros((1, 32, 32, 3)),
        "styles": tf.zeros((2, 20, 20, 3)),
        "style_sizes": tf.zeros((0, 2), tf.int32),
        "style_blend_weights": tf.zeros((0,)),
        "content_weight": tf.constant(5.0),
        "style_weight": tf.constant(5.0),
        "tv_weight": tf.constant(5.0),
    }
    for name, value in (
        ("content", tf.zeros((2, 32, 32, 3))),
        ("content", tf.zeros((32, 3))),
        ("picture", tf.zeros((1, 31, 32, 3))),
        ("picture", tf.fill((1, 32, 32, 3), float("nan"))),
        ("styles", tf.zeros((2, 20, 20, 4))),
        ("style_sizes", tf.constant([[20, 21], [20, 20]])),
        ("style_sizes", tf.constant([[20, 20]])),
        ("style_blend_weights", tf.constant([1.0, -1.0])),
        ("tv_weight", tf.constant(-1.0)),
        ("tv_weight", tf.constant([1.0])),
    ):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"{name}: expected|tensor {name} "
        ):
            call(**{**good, name: value})


def test_weights_are_kept_once(exported: Path) -> None:
    reader = tf.train.load_checkpoint(str(exported / "model" / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    kernels = [shape for shape in shapes.values() if len(shape) == 4]
    # VGG-19 as far as relu5_1: as many convolutions as there are.
    assert len(kernels) == 13


def test_the_command_line_shows_inputs_with_type_and_shape(exported: Path) -> None:
    from tensorflow.core.framework import types_pb2

    words = ["show", "--dir", "model", "--all"]
    done = subprocess.run(
        [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", *words],
        cwd=exported,
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.sub(r"\s", "", done.stdout.split("Concrete Functions:")[0])
    parts = re.split(r"signature_def\['(\w+)'\]:", told)[1:]
    shown = dict(zip(parts[::2], parts[1::2], strict=True))
    for name, signature in signatures(Objective()).items():
        for each in signature.inputs:
            shape = ",".join("-1" if side is None else str(side) for side in each.spec.shape)
            kind = types_pb2.DataType.Name(each.dtype.as_datatype_enum)
            expected = f"inputs['{each.name}']tensor_info:dtype:{kind}shape:({shape})"
            assert expected in shown[name]
        for output in signature.outputs:
            assert f"outputs['{output}']tensor_info:" in shown[name]


@pytest.fixture(scope="module")
def client(exported: Path) -> Any:
    serve = runpy.run_path(str(ROOT / "examples" / "serve.py"))["serve"]
    return serve(exported / "model", "style").test_client()


class TestServer:
    """examples/serve.py, asked as TensorFlow Serving is."""

    def test_a_picture_from_files(self, client: Any, exported: Path) -> None:
        def file(pixels: Any) -> dict[str, str]:
            data = io.BytesIO()
            Image.fromarray(pixels).save(data, "PNG")
            return {"b64": base64.b64encode(data.getvalue()).decode()}

        styles = [file(each) for each in STYLES]
        settings = {"style_blend_weights": [1, 3], "seed": 7}
        given = {"content": file(CONTENT), "styles": styles, **settings}
        asked = {"signature_name": "stylize_bytes", "inputs": given}
        answer = client.post("/v1/models/style:predict", json=asked)
        assert answer.status_code == 200, answer.text
        outputs = answer.json["outputs"]
        painted = Image.open(io.BytesIO(base64.b64decode(outputs["picture_bytes"]["b64"])))
        wanted = np.load(exported / "made.npz")["uint8/picture"]
        np.testing.assert_array_equal(np.asarray(painted)[None], wanted)
        assert outputs["total_loss"] > 0

    def test_rows_and_a_single_input(self, client: Any, shallow: Any) -> None:
        asked = {"signature_name": "features", "inputs": CONTENT[None].tolist()}
        outputs = client.post("/v1/models/style:predict", json=asked).json["outputs"]
        wanted = shallow(as_pixels(CONTENT))["relu1_1"]
        np.testing.assert_allclose(outputs["relu1_1"], wanted, rtol=1e-3, atol=1e-3)
        rows = {"signature_name": "features", "instances": CONTENT[None].tolist()}
        answer = client.post("/v1/models/style:predict", json=rows)
        assert "call with inputs instead" in answer.json["error"], (
            "Gram matrices are not by picture"
        )

    def test_status_and_metadata(self, client: Any) -> None:
        status = client.get("/v1/models/style").json
        assert status["model_version_status"][0]["state"] == "AVAILABLE"
        signatures = client.get("/v1/models/style/metadata").json["metadata"]["signature_def"]
        assert signatures["stylize"]["inputs"]["styles"] == {
            "dtype": "float32",
            "shape": [-1, -1, -1, 3],
        }
        assert client.get("/v1/models/other").status_code == 404

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ([], 'either "inputs" or "instances"'),
            ({"inputs": {}, "instances": []}, 'either "inputs" or "instances"'),
            ({"inputs": {"content": [[[[0, 0, 0]]]]}}, "missing ['style']"),
            ({"inputs": {"contents": 1}}, "got 'contents'"),
            ({"inputs": {"content": "a", "style": 1}}, "content: expected float32"),
            ({"inputs": {"content": [1], "style": [1]}}, "expected the shape [1, H, W, 3], got"),
            ({"inputs": 5}, "expected inputs by name"),
            ({"instances": []}, "one or more"),
            ({"instances": 5}, "one or more"),
            ({"signature_name": "paint", "inputs": {}}, "signature_name: expected one of"),
        ],
    )
    def test_bad_requests(self, client: Any, asked: Any, message: str) -> None:
        answer = client.post("/v1/models/style:predict", json=asked)
        assert answer.status_code == 400
        assert message in answer.json["error"]


@pytest.fixture
def port(exported: Path) -> Iterator[int]:
    """Of `python examples/serve.py model`, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    words = [sys.executable, str(ROOT / "examples" / "serve.py"), "model", "--name", "style"]
    server = subprocess.Popen(
        [*words, "--port", str(port)],
        cwd=exported,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(600):
            assert server.poll() is None, server.communicate()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield port
    finally:
        server.kill()
        server.communicate()


def test_the_client_in_the_readme(exported: Path, port: int) -> None:
    """As it stands there, but for the port, in a process of its own."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = [
        block.split("```")[0] for block in readme.split("```python\n") if "urllib.request" in block
    ]
    assert code.count(":8501/") == 1
    names = ["given.png", "style0.png", "style1.png"]
    for name, pixels in zip(names, (CONTENT, *STYLES), strict=True):
        Image.fromarray(pixels).save(exported / name)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code.replace(":8501/", f":{port}/"), *names, "out.png"],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(exported / "out.png") as painted:
        assert painted.size == (CONTENT.shape[1], CONTENT.shape[0])
        changed = np.asarray(painted, np.float32) - CONTENT
    assert abs(changed).mean() > 5


@pytest.mark.parametrize("size", [(20, 30), (97, 200), (48, 31), (130, 77), (75, 120)])
def test_pillow_to_the_grey_level(size: tuple[int, int]) -> None:
    picture = as_pixels(tiny.picture(75, 120, 4))
    ours = resample(picture, *(tf.constant(side) for side in size))
    np.testing.assert_array_equal(ours, resize(picture, *size))


def test_who_calls_it_says_how_many_iterations_there_are_to_be(shallow: Any) -> None:
    made = Stylizer(Portable(shallow), Objective(), Schedule())
    assert json.loads(made.about)["schedule"]["tolerance"] == 0.01
    assert json.loads(made.about)["defaults"]["iterations"] == 100
