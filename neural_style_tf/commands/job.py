"""Flags and a settings file, turned into one checked description of a run.

Everything that can be wrong without looking into a picture is found here, in milliseconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural_style_tf import __version__, files
from neural_style_tf.commands.apart import check_apart
from neural_style_tf.commands.options import beside_flags, layer_weights, with_fields
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.progress import LossLog, checkpoint_name
from neural_style_tf.schedule import Schedule
from neural_style_tf.settings import from_mapping, option
from neural_style_tf.style_files import check_style_target, is_style

SMALLEST, WIDEST = 16, 32768  # pixels
POOLING = ("max", "avg")
PRECISIONS = ("auto", "float32", "bfloat16")
DRAFTS = ("auto", "none")
_EXPECTED = {"--content": "a picture", "--styles": "one or more pictures"}


@dataclass(frozen=True)
class Inputs:
    """The settings of a run that are neither Objective nor Schedule."""

    content: str | None = option(None, "content picture", type=str)
    styles: tuple[str, ...] = option(
        (), "one or more style pictures, or styles kept", nargs="+", type=str
    )
    style_scales: tuple[float, ...] = option(
        (),
        "one scale for each style, against the output's width (default 1.0)",
        nargs="+",
        type=float,
    )
    initial: str | None = option(None, "initial picture", type=str)
    width: int | None = option(None, "output width (default: the content's)", type=int)
    preserve_colors: bool = option(
        False, "style-only transfer: keep the colors of the content", type=bool
    )
    network: str = option(
        "auto",
        "VGG weights: a MatConvNet .mat, Keras .h5 or .npz file; auto is $NEURAL_STYLE_NETWORK, "
        "./imagenet-vgg-verydeep-19.mat, the cache or the embedded network, the first there is",
    )
    preset: str = option(
        "athalye2015", "a published recipe; the other flags change it", choices=tuple(PRESETS)
    )
    pooling: str | None = option(
        None, "pooling of the network (default: the preset's)", choices=POOLING, type=str
    )
    precision: str = option(
        "auto",
        "of the network; auto is bfloat16 where the processor is faster in it, but for Adam",
        choices=PRECISIONS,
    )
    draft: str = option(
        "auto",
        "draft the picture with the embedded network, so that VGG-19 has only to finish it (auto: "
        "on a CPU, with L-BFGS), or none",
        choices=DRAFTS,
    )
    memory_limit: float | None = option(
        None,
        "GiB that the run may take (default: most of what is free); larger pictures are worked on "
        "in tiles, with the same result",
        type=float,
    )

    def __post_init__(self) -> None:
        for name in ("styles", "style_scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in (
            ("preset", tuple(PRESETS)),
            ("pooling", (None, *POOLING)),
            ("precision", PRECISIONS),
            ("draft", DRAFTS),
        ):
            if getattr(self, name) not in known:
                raise OptionError(
                    f"unknown {name} {getattr(self, name)!r}: expected "
                    f"{', '.join(filter(None, known))}"
                )
        scales = self.style_scales
        if scales and len(scales) != len(self.styles):
            raise OptionError(
                f"--style-scales: expected one for each of {len(self.styles)} style(s), "
                f"got {len(scales)}"
            )
        for scale in scales:
            if not 0 < scale < float("inf"):
                raise OptionError(f"--style-scales: expected finite numbers above 0, got {scale}")
        if self.width is not None and not SMALLEST <= self.width <= WIDEST:
            raise OptionError(f"--width: expected {SMALLEST} to {WIDEST} pixels, got {self.width}")
        if self.memory_limit is not None and not 0 < self.memory_limit < float("inf"):
            raise OptionError(
                f"--memory-limit: expected a finite number of GiB above 0, got {self.memory_limit}"
            )


@dataclass(frozen=True)
class Job:
    """A run, described.

    Attributes:
        moving: whether the layers are the preset's, which may move to the nearest ones that a
            network has; layers that were asked for by name may not.
    """

    inputs: Inputs
    objective: Objective
    schedule: Schedule
    moving: bool

    def __post_init__(self) -> None:
        for flag, given, weight in (
            ("--content", self.inputs.content, "content_weight"),
            ("--styles", self.inputs.styles, "style_weight"),
        ):
            if not given and getattr(self.objective, weight):
                raise OptionError(f"{flag} is missing: expected {_EXPECTED[flag]}; see --help")
        if self.inputs.styles:
            self.objective.blend(len(self.inputs.styles))
        elif not self.inputs.content:
            raise OptionError("--content is missing: expected a picture; see --help")
        if not self.inputs.content and self.inputs.preserve_colors:
            raise OptionError(
                "--preserve-colors: expected --content, whose colors are kept, got none; leave it "
                "out"
            )
        if not self.inputs.content and is_style(self.canvas):
            raise OptionError(
                f"--content is missing: {self.canvas} is a kept style, which has no size of its "
                "own; give a picture of the size wanted"
            )

    @property
    def canvas(self) -> str:
        """The picture that gives the result its size: the content, or else the first style."""
        return self.inputs.content or self.inputs.styles[0]

    @property
    def style_scales(self) -> tuple[float, ...]:
        """One for each style."""
        return self.inputs.style_scales or (1.0,) * len(self.inputs.styles)

    @property
    def pooling(self) -> str:
        """The pooling asked for, or else the preset's."""
        return self.inputs.pooling or PRESETS[self.inputs.preset].pooling

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `--config` takes back."""
        inputs = dataclasses.asdict(self.inputs)
        del inputs["memory_limit"]  # of the machine, not of the picture
        return {
            "program": f"neural-style-tf {__version__}",
            **inputs,
            "objective": self.objective.to_dict(),
            "schedule": dataclasses.asdict(self.schedule),
        }


def resolve(options: argparse.Namespace) -> Job:
    """The Job that flags ask for; what they leave open is the settings file's, or the default.

    Raises:
        OptionError, FileError: a value that cannot be meant, or a settings file that cannot be
            read.
    """
    recorded = dict(files.read_settings(options.config)) if options.config else {}
    recorded.pop("program", None)
    objective, schedule = recorded.pop("objective", {}), recorded.pop("schedule", {})
    if isinstance(schedule, dict):
        schedule = beside_flags(schedule, options)
    flags = {
        field.name: given
        for field in dataclasses.fields(Inputs)
        if (given := getattr(options, field.name)) is not None
    }
    if "styles" in flags and "style_scales" not in flags:
        recorded.pop("style_scales", None)  # those were for the file's own styles
    if "painted" in recorded:
        raise OptionError(
            f"--config {files.shown(options.config)}: expected what `stylize` wrote, got a "
            "picture that `apply` painted; name another"
        )
    inputs = from_mapping(Inputs, {**recorded, **flags})
    preset = PRESETS[inputs.preset].objective
    base = from_mapping(Objective, objective, preset)
    if options.preset is not None:  # of the styles, and so of their blend, it says nothing
        base = dataclasses.replace(preset, style_blend_weights=base.style_blend_weights)
    return Job(
        inputs,
        objective_of(options, base),
        with_fields(from_mapping(Schedule, schedule), options).resolved(),
        moving=not (options.content_layers or options.style_layers),
    )


def objective_of(options: argparse.Namespace, base: Objective) -> Objective:
    """The base with the flags that name layers and blends in the ways of the 2017 program.

    Raises:
        OptionError: a value that cannot be meant.
    """
    changed: dict[str, Any] = {}
    if options.content_layers:
        changed["content_layers"] = layer_weights(options.content_layers, "--content-layers")
    if (blend := options.content_weight_blend) is not None:
        if options.content_layers:
            raise OptionError(
                "--content-weight-blend and --content-layers both choose content layers: give one"
            )
        if not 0 <= blend <= 1:
            raise OptionError(f"--content-weight-blend: expected 0 to 1, got {blend}")
        changed["content_layers"] = {"relu4_2": blend, "relu5_2": 1 - blend}
    if options.style_layers:
        changed["style_layers"] = layer_weights(options.style_layers, "--style-layers")
    if (exponent := options.style_layer_weight_exp) is not None:
        changed["style_layers"] = _graded(changed.get("style_layers", base.style_layers), exponent)
    if options.style_blend_weights is not None:
        changed["style_blend_weights"] = options.style_blend_weights
    elif options.styles:
        changed["style_blend_weights"] = ()  # a settings file's were for its own styles
    return with_fields(base, options, **changed)


def _graded(layers: Mapping[str, float], exponent: float) -> dict[str, float]:
    try:
        weights = {layer: weight * exponent**i for i, (layer, weight) in enumerate(layers.items())}
    except OverflowError:
        weights = {}
    if not weights or not 0 <= exponent < float("inf"):
        raise OptionError(
            f"--style-layer-weight-exp: expected a finite number, 0 or more, got {exponent}"
        )
    return weights


def check_outputs(options: argparse.Namespace, job: Job) -> None:
    """Whether everything that a run will leave behind can be written.

    Raises:
        OptionError, FileError: it cannot, and why.
    """
    if not options.output:
        raise OptionError("--output is missing: expected a path such as out.png; see --help")
    files.check_target(options.output, overwrite=options.overwrite)
    if options.save_style:
        if not job.inputs.styles:
            raise OptionError("--save-style: expected --styles to keep, got none")
        check_style_target(options.save_style, overwrite=options.overwrite)
    for name in ("print_iterations", "checkpoint_iterations"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionError(f"--{name.replace('_', '-')}: expected 1 or more, got {value}")
    template = options.checkpoint_output
    if (template is None) != (options.checkpoint_iterations is None):
        raise OptionError(
            "--checkpoint-output and --checkpoint-iterations go together: give both or neither"
        )
    if template is not None:
        files.check_target(checkpoint_name(template, 0), overwrite=True)
    for flag, wanted, package in (
        ("--progress-plot", options.progress_plot, "matplotlib"),
        ("--log-dir", options.log_dir, "tensorboard"),
    ):
        if wanted and importlib.util.find_spec(package) is None:
            raise OptionError(f"{flag} needs {package}: run `pip install {package}`")
    if options.log_dir and options.log_dir.exists() and not options.log_dir.is_dir():
        raise OptionError(f"--log-dir: expected a folder, got the file {options.log_dir}")
    inputs = job.inputs
    check_apart(
        (inputs.content, *inputs.styles, inputs.initial, inputs.network, options.config),
        options.output,
        {
            **LossLog.beside(options),
            "--log-dir": options.log_dir,
            "--save-style": options.save_style and Path(options.save_style),
        },
        template,
    )


def check_sizes(job: Job, content: files.Picture, styles: Sequence[object]) -> None:
    """Whether the pictures have a sensible size once they are resized.

    Raises:
        OptionError: one would vanish or explode, or has no room for the scales asked for.
    """
    inputs = job.inputs

    def check(path: str | None, picture: files.Picture, width: float, advice: str) -> None:
        height = picture.pixels.shape[1] / picture.pixels.shape[2] * width
        if min(width, height) < SMALLEST or width * height > files.MAX_PIXELS:
            raise OptionError(
                f"{path} would be {int(width)}×{int(height)} pixels: expected at least "
                f"{SMALLEST}×{SMALLEST} and at most {files.MAX_PIXELS} in all; give {advice}"
            )

    width = inputs.width or content.pixels.shape[2]
    check(job.canvas, content, width, "a picture of another shape or another --width")
    for path, style, scale in zip(inputs.styles, styles, job.style_scales, strict=True):
        if not isinstance(style, files.Picture):
            continue  # a kept style has any size
        check(
            path,
            style,
            scale * width,
            "another picture, another --style-scales or a larger --width",
        )
    height = content.pixels.shape[1] / content.pixels.shape[2] * width
    job.schedule.sizes(int(height), width)
