"""Read the weights of a VGG from a file: MatConvNet `.mat`, Keras HDF5, or our own `.npz`.

Whatever the file, the result is the same: kernels as TensorFlow wants them (height, width, in,
out), RGB input order, the mean pixel that the network was trained with, and the convolutions in
order. Classifier layers (fc6 …) are ignored, so files with and without them both load.
"""

from __future__ import annotations

import difflib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vgg.errors import WeightsError

# Keras' application files leave the mean to the caller; it is the one they were trained with
# (keras.applications.imagenet_utils, "caffe" mode), here in RGB order.
IMAGENET_MEAN = (123.68, 116.779, 103.939)

_KNOWN: dict[tuple[int, ...], str] = {(2, 2, 4, 4, 4): "VGG-19", (2, 2, 3, 3, 3): "VGG-16"}
_CHANNELS = (64, 128, 256, 512, 512)
_WANTED = "expected a VGG as MatConvNet .mat, Keras .h5 or .weights.h5, or .npz"

Convolutions = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Weights:
    """The convolutions of a VGG.

    Attributes:
        convolutions: `{"conv1_1": (kernel [3, 3, in, out], bias [out]), …}`, float32, in order,
            for RGB input.
        mean: the mean pixel `[3]`, RGB, 0-255, that is subtracted first.
        metadata: what the file says of itself (our `.npz` only).
    """

    convolutions: Convolutions
    mean: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Convolutions in each block: (2, 2, 4, 4, 4) for VGG-19."""
        numbers = [int(name[4]) for name in self.convolutions]
        return tuple(numbers.count(block) for block in range(1, numbers[-1] + 1))

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all activations, in order: conv1_1, relu1_1, …, pool5."""
        names = []
        for block, count in enumerate(self.blocks, 1):
            for index in range(1, count + 1):
                names += [f"conv{block}_{index}", f"relu{block}_{index}"]
            names.append(f"pool{block}")
        return tuple(names)

    @property
    def name(self) -> str:
        """VGG-19 or VGG-16 for the published networks, else its own name or its shape."""
        if "name" in self.metadata:
            return str(self.metadata["name"])
        channels = [self.convolutions[f"conv{b}_1"][1].size for b in range(1, len(self.blocks) + 1)]
        known = _KNOWN.get(self.blocks)
        if known and tuple(channels) == _CHANNELS:
            return known
        return f"{known or 'VGG'} with {'/'.join(map(str, channels))} channels"

    def check_layers(self, layers: Iterable[str]) -> None:
        """Whether the network has all these layers.

        Raises:
            WeightsError: it lacks one; names the nearest and lists the valid ones.
        """
        for name in layers:
            if name not in self.layers:
                near = difflib.get_close_matches(name, self.layers, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise WeightsError(
                    f"{self.name} has no layer {name!r}{hint}; it has {', '.join(self.layers)}"
                )


def read(path: Path) -> Weights:
    """Read and check a weights file; its kind is told by its content, not its name.

    Raises:
        WeightsError: missing, not one of the kinds, truncated, or not a VGG.
    """
    try:
        with path.open("rb") as file:
            head = file.read(128)
    except OSError as error:
        raise WeightsError(f"cannot read the network {path}: {error.strerror}") from error
    try:
        weights = _reader(head)(path)
    except WeightsError as error:
        raise WeightsError(f"cannot read the network {path}: {error}") from None
    except (
        # What scipy, h5py, zipfile and numpy raise on damaged files; each reads untrusted bytes.
        *(OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(NotImplementedError, MemoryError, OverflowError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"cannot read the network {path}: {_WANTED}, got a damaged or other file "
            f"({reason[:120]}); download it again, or see `neural-style-tf weights`"
        ) from error
    _check(path, weights)
    return weights


def write_npz(path: Path, weights: Weights) -> None:
    """Write our own format: one array a kernel and bias, the mean, the metadata as JSON."""
    arrays: dict[str, Any] = {
        "mean": weights.mean,
        "metadata": np.array(json.dumps(weights.metadata)),
    }
    for name, (kernel, bias) in weights.convolutions.items():
        arrays[f"{name}/kernel"] = kernel
        arrays[f"{name}/bias"] = bias
    np.savez_compressed(path, **arrays)


def _reader(head: bytes) -> Callable[[Path], Weights]:
    if head.startswith(b"MATLAB"):
        # MATLAB's version 7.3 is HDF5 behind a 512-byte header; both published files are older.
        return _read_mat
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _read_keras
    if head.startswith(b"PK"):
        return _read_npz
    if not head:
        raise WeightsError(f"{_WANTED}, got an empty file; download it again")
    raise WeightsError(f"{_WANTED}, got something else; see `neural-style-tf weights`")


def _read_mat(path: Path) -> Weights:
    """MatConvNet's two published layouts: 2014 (`normalization`) and 2018 (`meta`)."""
    import scipy.io

    data = scipy.io.loadmat(str(path))
    if "layers" not in data:
        found = ", ".join(sorted(key for key in data if not key.startswith("__"))) or "nothing"
        raise WeightsError(f"expected MatConvNet's 'layers' in the .mat file, got {found}")
    convolutions: Convolutions = {}
    for cell in data["layers"][0]:
        layer = cell[0, 0]
        name = str(layer["name"][0])
        if re.fullmatch(r"conv\d_\d", name):
            kernel, bias = layer["weights"][0]
            # MatConvNet keeps kernels as width, height, in, out.
            convolutions[name] = (kernel.transpose(1, 0, 2, 3), bias.reshape(-1))
    normalization = (data["meta"]["normalization"][0, 0] if "meta" in data else
                     data["normalization"])  # fmt: skip
    image = np.asarray(normalization[0, 0]["averageImage"], np.float64)
    # 2014: a whole [224, 224, 3] mean image; 2018: one pixel [1, 1, 3].
    return Weights(convolutions, image.reshape(-1, 3).mean(0))


def _read_keras(path: Path) -> Weights:
    """Keras' application files and what Keras 2 and 3 save of such a model.

    Their kernels are for BGR input ("caffe" mode): the first one is turned round.
    """
    import h5py

    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def collect(group: Any, trail: str) -> None:
        arrays = [np.asarray(v) for v in group.values() if isinstance(v, h5py.Dataset)]
        kernels = [a for a in arrays if a.ndim == 4]
        biases = [a for a in arrays if a.ndim == 1]
        if len(kernels) == len(biases) == 1:
            found[trail] = (kernels[0], biases[0])
        for key, value in group.items():
            if isinstance(value, h5py.Group):
                collect(value, f"{trail}/{key}")

    with h5py.File(path, "r") as file:
        collect(file, "")
        names = {trail: str(file[trail].parent.attrs.get("name", "")) for trail in found}
    named = {
        f"conv{match[1]}_{match[2]}": pair
        for trail, pair in found.items()
        if (match := re.search(r"block(\d)_conv(\d)", f"{trail} {names[trail]}"))
    }
    convolutions = (
        dict(sorted(named.items()))
        if named
        else dict(zip(_vgg_names(len(found)), _in_order(found), strict=True))
    )
    if "conv1_1" in convolutions:
        kernel, bias = convolutions["conv1_1"]
        convolutions["conv1_1"] = (kernel[:, :, ::-1, :], bias)
    return Weights(convolutions, np.array(IMAGENET_MEAN))


def _in_order(found: Convolutions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Keras 3 names the layers of an unnamed model conv2d, conv2d_1, …: order by the number."""

    def number(trail: str) -> int:
        match = re.search(r"conv2d(?:_(\d+))?(?:/|$)", trail)
        if not match:
            raise WeightsError(f"expected layers named block1_conv1 or conv2d, got {trail!r}")
        return int(match[1] or 0)

    return (found[trail] for trail in sorted(found, key=number))


def _vgg_names(count: int) -> list[str]:
    for blocks in _KNOWN:
        if sum(blocks) == count:
            return [f"conv{b}_{i}" for b, n in enumerate(blocks, 1) for i in range(1, n + 1)]
    raise WeightsError(f"expected 16 (VGG-19) or 13 (VGG-16) convolutions, got {count}")


def _read_npz(path: Path) -> Weights:
    with np.load(path, allow_pickle=False) as data:
        names = [key.removesuffix("/kernel") for key in data.files if key.endswith("/kernel")]
        if not names or "mean" not in data:
            raise WeightsError("expected arrays conv1_1/kernel, conv1_1/bias, …, mean in the .npz")
        return Weights(
            {name: (data[f"{name}/kernel"], data[f"{name}/bias"]) for name in names},
            data["mean"],
            json.loads(str(data["metadata"])) if "metadata" in data else {},
        )


def _check(path: Path, weights: Weights) -> None:
    """A VGG is a chain of 3×3 convolutions named block by block, from RGB."""

    def wrong(expected: str, got: object) -> WeightsError:
        return WeightsError(f"{path} is not a VGG network: expected {expected}, got {got}")

    if not weights.convolutions:
        raise wrong("convolutions named conv1_1, conv1_2, …", "none")
    channels, previous = 3, (1, 0)
    for name, (kernel, bias) in weights.convolutions.items():
        match = re.fullmatch(r"conv(\d)_(\d)", name)
        here = (int(match[1]), int(match[2])) if match else (0, 0)
        if here not in ((previous[0], previous[1] + 1), (previous[0] + 1, 1)):
            raise wrong("conv1_1, conv1_2, … in order", f"{name} after conv{previous}")
        if kernel.ndim != 4 or kernel.shape[:3] != (3, 3, channels):
            raise wrong(f"a kernel [3, 3, {channels}, n] in {name}", list(kernel.shape))
        if bias.shape != kernel.shape[3:]:
            raise wrong(f"a bias of {kernel.shape[3]} in {name}", list(bias.shape))
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise wrong(f"finite numbers in {name}", "NaN or infinity")
        weights.convolutions[name] = (
            np.ascontiguousarray(kernel, np.float32),
            np.ascontiguousarray(bias, np.float32),
        )
        channels, previous = kernel.shape[3], here
    if weights.mean.shape != (3,) or not np.isfinite(weights.mean).all():
        raise wrong("a mean pixel of three finite numbers", weights.mean)
