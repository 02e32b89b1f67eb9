"""Every kind of file that vgg/weights.py reads holds the same network; damage is tested beside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import scipy.io

from tests import tiny
from vgg.errors import WeightsError
from vgg.weights import IMAGENET_MEAN, Weights, read, write_npz

Layout = Literal["2014", "2018"]
ROOT = Path(__file__).parent.parent


def assert_tiny(weights: Weights, blocks: Sequence[int] = tiny.VGG19) -> None:
    """These are `tiny.weights(blocks=blocks)`, to the last bit, and the mean pixel of VGG."""
    expected = tiny.weights(blocks=blocks)
    assert list(weights.convolutions) == list(expected)
    for name, pair in expected.items():
        for array, wanted in zip(weights.convolutions[name], pair, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, wanted, err_msg=name)
    assert weights.blocks == tuple(blocks)
    # The 2018 layout keeps it as float32.
    np.testing.assert_allclose(weights.mean, tiny.MEAN_PIXEL, rtol=1e-7)


def tiny_weights(**others: Any) -> Weights:
    return Weights(tiny.weights(), np.array(tiny.MEAN_PIXEL), **others)


# MatConvNet


@pytest.mark.parametrize("blocks", [tiny.VGG19, tiny.VGG16], ids=["VGG-19", "VGG-16"])
@pytest.mark.parametrize("classifier", [False, True])
@pytest.mark.parametrize("layout", ["2014", "2018"])
def test_matconvnet(
    tmp_path: Path, layout: Layout, classifier: bool, blocks: Sequence[int]
) -> None:
    path = tmp_path / "network.mat"
    tiny.write_mat(path, layout=layout, classifier=classifier, blocks=blocks)
    assert_tiny(read(path), blocks)


@pytest.mark.parametrize("layout", ["2014", "2018"])
def test_matconvnet_saved_again_uncompressed_and_as_a_column(
    tmp_path: Path, layout: Layout
) -> None:
    path = tmp_path / "network.mat"
    tiny.write_mat(path, layout=layout)
    variables = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    scipy.io.savemat(path, variables | {"layers": variables["layers"].T}, do_compression=False)
    assert_tiny(read(path))


def test_the_arrays_do_not_keep_the_file_in_memory(network_file: Path) -> None:
    for pair in read(network_file).convolutions.values():
        for array in pair:
            assert array.base is None
            assert array.flags.c_contiguous


# Keras


@pytest.mark.parametrize("blocks", [tiny.VGG19, tiny.VGG16], ids=["VGG-19", "VGG-16"])
def test_keras_applications(tmp_path: Path, blocks: Sequence[int]) -> None:
    path = tmp_path / "network.h5"
    tiny.write_keras_h5(path, blocks=blocks)
    assert_tiny(read(path), blocks)


def test_keras_files_get_the_mean_they_were_trained_with(tmp_path: Path) -> None:
    tiny.write_keras_h5(tmp_path / "network.h5")
    assert read(tmp_path / "network.h5").mean.tolist() == list(IMAGENET_MEAN)


def applications(block: int, index: int) -> str:
    return f"block{block}_conv{index}"


def numbered(first: int) -> Callable[[int, int], str]:
    """The names that Keras itself gives in a process that has `first` convolutions already."""
    numbers = count(first)

    def name(block: int, index: int) -> str:
        number = next(numbers)
        return f"conv2d_{number}" if number else "conv2d"

    return name


def keras_model(
    name: Callable[[int, int], str | None],
    blocks: Sequence[int] = tiny.VGG19,
    classifier: bool = False,
) -> Any:
    """The tiny VGG as keras.applications would build it: for BGR, rectified in the layer."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for block, (channels, convolutions) in enumerate(zip(tiny.CHANNELS, blocks, strict=True), 1):
        for index in range(1, convolutions + 1):
            model.add(
                layers.Conv2D(
                    channels, 3, padding="same", activation="relu", name=name(block, index)
                )
            )
        model.add(layers.MaxPooling2D(name=f"block{block}_pool"))
    arrays = [array for pair in tiny.weights(blocks=blocks).values() for array in pair]
    model.set_weights([arrays[0][:, :, ::-1], *arrays[1:]])
    if classifier:
        for layer in (layers.Flatten(), layers.Dense(5), layers.Dense(2)):
            model.add(layer)
    return model


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
@pytest.mark.parametrize(
    ("name", "blocks", "classifier"),
    [
        (applications, tiny.VGG19, False),
        (applications, tiny.VGG16, True),
        (lambda block, index: None, tiny.VGG19, False),
        (numbered(0), tiny.VGG19, True),
        # conv2d_9 comes before conv2d_10, and conv2d_99 before conv2d_100.
        (numbered(5), tiny.VGG16, False),
        (numbered(95), tiny.VGG19, False),
    ],
    ids=["applications", "VGG-16", "unnamed", "from 0", "from 5", "from 95"],
)
def test_keras_saves_of_such_a_model(
    tmp_path: Path,
    name: Callable[[int, int], str | None],
    blocks: Sequence[int],
    classifier: bool,
    ending: str,
) -> None:
    path = tmp_path / f"network{ending}"
    model = keras_model(name, blocks, classifier)
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    assert_tiny(read(path), blocks)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_vgg_inside_another_keras_model(tmp_path: Path, ending: str) -> None:
    import keras

    path = tmp_path / f"network{ending}"
    inputs = keras.Input((32, 32, 3))
    inner = keras_model(applications)(keras.layers.Conv2D(3, 1)(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inner))
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    assert_tiny(read(path))


def test_optimizer_moments_are_not_taken_for_weights(tmp_path: Path) -> None:
    # What Keras 2.11 to 2.15 write of a trained model: the moments are laid out as the weights.
    path = tmp_path / "network.h5"
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in tiny.weights().items():
            layer = name.replace("conv", "block").replace("_", "_conv")
            kernel = kernel[:, :, ::-1] if name == "conv1_1" else kernel
            for factor, trail in ((1, f"model_weights/{layer}"), (0, "optimizer_weights/Adam/m")):
                file[f"{trail}/{layer}/kernel:0"] = factor * kernel
                file[f"{trail}/{layer}/bias:0"] = factor * bias
    assert_tiny(read(path))


# Our own


def test_npz_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    metadata = {"name": "compact", "source": "distilled", "sizes": [1, 2.5]}
    write_npz(path, tiny_weights(metadata=metadata))
    weights = read(path)
    assert_tiny(weights)
    assert weights.metadata == metadata
    assert weights.name == "compact"


def test_npz_keeps_float16_and_gives_float32(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    halves = {
        name: (kernel.astype(np.float16), bias) for name, (kernel, bias) in tiny.weights().items()
    }
    write_npz(path, Weights(halves, np.array(tiny.MEAN_PIXEL)))
    with np.load(path) as data:
        assert data["conv3_2/kernel"].dtype == np.float16
    for name, (kernel, _) in read(path).convolutions.items():
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel, halves[name][0])


def test_npz_keeps_factored_layers(tmp_path: Path) -> None:
    path = tmp_path / "network.npz"
    factored = tiny.factored()
    write_npz(path, Weights(dict(factored), np.array(tiny.MEAN_PIXEL)))
    weights = read(path)
    assert list(weights.convolutions) == list(factored)
    for name, arrays in weights.convolutions.items():
        assert len(arrays) == (2 if name == "conv1_1" else 4)
        for array, wanted in zip(arrays, factored[name], strict=True):
            np.testing.assert_array_equal(array, wanted)
    assert weights.name == "VGG-19 with 4/6/8/8/8 channels"


def test_npz_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    write_npz(tmp_path / "network", tiny_weights())
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
    assert_tiny(read(tmp_path / "network"))


@pytest.mark.parametrize("ending", [".mat", ".h5", ".npz", ".jpg", ""])
def test_content_decides_and_not_the_name(tmp_path: Path, ending: str) -> None:
    for number, write in enumerate(
        (tiny.write_mat, tiny.write_keras_h5, lambda path: write_npz(path, tiny_weights()))
    ):
        write(tmp_path / "written")
        named = (tmp_path / "written").rename(tmp_path / f"{number}{ending}")
        assert_tiny(read(named))


# What the weights say of themselves


def of_channels(channels: Sequence[int], blocks: Sequence[int]) -> Weights:
    convolutions = {}
    for block, (outputs, number) in enumerate(zip(channels, blocks, strict=True), 1):
        for index in range(1, number + 1):
            kernel = np.broadcast_to(np.float32(0), (3, 3, 1, outputs))
            convolutions[f"conv{block}_{index}"] = (kernel, np.zeros(outputs, np.float32))
    return Weights(convolutions, np.zeros(3))


@pytest.mark.parametrize(
    ("channels", "blocks", "name"),
    [
        ((64, 128, 256, 512, 512), tiny.VGG19, "VGG-19"),
        ((64, 128, 256, 512, 512), tiny.VGG16, "VGG-16"),
        (tiny.CHANNELS, tiny.VGG19, "VGG-19 with 4/6/8/8/8 channels"),
        ((64, 128, 256, 512), (2, 2, 4, 4), "VGG with 64/128/256/512 channels"),
    ],
)
def test_name(channels: Sequence[int], blocks: Sequence[int], name: str) -> None:
    assert of_channels(channels, blocks).name == name


def test_layers_are_all_activations_in_order() -> None:
    assert of_channels((4, 4), (2, 1)).layers == (
        *("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"),
        *("conv2_1", "relu2_1", "pool2"),
    )


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("relu4_5", "relu4_4"),
        ("RELU4_2", "relu4_2"),
        ("conv4-2", "conv4_2"),
        ("block4_conv2", "relu4_2"),
        ("block5_pool", "pool5"),
    ],
)
def test_an_unknown_layer_is_told_the_nearest_and_all(asked: str, meant: str) -> None:
    weights = tiny_weights()
    with pytest.raises(WeightsError) as caught:
        weights.check_layers(["relu1_1", asked, "nonsense"])
    assert str(caught.value) == (
        f"VGG-19 with 4/6/8/8/8 channels has no layer {asked!r} (did you mean {meant}?); "
        f"it has {', '.join(weights.layers)}"
    )


def test_a_layer_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(WeightsError, match="has no layer 'fc6'; it has conv1_1, relu1_1, "):
        tiny_weights().check_layers(["fc6"])


def test_known_layers_pass() -> None:
    weights = tiny_weights()
    weights.check_layers(weights.layers)


def test_nothing_heavy_is_imported_for_it(tmp_path: Path) -> None:
    """Wrong flags and files are told before the seconds that TensorFlow takes to start; SciPy and
    h5py, which read the published files, come with the first of those."""
    write_npz(tmp_path / "network.npz", tiny_weights())
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import vgg, vgg.fetch, vgg.weights\n"
        "for path in sys.argv[1:]:\n"
        "    vgg.weights.read(Path(path))\n"
        "print(sorted({'tensorflow', 'keras', 'scipy', 'h5py'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "network.npz"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.strip() == "[]"
