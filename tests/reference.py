"""The network, the 2017 program's objective and its gradient, again: NumPy, float64, no TensorFlow.

Independent on purpose: nothing is imported from the program, and the backward pass is written by
hand, so that agreement with it means something. Arrays are `[height, width, channels]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = Mapping[str, tuple[npt.NDArray[Any], ...]]  # kernel and bias
Backward = Callable[[Array], Array]

# Of the published VGG networks, RGB.
MEAN_PIXEL = np.array([123.68, 116.779, 103.939])


class _Stage(NamedTuple):
    name: str
    output: Array
    backward: Backward  # gradient of the output -> gradient of the input


def features(
    weights: Weights, pixels: npt.NDArray[Any], layers: Iterable[str], pooling: str = "max"
) -> dict[str, Array]:
    """The named activations of one picture.

    Args:
        weights: `{"conv1_1": (kernel [3, 3, in, out], bias [out]), …}` in order.
        pixels: `[H, W, 3]` RGB, 0-255.
        layers: names such as conv1_1, relu1_1, pool1.
        pooling: "max" or "avg", 2×2 with stride 2; odd sizes round up.

    Returns:
        `{layer: [h, w, C]}` in the order of `layers`.

    Raises:
        KeyError: the network has no such layer.
    """
    outputs = {stage.name: stage.output for stage in _forward(weights, pixels, pooling)}
    return {layer: outputs[layer] for layer in layers}


def losses(
    weights: Weights,
    pixels: npt.NDArray[Any],
    content: npt.NDArray[Any],
    styles: Sequence[npt.NDArray[Any]],
    **objective: Any,
) -> dict[str, float]:
    """The terms of the 2017 objective; takes what `losses_and_gradient` takes."""
    return losses_and_gradient(weights, pixels, content, styles, **objective)[0]


def losses_and_gradient(
    weights: Weights,
    pixels: npt.NDArray[Any],
    content: npt.NDArray[Any],
    styles: Sequence[npt.NDArray[Any]],
    *,
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
    content_weight: float = 5.0,
    style_weight: float = 500.0,
    tv_weight: float = 100.0,
    blend: Sequence[float] = (1.0,),
    pooling: str = "max",
) -> tuple[dict[str, float], Array]:
    """The terms of the 2017 objective and the gradient of their sum.

    Args:
        weights: as for `features`.
        pixels: where to evaluate, `[H, W, 3]` RGB, 0-255.
        content: `[H, W, 3]`.
        styles: pictures `[h, w, 3]` of any size.
        content_layers: weight of each content layer, as it stands.
        style_layers: weight of each style layer, already normalised.
        content_weight: factor of the content term.
        style_weight: factor of the style term.
        tv_weight: factor of the total variation term.
        blend: weight of each style, already normalised.
        pooling: "max" or "avg".

    Returns:
        `{"content", "style", "tv", "total"}` and the gradient `[H, W, 3]` of the total.
    """
    stages = _forward(weights, pixels, pooling)
    outputs = {stage.name: stage.output for stage in stages}
    seeds: dict[str, Array] = {}

    def seed(layer: str, gradient: Array) -> None:
        seeds[layer] = seeds.get(layer, np.zeros_like(gradient)) + gradient

    content_loss = 0.0
    for layer, target in features(weights, content, content_layers, pooling).items():
        factor = content_weight * content_layers[layer]
        difference = outputs[layer] - target
        content_loss += factor * float(np.mean(difference**2))
        seed(layer, factor * 2 * difference / difference.size)

    style_loss = 0.0
    for style, share in zip(styles, blend, strict=True):
        for layer, target in features(weights, style, style_layers, pooling).items():
            factor = style_weight * share * style_layers[layer]
            F = outputs[layer].reshape(-1, outputs[layer].shape[2])  # [h·w, C]
            difference = gram(outputs[layer]) - gram(target)  # [C, C]
            style_loss += factor * float(np.mean(difference**2))
            # dG/dF enters twice, G being FᵀF, and the difference is symmetric.
            gradient = factor * 4 * F @ difference / (difference.size * F.size)
            seed(layer, gradient.reshape(outputs[layer].shape))

    tv_loss, tv_gradient = _total_variation(np.asarray(pixels, np.float64), tv_weight)
    terms = {"content": content_loss, "style": style_loss, "tv": tv_loss}
    terms["total"] = sum(terms.values())

    back = np.zeros_like(stages[-1].output)
    for stage in reversed(stages):
        back = stage.backward(back + seeds.get(stage.name, 0.0))
    return terms, back + tv_gradient


def gram(activation: Array) -> Array:
    """FᵀF/(h·w·C) of an activation `[h, w, C]`: `[C, C]`."""
    F = activation.reshape(-1, activation.shape[2])
    return F.T @ F / F.size


def _total_variation(pixels: Array, weight: float) -> tuple[float, Array]:
    """Mean squares of the differences down and across, summed; and the gradient."""
    down, across = np.diff(pixels, axis=0), np.diff(pixels, axis=1)
    gradient = np.zeros_like(pixels)
    gradient[1:] += 2 * down / down.size
    gradient[:-1] -= 2 * down / down.size
    gradient[:, 1:] += 2 * across / across.size
    gradient[:, :-1] -= 2 * across / across.size
    return float(weight * (np.mean(down**2) + np.mean(across**2))), weight * gradient


def _forward(weights: Weights, pixels: npt.NDArray[Any], pooling: str) -> list[_Stage]:
    current = np.asarray(pixels, np.float64) - MEAN_PIXEL
    stages: list[_Stage] = []

    def run(name: str, result: tuple[Array, Backward]) -> Array:
        stages.append(_Stage(name, *result))
        return result[0]

    names = list(weights)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        kernel, bias = (np.asarray(array, np.float64) for array in weights[name])
        current = run(name, convolve(current, kernel, bias))
        current = run(name.replace("conv", "relu"), rectify(current))
        if not following.startswith(name[:5]):  # the last "conv1_" of its block
            current = run(f"pool{name[4]}", pool(current, pooling))
    return stages


def convolve(x: Array, kernel: Array, bias: Array) -> tuple[Array, Backward]:
    """A 3×3 cross-correlation, zeros around: `[h, w, in]` -> `[h, w, out]`; and its backward."""
    height, width, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    taps = [
        (np.s_[row : row + height, column : column + width], kernel[row, column])
        for row in range(3)
        for column in range(3)
    ]
    output = sum((padded[window] @ tap for window, tap in taps), start=bias)

    def backward(gradient: Array) -> Array:
        back = np.zeros_like(padded)
        for window, tap in taps:
            back[window] += gradient @ tap.T
        return back[1:-1, 1:-1]

    return output, backward


def rectify(x: Array) -> tuple[Array, Backward]:
    """max(x, 0), and its backward."""
    return np.maximum(x, 0), lambda gradient: gradient * (x > 0)


def pool(x: Array, pooling: str) -> tuple[Array, Backward]:
    """2×2, stride 2: `[h, w, C]` -> `[⌈h/2⌉, ⌈w/2⌉, C]`; and its backward.

    At an odd border the window has fewer pixels: the maximum or average is of those it has. Of
    equal maxima the first one, row by row, gets the gradient.
    """
    height, width, channels = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    empty = ((0, height % 2), (0, width % 2), (0, 0))

    def windows(padded: Array) -> Array:  # [2·rows, 2·columns, C] -> [rows, columns, 4, C]
        split = padded.reshape(rows, 2, columns, 2, channels)
        return split.transpose(0, 2, 1, 3, 4).reshape(rows, columns, 4, channels)

    def together(parts: Array) -> Array:  # the inverse, less the padding
        split = parts.reshape(rows, columns, 2, 2, channels).transpose(0, 2, 1, 3, 4)
        return split.reshape(2 * rows, 2 * columns, channels)[:height, :width]

    if pooling == "max":
        parts = windows(np.pad(x, empty, constant_values=-np.inf))
        winner = parts.argmax(axis=2)[:, :, None]  # [rows, columns, 1, C]
        share = (np.arange(4)[:, None] == winner).astype(np.float64)
        output = parts.max(axis=2)
    elif pooling == "avg":
        parts = windows(np.pad(x, empty))
        real = windows(np.pad(np.ones_like(x), empty))
        share = real / real.sum(axis=2, keepdims=True)
        output = (parts * share).sum(axis=2)
    else:
        raise ValueError(f"expected pooling max or avg, got {pooling!r}")
    return output, lambda gradient: together(gradient[:, :, None] * share)
