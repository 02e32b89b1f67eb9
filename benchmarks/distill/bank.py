"""What the student is taught with: pictures, and what the teacher sees in them, computed once."""

from __future__ import annotations

import torch
from grown import gram
from networks import Teacher
from torch import Tensor

# The layers that the default objective compares, and how much each counts: nearly all of VGG-19's
# style loss is relu4_1's. (relu1_1 is the teacher's own.)
WEIGHTS = {"relu2_1": 0.5, "relu3_1": 1.0, "relu4_1": 3.0, "relu4_2": 1.5, "relu5_1": 0.5}
# How much Gram matrices count beside features.
GRAMS = 0.3
# A picture with next to no features (a flat crop) is compared with this share of the mean instead.
FLOOR = 0.1


def thinned(layer: str, activation: Tensor) -> Tensor:
    """Every second position both ways where there are very many: memory is what limits a bank."""
    return activation[..., ::2, ::2] if layer == "relu2_1" else activation


class Bank:
    """Pictures and the teacher's features of them.

    Args:
        teacher: asked once.
        pixels: `[N, 3, size, size]`; 1.3 MB each are kept at 128 pixels, in float16.
    """

    def __init__(self, teacher: Teacher, pixels: Tensor, batch: int = 32) -> None:
        self.pixels = pixels
        kept: dict[str, list[Tensor]] = {layer: [] for layer in WEIGHTS}
        with torch.no_grad():
            for part in pixels.split(batch):
                part = part.to(teacher.mean.device, memory_format=torch.channels_last)
                for layer, activation in teacher(part, tuple(WEIGHTS)).items():
                    if layer in kept:
                        kept[layer].append(thinned(layer, activation).half().cpu())
        self.asked = {layer: torch.cat(parts) for layer, parts in kept.items()}
        # Picture by picture: all at once would take as much memory again in float32.
        self.spread = {k: torch.stack([_spread(f) for f in v]) for k, v in self.asked.items()}
        self.sizes = {k: torch.stack([_size(f) for f in v]) for k, v in self.asked.items()}

    def distance(self, given: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """What the student misses of some of the pictures: each layer's features, relative to how
        the teacher's vary, and Gram matrices, relative to theirs; a weighted sum of means.

        Args:
            given: the student's activations, with at least those of `WEIGHTS`.
            chosen: which pictures of the bank they are of, `[B]`.
        """
        total = given["relu4_1"].new_zeros(())
        for layer, weight in WEIGHTS.items():
            got = thinned(layer, given[layer])
            asked = self.asked[layer][chosen].to(got)
            wrong = (got - asked).square().sum((1, 2, 3))
            total = total + weight * _relative(wrong, self.spread[layer], chosen)
            wrong = (gram(got) - gram(asked)).square().sum((1, 2))
            total = total + GRAMS * weight * _relative(wrong, self.sizes[layer], chosen)
        return total


def _relative(wrong: Tensor, sizes: Tensor, chosen: Tensor) -> Tensor:
    return (wrong / (sizes[chosen] + FLOOR * sizes.mean()).to(wrong)).mean()


def _spread(features: Tensor) -> Tensor:
    features = features.float()
    return (features - features.mean((1, 2), keepdim=True)).square().sum()


def _size(features: Tensor) -> Tensor:
    return gram(features.float()[None]).square().sum()
