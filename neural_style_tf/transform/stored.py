"""Trained networks on disk, read without Keras: it would take longer than painting does.

A `.keras` file is what Keras wrote of a `TransformNet`. A `.npz` file holds the same: `settings` is
JSON, the other arrays are the weights, which may be float16.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neural_style_tf import files
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.transform.architecture import Architecture

EXTENSIONS = (".keras", ".npz")
_EXPECTED = "expected a network trained by `neural-style-tf train`"


class Net(NamedTuple):
    """A trained network.

    Attributes:
        architecture: how large it is.
        styles: a name for each.
        weights: `{name: float32}`, see `Architecture.shapes`.
        card: what is told of how it was trained.
    """

    architecture: Architecture
    styles: tuple[str, ...]
    weights: dict[str, npt.NDArray[np.float32]]
    card: dict[str, Any]

    def with_styles(self, names: Sequence[str]) -> Net:
        """The same for other styles: those that it knows as they are, others in between all."""

        def row(weight: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
            return weight[self.styles.index(name)] if name in self.styles else weight.mean(axis=0)

        weights = {
            key: np.stack([row(weight, name) for name in names])
            if key.endswith(("/scale", "/offset"))
            else weight
            for key, weight in self.weights.items()
        }
        return self._replace(styles=tuple(names), weights=weights)


def read_net(path: files.StrPath) -> Net:
    """Read a network.

    Raises:
        FileError: no such file, or not a network of ours.
    """
    data = files.read_bytes(path, "network")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
        net = _from_keras(data) if "config.json" in names else _from_npz(data)
        _check(net)
    # On damaged bytes zipfile, h5py, NumPy and JSON raise whatever they do.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FileError(
            f"cannot read network {files.shown(path)}: {_EXPECTED}, got a damaged or other file "
            f"({reason})"
        ) from error
    return net


def packed(net: Net, kind: type = np.float32) -> bytes:
    """The bytes of a `.npz` file of the network, its weights float32 or float16."""
    settings = {
        "architecture": dataclasses.asdict(net.architecture),
        "styles": list(net.styles),
        "card": net.card,
    }
    stream = io.BytesIO()
    arrays: dict[str, Any] = {name: array.astype(kind) for name, array in net.weights.items()}
    np.savez_compressed(stream, settings=np.array(json.dumps(settings)), **arrays)
    return stream.getvalue()


def _from_npz(data: bytes) -> Net:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        settings = json.loads(str(arrays["settings"]))
        weights = {
            name: arrays[name].astype(np.float32) for name in arrays.files if name != "settings"
        }
    return _net(settings, weights)


def _from_keras(data: bytes) -> Net:
    import h5py

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        config = json.loads(archive.read("config.json"))
        stored = io.BytesIO(archive.read("model.weights.h5"))
    if config.get("registered_name", "").rpartition(">")[2] != "TransformNet":
        raise ValueError(f"a Keras model of another kind, {config.get('class_name')}")
    settings = config["config"]
    names = Architecture(**settings["architecture"]).shapes(len(settings["styles"]))
    with h5py.File(stored, "r") as file:
        weights = {name: file[f"vars/{index}"][()] for index, name in enumerate(names)}
    return _net(settings, weights)


def _net(settings: Mapping[str, Any], weights: dict[str, Any]) -> Net:
    styles: Sequence[str] = settings["styles"]
    return Net(
        Architecture(**settings["architecture"]), tuple(styles), weights, dict(settings["card"])
    )


def _check(net: Net) -> None:
    shapes = net.architecture.shapes(len(net.styles))
    if not net.styles or set(shapes) != set(net.weights):
        raise ValueError("other weights than its architecture has")
    for name, shape in shapes.items():
        weight = net.weights[name]
        if weight.shape != shape or not np.isfinite(weight).all():
            raise ValueError(f"{name} has another shape, or is not finite")


def check_net_target(path: files.StrPath, *, overwrite: bool) -> None:
    """Find out, before any work is done, whether a network can be written there; leave no trace.

    Raises:
        OptionError: another extension than those of networks.
        FileError: it cannot be written, and why.
    """
    if Path(path).suffix.lower() not in EXTENSIONS:
        raise OptionError(
            f"cannot write network {path}: expected a name that ends in {' or '.join(EXTENSIONS)}; "
            "rename it"
        )
    files.check_target(path, overwrite=overwrite, kind="network")
