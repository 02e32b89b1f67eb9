"""What the student is taught with: pictures, and what the teacher sees in them, computed once."""

from __future__ import annotations

import torch
from networks import Teacher, computing
from torch import Tensor

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


def thinned(layer: str, activation: Tensor) -> Tensor:
    """Every second position both ways where there are very many: memory is what limits a bank."""
    return activation[..., ::2, ::2] if layer == "relu2_1" else activation


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
            given: the student's activations, with at least those of `WEIGHTS`.
            chosen: which pictures of the bank they are of, `[B]`.
        """
        total = torch.zeros((), device=given["relu4_1"].device)
        for layer, weight in WEIGHTS.items():
            got = thinned(layer, given[layer]).float()
            asked = self.asked[layer][chosen].to(got)
            wrong = (got - asked).square().sum((1, 2, 3))
            total = total + weight * _relative(wrong, self.spread[layer], chosen)
            wrong = self._between_grams(got, asked)
            total = total + GRAMS * weight * _relative(wrong, self.sizes[layer], chosen)
        return total

    def _between_grams(self, one: Tensor, other: Tensor) -> Tensor:
        """|G − H|² of the Gram matrices of features F and A, `[B, C, h, w]`: `[B]`.

        FᵀF − AᵀA is the symmetric part of (F−A)ᵀ(F+A): one product, and one that is as small as
        the difference, of which eight bits are enough.
        """
        with computing(one.device, self.precision):
            product = (positions(one - other).mT @ positions(one + other)).float()
        difference = (product + product.mT) / 2
        return difference.square().sum((1, 2)) / one[0].numel() ** 2


def _relative(wrong: Tensor, sizes: Tensor, chosen: Tensor) -> Tensor:
    return (wrong / (sizes[chosen] + FLOOR * sizes.mean()).to(wrong)).mean()
