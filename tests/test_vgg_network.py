"""vgg/network.py against float64 NumPy: every activation, and no more than was asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vgg
from tests import reference, tiny
from vgg.errors import WeightsError
from vgg.weights import Weights, read

ROOT = Path(__file__).parent.parent
WEIGHTS = Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL))


def build(**options: Any) -> Any:
    from vgg import network

    return network.build(WEIGHTS, **options)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Every activation, by pooling."""
    return {pooling: build(pooling=pooling) for pooling in ("max", "avg")}


def convolutions(model: Any) -> list[str]:
    import keras

    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


# Pooling rounds up: 17×16 ends in one pixel, and the smaller ones pool a single pixel for long.
@pytest.mark.parametrize("size", [(32, 48), (37, 45), (17, 16), (2, 3), (1, 1)])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_every_activation_is_that_of_numpy(
    models: dict[str, Any], pooling: str, size: tuple[int, int]
) -> None:
    pixels = tiny.picture(*size, 1)
    outputs = models[pooling](pixels[None].astype(np.float32))
    expected = reference.features(WEIGHTS.convolutions, pixels, WEIGHTS.layers, pooling)
    assert list(outputs) == list(expected)
    for layer, activation in expected.items():
        assert outputs[layer].dtype == "float32"
        assert outputs[layer].shape == (1, *activation.shape)
        tolerance = 1e-5 * np.abs(activation).max()
        np.testing.assert_allclose(outputs[layer][0], activation, 0, tolerance, err_msg=layer)


# 1×1 kernels of borders that are zero give zero: factors pad as their product does.
@pytest.mark.parametrize("size", [(32, 48), (17, 16), (1, 1)])
def test_a_factored_layer_is_the_product_of_its_kernels(size: tuple[int, int]) -> None:
    from vgg import network

    factored = tiny.factored()
    weights = Weights(factored, np.array(tiny.MEAN_PIXEL))
    model = network.build(weights)
    pixels = tiny.picture(*size, 1)
    outputs = model(pixels[None].astype(np.float32))
    expected = reference.features(tiny.composed(factored), pixels, weights.layers)
    assert list(outputs) == list(expected)
    for layer, activation in expected.items():
        tolerance = 1e-5 * np.abs(activation).max()
        np.testing.assert_allclose(outputs[layer][0], activation, 0, tolerance, err_msg=layer)


def test_a_factored_first_layer_is_the_same_in_bfloat16() -> None:
    from vgg import network

    kernel, bias = WEIGHTS.convolutions["conv1_1"]
    swapped = np.eye(bias.size, dtype=np.float32)[::-1].copy()  # back again by the second factor
    factors = (kernel @ swapped, swapped[None, None], bias)
    weights = Weights({**WEIGHTS.convolutions, "conv1_1": factors}, WEIGHTS.mean)
    pixels = tiny.picture(16, 24, 1)[None].astype(np.float32)
    options: dict[str, Any] = {
        "precision": "bfloat16",
        "raw": True,
        "layers": ["relu1_1", "relu2_1"],
    }
    whole, factored = (network.build(w, **options)(pixels) for w in (WEIGHTS, weights))
    for layer, activation in whole.items():
        assert np.array_equal(activation, factored[layer])


def test_in_bfloat16_the_features_are_nearly_the_same(models: dict[str, Any]) -> None:
    """And whole grey levels are seen exactly; what comes out is float32 but where it is raw."""
    import tensorflow as tf

    pixels = tiny.picture(48, 64, 1)[None].astype(np.float32)
    exact, model = models["max"](pixels), build(precision="bfloat16")
    rounded = model(pixels)
    assert {layer.compute_dtype for layer in model.layers if "conv" in layer.name} == {
        "float32",
        "bfloat16",
    }
    for layer, activation in rounded.items():
        assert activation.dtype == "float32"
        off = np.linalg.norm(activation - exact[layer]) / np.linalg.norm(exact[layer])
        assert off == 0 if layer in ("conv1_1", "relu1_1") else 0 < off < 0.06, layer
    # Its first layer is another one where nobody asks for conv1_1.
    for layers in (list(exact), ["relu1_1", "relu2_2", "relu5_1"]):
        raw = build(precision="bfloat16", layers=layers, raw=True)(pixels)
        assert list(raw) == layers
        for layer, activation in raw.items():
            assert activation.dtype == "bfloat16"
            assert np.array_equal(activation, tf.cast(rounded[layer], "bfloat16")), layer
    # Nothing is to be had from rounding where the first layer is all there is.
    first = build(precision="bfloat16", layers=["conv1_1", "relu1_1"], raw=True)
    for model in (first, build(raw=True)):
        assert all(each.dtype == "float32" for each in model(pixels).values())
    gradients = []
    # Averages, for where two pixels are nearly alike the greater of them may be the other one.
    for options in ({}, {"precision": "bfloat16"}, {"precision": "bfloat16", "raw": True}):
        network = build(pooling="avg", layers=["relu1_1", "relu4_2"], **options)
        with tf.GradientTape() as tape:
            tape.watch(start := tf.constant(pixels))
            squares = (tf.cast(each, "float32") ** 2 for each in network(start).values())
            loss = tf.add_n([tf.reduce_sum(each) for each in squares])
        gradients.append(tape.gradient(loss, start))
        assert gradients[-1].dtype == "float32"
    a, *others = (each.numpy().ravel() for each in gradients)
    for b in others:
        assert a @ b > 0.99 * np.linalg.norm(a) * np.linalg.norm(b)
        assert np.linalg.norm(b) == pytest.approx(np.linalg.norm(a), rel=0.03)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(WeightsError, match="unknown precision 'half': expected float32 or bfloat"):
        build(precision="half")


def test_the_poolings_differ(models: dict[str, Any]) -> None:
    pixels = tiny.picture(16, 16, 1)[None].astype(np.float32)
    theirs = (models[pooling](pixels)["pool1"].numpy() for pooling in ("max", "avg"))
    assert np.abs(np.subtract(*theirs)).max() > 1


def test_max_is_the_default(models: dict[str, Any]) -> None:
    pixels = tiny.picture(16, 16, 1)[None].astype(np.float32)
    default = build(layers=["pool1"])(pixels)["pool1"]
    np.testing.assert_array_equal(default, models["max"](pixels)["pool1"])


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_the_gradient_is_that_of_numpy_inside_a_graph(models: dict[str, Any], pooling: str) -> None:
    import tensorflow as tf

    model = models[pooling]

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3])] * 2)
    def gradient(pixels: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            loss = tf.reduce_mean((model(pixels)["pool3"] - model(target)["pool3"]) ** 2)
        return tape.gradient(loss, pixels)

    for size in ((24, 32), (21, 19)):
        content, target = (tiny.picture(*size, seed).astype(np.float32) for seed in (1, 2))
        _, expected = reference.losses_and_gradient(
            WEIGHTS.convolutions,
            content,
            target,
            [],
            content_layers={"pool3": 1.0},
            style_layers={},
            content_weight=1.0,
            tv_weight=0.0,
            blend=(),
            pooling=pooling,
        )
        got = gradient(content[None], target[None])[0]
        np.testing.assert_allclose(got, expected, 0, 1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layers", "deepest"),
    [
        (["conv1_1"], 1),
        (["relu2_1", "conv1_2"], 3),
        (["pool2"], 4),
        (["relu4_2", "relu5_1", "relu1_1"], 13),
        (None, 16),
    ],
)
def test_nothing_deeper_than_asked_is_computed(layers: list[str] | None, deepest: int) -> None:
    model = build(layers=layers)
    assert convolutions(model) == list(WEIGHTS.convolutions)[:deepest]
    assert model.layers[-1].name == max(layers or ["pool5"], key=WEIGHTS.layers.index)


def test_the_asked_layers_come_once_and_in_the_order_of_the_network() -> None:
    model = build(layers=iter(["relu3_1", "relu1_1", "pool1", "relu1_1"]))
    outputs = model(tiny.picture(9, 9, 1)[None].astype(np.float32))
    assert list(outputs) == ["relu1_1", "pool1", "relu3_1"]


@pytest.mark.parametrize("how", [{}, {"precision": "bfloat16", "raw": True}])
def test_the_parts_one_after_the_other_are_the_whole(how: dict[str, Any]) -> None:
    layers = ["relu1_1", "conv2_1", "relu3_4", "pool4", "relu5_1"]
    network = build(layers=layers, **how).centered
    current = tiny.picture(35, 50, 5)[None].astype(np.float32) - 120
    whole = network(current)
    assert list(network.parts) == layers
    for layer, part in network.parts.items():
        current = part(current)
        np.testing.assert_array_equal(current, whole[layer])


def test_a_network_whose_activations_are_given_out_otherwise_has_no_parts() -> None:
    assert build(layers=["relu2_1"], precision="bfloat16").centered.parts == {}


def test_one_layer_may_be_a_word() -> None:
    assert list(build(layers="relu1_2").output) == ["relu1_2"]


def test_the_network_is_frozen(models: dict[str, Any]) -> None:
    assert models["max"].trainable_weights == []
    # (Some kernels are there in another order, too.)
    assert len([each for each in models["max"].weights if each.name != "derived"]) == 2 * 16


def test_a_batch_of_pictures_is_that_of_each(models: dict[str, Any]) -> None:
    pictures = np.stack([tiny.picture(12, 10, seed) for seed in (1, 2)]).astype(np.float32)
    together = models["max"](pictures)["relu3_1"].numpy()
    for picture, activation in zip(pictures, together, strict=True):
        np.testing.assert_allclose(
            models["max"](picture[None])["relu3_1"][0], activation, rtol=1e-5, atol=1e-3
        )


# Errors


def test_an_unknown_layer() -> None:
    with pytest.raises(WeightsError) as caught:
        build(layers=["relu1_1", "relu5_9", "relu6_1"])
    assert str(caught.value) == (
        "VGG-19 with 4/6/8/8/8 channels has no layer 'relu5_9' (did you mean relu5_4?); "
        f"it has {', '.join(WEIGHTS.layers)}"
    )


def test_no_layer() -> None:
    with pytest.raises(WeightsError, match=r"expected at least one layer, got none; .*relu1_1"):
        build(layers=[])


def test_an_unknown_pooling() -> None:
    with pytest.raises(WeightsError, match="unknown pooling 'mean': expected max or avg"):
        build(pooling="mean")


def test_keras_on_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(WeightsError, match="expected Keras on TensorFlow, got jax; set KERAS_B"):
        build()


def test_a_users_keras_settings_change_nothing(tmp_path: Path) -> None:
    """Settings of other projects: another backend, sizes in another order, other precision."""
    (tmp_path / "keras.json").write_text(
        json.dumps({"backend": "jax", "image_data_format": "channels_first", "floatx": "float16"})
    )
    code = (
        "import numpy as np\n"
        "from tests.test_vgg_network import build\n"
        "outputs = build(layers=['pool1', 'pool2'])(np.ones((1, 8, 12, 3), np.float32))\n"
        "print([(tuple(output.shape), output.dtype.name) for output in outputs.values()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "KERAS_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[((1, 4, 6, 4), 'float32'), ((1, 2, 3, 6), 'float32')]"


# From a file


def test_every_kind_of_file_gives_the_same_activations(tmp_path: Path) -> None:
    from vgg import network

    tiny.write_mat(tmp_path / "2018", layout="2018")
    tiny.write_mat(tmp_path / "2014", layout="2014", classifier=True)
    tiny.write_keras_h5(tmp_path / "keras")
    pixels = tiny.picture(20, 24, 3)
    expected = reference.features(tiny.weights(), pixels, ["relu1_1", "relu2_2"])
    for path in tmp_path.iterdir():
        model = network.build(read(path), layers=expected)
        for layer, activation in model(pixels[None].astype(np.float32)).items():
            tolerance = 1e-5 * np.abs(expected[layer]).max()
            np.testing.assert_allclose(activation[0], expected[layer], 0, tolerance)


def test_vgg16(tmp_path: Path) -> None:
    tiny.write_mat(tmp_path / "vgg16.mat", blocks=tiny.VGG16)
    model = vgg.load(tmp_path / "vgg16.mat", layers=["relu3_3", "relu5_3"])
    assert len(convolutions(model)) == 13
    with pytest.raises(WeightsError, match=r"no layer 'relu4_4' \(did you mean relu4_[23]\?\)"):
        vgg.load(tmp_path / "vgg16.mat", layers=["relu4_4"])


def test_load_passes_everything_on(network_file: Path) -> None:
    pixels = tiny.picture(15, 11, 1)
    outputs = vgg.load(str(network_file), "avg", ["pool2"])(pixels[None].astype(np.float32))
    expected = reference.features(tiny.weights(), pixels, ["pool2"], "avg")["pool2"]
    assert list(outputs) == ["pool2"]
    np.testing.assert_allclose(outputs["pool2"][0], expected, 0, 1e-5 * np.abs(expected).max())


def test_load_builds_as_it_is_told(network_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vgg import network

    told: dict[str, Any] = {}
    monkeypatch.setattr(network, "build", lambda weights, **how: told.update(how))
    flags = {"exact": True, "raw": True, "sparing": True}
    vgg.load(network_file, "avg", ["pool2"], "bfloat16", **flags)
    assert told == {"pooling": "avg", "layers": ["pool2"], "precision": "bfloat16", **flags}


def test_load_takes_a_path_for_a_file_and_a_word_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    tiny.write_mat(Path("vgg19"))
    assert list(vgg.load(Path("vgg19"), layers=["relu1_1"]).output) == ["relu1_1"]
    with pytest.raises(WeightsError, match=r"--network vgg19: expected .*empty"):
        vgg.load("vgg19")


def test_load_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing\.mat.*got no file"):
        vgg.load(tmp_path / "missing.mat")
    with pytest.raises(WeightsError, match=r"missing\.mat"):
        vgg.load(str(tmp_path / "missing.mat"))


def test_public_names() -> None:
    assert vgg.__all__ == ["WeightsError", "load"]
