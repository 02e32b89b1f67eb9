"""What the tests of unreadable weights share: the reason of a refusal, and our own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny
from vgg.errors import WeightsError
from vgg.weights import Weights, read, write_npz


def refusal(path: Path) -> str:
    """Why `path` is refused, less what every refusal says."""
    with pytest.raises(WeightsError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable(), "more than a line"
    start = f"cannot read the network {path}: "
    end = "; to get one: `python -m neural_style_tf weights`"
    assert message.startswith(start)
    assert message.endswith(end)
    return message.removeprefix(start).removesuffix(end)


def convolutions() -> dict[str, Any]:
    return {name: list(pair) for name, pair in tiny.weights().items()}


def npz(path: Path, arrays: dict[str, Any], mean: Any = tiny.MEAN_PIXEL) -> Path:
    write_npz(path, Weights({name: (k, b) for name, (k, b) in arrays.items()}, np.array(mean)))
    return path
