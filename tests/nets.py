"""Tiny transform networks, and the same computed by NumPy in float64: what tests of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neural_style_tf.transform.architecture import Architecture, Stage
from neural_style_tf.transform.stored import Net

ARCHITECTURE = Architecture(widths=(4, 6, 8), blocks=1, ends=5)
# The flags that train it.
FLAGS = ["--widths", "4", "6", "8", "--blocks", "1", "--ends", "5"]


def net(styles: Sequence[str] = ("a", "b"), architecture: Architecture = ARCHITECTURE) -> Net:
    """A network of random weights, its styles unlike."""
    generator = np.random.default_rng(7)

    def drawn(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        if name.endswith("/kernel"):
            value = generator.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape)
        else:
            value = generator.normal(float(name.endswith("/scale")), 0.3, shape)
        return value.astype(np.float32)

    shapes = architecture.shapes(len(styles))
    return Net(architecture, tuple(styles), {n: drawn(n, s) for n, s in shapes.items()}, {})


def painted(
    net: Net, pixels: npt.NDArray[Any], mix: Sequence[float], margin: int = 8
) -> npt.NDArray[np.float64]:
    """What a network makes of a picture `[H, W, 3]`, as its papers have it, step by step.

    Before, it is reflected past its border; that is cut off after.
    """
    pixels = np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    whole = _painted(net, pixels, mix)
    return whole[margin : len(whole) - margin, margin : whole.shape[1] - margin]


def _painted(net: Net, pixels: npt.NDArray[Any], mix: Sequence[float]) -> npt.NDArray[np.float64]:
    current = pixels.astype(np.float64) / 127.5 - 1
    results: dict[str, npt.NDArray[np.float64]] = {}
    sizes: dict[str, tuple[int, ...]] = {"up1": (), "up2": current.shape[:2]}
    for stage in net.architecture.stages():
        if stage.name == "down2":
            sizes["up1"] = current.shape[:2]
        if stage.enlarge:
            current = current.repeat(2, axis=0).repeat(2, axis=1)
        current = _convolved(current, net.weights[f"{stage.name}/kernel"], stage)
        if stage.enlarge:
            height, width = sizes[stage.name]
            current = current[:height, :width]
        if not stage.normalized:
            return 127.5 + 150 * np.tanh(current + net.weights[f"{stage.name}/bias"])
        current = _normalized(current, net.weights, stage, np.asarray(mix, np.float64))
        if stage.rectified:
            current = np.maximum(current, 0)
        if stage.adds:
            current = current + results[stage.adds]
        results[stage.name] = current
    raise AssertionError("no last stage")


def _convolved(
    current: npt.NDArray[np.float64], kernel: npt.NDArray[np.float32], stage: Stage
) -> npt.NDArray[np.float64]:
    margin = stage.kernel // 2
    padded = np.pad(current, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    height, width = (-(-length // stage.stride) for length in current.shape[:2])
    result = np.zeros((height, width, stage.outputs))
    for y in range(stage.kernel):
        for x in range(stage.kernel):
            seen = padded[y :: stage.stride, x :: stage.stride][:height, :width]
            result += seen @ kernel[y, x].astype(np.float64)
    return result


def _normalized(
    current: npt.NDArray[np.float64],
    weights: Mapping[str, npt.NDArray[np.float32]],
    stage: Stage,
    mix: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    scale, offset = (mix @ weights[f"{stage.name}/{part}"] for part in ("scale", "offset"))
    mean, variance = current.mean(axis=(0, 1)), current.var(axis=(0, 1))
    return (current - mean) / np.sqrt(variance + 1e-5) * scale + offset
