"""Read the weights of a VGG from a file: MatConvNet `.mat`, Keras HDF5, or our own `.npz`.

Whatever the file, the result is the same: kernels as TensorFlow wants them (height, width, in,
out), RGB input order, the mean pixel that the network was trained with, and the convolutions in
order. Classifier layers (fc6 …) are ignored, so files with and without them both load.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
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
_ADVICE = "to get one: `python -m neural_style_tf weights`"

# Of each layer its kernel and bias; or, where it is factored, its kernels in turn and the bias.
Convolutions = dict[str, tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Weights:
    """The convolutions of a VGG.

    Attributes:
        convolutions: `{"conv1_1": (kernel [3, 3, in, out], bias [out]), …}`, float32, in order,
            for RGB input. A factored layer has several kernels, `(kernel [1, 1, in, a],
            kernel [3, 3, a, b], kernel [1, 1, b, out], bias [out])`: one of them 3×3, the others
            1×1, applied in turn with nothing between.
        mean: the mean pixel `[3]`, RGB, 0-255, that is subtracted first.
        metadata: what the file says of itself (our `.npz` only).
        embeddings: `{"conv1_1": [k, C], "relu1_1": [k, C], …}` of layers that have k of the C
            channels of the network that this one was made from: the activation times this is,
            nearly, that network's.
    """

    convolutions: Mapping[str, tuple[np.ndarray, ...]]
    mean: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)

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

    def embedding(self, layer: str) -> np.ndarray | None:
        """That of an activation; without one of its own that of the rectifier beside it, if any.

        For a pooling and for what is before a rectifier that is the nearest that is known.
        """
        place = self.layers.index(layer) + {"conv": 1, "relu": 0, "pool": -1}[layer[:4]]
        return self.embeddings.get(layer, self.embeddings.get(self.layers[place]))

    @property
    def name(self) -> str:
        """VGG-19 or VGG-16 for the published networks, else its own name or its shape."""
        if "name" in self.metadata:
            return str(self.metadata["name"])
        channels = [
            self.convolutions[f"conv{b}_1"][-1].size for b in range(1, len(self.blocks) + 1)
        ]
        known = _KNOWN.get(self.blocks)
        if known and tuple(channels) == _CHANNELS:
            return known
        return f"{known or 'VGG'} with {'/'.join(map(str, channels))} channels"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all the numbers: the same weights, whatever file they came from."""
        digest = hashlib.sha256(np.asarray(self.mean, np.float32).tobytes())
        embeddings = ((name, (matrix,)) for name, matrix in self.embeddings.items())
        for name, arrays in (*self.convolutions.items(), *embeddings):
            digest.update(name.encode())
            for array in arrays:
                digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def measures(self, pooling: str) -> dict[str, str]:
        """What numbers made by this network, with that pooling, depend on beside the pixels."""
        return {"network": self.fingerprint, "pooling": pooling}

    def check_layers(self, layers: Iterable[str]) -> None:
        """Whether the network has all these layers.

        Raises:
            WeightsError: it lacks one; names the nearest and lists the valid ones.
        """
        for name in layers:
            if name not in self.layers:
                # Keras' own names; its convolutions end with the rectifier.
                usual = re.sub(r"^block(\d)_conv(?=\d)", r"relu\1_", name.lower())
                usual = re.sub(r"^block(\d)_pool", r"pool\1", usual)
                near = difflib.get_close_matches(usual, self.layers, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise _error(
                    f"{self.name} has no layer {name!r}{hint}; it has {', '.join(self.layers)}"
                )


def read(path: Path) -> Weights:
    """Read and check a weights file; its kind is told by its content, not its name.

    Raises:
        WeightsError: missing, not one of the kinds, damaged, or not a VGG.
    """
    try:
        with path.open("rb") as file:
            head = file.read(128)
    except FileNotFoundError:
        raise _unread(path, f"{_WANTED}, got no file") from None
    except IsADirectoryError:
        raise _unread(path, f"{_WANTED}, got a folder") from None
    except (OSError, ValueError) as error:
        raise _unread(path, getattr(error, "strerror", "") or str(error)) from error

    kind = "file"
    try:
        kind, reader = _told_by(head)
        return _checked(reader(path))
    except WeightsError as error:
        raise _unread(path, str(error)) from None
    except ImportError:
        raise
    # Not a list of types: on damaged bytes h5py, zipfile and NumPy raise whatever a codec, a
    # tokenizer or a struct below them does.
    except Exception as error:
        reason = str(error)[:120] or type(error).__name__
        raise _unread(path, f"{_WANTED}, got a damaged or other {kind} ({reason})") from error


def write_npz(path: Path, weights: Weights) -> None:
    """Write our own format: one array a kernel, bias and embedding, the mean, metadata as JSON.

    Arrays keep their type, so float16 makes a file half as large; `read` returns float32.
    """
    arrays: dict[str, Any] = {
        "mean": weights.mean,
        "metadata": np.array(json.dumps(weights.metadata)),
    }
    for name, (*kernels, bias) in weights.convolutions.items():
        for number, kernel in enumerate(kernels, 1):
            arrays[f"{name}/kernel{number if len(kernels) > 1 else ''}"] = kernel
        arrays[f"{name}/bias"] = bias
    arrays |= {f"{name}/embedding": matrix for name, matrix in weights.embeddings.items()}
    # To a path, NumPy would add .npz where that is missing.
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _told_by(head: bytes) -> tuple[str, Callable[[Path], Weights]]:
    """The kind of a file by its first bytes, in words, and the reader of that kind."""
    if head.startswith(b"MATLAB 7.3"):
        raise WeightsError(
            "expected a MATLAB file of version 5, got 7.3; save it there with save(FILE, '-v7')"
        )
    if head.startswith(b"MATLAB"):
        return "MATLAB file", _read_mat
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5 file", _read_keras
    if head.startswith(b"PK"):
        return "zip file", _read_npz
    if not head:
        raise WeightsError(f"{_WANTED}, got an empty file")
    # An error page or a pointer to the real file says so in its first line.
    line = head.decode("utf-8", "replace").strip().partition("\n")[0].strip()
    raise WeightsError(f"{_WANTED}, got {f'text: {line:.40}' if line.isprintable() else 'neither'}")


def _read_mat(path: Path) -> Weights:
    """MatConvNet's two published layouts: 2014 (`normalization`) and 2018 (`meta`)."""
    import scipy.io

    data = scipy.io.loadmat(path, struct_as_record=False)
    if "layers" not in data:
        found = ", ".join(sorted(k for k in data if not k.startswith("__"))[:8]) or "nothing"
        raise WeightsError(f"expected MatConvNet's cell array 'layers', got {found}")
    convolutions: Convolutions = {}
    for cell in data["layers"].flat:
        layer = cell[0, 0]
        name = str(layer.name[0])
        if re.fullmatch(r"conv\d_\d", name):
            if layer.weights.size != 2:
                raise WeightsError(f"expected the weights of {name} as kernel and bias")
            kernel, bias = layer.weights.flat
            # MatConvNet keeps kernels as width, height, in, out, and a bias as a row or column.
            convolutions[name] = (np.swapaxes(kernel, 0, 1), bias.reshape(-1))
    normalization = (data["meta"][0, 0].normalization if "meta" in data
                     else data.get("normalization"))  # fmt: skip
    if normalization is None:
        raise WeightsError(
            "expected the mean pixel in meta.normalization or normalization, got none"
        )
    # 2014: a whole [224, 224, 3] mean image; 2018: one pixel [1, 1, 3].
    image = np.asarray(normalization[0, 0].averageImage, np.float64)
    return Weights(convolutions, image.mean((0, 1)) if image.ndim == 3 else image.reshape(-1))


def _read_keras(path: Path) -> Weights:
    """Keras' application files and what Keras 2 and 3 save of such a model.

    Their kernels are for BGR input ("caffe" mode): the first one is turned round.
    """
    import h5py

    groups: dict[str, list[Any]] = {}
    found: Convolutions = {}

    # No attributes, where Keras 3 keeps the names of layers: in a damaged file HDF5 may follow
    # their texts out of memory or round in circles.
    def collect(trail: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (1, 4):
            groups.setdefault(trail.rpartition("/")[0], []).append(item)

    # Not locked: the cache may lie on a file system that has no locks.
    with h5py.File(path, "r", locking=False) as file:
        # Beside the weights, a model that was trained keeps averages of their gradients.
        file.get("model_weights", file).visititems(collect)
        for trail, arrays in groups.items():
            arrays.sort(key=lambda array: array.ndim)
            if [array.ndim for array in arrays] == [1, 4]:
                found[trail] = (np.asarray(arrays[1]), np.asarray(arrays[0]))

    convolutions: Convolutions = {}
    for trail in sorted(found):
        if match := re.search(r"(?<![a-z\d])block(\d)_conv(\d)(?!\d)", trail):
            name = f"conv{match[1]}_{match[2]}"
            if name in convolutions:
                raise WeightsError(f"expected one VGG, got a model with several {match[0]}")
            convolutions[name] = found[trail]
    convolutions = dict(sorted(convolutions.items())) or _in_order(found)
    if "conv1_1" in convolutions:
        kernel, bias = convolutions["conv1_1"]
        convolutions["conv1_1"] = (kernel[:, :, ::-1, :], bias)
    return Weights(convolutions, np.array(IMAGENET_MEAN))


def _in_order(found: Convolutions) -> Convolutions:
    """The convolutions of a model without names: Keras calls them conv2d, conv2d_1, …, conv2d_10.

    A process that has built other models before begins with a higher number. Keras 3 calls named
    layers so, too, in its `.weights.h5`.
    """
    models: dict[str, dict[int, tuple[np.ndarray, ...]]] = {}
    for trail, pair in found.items():
        if match := re.match(r"(.*?)(?<![a-z_])conv2d(?:_(\d+))?(?:/|$)", trail):
            models.setdefault(match[1], {})[int(match[2] or 0)] = pair
    # A VGG may be a part of a model that has convolutions of its own.
    for blocks in _KNOWN:
        for model in models.values():
            if len(model) == sum(blocks):
                names = [f"conv{b}_{i}" for b, n in enumerate(blocks, 1) for i in range(1, n + 1)]
                return {name: model[n] for name, n in zip(names, sorted(model), strict=True)}
    got = ", ".join(map(str, map(len, models.values()))) or f"layers {', '.join(sorted(found)[:8])}"
    raise WeightsError(
        "expected layers named block1_conv1, …, or 16 (VGG-19) or 13 (VGG-16) convolutions, "
        f"got {got if found else 'none'}"
    )


def _read_npz(path: Path) -> Weights:
    # np.load leaves a file open that it opened itself and cannot read.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        kernels: dict[str, list[str]] = {}
        for key in data.files:
            if match := re.fullmatch(r"(.+)/kernel\d?", key):
                kernels.setdefault(match[1], []).append(key)
        if not kernels or "mean" not in data:
            found = ", ".join(data.files[:8]) or "nothing"
            raise WeightsError(
                f"expected arrays conv1_1/kernel, conv1_1/bias, …, mean in a .npz, got {found}"
            )
        metadata = json.loads(str(data["metadata"])) if "metadata" in data else {}
        if not isinstance(metadata, dict):
            raise WeightsError(f"expected metadata as a JSON object, got {type(metadata).__name__}")
        convolutions = {
            name: tuple(data[key] for key in (*sorted(keys), f"{name}/bias"))
            for name, keys in kernels.items()
        }
        embeddings = {
            match[1]: data[key]
            for key in data.files
            if (match := re.fullmatch(r"(.+)/embedding", key))
        }
        return Weights(convolutions, data["mean"], metadata, embeddings)


def _checked(weights: Weights) -> Weights:
    """A VGG is a chain of 3×3 convolutions named block by block, from RGB."""
    convolutions: Convolutions = {}
    channels, expected = 3, ["conv1_1"]
    for name, arrays in weights.convolutions.items():
        if name not in expected:
            raise WeightsError(f"expected a layer {' or '.join(expected)} next, got {name}")
        *kernels, bias = (_numbers(array, np.float32, name) for array in arrays)
        _check_kernels(name, kernels, channels)
        channels = kernels[-1].shape[3]
        if bias.shape != (channels,):
            raise WeightsError(f"expected a bias [{channels}] in {name}, got {list(bias.shape)}")
        convolutions[name] = (*kernels, bias)
        block, index = int(name[4]), int(name[6:])
        expected = [f"conv{block}_{index + 1}", f"conv{block + 1}_1"]
    if not convolutions:
        raise WeightsError("expected convolutions conv1_1, conv1_2, …, got none")
    mean = _numbers(weights.mean, np.float64, "the mean pixel")
    if mean.shape != (3,):
        raise WeightsError(f"expected a mean pixel [3], got {list(mean.shape)}")
    embeddings = _embeddings(weights.embeddings, convolutions)
    return Weights(convolutions, mean, weights.metadata, embeddings)


def _embeddings(
    given: Mapping[str, np.ndarray], convolutions: Convolutions
) -> dict[str, np.ndarray]:
    """Each from as many channels as its layer has."""
    embeddings = {}
    for name, array in given.items():
        *_, bias = convolutions.get(name.replace("relu", "conv"), (None,))
        if bias is None:
            raise WeightsError(f"expected embeddings of conv1_1, relu1_1, …, got one of {name}")
        matrix = _numbers(array, np.float32, f"the embedding of {name}")
        if matrix.ndim != 2 or matrix.shape[0] != bias.size or not matrix.size:
            raise WeightsError(
                f"expected an embedding [{bias.size}, n] of {name}, got {list(matrix.shape)}"
            )
        embeddings[name] = matrix
    return embeddings


def _check_kernels(name: str, kernels: list[np.ndarray], channels: int) -> None:
    """One kernel 3×3, any others 1×1, each from as many channels as the one before gives."""
    for kernel in kernels:
        side = 3 if len(kernels) == 1 or kernel.shape[:1] == (3,) else 1
        if kernel.ndim != 4 or kernel.shape[:3] != (side, side, channels) or not kernel.size:
            raise WeightsError(
                f"expected a kernel [{side}, {side}, {channels}, n] in {name}, "
                f"got {list(kernel.shape)}"
            )
        channels = kernel.shape[3]
    wide = [kernel.shape[0] for kernel in kernels].count(3)
    if wide != 1:
        raise WeightsError(f"expected one kernel [3, 3, …] among those of {name}, got {wide}")


def _numbers(array: Any, dtype: type[np.floating], where: str) -> np.ndarray:
    """A contiguous copy, so that nothing keeps the whole file in memory."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiu":
        raise WeightsError(f"expected numbers in {where}, got {array.dtype}")
    with np.errstate(all="ignore"):
        array = np.array(array, dtype, order="C")
    if not np.isfinite(array).all():
        raise WeightsError(f"expected finite numbers in {where}, got NaN or infinity")
    return array


def _unread(path: Path, reason: str) -> WeightsError:
    # Cut, for a file may quote names of any length.
    return _error(f"cannot read the network {path}: {reason:.400}; {_ADVICE}")


def _error(text: str) -> WeightsError:
    # A path, and what a file says of itself, may hold line ends and what a terminal would obey.
    return WeightsError("".join(char if char.isprintable() else " " for char in text))
