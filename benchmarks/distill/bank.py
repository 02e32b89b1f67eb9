"""What the student is taught with: pictures, and what the teacher sees in them, computed once."""

from __future__ import annotations

from typing import Any

import torch
from networks import Teacher, computing, thinned
from torch import Tensor
from torch.autograd import Function

# The layers that the default objective compares, and how much each counts: nearly all of VGG-19's
# style loss is relu4_1's. (relu1_1 is the teacher's own; relu5_2 is what `--content-weight-blend`
# looks at.)
WEIGHTS = {
    "relu2_1": 0.5,
    "relu3_1": 1.0,
    "relu4_1": 3.0,
    "relu4_2": 1.5,
    "relu5_1": 0.5,
    "relu5_2": 0.1,
}
# How much Gram matrices count beside features.
GRAMS = 0.3
# A picture with next to no features (a flat crop) is compared with this share of the mean instead.
FLOOR = 0.1


def positions(features: Tensor) -> Tensor:
    """`[B, C, h, w]` -> `[B, h·w, C]`."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


class Bank:
    """Pictures and the teacher's features of them.

    Args:
        teacher: asked once.
        pixels: `[N, 3, size, size]`; 1.3 MB each are kept at 128 pixels, in float16.
        precision: of what it computes, "float32" or "bfloat16".
    """

    def __init__(
        self, teacher: Teacher, pixels: Tensor, precision: str = "float32", batch: int = 32
    ) -> None:
        self.pixels, self.precision = pixels, precision
        kept: dict[str, list[Tensor]] = {layer: [] for layer in WEIGHTS}
        spread: dict[str, list[Tensor]] = {layer: [] for layer in WEIGHTS}
        sizes: dict[str, list[Tensor]] = {layer: [] for layer in WEIGHTS}
        with torch.no_grad():
            for part in pixels.split(batch):
                part = part.to(teacher.mean.device, memory_format=torch.channels_last)
                with computing(part.device, precision):
                    activations = teacher(part, tuple(WEIGHTS))
                for layer, activation in activations.items():
                    if layer in kept:
                        seen = thinned(layer, activation).float()
                        kept[layer].append(seen.half().cpu())
                        centred = seen - seen.mean((2, 3), keepdim=True)
                        spread[layer].append(centred.square().sum((1, 2, 3)))
                        sizes[layer].append(self._between_grams(torch.zeros_like(seen), seen))
        self.asked, self.spread, self.sizes = (
            {layer: torch.cat(parts) for layer, parts in each.items()}
            for each in (kept, spread, sizes)
        )

    def distance(self, given: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """What the student misses of some of the pictures: each layer's features, relative to how
        the teacher's vary, and Gram matrices, relative to theirs; a weighted sum of means.

        Args:
            given: the student's activations, `thinned`, with at least those of `WEIGHTS`.
            chosen: which pictures of the bank they are of, `[B]`.
        """
        total = torch.zeros((), device=given["relu4_1"].device)
        for layer, weight in WEIGHTS.items():
            got = given[layer].float()
            asked = self.asked[layer][chosen].to(got)
            wrong = (got - asked).square().sum((1, 2, 3))
            total = total + weight * _relative(wrong, self.spread[layer], chosen)
            wrong = self._between_grams(got, asked)
            total = total + GRAMS * weight * _relative(wrong, self.sizes[layer], chosen)
        return total

    def _between_grams(self, one: Tensor, other: Tensor) -> Tensor:
        """|G − H|² of the Gram matrices of features, `[B, C, h, w]`: `[B]`."""
        given, asked = positions(one), positions(other)
        distance: Tensor = _GramDistance.apply(given, asked, self.precision)
        return distance / one[0].numel() ** 2


class _GramDistance(Function):
    """|FᵀF − AᵀA|² of each of F, A `[B, N, C]`, to be differentiated by F: 4 F (FᵀF − AᵀA).

    In bfloat16 2 (FᵀF − AᵀA) = (F−A)ᵀ(F+A) + (F+A)ᵀ(F−A), of which eight bits are enough: these
    are as small as the difference. (Left to autograd, what is done to these matrices one number at
    a time takes most of a step.)
    """

    @staticmethod
    def forward(context: Any, f: Tensor, a: Tensor, precision: str) -> Tensor:
        if precision == "bfloat16":
            f, less, more = f.bfloat16(), (f - a).bfloat16(), (f + a).bfloat16()
            difference = torch.baddbmm(less.mT @ more, more.mT, less, beta=0.5, alpha=0.5)
        else:
            difference = torch.baddbmm(f.mT @ f, a.mT, a, alpha=-1)
        context.save_for_backward(f, difference)
        return torch.linalg.vector_norm(difference, dim=(1, 2), dtype=torch.float32).square()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        f, difference = context.saved_tensors
        return (f @ difference).float() * (4 * gradient[:, None, None]), None, None


def _relative(wrong: Tensor, sizes: Tensor, chosen: Tensor) -> Tensor:
    return (wrong / (sizes[chosen] + FLOOR * sizes.mean()).to(wrong)).mean()
