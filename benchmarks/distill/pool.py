"""Pictures on their way: each is optimised against the student itself while it learns.

An optimisation finds whatever a network is blind to. The student therefore sees, all through its
training, pictures that were made by following its own gradient, at every stage from noise to
finished, and is told what the teacher thinks of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pictures
import torch
from networks import CONTENT, STYLE, Student
from torch import Tensor

# Steps from a start to a finished picture.
LIFE = 80
# Of the content and TV terms: mostly the defaults; now and then one is left out or made light.
WEIGHTS, ODDS = (0.0, 0.2, 1.0), (0.2, 0.2, 0.6)


def gram(features: Tensor) -> Tensor:
    """FᵀF/(h·w·C) of `[B, C, h, w]`: `[B, C, C]`."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat[0].numel()


class Pool:
    """A number of pictures `[3, size, size]`, each with its own targets, weights and age."""

    def __init__(
        self, count: int, size: int, data: list[pictures.Picture], random: np.random.Generator
    ) -> None:
        self.size, self.data, self.random = size, data, random
        self.members: list[dict[str, Any]] = [{} for _ in range(count)]

    def next(self, student: Student, count: int, steps: int) -> Tensor:
        """Some of the pictures, moved on by some steps of Adam: `[count, 3, size, size]`."""
        chosen = self.random.choice(len(self.members), count, replace=False)
        members = [self._grown(student, index) for index in chosen]
        stacked = {
            key: torch.stack([member[key] for member in members])
            for key in members[0]
            if key not in ("grams", "age")
        }
        grams = {layer: torch.stack([m["grams"][layer] for m in members]) for layer in STYLE}
        x = stacked["pixels"].clone()
        mean, square = stacked["mean"], stacked["square"]
        ages = torch.tensor([member["age"] for member in members], device=x.device)
        for _ in range(steps):
            x.requires_grad_(True)
            features = student(x, (*STYLE, CONTENT))
            # The 2017 objective, each picture with its own weights.
            loss = 5 * (features[CONTENT] - stacked["content"]).square().mean((1, 2, 3))
            loss = loss * stacked["content_weight"]
            for layer in STYLE:
                loss = loss + 100 * (gram(features[layer]) - grams[layer]).square().mean((1, 2))
            tv = x.diff(dim=2).square().mean((1, 2, 3)) + x.diff(dim=3).square().mean((1, 2, 3))
            loss = (loss + 100 * stacked["tv_weight"] * tv).sum()
            gradient = torch.autograd.grad(loss, x)[0]
            with torch.no_grad():
                ages = ages + 1
                mean = 0.8 * mean + 0.2 * gradient
                square = 0.95 * square + 0.05 * gradient.square()
                age = ages.view(-1, 1, 1, 1)
                rate = 10 * (1 - 0.9 * age / LIFE)
                step = mean / (1 - 0.8**age) / ((square / (1 - 0.95**age)).sqrt() + 1e-12)
                x = x.detach() - rate * step
        for i, index in enumerate(chosen):
            member = self.members[index]
            member |= {"pixels": x[i], "mean": mean[i], "square": square[i], "age": int(ages[i])}
        return x.detach()

    def _grown(self, student: Student, index: int) -> dict[str, Any]:
        """A member; a new one where there was none or it has run its time."""
        member = self.members[index]
        if not member or member["age"] >= LIFE:
            member = self.members[index] = self._born(student)
        return member

    def _born(self, student: Student) -> dict[str, Any]:
        random, device = self.random, student.mean.device

        def tensor(pixels: np.ndarray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(pixels.transpose(2, 0, 1)), device=device)

        content, style = (pictures.crop(self.data, self.size, random) for _ in range(2))
        start = 127 + 40 * pictures.noise(self.size, random.uniform(0, 1.2), random)
        if random.random() < 0.4:
            start = content
        with torch.no_grad():
            features = student(torch.stack([tensor(content), tensor(style)]), (*STYLE, CONTENT))
        pixels = tensor(start.astype(np.float32))
        return {
            "pixels": pixels,
            "mean": torch.zeros_like(pixels),
            "square": torch.zeros_like(pixels),
            "content": features[CONTENT][0],
            "grams": {layer: gram(features[layer][1:])[0] for layer in STYLE},
            "content_weight": pixels.new_tensor(random.choice(WEIGHTS, p=ODDS)),
            "tv_weight": pixels.new_tensor(random.choice(WEIGHTS, p=ODDS)),
            "age": 0,
        }


def grow(
    student: Student,
    count: int,
    size: int,
    data: list[pictures.Picture],
    random: np.random.Generator,
    batch: int = 8,
) -> Tensor:
    """New pictures from birth to death, each at four ages: `[4·count, 3, size, size]`."""
    stages = []
    for begun in range(0, count, batch):
        some = min(batch, count - begun)
        pool = Pool(some, size, data, random)
        stages += [pool.next(student, some, LIFE // 4) for _ in range(4)]
    return torch.cat(stages)
