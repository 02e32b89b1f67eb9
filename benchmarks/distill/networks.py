"""The teacher and the student, in PyTorch: RGB pixels `[B, 3, H, W]` -> {relu name: activation}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgg.weights import Weights

# Channels between the factors of each convolution: what a 1×1 leaves for the 3×3 to see, and what
# the 3×3 leaves for a 1×1 to spread again. Chosen so that an evaluation at 512×512 is 8 times
# faster than VGG-19's; the first layers are cheap in channels and dear in error.
RANKS = {
    "conv1_2": (16, 16),
    "conv2_1": (16, 32),
    "conv2_2": (32, 32),
    "conv3_1": (32, 64),
    "conv3_2": (48, 48),
    "conv3_3": (48, 48),
    "conv3_4": (48, 48),
    "conv4_1": (48, 96),
    "conv4_2": (80, 80),
    "conv4_3": (80, 80),
    "conv4_4": (80, 80),
    "conv5_1": (96, 96),
    "conv5_2": (48, 48),
}
NAMES = ("conv1_1", *RANKS)


def pool(x: Tensor) -> Tensor:
    """2×2 maximum; an odd border stands alone, as in `vgg.network`."""
    return functional.max_pool2d(x, 2, 2, ceil_mode=True)


def relu(name: str) -> str:
    """The name of what a convolution gives after its rectifier."""
    return name.replace("conv", "relu")


def walk() -> Iterator[tuple[str, bool]]:
    """Each convolution in order, and whether a pooling comes before it."""
    for before, name in zip((NAMES[0], *NAMES), NAMES, strict=False):
        yield name, before[4] != name[4]


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

    def forward(self, pixels: Tensor, deepest: str = NAMES[-1]) -> dict[str, Tensor]:
        x, outputs = pixels - self.mean, {}
        for index, (name, pooled) in enumerate(walk()):
            x = functional.relu(self.convolve(index, pool(x) if pooled else x))
            outputs[relu(name)] = x
            if name == deepest:
                break
        return outputs


class Student(nn.Module):
    """VGG-19 with every convolution but the first as 1×1 (narrow), 3×3, 1×1 (wide again).

    As Kim et al. 2016 (arXiv:1511.06530). Its channels are the teacher's own, one by one, so
    losses, layer weights and presets mean on it what they mean on VGG-19.

    Kernels are kept for activations of unit size: `scales` says by what each layer's were divided,
    so that one learning rate suits all.
    """

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.register_buffer("mean", teacher.mean.clone())
        self.register_buffer("kernel", teacher.kernels[0].detach().clone())
        self.register_buffer("bias", teacher.biases[0].detach().clone())
        self.register_buffer("scales", torch.ones(len(NAMES)))
        self.factors = nn.ParameterDict()
        width = len(self.bias)
        for index, name in enumerate(NAMES[1:], 1):
            narrow, middle = RANKS[name]
            out = len(teacher.biases[index])
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
        x = functional.conv2d(pixels - self.mean, self.kernel, self.bias, padding=1)
        return functional.relu(x) / self.scales[0]

    def forward(self, pixels: Tensor, deepest: str = NAMES[-1]) -> dict[str, Tensor]:
        x = self.first(pixels)
        outputs = {"relu1_1": x * self.scales[0]}
        for index, (name, pooled) in enumerate(walk()):
            if index:
                x = functional.relu(self.convolve(name, pool(x) if pooled else x))
                outputs[relu(name)] = x * self.scales[index]
            if name == deepest:
                break
        return outputs

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
            convolutions[name] = (
                hwio(self.factors[f"{name}/0"] / before),
                hwio(self.factors[f"{name}/1"]),
                hwio(self.factors[f"{name}/2"] * after),
                array(self.factors[f"{name}/bias"] * after),
            )
        mean = array(self.mean).reshape(-1).astype(np.float64)
        return Weights(convolutions, mean, metadata)
