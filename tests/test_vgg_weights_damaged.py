"""Networks with random damage: refused in one line, or harmless, and never anything worse."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests import tiny
from vgg.errors import WeightsError
from vgg.weights import Weights, read, write_npz

SHALLOW = (1, 1, 1, 1, 1)


def write_stored(path: Path) -> None:
    """Our .npz without compression, whose checksums then stand alone."""
    tiny.write_mat(path, blocks=SHALLOW)
    arrays = {"mean": np.array(tiny.MEAN_PIXEL), "metadata": np.array("{}")}
    for name, (kernel, bias) in tiny.weights(blocks=SHALLOW).items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_keras_3(path: Path) -> None:
    """A `.weights.h5` of Keras 3: layers by class and number, their names as attributes."""
    with h5py.File(path, "w") as file:
        # As a network without block names, it has to be whole.
        for index, (name, (kernel, bias)) in enumerate(tiny.weights(blocks=tiny.VGG16).items()):
            group = file.create_group(f"layers/conv2d{f'_{index}' * bool(index)}/vars")
            group.attrs["name"] = name.replace("conv", "block").replace("_", "_conv")
            group["0"], group["1"] = kernel, bias


# No MATLAB file: SciPy reads what is cut short safely, but may crash on a changed byte.
WRITERS: dict[str, Callable[[Path], object]] = {
    "h5": lambda path: tiny.write_keras_h5(path, blocks=SHALLOW),
    "weights.h5": write_keras_3,
    "npz": lambda path: write_npz(
        path, Weights(tiny.weights(blocks=SHALLOW), np.array(tiny.MEAN_PIXEL))
    ),
    "npz stored": write_stored,
    "npz factored": lambda path: write_npz(
        path, Weights(tiny.factored(blocks=SHALLOW), np.array(tiny.MEAN_PIXEL))
    ),
}


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Cut short, or with a few bytes or bits changed, or a stretch blanked."""
    changed = bytearray(data)
    at = dice.randrange(len(data))
    match dice.randrange(5):
        case 0:
            return data[:at]
        case 1:
            for _ in range(dice.choice((1, 2, 5, 30))):
                changed[dice.randrange(len(data))] = dice.randrange(256)
        case 2:
            for _ in range(dice.choice((1, 1, 3))):
                changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        case 3:  # where the structure is
            changed[dice.randrange(min(len(data), 2048))] = dice.randrange(256)
        case _:
            end = min(len(data), at + dice.randrange(64))
            changed[at:end] = dice.choice((b"\0", b"\xff")) * (end - at)
    return bytes(changed)


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_is_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    """No other error, no warning, no network that is not one; and no crash of the process."""
    path = tmp_path / "network"
    WRITERS[kind](path)
    assert len(read(path).blocks) == 5
    data = path.read_bytes()
    refused = 0
    for number in range(200):
        path.write_bytes(damaged(data, random.Random(f"{kind} {number}")))
        # Recorded, for as an error `read` would take a warning for damage.
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                weights = read(path)
            except WeightsError as error:
                assert str(error).isprintable()
                refused += 1
            else:
                assert weights.name
                assert weights.layers[0] == "conv1_1"
                inputs = 3
                for *kernels, bias in weights.convolutions.values():
                    assert sum(kernel.shape[:2] == (3, 3) for kernel in kernels) == 1
                    for kernel in kernels:
                        assert kernel.shape[2] == inputs
                        assert np.isfinite(kernel).all()
                        inputs = kernel.shape[3]
                    assert bias.shape == (inputs,)
        assert not warned, f"{number}: {warned[0].message}"
    assert refused > 40, "the damage does no damage"
