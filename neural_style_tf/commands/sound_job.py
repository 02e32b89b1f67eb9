"""Flags and a settings file, turned into one checked description of a run that makes a sound."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from typing import Any

from neural_style_tf import __version__, sound_files
from neural_style_tf.audio.recipe import FILTERS, LEARNING_RATE, RECIPE, UNKNOWNS
from neural_style_tf.commands.options import beside_flags, with_fields
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule
from neural_style_tf.settings import from_mapping, option

WEIGHTS = ("content_weight", "style_weight")


# Seconds.
_LONGEST = 86400


@dataclass(frozen=True)
class Inputs:
    """The settings of a run that are neither Objective nor Schedule."""

    content: str | None = option(
        None, "the sound to keep; without it the style's texture alone is made", type=str
    )
    styles: tuple[str, ...] = option((), "one or more sounds", nargs="+", type=str, flag="style")
    duration: float | None = option(
        None, "seconds to make without --content (default: as the style)", type=float
    )
    filters: int = option(FILTERS, "random filters: fewer are faster and rougher")
    unknown: str = option(
        UNKNOWNS[0],
        "what is optimized with the filters: the samples, or the frames of the spectrogram, as in "
        "the reference notebook, and phases last",
        choices=UNKNOWNS,
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "styles", tuple(self.styles))
        if not 1 <= self.filters <= 65536:
            raise OptionError(f"--filters: expected 1 to 65536, got {self.filters}")
        if self.unknown not in UNKNOWNS:
            raise OptionError(
                f"unknown --unknown {self.unknown!r}: expected {' or '.join(UNKNOWNS)}"
            )
        if self.duration is not None and not 0 < self.duration <= _LONGEST:
            raise OptionError(
                f"--duration: expected seconds above 0 and at most {_LONGEST}, a day, got "
                f"{self.duration}"
            )


@dataclass(frozen=True)
class Job:
    """A run, described."""

    inputs: Inputs
    objective: Objective
    schedule: Schedule

    def __post_init__(self) -> None:
        inputs = self.inputs
        if not inputs.styles:
            raise OptionError("--style is missing: expected one or more sounds; see --help")
        if not self.objective.style_weight:
            raise OptionError("--style-weight: expected a number above 0, got 0")
        if inputs.content and inputs.duration:
            raise OptionError(
                "--duration is for texture without --content: a result is as long as its content; "
                "leave one of them out"
            )
        self.objective.blend(len(inputs.styles))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what `--config` takes back."""
        objective = self.objective
        return {
            "program": f"neural-style-tf {__version__}",
            **dataclasses.asdict(self.inputs),
            "objective": {
                name: getattr(objective, name)
                for name in (*WEIGHTS, "style_blend_weights")
                # Without content it is 0, which is not meant for a content given later.
                if self.inputs.content or name != "content_weight"
            },
            "schedule": {
                name: value
                for name, value in dataclasses.asdict(self.schedule).items()
                if value is not None
            },
        }


def resolve(options: argparse.Namespace) -> Job:
    """The Job that flags ask for; what they leave open is the settings file's, or the default.

    Raises:
        OptionError, FileError: a value that cannot be meant, or settings that cannot be read.
    """
    recorded = dict(sound_files.read_settings(options.config)) if options.config else {}
    recorded.pop("program", None)
    objective, schedule = recorded.pop("objective", {}), recorded.pop("schedule", {})
    if options.content and options.duration is None:
        recorded.pop("duration", None)
    flags = {
        field.name: given
        for field in dataclasses.fields(Inputs)
        if (given := getattr(options, field.name)) is not None
    }
    changed: dict[str, Any] = {}
    if options.style_blend_weights is not None:
        changed["style_blend_weights"] = options.style_blend_weights
    elif options.styles:
        changed["style_blend_weights"] = ()  # a settings file's were for its own styles
    wanted = from_mapping(Objective, objective, RECIPE)
    wanted = with_fields(wanted, options, **changed)
    schedule = beside_flags(_object("schedule", schedule), options)
    how = with_fields(from_mapping(Schedule, schedule), options)
    if how.learning_rate is None and how.resolved().optimizer == "adam":
        how = dataclasses.replace(how, learning_rate=LEARNING_RATE)
    inputs = from_mapping(Inputs, {**recorded, **flags})
    if not inputs.content:
        if options.content_weight:
            raise OptionError("--content-weight: got no content; give --content, or leave it out")
        wanted = dataclasses.replace(wanted, content_weight=0.0)
    return Job(inputs, wanted, how.resolved())


def _object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"{name} settings: expected an object, got {value!r}")
    return value
