"""A tiny real VGG-19, the files it is published in, and pictures: what the tests run on.

The topology, layer names and 3×3 convolutions are VGG's; only the channels are few. Everything is
drawn from seeded generators, so that goldens recorded elsewhere hold here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
import scipy.io

Weights = dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]

CHANNELS = (4, 6, 8, 8, 8)
VGG19 = (2, 2, 4, 4, 4)
VGG16 = (2, 2, 3, 3, 3)
MEAN_PIXEL = (123.68, 116.779, 103.939)

# Times the deviation that He et al. 2015 give for rectifiers. The first layer brings pixels (±100)
# down; the others make up for biases, poolings and few channels; the two content layers stand out
# and the layers after them undo it. With these the content, style and total variation terms have
# about the same order of magnitude at the default weights 5, 500 and 100, and Adam's steps of 10
# descend, as they do with the real network.
_GAIN = 1.15
_GAINS = {"conv1_1": 0.15, "conv4_2": 4.0, "conv4_3": 0.3, "conv5_2": 4.0, "conv5_3": 0.3}
# Not below zero, so that no rectifier is dead for every picture.
_BIASES = (0.0, 3.0)


def weights(channels: Sequence[int] = CHANNELS, blocks: Sequence[int] = VGG19) -> Weights:
    """The convolutions in order.

    Args:
        channels: outputs of the convolutions of each block.
        blocks: convolutions in each block; `VGG16` for a VGG-16.

    Returns:
        `{"conv1_1": (kernel [3, 3, in, out], bias [out]), …}`, float32, for RGB input less
        `MEAN_PIXEL`.
    """
    generator = np.random.default_rng(19)
    convolutions: Weights = {}
    inputs = 3
    for block, (outputs, count) in enumerate(zip(channels, blocks, strict=True), 1):
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            deviation = _GAINS.get(name, _GAIN) * np.sqrt(2 / (9 * inputs))
            kernel = generator.normal(0, deviation, (3, 3, inputs, outputs))
            bias = generator.uniform(*_BIASES, outputs)
            convolutions[name] = (kernel.astype(np.float32), bias.astype(np.float32))
            inputs = outputs
    return convolutions


def factored(
    ranks: tuple[int, int] = (3, 4), blocks: Sequence[int] = VGG19
) -> dict[str, tuple[npt.NDArray[np.float32], ...]]:
    """A network of the same shape whose layers are factored, all but the first, as ours is.

    Returns:
        `{"conv1_1": (kernel, bias), "conv1_2": (kernel [1, 1, in, a], kernel [3, 3, a, b], kernel
        [1, 1, b, out], bias [out]), …}`, float32.
    """
    generator = np.random.default_rng(5)
    convolutions: dict[str, tuple[npt.NDArray[np.float32], ...]] = {}
    for name, (kernel, bias) in weights(blocks=blocks).items():
        inputs, outputs = kernel.shape[2:]
        narrow, middle = ranks
        shapes = ((1, 1, inputs, narrow), (3, 3, narrow, middle), (1, 1, middle, outputs))
        factors = [
            generator.normal(0, np.sqrt(2 ** (1 / 3) / np.prod(shape[:3])), shape).astype(
                np.float32
            )
            for shape in shapes
        ]
        convolutions[name] = (*factors, bias) if convolutions else (kernel, bias)
    return convolutions


def composed(convolutions: dict[str, tuple[npt.NDArray[np.float32], ...]]) -> Weights:
    """The same network with one kernel a layer: its factors multiplied out."""
    whole: Weights = {}
    for name, (*kernels, bias) in convolutions.items():
        if len(kernels) == 3:
            first, second, third = (kernel.astype(np.float64) for kernel in kernels)
            product = np.einsum("ia,hwab,bo->hwio", first[0, 0], second, third[0, 0])
            kernels = [product.astype(np.float32)]
        whole[name] = (kernels[0], bias)
    return whole


def write_mat(
    path: Path,
    *,
    layout: Literal["2018", "2014"] = "2018",
    blocks: Sequence[int] = VGG19,
    classifier: bool = False,
) -> None:
    """Write `weights(blocks=blocks)` as MatConvNet published VGG.

    Args:
        path: the file to write.
        layout: "2018" (`meta`, one mean pixel, the name is a layer's first field) or "2014"
            (`normalization`, a 224×224 mean image, the weights are a layer's first field).
        blocks: convolutions in each block.
        classifier: also fc6, relu6 and prob, as the whole published files have.
    """
    layers = list(_mat_layers(weights(blocks=blocks), layout, classifier))
    classes = {"name": _cell("n00000001", "n00000002"), "description": _cell("one", "two")}
    data: dict[str, Any] = {"layers": _cell(*layers)}
    mean = np.array(MEAN_PIXEL)
    if layout == "2018":
        normalization = {
            "imageSize": np.array([[224.0, 224.0, 3.0, 10.0]]),
            "interpolation": "bilinear",
            "averageImage": mean.astype(np.float32).reshape(1, 1, 3),
            "border": np.array([[32.0, 32.0]]),
        }
        data["meta"] = {"normalization": normalization, "classes": classes}
    else:
        # Not flat: a reader that takes one pixel of it, not the mean, must be found out.
        slope = np.linspace(-20, 20, 224)[:, None, None]
        data["normalization"] = {
            "averageImage": np.broadcast_to(mean + slope, (224, 224, 3)),
            "keepAspect": 1.0,
            "border": np.array([[32.0, 32.0]]),
            "imageSize": np.array([[224.0, 224.0, 3.0]]),
            "interpolation": "bilinear",
        }
        data["classes"] = classes
    scipy.io.savemat(path, data, do_compression=True)


def write_keras_h5(path: Path, *, blocks: Sequence[int] = VGG19) -> None:
    """Write `weights(blocks=blocks)` as keras.applications publishes VGG without its classifier.

    The first kernel is for BGR input, and the mean pixel is not in the file.
    """
    with h5py.File(path, "w") as file:
        names = ["input_1"]
        file.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for name, (kernel, bias) in weights(blocks=blocks).items():
            block, index = name.removeprefix("conv").split("_")
            layer = f"block{block}_conv{index}"
            group = file.create_group(layer)
            tensors = {
                f"{layer}_W_1:0": kernel[:, :, ::-1] if name == "conv1_1" else kernel,
                f"{layer}_b_1:0": bias,
            }
            for key, value in tensors.items():
                group[key] = value
            group.attrs["weight_names"] = np.array([key.encode() for key in tensors])
            names.append(layer)
            if int(index) == blocks[int(block) - 1]:
                pool = f"block{block}_pool"
                file.create_group(pool).attrs["weight_names"] = np.array([], "S1")
                names.append(pool)
        file.attrs["layer_names"] = np.array([name.encode() for name in names])


def picture(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Soft discs on a slope of colour, under waves: `[height, width, 3]` RGB, 0-255.

    Neither flat (where every gradient is a tie) nor noise (which no network is made for).
    """
    generator = np.random.default_rng(seed)
    side = max(height, width)
    y, x = np.mgrid[0:height, 0:width] / side
    angle = generator.uniform(0, 2 * np.pi)
    slope = (x * np.cos(angle) + y * np.sin(angle) + 1) / 2
    low, high = generator.uniform(20, 235, (2, 3))
    canvas = low + (high - low) * slope[..., None]  # [height, width, 3]
    for _ in range(7):
        distance = np.hypot(
            y - generator.uniform(0, height / side), x - generator.uniform(0, width / side)
        )
        inside = 1 / (1 + np.exp(60 * (distance - generator.uniform(0.08, 0.3))))
        canvas += (generator.uniform(0, 255, 3) - canvas) * inside[..., None]
    for frequency in generator.uniform(20, 90, 3):
        angle = generator.uniform(0, np.pi)
        wave = np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)))
        canvas += 10 * wave[..., None] * generator.uniform(0.3, 1, 3)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _mat_layers(convolutions: Weights, layout: str, classifier: bool) -> Iterator[dict[str, Any]]:
    def fields(name: str, kind: str, **others: Any) -> dict[str, Any]:
        named = {"name": name, "type": kind}
        # The 2017 program tells the layouts apart by what a layer's first field is.
        return named | others if layout == "2018" else others | named

    def convolution(name: str, kernel: npt.NDArray[Any], bias: npt.NDArray[Any], pad: int) -> Any:
        # MatConvNet keeps kernels as width, height, in, out, and a bias as a matrix.
        bias = bias.reshape((-1, 1) if layout == "2018" else (1, -1))
        return fields(
            name,
            "conv",
            weights=_cell(kernel.transpose(1, 0, 2, 3), bias),
            pad=np.full((1, 4), float(pad)),
            stride=np.ones((1, 2)),
        )

    def rectifier(name: str) -> dict[str, Any]:
        # In 2018 each has an empty `weights`, on which a careless reader trips.
        empty = {"weights": np.zeros((0, 0))} if layout == "2018" else {}
        return fields(name, "relu", leak=0.0, **empty)

    names = list(convolutions)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel, bias = convolutions[name]
        yield convolution(name, kernel, bias, 1)
        yield rectifier(name.replace("conv", "relu"))
        if not following.startswith(name[:5]):
            yield fields(
                f"pool{name[4]}",
                "pool",
                stride=np.full((1, 2), 2.0),
                pad=np.zeros((1, 4)),
                method="max",
                pool=np.full((1, 2), 2.0),
            )
    if classifier:
        channels = convolutions[names[-1]][1].size
        yield convolution("fc6", np.ones((7, 7, channels, 2), np.float32), np.zeros(2, "f4"), 0)
        yield rectifier("relu6")
        yield fields("prob", "softmax")


def _cell(*values: Any) -> npt.NDArray[np.object_]:
    """A MATLAB cell `[1, n]`."""
    cell = np.empty((1, len(values)), object)
    for index, value in enumerate(values):
        cell[0, index] = value
    return cell


def near() -> Weights:
    """The tiny network, a little off: what may draft for it."""
    generator = np.random.default_rng(3)
    return {
        name: (kernel * generator.normal(1, 0.05, kernel.shape).astype(np.float32), bias)
        for name, (kernel, bias) in weights().items()
    }
