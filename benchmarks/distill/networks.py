"""The teacher and the student, in PyTorch: RGB pixels `[B, 3, H, W]` -> {relu name: activation}."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg.errors import WeightsError
from vgg.weights import Weights

# Channels between the factors of each convolution: what a 1×1 leaves for the 3×3 to see, and what
# the 3×3 leaves for a 1×1 to spread again. The first layers are cheap in channels and dear in
# error; nearly all of VGG-19's style loss is relu4_1's, and so what comes after it may be thin.
RANKS = {
    "conv1_2": (16, 16),
    "conv2_1": (16, 32),
    "conv2_2": (24, 32),
    "conv3_1": (32, 64),
    "conv3_2": (40, 40),
    "conv3_3": (40, 40),
    "conv3_4": (40, 40),
    "conv4_1": (48, 96),
    "conv4_2": (64, 64),
    "conv4_3": (32, 32),
    "conv4_4": (32, 32),
    "conv5_1": (48, 48),
    "conv5_2": (48, 48),
}
NAMES = ("conv1_1", *RANKS)
# How many of the teacher's channels a layer has, where not all: Gram matrices cost their square,
# and in the first blocks moving activations about costs more than convolutions.
KEPT = {
    "conv1_1": 32,
    "conv1_2": 32,
    "conv2_1": 64,
    "conv2_2": 96,
    "conv3_1": 128,
    "conv3_2": 128,
    "conv3_3": 96,
    "conv3_4": 128,
    "conv4_1": 256,
    "conv4_3": 256,
    "conv4_4": 256,
    "conv5_1": 256,
}
RELUS = tuple(name.replace("conv", "relu") for name in NAMES)
STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"
# Activations with an embedding of their own, where they have not all channels.
EMBEDDED = (*RELUS, "conv1_1", "conv2_1", "conv3_1", "conv4_1")


def pool(x: Tensor) -> Tensor:
    """2×2 maximum; an odd border stands alone, as in `vgg.network`."""
    return functional.max_pool2d(x, 2, 2, ceil_mode=True)


def thinned(layer: str, activation: Tensor) -> Tensor:
    """Every second position both ways where there are very many: memory is what limits a bank."""
    return activation[..., ::2, ::2] if layer == "relu2_1" else activation


def computing(device: torch.device, precision: str) -> torch.autocast:
    """In it convolutions and products are in that precision."""
    return torch.autocast(device.type, torch.bfloat16, precision == "bfloat16")


def relu(name: str) -> str:
    """The name of what a convolution gives after its rectifier."""
    return name.replace("conv", "relu")


def walk(layers: Collection[str] = RELUS) -> Iterator[tuple[str, bool]]:
    """Each convolution down to the deepest of the layers, and whether a pooling comes before it."""
    for before, name in zip((NAMES[0], *NAMES), NAMES, strict=False):
        yield name, before[4] != name[4]
        if relu(name) == max(layers):
            break


class Teacher(nn.Module):
    """The full VGG-19, frozen."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        mean = torch.tensor(weights.mean, dtype=torch.float32)
        self.register_buffer("mean", mean.view(1, 3, 1, 1))
        self.kernels = nn.ParameterList()
        self.biases = nn.ParameterList()
        for name in NAMES:
            kernel, bias = weights.convolutions[name]
            out_in_hw = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            self.kernels.append(nn.Parameter(torch.tensor(out_in_hw), requires_grad=False))
            self.biases.append(nn.Parameter(torch.tensor(bias), requires_grad=False))

    def convolve(self, index: int, x: Tensor) -> Tensor:
        """One convolution, before its rectifier."""
        return functional.conv2d(x, self.kernels[index], self.biases[index], padding=1)

    def forward(self, pixels: Tensor, layers: Collection[str] = RELUS) -> dict[str, Tensor]:
        x, outputs = pixels - self.mean, {}
        for index, (name, pooled) in enumerate(walk(layers)):
            x = functional.relu(self.convolve(index, pool(x) if pooled else x))
            outputs[relu(name)] = x
        return outputs


class Student(nn.Module):
    """VGG-19 with every convolution but the first as 1×1 (narrow), 3×3, 1×1 (wide again).

    As Kim et al. 2016 (arXiv:1511.06530). Its channels are some of the teacher's own (`kept`), and
    `embeddings`, `[k, C]`, tell of all (Collaborative Distillation, Wang et al. 2020,
    arXiv:2003.08436), so losses, layer weights and presets mean on it what they mean on VGG-19.

    Kernels are kept for activations of unit size: `scales` says by what each layer's were divided,
    so that one learning rate suits all.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.register_buffer("mean", teacher.mean.clone())
        self.register_buffer("scales", torch.ones(len(NAMES)))
        self.factors = nn.ParameterDict()
        self.kept = nn.ParameterDict()
        self.embeddings = nn.ParameterDict()
        for name, bias in zip(NAMES, teacher.biases, strict=True):
            count = KEPT.get(name, len(bias))
            self.kept[name] = nn.Parameter(torch.arange(count), requires_grad=False)
            for layer in {name, relu(name)} & set(EMBEDDED) if name in KEPT else ():
                self.embeddings[layer] = nn.Parameter(torch.zeros(count, len(bias)))
        width = len(self.kept["conv1_1"])
        self.register_buffer("kernel", teacher.kernels[0][:width].detach().clone())
        self.register_buffer("bias", teacher.biases[0][:width].detach().clone())
        for name in NAMES[1:]:
            narrow, middle = RANKS[name]
            out = len(self.kept[name])
            self.factors[f"{name}/0"] = nn.Parameter(torch.zeros(narrow, width, 1, 1))
            self.factors[f"{name}/1"] = nn.Parameter(torch.zeros(middle, narrow, 3, 3))
            self.factors[f"{name}/2"] = nn.Parameter(torch.zeros(out, middle, 1, 1))
            self.factors[f"{name}/bias"] = nn.Parameter(torch.zeros(out))
            width = out

    def convolve(self, name: str, x: Tensor) -> Tensor:
        """One factored convolution of unit-size activations, before its rectifier."""
        kernels = self.factors
        x = functional.conv2d(x, kernels[f"{name}/0"])
        x = functional.conv2d(x, kernels[f"{name}/1"], padding=1)
        return functional.conv2d(x, kernels[f"{name}/2"], kernels[f"{name}/bias"])

    def first(self, pixels: Tensor) -> Tensor:
        """relu1_1 of unit size: the teacher's own."""
        # It sees whole grey levels, which the eight bits of bfloat16 would blur.
        with torch.autocast(pixels.device.type, enabled=False):
            x = functional.conv2d(pixels - self.mean, self.kernel, self.bias, padding=1)
            return functional.relu(x) / self.scales[0]

    def slim(self, pixels: Tensor, layers: Collection[str] = RELUS) -> Iterator[tuple[str, Tensor]]:
        """The activations as they are, of unit size, by their convolutions' names."""
        x = self.first(pixels)
        for index, (name, pooled) in enumerate(walk(layers)):
            if index:
                x = functional.relu(self.convolve(name, pool(x) if pooled else x))
            yield name, x

    def forward(
        self, pixels: Tensor, layers: Collection[str] = RELUS, *, thin: bool = False
    ) -> dict[str, Tensor]:
        """The activations in all of the teacher's channels; `thinned` before that, if `thin`."""
        outputs = {}
        for index, (name, x) in enumerate(self.slim(pixels, layers)):
            if (layer := relu(name)) in layers:
                x = thinned(layer, x) if thin else x
                if layer in self.embeddings:
                    x = functional.conv2d(x, self.embeddings[layer].T[:, :, None, None])
                outputs[layer] = x * self.scales[index]
        return outputs

    def take(self, weights: Weights, sizes: Collection[Tensor]) -> None:
        """Become the network that `weights` wrote; which channels are kept is not known of it.

        Args:
            weights: of a network of this shape.
            sizes: root mean squares of the teacher's activations, in order.

        Raises:
            WeightsError: it is of another shape.
        """
        for scale, size in zip(self.scales, sizes, strict=True):
            scale.copy_(size)
        given: dict[str, np.ndarray] = {}
        for name, (*kernels, bias) in weights.convolutions.items():
            given |= {f"factors.{name}/{part}": kernel for part, kernel in enumerate(kernels)}
            given[f"factors.{name}/bias"] = bias
        given["kernel"], given["bias"] = given["factors.conv1_1/0"], given["factors.conv1_1/bias"]
        given |= {f"embeddings.{layer}": each for layer, each in weights.embeddings.items()}
        state = self.state_dict()
        for key, own in state.items():
            if key in ("mean", "scales") or key.startswith("kept."):
                continue
            each = np.asarray(given.get(key, np.zeros(0)), np.float32)
            value = torch.tensor(each.transpose(3, 2, 0, 1).copy() if each.ndim == 4 else each)
            if value.shape != own.shape:
                raise WeightsError(
                    f"{key}: expected {tuple(own.shape)}, got {tuple(value.shape)}; start from a "
                    "network that this script made"
                )
            state[key] = value
        for index, name in enumerate(NAMES[1:], 1):
            before, after = self.scales[index - 1], self.scales[index]
            state[f"factors.{name}/2"] *= before / after
            state[f"factors.{name}/bias"] /= after
        self.load_state_dict(state)

    def weights(self, metadata: dict[str, Any]) -> Weights:
        """The same network for `vgg.weights.write_npz`, scales folded in, kernels as float16."""

        def array(value: Tensor) -> np.ndarray:
            return value.detach().cpu().numpy()

        def hwio(value: Tensor) -> np.ndarray:
            return np.ascontiguousarray(array(value).transpose(2, 3, 1, 0)).astype(np.float16)

        convolutions: dict[str, tuple[np.ndarray, ...]] = {
            "conv1_1": (hwio(self.kernel), array(self.bias))
        }
        for index, name in enumerate(NAMES[1:], 1):
            before, after = self.scales[index - 1], self.scales[index]
            first, second, third = (self.factors[f"{name}/{part}"] for part in range(3))
            parts = (first, second, third * (after / before))
            # All of one size, whatever came of training: float16 does not go far.
            sizes = torch.stack([part.abs().max() for part in parts]).clamp(min=1e-20)
            even = sizes.log().mean().exp()
            kernels = (hwio(part * even / size) for part, size in zip(parts, sizes, strict=True))
            convolutions[name] = (*kernels, array(self.factors[f"{name}/bias"] * after))
        mean = array(self.mean).reshape(-1).astype(np.float64)
        embeddings = {
            layer: array(self.embeddings[layer]).astype(np.float16)
            for layer in EMBEDDED
            if layer in self.embeddings
        }
        return Weights(convolutions, mean, metadata, embeddings)
