"""The Keras model: RGB pixels 0-255 -> `{layer name: activation}`.

Layer names are those of Simonyan & Zisserman 2014 as MatConvNet and the style transfer papers use
them: conv1_1, relu1_1, conv1_2, relu1_2, pool1, …; `conv` is before the rectifier, `relu` after.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from vgg.errors import WeightsError
from vgg.weights import Weights

# A user's ~/.keras/keras.json may name another backend; these models live in TensorFlow graphs.
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from vgg import winograd
from vgg.convolution import (
    Given,
    Opening,
    Rectifier,
    SquaredConvolution,
    TurnedConvolution,
    algorithm,
)
from vgg.pooling import SparingMaxPooling

POOLING = {"max": keras.layers.MaxPooling2D, "avg": keras.layers.AveragePooling2D}
PRECISIONS = ("float32", "bfloat16")
_BY = {"plain": keras.layers.Conv2D, "turned": TurnedConvolution, "squared": SquaredConvolution}
# Stated on each layer: a user's ~/.keras/keras.json may have other defaults.
_SAME = {"padding": "same", "data_format": "channels_last"}
# Channels of the first layer from which on not to keep it is felt: with VGG-19's 64 it is, with the
# embedded network's 32 not.
_WIDE = 64


class VGG(keras.Model):
    """A functional model that begins with the layer `mean`.

    Attributes:
        embeddings: `{layer: [k, C]}` of those of its activations that have only k of the C
            channels of the network that it was made from: see `Weights.embeddings`.
        ends: `{layer: tensor}` of its activations as they go on in it, from the first to the
            deepest, poolings too; empty where they are given out in another precision.
        again: the part, by its layer, that had better be computed again on the way back than kept;
            None for no part.
        measures: see `Weights.measures`.
    """

    measures: Mapping[str, str] = {}
    embeddings: Mapping[str, np.ndarray] = {}
    ends: Mapping[str, keras.KerasTensor] = {}
    again: str | None = None

    @property
    def mean(self) -> tf.Tensor:
        """The mean pixel that is subtracted first, `[3]`, RGB, 0-255."""
        return -tf.constant(self.get_layer("mean").offset, tf.float32)

    @property
    def centered(self) -> keras.Model:
        """The same of pixels from which the mean has been subtracted.

        Who changes pixels step by step does better with these: numbers about 0 are rounded less.
        """
        model = keras.Model(self.get_layer("mean").output, self.output, name=self.name)
        model.embeddings, model.parts = self.embeddings, self.cut(self.output)
        model.again, model.halves = self.again, self._halves
        return model

    def cut(self, layers: Collection[str], after: str | None = None) -> dict[str, keras.Model]:
        """The network in parts, `{layer: model}`, that end where these activations are given out.

        Each takes what the one before it gives, the first one pixels less the mean, or what `after`
        gives. There are none where `ends` is empty.
        """
        ends = {layer: end for layer, end in self.ends.items() if layer in layers}
        begun = (self._begin(after), *ends.values())
        return {
            layer: keras.Model(before, end, name=f"{self.name}_{layer}")
            for before, (layer, end) in zip(begun, ends.items(), strict=False)
        }

    def _halves(self, layer: str) -> tuple[keras.Model, keras.Model]:
        """The network in two, at one of its `ends`.

        Returns:
            Pixels less the mean -> `{layer: activation}` of those that are given out so far, and of
            this one; and what this one gives -> the rest, with `parts` as `centered` has them.
        """
        names = list(self.ends)
        before = names[: names.index(layer) + 1]
        first = {name: end for name, end in self.output.items() if name in before}
        rest = {name: end for name, end in self.output.items() if name not in before}
        end = self.ends[layer]
        opening = keras.Model(self._begin(), {**first, layer: end}, name=f"{self.name}_to_{layer}")
        behind = keras.Model(end, rest, name=f"{self.name}_behind_{layer}")
        behind.parts = self.cut(rest, layer)
        return opening, behind

    def _begin(self, after: str | None = None) -> keras.KerasTensor:
        return self.ends[after] if after else self.get_layer("mean").output


def build(
    weights: Weights,
    *,
    pooling: str = "max",
    layers: Iterable[str] | None = None,
    precision: str = "float32",
    exact: bool = False,
    raw: bool = False,
    sparing: bool = False,
) -> VGG:
    """A frozen model that computes the named activations and nothing deeper.

    Args:
        weights: the convolutions and the mean pixel, as `vgg.weights.read` returns them.
        pooling: "max" or "avg", 2×2 with stride 2; odd sizes round up, and an average at the
            border is over the real pixels only.
        layers: names out of `weights.layers`; all of them by default.
        precision: of weights and activations behind the first layer, "float32" or "bfloat16" (8
            bits of mantissa; twice as fast on processors that have it, and very slow elsewhere).
        exact: the numbers of a plain convolution, to the last bit; else some may be computed by
            Winograd's algorithm, or what comes back to the pixels in squares, where that is faster,
            and differ in the sixth digit, in bfloat16 in the second.
        raw: activations in `precision`, for who computes on, and what comes back through the first
            layer too.
        sparing: on a CPU less is kept for the way back: max-poolings keep little (see
            `SparingMaxPooling`), and what is cheap is to be computed again (see `VGG.again`).

    Returns:
        float32 `[1, H, W, 3]` RGB pixels 0-255 -> `{layer: [1, h, w, C]}`, in the network's order,
        float32 too but where `raw` and something behind the first layer is wanted.

    Raises:
        WeightsError: unknown pooling or precision, a layer that the network lacks, no layer at
            all, or Keras on another backend than TensorFlow.
    """
    if keras.config.backend() != "tensorflow":
        raise WeightsError(
            f"expected Keras on TensorFlow, got {keras.config.backend()}; set "
            "KERAS_BACKEND=tensorflow, or import vgg.network before keras"
        )
    if pooling not in POOLING:
        raise WeightsError(f"unknown pooling {pooling!r}: expected {' or '.join(POOLING)}")
    if precision not in PRECISIONS:
        raise WeightsError(f"unknown precision {precision!r}: expected {' or '.join(PRECISIONS)}")
    asked = weights.layers if layers is None else (layers,) if isinstance(layers, str) else layers
    wanted = dict.fromkeys(asked)  # not a set: an error is to name the first that is wrong
    weights.check_layers(wanted)
    if not wanted:
        raise WeightsError(
            f"expected at least one layer, got none; {weights.name} has all of "
            f"{', '.join(weights.layers)}"
        )

    precision = _used(precision, wanted)
    single = {"dtype": "float32"}
    pixels = keras.Input((None, None, 3), batch_size=1, name="pixels", **single)
    current = keras.layers.Rescaling(1.0, offset=-weights.mean, name="mean", **single)(pixels)
    ends: dict[str, keras.KerasTensor] = {}
    outputs: dict[str, keras.KerasTensor] = {}
    late = _late(weights, wanted) if pooling == "max" else set()
    owed: np.ndarray | None = None  # a bias whose turn comes after the pooling
    opening = precision == "bfloat16" and raw and _opens(weights, wanted)
    for name in weights.layers:
        if wanted.keys() <= outputs.keys():
            break
        # The first layer sees whole grey levels, which eight bits would blur; it is cheap.
        plain = single if name in ("conv1_1", "relu1_1") else {"dtype": precision}
        if opening and name == "conv1_1":
            continue
        if opening and name == "relu1_1":
            layer = Opening(*weights.convolutions["conv1_1"], name=name)
        elif name.startswith("conv"):
            *factors, kernel, bias = weights.convolutions[name]
            for number, factor in enumerate(factors, 1):
                layer = _convolution(f"{name}_{number}", factor, None, plain, exact)
                current = layer(current)
            owed = bias if name in late else None
            layer = _convolution(name, kernel, None if name in late else bias, plain, exact)
        elif name.startswith("relu"):
            if owed is not None:
                continue
            layer = keras.layers.ReLU(name=name, **plain)
        elif owed is not None:
            current = _pooling(pooling, f"{name}_before", plain, sparing)(current)
            layer = Rectifier(owed, name=name, **plain)
        else:
            layer = _pooling(pooling, name, plain, sparing)
        current = layer(current)
        if name in wanted or name.startswith("pool"):
            ends[name] = current
        if name in wanted:
            outputs[name] = keras.ops.cast(current, precision if raw else "float32")
    model = VGG(pixels, outputs, name="vgg")
    if all(ends[name].dtype == each.dtype for name, each in outputs.items()):
        model.ends = ends
    if sparing and not tf.config.list_physical_devices("GPU"):
        model.again = _again(weights, wanted, precision)
    embeddings = {name: weights.embedding(name) for name in outputs}
    model.embeddings = {name: each for name, each in embeddings.items() if each is not None}
    model.measures = weights.measures(pooling)
    return model


def reach(weights: Weights, layers: Iterable[str]) -> tuple[dict[str, int], dict[str, int], int]:
    """How far the named activations see: what it takes to compute a picture in parts.

    Returns:
        `{layer: stride}`, pixels between two positions; `{layer: channels}`; and how many pixels
        around a part its activations depend on, where the part begins at a multiple of the deepest
        stride and ends at one, or with the picture: itself such a multiple.

    Raises:
        WeightsError: a layer that the network lacks.
    """
    wanted = set(layers)
    weights.check_layers(wanted)
    strides: dict[str, int] = {}
    channels: dict[str, int] = {}
    stride, width, before, after, margin = 1, 3, 0, 0, 0
    for name in weights.layers:
        if name.startswith("conv"):
            before, after = before + stride, after + stride
            width = weights.convolutions[name][-1].size
        elif name.startswith("pool"):
            after, stride = after + stride, stride * 2
        if name in wanted:
            strides[name], channels[name] = stride, width
            # The last position of a part lies a stride before its end.
            margin = max(margin, before, after - stride + 1)
    deepest = max(strides.values(), default=1)
    return strides, channels, -(-margin // deepest) * deepest


def layers_until(weights: Weights, layers: Iterable[str], last: str) -> list[str]:
    """Those of the layers that come before the last one, and that one."""
    end = weights.layers.index(last)
    return [*(layer for layer in layers if weights.layers.index(layer) < end), last]


def operations(weights: Weights, layers: Iterable[str]) -> float:
    """Multiplications for each pixel of the convolutions, as deep as `layers` need."""
    wanted = set(layers)
    total, stride = 0.0, 1
    for name in weights.layers:
        if not wanted:
            break
        wanted.discard(name)
        if name.startswith("conv"):
            *kernels, _ = weights.convolutions[name]
            total += sum(kernel.size for kernel in kernels) / stride**2
        elif name.startswith("pool"):
            stride *= 2
    return total


def held(weights: Weights, precision: str = "float32", *, exact: bool = False) -> int:
    """Bytes of the weights as they are computed with, turned about or transformed ones too."""
    transformed = winograd.GROWTH if precision == "float32" else winograd.GROWTH // 2
    copies = {"plain": 1, "turned": 2, "squared": 1, "winograd": transformed}
    total = 0
    for *kernels, bias in weights.convolutions.values():
        chosen = (algorithm(kernel.shape, precision, exact=exact) for kernel in kernels)
        sizes = (kernel.nbytes * copies[k] for kernel, k in zip(kernels, chosen, strict=True))
        total += sum(sizes) + bias.nbytes
    return total


def footprint(
    weights: Weights,
    layers: Iterable[str],
    precision: str = "float32",
    *,
    exact: bool = False,
    after: str | None = None,
    sparing: bool = False,
    pooling: str = "max",
) -> float:
    """Bytes for each pixel that it takes to differentiate the network, as deep as `layers` need.

    With `after`, the part of it that goes on from that pooling's activations, these included;
    `sparing` and `pooling` as for `build`.

    What is kept for the way back, each activation after its rectifier or pooling, and on top the
    largest layer, in float32, with what is between its factors, and twice the largest that goes
    into Winograd's algorithm or comes of it, whose tiles are a few at a time: what came of
    measuring (benchmarks/memory.py).
    """
    asked = frozenset(layers)
    precision, wanted = _used(precision, asked), set(asked)
    used = 2 if precision == "bfloat16" else 4
    late = _late(weights, asked) if sparing and pooling == "max" else set()
    again = _again(weights, asked, precision) if sparing else None
    least = 0.0
    opens = precision == "bfloat16" and _opens(weights, asked)
    kept: list[float] = []
    passing, tiled = [0.0], [0.0]
    stride, width = 1, 3
    for name in weights.layers:
        if not wanted:
            break
        wanted.discard(name)
        if name == after:
            kept, passing, tiled, least = [], [0.0], [0.0], 0.0
        if name.startswith("conv"):
            *kernels, bias = weights.convolutions[name]
            width = bias.size
            passing.append(4 * sum(each.shape[3] for each in kernels) / stride**2)
            tiled += [
                used * max(each.shape[2:]) / stride**2
                for each in kernels
                if algorithm(each.shape, precision, exact=exact) == "winograd"
            ]
            continue
        stride *= 2 if name.startswith("pool") else 1
        first = name == "relu1_1"
        size: float = 4 if first and not opens else used
        # What comes through an `Opening` is kept by it.
        if name.replace("relu", "conv") in late and not (first and opens):
            size = 1 / 4  # the place of each square's largest number
        if name == again:
            # There once more, with what comes back to it from the layers behind and as a style.
            least = 3 * size * width / stride**2
            continue
        kept.append(size * width / stride**2)
    return max(sum(kept) + max(passing) + 2 * max(tiled), least)


def _used(precision: str, layers: Collection[str]) -> str:
    """The precision, where there is a layer that is sooner in it."""
    return "float32" if set(layers) <= {"conv1_1", "relu1_1"} else precision


def _opens(weights: Weights, layers: Collection[str]) -> bool:
    """Whether the first layer may be an `Opening`: one kernel, and nobody asks for its inside."""
    return len(weights.convolutions["conv1_1"]) == 2 and "conv1_1" not in layers


def _again(weights: Weights, wanted: Collection[str], precision: str) -> str | None:
    """What is computed again on the way back: relu1_1, ½ % of the work, a third of what is kept.

    In float32 alone, and not where it has few channels: there other things make up the peak.
    """
    wide = weights.convolutions["conv1_1"][-1].size >= _WIDE
    first = "relu1_1" in wanted and "conv1_1" not in wanted and len(wanted) > 1
    return "relu1_1" if first and wide and precision == "float32" else None


def _late(weights: Weights, wanted: Collection[str]) -> set[str]:
    """The convolutions whose bias and rectifier may come after the pooling behind them.

    The largest of four numbers is the same before and after both, which rise where it rises: the
    same to the last bit, for a quarter of the work. It may where nobody asks for what is between.
    """
    names = weights.layers
    return {
        convolution
        for convolution, relu, pool in zip(names, names[1:], names[2:], strict=False)
        if pool.startswith("pool") and not {convolution, relu} & set(wanted)
    }


def _pooling(kind: str, name: str, options: dict[str, str], sparing: bool) -> keras.layers.Layer:
    if kind == "max" and sparing and not tf.config.list_physical_devices("GPU"):
        return SparingMaxPooling(name=name, **options)
    return POOLING[kind](2, name=name, **options, **_SAME)


def _convolution(
    name: str,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    options: dict[str, str],
    exact: bool,
) -> keras.layers.Layer:
    fastest = algorithm(kernel.shape, options["dtype"], exact=exact)
    if fastest == "winograd":
        return winograd.WinogradConvolution(kernel, bias, name=name, **options)
    return _BY[fastest](
        kernel.shape[3],
        kernel.shape[0],
        use_bias=bias is not None,
        kernel_initializer=Given(kernel),
        bias_initializer=None if bias is None else Given(bias),
        trainable=False,
        name=name,
        **options,
        **_SAME,
    )
