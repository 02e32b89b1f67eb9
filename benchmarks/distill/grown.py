"""Pictures on their way: optimised against the student itself.

An optimisation finds whatever a network is blind to. The student is therefore shown pictures that
were made by following its own gradient, at every stage from noise to finished, and is told what the
teacher thinks of them.
"""

from __future__ import annotations

import numpy as np
import pictures
import torch
from networks import CONTENT, STYLE, Student
from torch import Tensor

# Steps from a start to a finished picture, and how many times on the way it is looked at.
LIFE, AGES = 80, 4
# Of the content and TV terms: mostly the defaults; now and then one is left out or made light.
SHARES, ODDS = (0.0, 0.2, 1.0), (0.2, 0.2, 0.6)


def gram(features: Tensor) -> Tensor:
    """FᵀF/(h·w·C) of `[B, C, h, w]`: `[B, C, C]`."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat[0].numel()


def grow(
    student: Student,
    count: int,
    size: int,
    data: list[pictures.Picture],
    random: np.random.Generator,
    batch: int = 8,
) -> Tensor:
    """New pictures, each at four ages of the 2017 procedure: `[4·count, 3, size, size]`."""
    stages: list[Tensor] = []
    for begun in range(0, count, batch):
        stages += _lived(student, min(batch, count - begun), size, data, random)
    return torch.cat(stages)


def _lived(
    student: Student,
    count: int,
    size: int,
    data: list[pictures.Picture],
    random: np.random.Generator,
) -> list[Tensor]:
    """Some pictures from start to end, at each age: `[count, 3, size, size]`."""
    device = student.mean.device

    def crops() -> np.ndarray:
        return np.stack([pictures.crop(data, size, random) for _ in range(count)])

    def tensor(pixels: np.ndarray) -> Tensor:
        return torch.tensor(pixels, dtype=torch.float32, device=device).permute(0, 3, 1, 2)

    def weights() -> Tensor:
        return torch.tensor(random.choice(SHARES, count, p=ODDS), device=device)

    contents, styles = crops(), crops()
    noise = [pictures.noise(size, random.uniform(0, 1.2), random) for _ in range(count)]
    from_content = random.random((count, 1, 1, 1)) < 0.4
    x = tensor(np.where(from_content, contents, 127 + 40 * np.stack(noise)))
    with torch.no_grad():
        content = student(tensor(contents), (CONTENT,))[CONTENT]
        grams = {layer: gram(f) for layer, f in student(tensor(styles), STYLE).items()}
    content_weight, tv_weight = weights(), weights()
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    stages = []
    for age in range(1, LIFE + 1):
        x.requires_grad_(True)
        features = student(x, (*STYLE, CONTENT))
        # The 2017 objective, each picture with its own weights.
        loss = 5 * content_weight * (features[CONTENT] - content).square().mean((1, 2, 3))
        for layer in STYLE:
            loss = loss + 100 * (gram(features[layer]) - grams[layer]).square().mean((1, 2))
        tv = x.diff(dim=2).square().mean((1, 2, 3)) + x.diff(dim=3).square().mean((1, 2, 3))
        gradient = torch.autograd.grad((loss + 100 * tv_weight * tv).sum(), x)[0]
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.95 * square + 0.05 * gradient.square()
        rate = 10 * (1 - 0.9 * age / LIFE)
        step = mean / (1 - 0.8**age) / ((square / (1 - 0.95**age)).sqrt() + 1e-12)
        x = (x.detach() - rate * step).clamp(0, 255)  # as the program's stay, too
        if age % (LIFE // AGES) == 0:
            stages.append(x.detach())  # the next step asks for gradients of this one
    return stages
