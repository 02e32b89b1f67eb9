"""The training: features and Gram matrices of the teacher, on pictures and on-policy pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pictures
import torch
from fit import errors, fit
from networks import CONTENT, NAMES, STYLE, Student, Teacher, relu
from pool import Pool, gram, grow
from torch import Tensor


class Settings(NamedTuple):
    """Of one training; a checkpoint is continued only under the same.

    Attributes:
        rounds: of least squares; each but the first on pictures grown against the last one, too.
        fit_crops, fit_grown: how many samples, and how many grown pictures a round adds.
        size: of all pictures, in pixels.
        steps: of Adam afterwards. Without a GPU least squares alone gets most of what can be had.
        fresh, grown: samples and pool pictures in a batch.
        members, pool_steps: pictures in the pool, and how far each use moves one on.
    """

    rounds: int = 2
    fit_crops: int = 512
    fit_grown: int = 64
    size: int = 128
    steps: int = 0
    fresh: int = 2
    grown: int = 2
    members: int = 16
    pool_steps: int = 2
    learning_rate: float = 6e-5
    warmup: int = 50
    seed: int = 0


# Layers that the default objective compares count most.
WEIGHTS = {layer: 1.0 if layer in (*STYLE, CONTENT) else 0.3 for layer in map(relu, NAMES)}


def distance(given: dict[str, Tensor], asked: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What the student misses: of features and of Gram matrices, each relative to the teacher's.

    Each picture counts alike, but for those with next to no features (a flat crop), which are
    compared with a tenth of the batch's mean instead.
    """
    features = grams = given["relu1_1"].new_zeros(())
    for layer, weight in WEIGHTS.items():
        target = asked[layer]
        centred = target - target.mean((2, 3), keepdim=True)
        spread = centred.square().sum((1, 2, 3))
        wrong = (given[layer] - target).square().sum((1, 2, 3))
        features = features + weight * (wrong / (spread + 0.1 * spread.mean())).mean()
    for layer in STYLE:
        target = gram(asked[layer])
        size = target.square().sum((1, 2))
        wrong = (gram(given[layer]) - target).square().sum((1, 2))
        grams = grams + (wrong / (size + 0.1 * size.mean())).mean()
    return features / sum(WEIGHTS.values()), grams / len(STYLE)


class Training:
    """A student, its optimizer, its pictures: all that a checkpoint keeps."""

    def __init__(
        self, teacher: Teacher, data: list[pictures.Picture], settings: Settings, device: str
    ) -> None:
        self.settings, self.data, self.device = settings, data, device
        # Channels last: half again as fast on a CPU.
        self.teacher = teacher.to(device, memory_format=torch.channels_last)
        self.student = Student(teacher).to(device, memory_format=torch.channels_last)
        self.random = np.random.default_rng(settings.seed)
        self.optimizer = torch.optim.Adam(self.student.parameters(), lr=settings.learning_rate)
        self.pool = Pool(settings.members, settings.size, data, self.random)
        self.round, self.fitted_on = 0, torch.empty(0)
        self.step = 0
        self.missed: dict[str, float] = {}
        # Never trained on: other crops of the same pictures, with a generator of their own.
        self.held = self.crops(24, np.random.default_rng(settings.seed + 1))

    def crops(self, count: int, random: np.random.Generator) -> Tensor:
        """Samples `[count, 3, size, size]`."""
        stack = [pictures.sample(self.data, self.settings.size, random) for _ in range(count)]
        return torch.tensor(np.stack(stack), device=self.device).permute(0, 3, 1, 2)

    def fit(self) -> Iterator[str]:
        """The rounds of least squares that are still to do; a line for each."""
        rounds, count, size = self.settings.rounds, self.settings.fit_grown, self.settings.size
        while self.round < rounds:
            if self.round == 0:
                self.fitted_on = self.crops(self.settings.fit_crops, self.random)
            else:
                grown = grow(self.student, count, size, self.data, self.random)
                self.fitted_on = torch.cat([self.fitted_on, grown])
            order = torch.as_tensor(self.random.permutation(len(self.fitted_on)))
            choosing = self.round == 0
            fit(
                *(self.student, self.teacher, self.fitted_on[order], self.random),
                choosing=choosing,
            )
            self.round += 1
            yield f"round {self.round}, {len(order)} pictures: {self._report()}"

    def rate(self) -> float:
        """The learning rate of this step: a short rise, then half a cosine down to 0."""
        done = self.step / self.settings.steps
        rise = min(1.0, (self.step + 1) / self.settings.warmup)
        return self.settings.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * done))

    def advance(self) -> tuple[float, float]:
        """One step; the two losses."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        grown = self.pool.next(self.student, settings.grown, settings.pool_steps)
        pixels = torch.cat([self.crops(settings.fresh, self.random), grown])
        with torch.no_grad():
            asked = self.teacher(pixels)
        features, grams = distance(self.student(pixels), asked)
        self.optimizer.zero_grad()
        (features + grams).backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return features.item(), grams.item()

    def run(self, folder: Path, *, every: int = 100) -> Iterator[str]:
        """Train to the end, from the folder's checkpoint if it has one.

        Yields:
            A line for each round and every so many steps, once the checkpoint is written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint, log = folder / "checkpoint.pt", folder / "log.txt"
        if checkpoint.exists():
            self.restore(torch.load(checkpoint, map_location=self.device, weights_only=False))
            yield f"continued after round {self.round}, step {self.step}"
        for line in chain(self.fit(), self.descend(every)):
            self.save(checkpoint)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            yield line

    def descend(self, every: int) -> Iterator[str]:
        """The steps of Adam that are still to do; a line every so many."""
        losses = []
        while self.step < self.settings.steps:
            losses.append(self.advance())
            if self.step % every == 0 or self.step == self.settings.steps:
                features, grams = np.mean(losses, axis=0)
                losses = []
                yield f"step {self.step}, loss {features:.4f} + {grams:.4f}: {self._report()}"

    def _report(self) -> str:
        self.missed = errors(self.student, self.teacher, self.held)
        return self._shown(self.missed)

    def _shown(self, missed: dict[str, float]) -> str:
        return " ".join(f"{layer} {missed[layer]:.4f}" for layer in (*STYLE[1:], CONTENT))

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        state = {
            "settings": self.settings._asdict(),
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.bit_generator.state,
            "members": self.pool.members,
            "round": self.round,
            "fitted_on": self.fitted_on,
            "missed": self.missed,
            "step": self.step,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `save` wrote.

        Raises:
            pictures.DataError: it was made under other settings.
        """
        if state["settings"] != self.settings._asdict():
            raise pictures.DataError(
                f"expected a checkpoint with {self.settings._asdict()}, got one with "
                f"{state['settings']}; give the same options, or another --work folder"
            )
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.bit_generator.state = state["random"]
        self.pool.members = state["members"]
        self.step, self.round = state["step"], state["round"]
        self.fitted_on, self.missed = state["fitted_on"], state["missed"]
