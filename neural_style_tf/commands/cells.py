"""Runs that are kept in a folder: painted once, found again.

Beside the pictures of a run lies a file that says what made them and what came of it. It is written
last: where it is, all is. A run that was made of the same is not made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neural_style_tf import files
from neural_style_tf.commands import fitting, interrupts, runs
from neural_style_tf.commands.job import Inputs, Job, check_sizes
from neural_style_tf.figures.plan import CONTENT, OTHER, STYLE, SUM, Recipe
from neural_style_tf.objective import Objective
from vgg.weights import Weights


class Cells:
    """The runs of some figures, all of one photograph, one network and one or two paintings.

    Args:
        folder: where they are kept.
        inputs: what they have in common.
        weights: of the network.

    Raises:
        FileError: a picture that cannot be read.
    """

    def __init__(self, folder: Path, inputs: Inputs, weights: Weights) -> None:
        self.folder, self.inputs, self.weights = folder, inputs, weights
        # What is kept for the next run would come on top of what memory is planned for.
        self.shared = runs.Shared(keeps=not inputs.memory_limit)
        self.content = files.read(inputs.content or "")
        self.paintings = [files.read(path) for path in inputs.styles]
        self.digests = {
            path: picture.fingerprint
            for path, picture in zip(
                (inputs.content, *inputs.styles), (self.content, *self.paintings), strict=True
            )
        }

    def job(self, recipe: Recipe) -> Job:
        """The recipe as `stylize` has it: each picture can be given to its --config."""
        chosen = recipe.styles if recipe.objective.style_weight else ()
        inputs = dataclasses.replace(
            self.inputs,
            styles=tuple(self.inputs.styles[index] for index, _ in chosen),
            style_scales=tuple(scale for _, scale in chosen),
            initial=self.inputs.content if recipe.from_content else None,
            preserve_colors=recipe.preserve_colors,
            pooling=recipe.pooling or self.inputs.pooling,
        )
        return Job(inputs, recipe.objective, recipe.schedule.resolved(), moving=True)

    def check(self, recipe: Recipe) -> None:
        """Whether the recipe can be run.

        Raises:
            OptionError: a picture that would have no sensible size.
            WeightsError: the network has nothing like one of the layers.
        """
        pictures = self._pictures(recipe)
        check_sizes(self.job(recipe), pictures.canvas, pictures.styles)
        self._objective(recipe)

    def path(self, name: str, iteration: int | None = None) -> Path:
        """The file of a picture: of a given one, or of a run at its end or at an iteration."""
        return self.folder / f"{name}{'' if iteration is None else f'-{iteration:04d}'}.png"

    def work(self, recipe: Recipe) -> float:
        """What the run costs, against other runs: multiplications."""
        from vgg.network import operations

        pixels = recipe.schedule.work(*self.size)
        return pixels * operations(self.weights, self._objective(recipe).layers)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture."""
        from neural_style_tf.pixels import size_at_width

        pixels = self.content.pixels
        return size_at_width(pixels, self.inputs.width or pixels.shape[2])

    def record(self, recipe: Recipe) -> dict[str, Any] | None:
        """What is known of a run that is finished and was made of the same; else None."""
        pictures = [self.path(recipe.name, stop) for stop in (*recipe.stops, None)]
        try:
            known = json.loads(self._beside(recipe).read_bytes())
        except (OSError, ValueError):
            return None
        same = isinstance(known, dict) and known.get("made_of") == self._made_of(recipe)
        return known if same and all(picture.is_file() for picture in pictures) else None

    def paint(self, recipe: Recipe, watch: Callable[[float], None]) -> dict[str, Any]:
        """Run it, keep it, and say what came of it.

        Args:
            recipe: what.
            watch: told how much of it is done, 0-1.

        Raises:
            NeuralStyleError: it diverged, or a disk refuses.
        """
        job = self.job(recipe)
        with contextlib.suppress(OSError):  # whoever refuses will say so when it is written
            self._beside(recipe).unlink()
        pictures, objective = self._pictures(recipe), self._objective(recipe)
        run = runs.Run(job, pictures, self.weights, objective, self.shared)
        waiting, results = list(recipe.stops), {}
        for step in interrupts.interruptible(run.steps(recipe.stops)):
            # Of a run that converges early the later ones are its end.
            while waiting and (step.iteration >= waiting[0] or step.last):
                stop = waiting.pop(0)
                run.write(str(self.path(recipe.name, stop)), step)
                results[str(stop)] = {"iteration": step.iteration, "loss": step.result.loss}
            watch(step.share)
        run.write(str(self.path(recipe.name)), step)
        record = {
            "made_of": self._made_of(recipe),
            "settings": job.to_dict(),
            "network": self.weights.name,
            "size": self.size[::-1],
            "iterations": step.iteration,
            "loss": step.result.loss,
            "results": results,
            "last_losses": {name: float(value) for name, value in step.terms._asdict().items()},
            **self._judged(recipe, run),
        }
        data = json.dumps(record, indent=1, allow_nan=False).encode()
        files.write_bytes(self._beside(recipe), data, "losses")
        return record

    def given(self) -> None:
        """Write the pictures that are not painted: the photograph, the paintings, their sum.

        Raises:
            FileError: a disk that refuses.
        """
        from neural_style_tf.pixels import resize, resize_style

        height, width = self.size
        content = resize(self.content.pixels, height, width)
        first = self.paintings[0].pixels
        second = self.paintings[1].pixels if len(self.paintings) > 1 else None
        other = resize_style(first, width / 2) if second is None else resize_style(second, width)
        shaped = resize(_shaped(first, height / width), height, width)
        for name, pixels in (
            (CONTENT, content),
            (STYLE, resize_style(first, width)),
            (OTHER, other),
            (SUM, (content + shaped) / 2),
        ):
            profile = self.content.icc_profile if name == CONTENT else None
            files.write(self.path(name), pixels, icc_profile=profile)

    def _pictures(self, recipe: Recipe) -> runs.Pictures:
        """Those of the recipe's job, read once for all."""
        chosen = recipe.styles if recipe.objective.style_weight else ()
        canvas = self.content
        if not recipe.objective.content_weight:
            canvas = dataclasses.replace(canvas, alpha=None)  # a texture has no holes
        return runs.Pictures(
            canvas,
            [self.paintings[index] for index, _ in chosen],
            self.content if recipe.from_content else None,
        )

    def _objective(self, recipe: Recipe) -> Objective:
        """What is wanted, in layers that the network has."""
        objective, _ = recipe.objective.on(self.weights.layers)
        self.weights.check_layers(objective.layers)
        return objective

    def _beside(self, recipe: Recipe) -> Path:
        return self.folder / f"{recipe.name}.json"

    def _made_of(self, recipe: Recipe) -> str:
        """A hash of all that the pictures depend on, wherever the files are."""
        job = self.job(recipe)
        settings = job.to_dict()
        for name in ("content", "styles", "initial", "network"):
            del settings[name]
        made_of = {
            **settings,
            "precision": fitting.precision(job),
            "memory_limit": job.inputs.memory_limit,  # with little, L-BFGS remembers less
            "network": self.weights.fingerprint,
            "content": self.digests[self.inputs.content],
            "styles": [self.digests[path] for path in job.inputs.styles],
            "from_content": recipe.from_content,
            "stops": recipe.stops,
            "judged": recipe.judged,
        }
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def _judged(self, recipe: Recipe, run: runs.Run) -> dict[str, Any]:
        """How near a reconstruction came, as it was written, by the network in float32."""
        if not recipe.judged:
            return {}
        from neural_style_tf.figures.measures import feature_errors, gram_errors, psnr
        from neural_style_tf.pixels import resize_style, start

        network = self.shared.network(self.weights, pooling=run.job.pooling, layers=recipe.judged)
        picture = files.read(self.path(recipe.name)).pixels
        noise = start(run.pixels, 1.0, recipe.schedule.seed)
        if run.objective.content_weight:
            decibels = psnr(picture, run.pixels)
            return {
                "psnr": decibels if np.isfinite(decibels) else None,  # the same to the last level
                "feature_errors": feature_errors(network, picture, run.pixels, noise),
            }
        (index, scale), *_ = recipe.styles
        style = resize_style(self.paintings[index].pixels, scale * self.size[1])
        return {"gram_errors": gram_errors(network, picture, style, noise)}


def _shaped(pixels: np.ndarray, ratio: float) -> np.ndarray:
    """The middle of `[1, H, W, 3]`, as large as there is of height/width = ratio."""
    _, height, width, _ = pixels.shape
    rows = min(height, max(1, round(width * ratio)))
    columns = min(width, max(1, round(height / ratio)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[:, top : top + rows, left : left + columns]
