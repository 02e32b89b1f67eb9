"""A job made ready on this machine: its pictures read, the network chosen, the memory planned.

What every command that paints has in common; each brings its own watchers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from absl import logging

from neural_style_tf import files
from neural_style_tf.commands import drafting, fitting, styles, tensorflow
from neural_style_tf.commands.job import Job, check_sizes
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.recent import Recent
from vgg.weights import Weights

if TYPE_CHECKING:
    from neural_style_tf.descent import Step
    from neural_style_tf.optimization import Graphs
    from vgg.network import VGG


@dataclass(frozen=True)
class Pictures:
    """The pictures of a job.

    Attributes:
        canvas: gives the result its size, alpha and color profile: the content, or a style alone.
        styles: as they were read, one or more unless the content is reconstructed.
        initial: where one was given.
    """

    canvas: files.Picture
    styles: list[styles.Loaded]
    initial: files.Picture | None


def read_pictures(job: Job) -> Pictures:
    """Read what a job names.

    Raises:
        FileError: a file that is no picture and no style.
        OptionError: a picture that would have no sensible size.
    """
    inputs = job.inputs
    canvas = files.read(job.canvas)
    if not inputs.content:
        canvas = dataclasses.replace(canvas, alpha=None)  # a texture has no holes
    loaded = styles.load(inputs.styles)
    check_sizes(job, canvas, loaded)
    return Pictures(canvas, loaded, files.read(inputs.initial) if inputs.initial else None)


def objective_on(job: Job, weights: Weights) -> Objective:
    """What the job wants, in layers that the network has; says which ones had to be moved.

    Raises:
        WeightsError: the network lacks a layer that was asked for by name.
    """
    return in_layers_of(weights, job.objective, job.inputs.preset, job.moving)


def in_layers_of(weights: Weights, objective: Objective, name: str, moving: bool) -> Objective:
    """The objective of a preset in layers that a network has; see `objective_on`."""
    if not moving:
        weights.check_layers(objective.layers)
        return objective
    preset = PRESETS[name]
    if name != "athalye2015" and preset.network != weights.name:
        logging.info("Preset %s was published for %s", name, preset.network)
    objective, moved = objective.on(weights.layers)
    weights.check_layers(objective.layers)
    for asked, used in moved.items():
        logging.info("%s has no %s: using %s, the nearest", weights.name, asked, used)
    return objective


class Shared:
    """What runs in one process can share: networks as they are built, and the graphs made of them.

    Args:
        keeps: whether anything is kept for the next run: the last graphs, and two networks, the one
            that paints and the one that judges.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.networks: Recent[Any, VGG] = Recent(2 if keeps else 0)

    @functools.cached_property
    def graphs(self) -> Graphs:
        """For `stylize`; TensorFlow has been started."""
        from neural_style_tf.optimization import Graphs

        return Graphs(1 if self.keeps else 0)

    def network(self, weights: Weights, **how: Any) -> VGG:
        """As `vgg.network.build` makes it, arguments and all."""
        from vgg.network import build

        made_of = weights.fingerprint, how
        return self.networks.get(made_of, lambda: build(weights, **how))


class Run:
    """A job about to be run; TensorFlow has been started.

    Args:
        job, pictures, weights, objective: what is to be done.
        shared: with other runs.

    Attributes:
        pixels: the canvas at the result's size, `[1, H, W, 3]`.
        draft: the network that drafts the picture, where one does.
        total: iterations at all sizes together, at most.

    Raises:
        OptionError: a kept style of another network, or a picture too large for the memory.
    """

    def __init__(
        self,
        job: Job,
        pictures: Pictures,
        weights: Weights,
        objective: Objective,
        shared: Shared | None = None,
    ) -> None:
        from neural_style_tf.pixels import resize_to_width, size_at_width

        self.job, self.weights, self.objective = job, weights, objective
        self.pictures, self.shared = pictures, shared or Shared()
        self.precision = fitting.precision(job)
        self.width = job.inputs.width or pictures.canvas.pixels.shape[2]
        self.paintings = styles.prepare(
            job, pictures.styles, weights, objective, self.precision, self.width
        )
        size = size_at_width(pictures.canvas.pixels, self.width)
        self.draft = drafting.draft(job, weights, objective, pictures.styles)
        self.total = job.schedule.total(*size, drafted=self.draft is not None)
        # Before the first tensor: which allocator TensorFlow uses is settled by that.
        self.schedule, self.tiles, self.sparing = fitting.fitted(
            *(job, weights, objective, self.precision, size, pictures.styles),
            draft=self.draft,
        )
        self.pixels = resize_to_width(pictures.canvas.pixels, self.width)

    def network(self, weights: Weights | None = None) -> Any:
        """The network, as deep as the objective needs: pixels -> `{layer: activation}`."""
        return self.shared.network(
            weights or self.weights,
            pooling=self.job.pooling,
            layers=self.objective.layers,
            precision=self.precision,
            exact=self.job.schedule.exact,
            raw=tensorflow.adds_up_in_single(),
            sparing=self.sparing,
        )

    def steps(self, stops: Collection[int]) -> Iterator[Step]:
        """Run it: see `neural_style_tf.stylize`."""
        from neural_style_tf.loop import stylize

        initial = self.pictures.initial
        return stylize(
            self.network(),
            self.pixels,
            self.paintings,
            self.objective,
            self.schedule,
            initial=initial.pixels if initial else None,
            style_scales=self.job.inputs.style_scales,
            tiles=self.tiles,
            draft=None if self.draft is None else self.network(self.draft),
            stops=stops,
            graphs=self.shared.graphs,
        )

    def save_style(self, path: str) -> None:
        """Keep the styles as this run blends them.

        Raises:
            FileError: a disk that refuses.
        """
        from neural_style_tf.tiles import make_loss

        loss = make_loss(self.network(), self.objective, self.tiles)
        styles.save(path, self.job, self.paintings, self.weights, loss, self.width)

    def picture(self, step: Step) -> Any:
        """The result so far: float32 RGB `[1, H, W, 3]`, not clipped."""
        from neural_style_tf.pixels import keep_colors

        pixels = step.result.pixels.numpy()
        return keep_colors(pixels, self.pixels) if self.job.inputs.preserve_colors else pixels

    def write(self, path: str, step: Step) -> None:
        """Write the result so far with the canvas's alpha and color profile.

        Raises:
            FileError: a disk that refuses.
        """
        from neural_style_tf.pixels import resize_plane

        canvas = self.pictures.canvas
        size = step.result.pixels.shape[1:3]
        files.write(
            path,
            self.picture(step),
            alpha=None if canvas.alpha is None else resize_plane(canvas.alpha, *size),
            icc_profile=canvas.icc_profile,
            settings=self.job.to_dict(),
        )
