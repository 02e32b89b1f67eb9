"""Files that are no network, by their kind: one line that says what they are instead."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from tests import tiny
from tests.refusals import convolutions, npz, refusal
from vgg.errors import WeightsError
from vgg.weights import read

WANTED = "expected a VGG as MatConvNet .mat, Keras .h5 or .weights.h5, or .npz, got "
NAMES = "expected layers named block1_conv1, …, or 16 (VGG-19) or 13 (VGG-16) convolutions"


def mat(path: Path, change: Callable[[dict[str, Any]], object], **options: Any) -> Path:
    """The tiny network as .mat, its variables changed."""
    tiny.write_mat(path, **options)
    variables = {k: v for k, v in scipy.io.loadmat(path).items() if not k.startswith("__")}
    change(variables)
    scipy.io.savemat(path, variables)
    return path


# Not a file, or not of these kinds


def test_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.mat") == f"{WANTED}no file"


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{WANTED}a folder"


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(WeightsError, match="null"):
        read(Path("a\0b"))


def test_a_message_is_one_line_whatever_the_path(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        read(tmp_path / "two\nlines\x1b[31m")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html>\r\n<title>404</title>", "text: <!DOCTYPE html>"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "text: version https://git-lfs.github.com/spec/",
        ),
        (b"\x80\x02}q\x00(X\x08\x00\x00\x00features\x85", "neither"),  # an old PyTorch file
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "neither"),
    ],
    ids=["empty", "page", "pointer", "pickle", "picture"],
)
def test_other_files(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "network.mat"
    path.write_bytes(content)
    assert refusal(path) == WANTED + got


# MATLAB


def test_matlab_files_of_version_7_3(tmp_path: Path) -> None:
    path = tmp_path / "network.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["layers"] = np.zeros(3)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    assert refusal(path) == (
        "expected a MATLAB file of version 5, got 7.3; save it there with save(FILE, '-v7')"
    )


def test_a_mat_file_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"results": np.eye(3), "labels": ["a"]})
    assert refusal(path) == "expected MatConvNet's cell array 'layers', got labels, results"


@pytest.mark.parametrize("layout", ["2014", "2018"])
def test_a_mat_file_without_mean_pixel(tmp_path: Path, layout: str) -> None:
    def change(variables: dict[str, Any]) -> None:
        for name in ("meta", "normalization"):
            variables.pop(name, None)

    assert refusal(mat(tmp_path / "x.mat", change, layout=layout)) == (
        "expected the mean pixel in meta.normalization or normalization, got none"
    )


def test_a_mat_file_with_a_grey_mean(tmp_path: Path) -> None:
    path = mat(tmp_path / "x.mat", lambda v: v.update(normalization={"averageImage": np.ones(1)}))
    assert read(path).mean.tolist() == pytest.approx(tiny.MEAN_PIXEL)  # `meta` is the newer one
    grey = {"normalization": {"averageImage": np.ones((1, 1, 1))}}
    path = mat(tmp_path / "x.mat", lambda variables: variables.update(meta=grey))
    assert refusal(path) == "expected a mean pixel [3], got [1]"


@pytest.mark.parametrize("kept", [0, 1])
def test_a_mat_file_of_a_layer_without_bias(tmp_path: Path, kept: int) -> None:
    def change(variables: dict[str, Any]) -> None:
        layer = variables["layers"][0, 0]
        layer["weights"][0, 0] = layer["weights"][0, 0][:, :kept]

    path = mat(tmp_path / "x.mat", change)
    assert refusal(path) == "expected the weights of conv1_1 as kernel and bias"


def test_a_mat_file_of_another_network(tmp_path: Path) -> None:
    def change(variables: dict[str, Any]) -> None:
        for layer in variables["layers"][0]:
            layer["name"][0, 0] = layer["name"][0, 0].item().replace("_", "")

    path = mat(tmp_path / "x.mat", change)
    assert refusal(path) == "expected convolutions conv1_1, conv1_2, …, got none"


def test_a_mat_file_cut_between_two_variables(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    tiny.write_mat(path)
    data = path.read_bytes()
    (size,) = struct.unpack("<I", data[132:136])
    path.write_bytes(data[: 136 + size])
    assert refusal(path).startswith("expected the mean pixel")


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_mat_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.mat"
    tiny.write_mat(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "got a damaged or other MATLAB file (" in refusal(path)


# Keras


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_keras_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "x.h5"
    tiny.write_keras_h5(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refusal(path).startswith(f"{WANTED}a damaged or other HDF5 file (")


@pytest.mark.parametrize(
    ("datasets", "reason"),
    [
        ({}, f"{NAMES}, got none"),
        ({"conv2d": 3, "conv2d_1": 4, "depthwise_conv2d": 4}, f"{NAMES}, got 2"),
        ({"stem_conv": 3, "fire2": 4}, f"{NAMES}, got layers fire2, stem_conv"),
        (
            {"teacher/block1_conv1": 3, "student/block1_conv1": 3},
            "expected one VGG, got a model with several block1_conv1",
        ),
        ({"block1_conv1": 4}, "expected a kernel [3, 3, 3, n] in conv1_1, got [3, 3, 4, 4]"),
        (
            {"block1_conv1": 3, "block2_conv2": 4},
            "expected a layer conv1_2 or conv2_1 next, got conv2_2",
        ),
    ],
    ids=["empty", "few", "other names", "two", "inputs", "gap"],
)
def test_keras_files_of_other_networks(
    tmp_path: Path, datasets: dict[str, int], reason: str
) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["notes"] = "no weights"
        for name, inputs in datasets.items():
            file[f"{name}/kernel:0"] = np.zeros((3, 3, inputs, 4), np.float32)
            file[f"{name}/bias:0"] = np.zeros(4, np.float32)
    assert refusal(path) == reason


# Our own


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = np.array([_Trap(tmp_path / "sprung")], object)
    np.savez(tmp_path / "x.npz", **{"conv1_1/kernel": trap, "conv1_1/bias": trap, "mean": trap})  # type: ignore[arg-type]
    assert "Object arrays cannot be loaded" in refusal(tmp_path / "x.npz")
    assert not (tmp_path / "sprung").exists()
    with np.load(tmp_path / "x.npz", allow_pickle=True) as data:
        assert data["mean"].shape == (1,)
    assert (tmp_path / "sprung").exists(), "the trap is set"


def test_a_zip_of_other_things(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    assert refusal(path) == (
        "expected arrays conv1_1/kernel, conv1_1/bias, …, mean in a .npz, "
        "got metadata.json, config.json, model.weights.h5"
    )


def test_a_zip_whose_members_are_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("conv1_1/kernel", "conv1_1/bias", "mean"):
            archive.writestr(name, "text")
    assert refusal(path).startswith("expected numbers in conv1_1, got ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1, 2]", "expected metadata as a JSON object, got list"),
        ("{", f"{WANTED}a damaged or other zip file (Expecting property name enclosed"),
        ("9" * 5000, f"{WANTED}a damaged or other zip file (Exceeds the limit"),
    ],
    ids=["list", "broken", "number"],
)
def test_metadata_that_are_none(tmp_path: Path, text: str, reason: str) -> None:
    path = npz(tmp_path / "x.npz", convolutions())
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["metadata"] = np.array(text)
    np.savez(path, **arrays)
    assert refusal(path).startswith(reason)


def test_a_message_is_short_whatever_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{"long" * 1000: np.zeros(1)})  # type: ignore[arg-type]
    assert len(refusal(tmp_path / "x.npz")) == 400
