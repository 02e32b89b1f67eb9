"""The training: least squares, layer by layer, then SOAP on all of them together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pictures
import torch
from bank import WEIGHTS, Bank
from fit import errors, fit
from grown import grow
from networks import Student, Teacher, computing
from pytorch_optimizer import SOAP
from torch import Tensor

from vgg.weights import Weights


class Settings(NamedTuple):
    """Of one training; a checkpoint is continued only under the same, from the same start.

    Attributes:
        fit_crops: samples that least squares is done on.
        rounds: how many times the pictures that it learns from are others.
        crops, grown: samples, and pictures grown against the student as it is by then (each at four
            ages), that it learns from in a round.
        size: of all pictures, in pixels.
        steps, batch: of SOAP (Vyas et al. 2024, arXiv:2409.11321), in all.
        learning_rate, warmup: a rise over so many steps, then half a cosine down to 0.
        precision: of activations in these steps; "bfloat16" where that is faster.
    """

    fit_crops: int = 512
    rounds: int = 10
    crops: int = 2000
    grown: int = 96
    size: int = 128
    steps: int = 15000
    batch: int = 8
    learning_rate: float = 2e-3
    warmup: int = 100
    seed: int = 0
    precision: str = "float32"


class Training:
    """A student and its optimizer: all that a checkpoint keeps, with the grown pictures.

    Args:
        teacher, data, settings, device: these.
        start: a network that this script made, to go on from in place of least squares.

    Raises:
        WeightsError: it is of another shape.
    """

    def __init__(
        self,
        teacher: Teacher,
        data: list[pictures.Picture],
        settings: Settings,
        device: str,
        start: Weights | None = None,
    ) -> None:
        self.settings, self.data, self.device = settings, data, device
        # Channels last: half again as fast on a CPU.
        self.teacher = teacher.to(device, memory_format=torch.channels_last)
        self.student = Student(teacher).to(device, memory_format=torch.channels_last)
        taught = [each for each in self.student.parameters() if each.requires_grad]
        self.optimizer = SOAP(taught, lr=settings.learning_rate, weight_decay=0.0)
        self.start = "least squares" if start is None else start.fingerprint
        self.step, self.fitted, self.finished = 0, False, False
        self.grown: Tensor | None = None
        self.missed: dict[str, float] = {}
        # Never trained on: other crops of the same pictures.
        self.held = self.crops(24, 1)
        if start is not None:
            with torch.no_grad():
                seen = self.teacher(self.held).values()
                self.student.take(start, [each.square().mean().sqrt() for each in seen])
            self.fitted = True

    def crops(self, count: int, *purpose: int) -> Tensor:
        """Samples `[count, 3, size, size]`, the same every time, others for each purpose."""
        random = np.random.default_rng((self.settings.seed, *purpose))
        stack = [pictures.sample(self.data, self.settings.size, random) for _ in range(count)]
        return torch.tensor(np.stack(stack), device=self.device).permute(0, 3, 1, 2)

    def run(self, folder: Path, *, every: int = 200) -> Iterator[str]:
        """Train to the end, from the folder's checkpoint if it has one.

        Yields:
            A line for least squares and every so many steps, once the checkpoint is written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint, log = folder / "checkpoint.pt", folder / "log.txt"
        if checkpoint.exists():
            self.restore(torch.load(checkpoint, map_location=self.device, weights_only=False))
            yield f"continued after step {self.step}"
        for line in chain(self.fit(), self.descend(every), self.finish()):
            self.save(checkpoint)
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            yield line

    def fit(self) -> Iterator[str]:
        """Least squares, if that is still to do."""
        if not self.fitted:
            settings, random = self.settings, np.random.default_rng(self.settings.seed)
            fit(self.student, self.teacher, self.crops(settings.fit_crops, 2), random)
            self.fitted = True
            yield f"least squares, {settings.fit_crops} pictures: {self._report()}"

    def descend(self, every: int) -> Iterator[str]:
        """The steps of SOAP that are still to do; a line every so many."""
        settings, losses = self.settings, []
        length = -(-settings.steps // settings.rounds)
        while self.step < settings.steps:
            number, within = divmod(self.step, length)
            bank = self._bank(number, anew=not within)
            while self.step < min(settings.steps, (number + 1) * length):
                losses.append(self.advance(bank))
                if self.step % every == 0 or self.step == settings.steps:
                    mean = np.mean(losses)
                    losses = []
                    yield f"step {self.step}, loss {mean:.4f}: {self._report()}"

    def _bank(self, number: int, *, anew: bool) -> Bank:
        """What is learnt from in a round; what is grown is so anew, or is there from before."""
        settings = self.settings
        if anew:
            random = np.random.default_rng((settings.seed, 5, number))
            with computing(self.held.device, settings.precision):
                self.grown = grow(self.student, settings.grown, settings.size, self.data, random)
        assert self.grown is not None  # a checkpoint within a round has them
        pixels = torch.cat([self.crops(settings.crops, 3, number), self.grown])
        return Bank(self.teacher, pixels, settings.precision)

    def finish(self) -> Iterator[str]:
        """Least squares again for all that was not taught, if that is still to do."""
        if self.step and not self.finished:
            settings, random = self.settings, np.random.default_rng(self.settings.seed)
            pixels = self.crops(settings.fit_crops, 2)
            # The first layer is the teacher's own, and has its embeddings already.
            taught = ("conv1_1", "relu1_1", *WEIGHTS)
            fit(self.student, self.teacher, pixels, random, taught)
            self.finished = True
            yield f"all layers: {self._report()}"

    def advance(self, bank: Bank) -> float:
        """One step; its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        chosen = self._chosen(len(bank.pixels))
        pixels = bank.pixels[chosen].to(memory_format=torch.channels_last)
        with computing(pixels.device, self.settings.precision):
            given = self.student(pixels, tuple(WEIGHTS), thin=True)
        loss = bank.distance(given, chosen)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def rate(self) -> float:
        """The learning rate of this step."""
        settings = self.settings
        rise = min(1.0, (self.step + 1) / settings.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * self.step / settings.steps))
        return settings.learning_rate * rise * fall

    def _chosen(self, count: int) -> Tensor:
        """Which pictures this step is of: all of them in turn, in an order new each time."""
        batch = min(self.settings.batch, count)
        turn, place = divmod(self.step, count // batch)
        order = np.random.default_rng((self.settings.seed, 4, turn)).permutation(count)
        return torch.from_numpy(order[place * batch : (place + 1) * batch])

    def _report(self) -> str:
        self.missed = errors(self.student, self.teacher, self.held)
        return " ".join(f"{layer} {self.missed[layer]:.4f}" for layer in WEIGHTS)

    def _begun_with(self) -> dict[str, Any]:
        return {**self.settings._asdict(), "start": self.start}

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        state = {
            "settings": self._begun_with(),
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grown": self.grown,
            "missed": self.missed,
            "step": self.step,
            "fitted": self.fitted,
            "finished": self.finished,
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `save` wrote.

        Raises:
            pictures.DataError: it was made under other settings.
        """
        if state["settings"] != self._begun_with():
            raise pictures.DataError(
                f"expected a checkpoint with {self._begun_with()}, got one with "
                f"{state['settings']}; give the same options, or another --work folder"
            )
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.fitted, self.finished = state["step"], state["fitted"], state["finished"]
        self.grown, self.missed = state["grown"], state["missed"]
