"""The `export` command: the optimization, or a trained network, as other programs run it."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import Any

from absl import logging

from neural_style_tf import __version__, files, folders
from neural_style_tf.commands import models, runs, stylize, tensorflow
from neural_style_tf.commands.job import Inputs, objective_of
from neural_style_tf.commands.options import add_fields, with_fields
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.progress import hms
from neural_style_tf.schedule import Schedule
from vgg import fetch
from vgg.weights import read

SUMMARY = (
    "write the optimization as a SavedModel, or a trained network also as TensorFlow Lite or ONNX"
)

# The extension of each format's file; a SavedModel is a folder.
FORMATS = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}
_FOLDER: dict[str, Any] = {
    "kind": "SavedModel",
    "mark": "saved_model.pb",
    "others": ("assets", "assets.extra", "fingerprint.pb", "keras_metadata.pb", "variables"),
}
_SMALLEST, _LARGEST = 16, 8192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    models.add_arguments(parser)
    network = parser.add_argument_group("of the optimization, without --model")
    add_fields(network, Inputs, ("network", "pooling", "preset"))
    stylize.add_losses(parser)
    stylize.add_optimization(parser)
    add = parser.add_argument
    add(
        "--format",
        choices=tuple(FORMATS),
        help="saved_model, a folder; tflite and onnx, a file (default: by the extension of OUTPUT)",
    )
    add("--output", metavar="OUTPUT", help="the file, or the folder of a SavedModel")
    add(
        "--size",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the pictures of a TensorFlow Lite model (default: any; some of its accelerators "
        "want one size)",
    )
    add("--overwrite", action="store_true", help="replace what is already there")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")


def run(options: argparse.Namespace) -> int:
    """Export; the exit code.

    Raises:
        NeuralStyleError: whatever is wrong with the input, before any work is done.
    """
    begun = time.monotonic()
    if not options.output:
        raise OptionError("--output is missing; see `neural-style-tf export --help`")
    _check_flags(options)
    output = Path(options.output)
    if not options.model:
        return _optimization(options, output, begun)
    format = options.format or next(
        (name for name, suffix in FORMATS.items() if suffix and output.suffix.lower() == suffix),
        "saved_model",
    )
    size = options.size
    if size and format != "tflite":
        raise OptionError(f"--size is for --format tflite: a {format} takes any size; leave it out")
    if size and not all(_SMALLEST <= side <= _LARGEST for side in size):
        raise OptionError(f"--size: expected {_SMALLEST} to {_LARGEST} pixels, got {size}")
    if format == "onnx" and importlib.util.find_spec("tf2onnx") is None:
        raise OptionError("--format onnx needs tf2onnx: run `pip install tf2onnx`")
    model = models.find(options)
    if format == "saved_model":
        folders.check_target(output, overwrite=options.overwrite, **_FOLDER)
    else:
        if output.suffix.lower() in FORMATS.values() and output.suffix.lower() != FORMATS[format]:
            raise OptionError(
                f"--output: expected a name that ends in {FORMATS[format]} for --format {format}, "
                f"got {output.name}; rename it"
            )
        files.check_target(output, overwrite=options.overwrite, kind="model")

    tensorflow.start()
    from neural_style_tf.transform import export

    if format == "saved_model":
        with folders.replacing(output, _FOLDER["kind"]) as made:
            export.save(model.net, model.mix, made)
    elif format == "tflite":
        shape = (size[1], size[0]) if size else None
        files.write_bytes(output, export.tflite(model.net, model.mix, shape), "model")
    else:
        files.write_bytes(output, export.onnx(model.net, model.mix), "model")
    logging.info(
        "Wrote %s: %s of %s, in %s",
        *(output, format, ", ".join(model.shares), hms(time.monotonic() - begun)),
    )
    return 0


def _check_flags(options: argparse.Namespace) -> None:
    """Whether flags that are for one thing were given for the other.

    Raises:
        OptionError: they were.
    """
    of_model = ("styles", "style_blend_weights", "size")
    of_optimization = (
        *("network", "pooling", "preset"),
        *("content_layers", "style_layers", "content_weight_blend", "style_layer_weight_exp"),
        *(
            f.name
            for of in (Objective, Schedule)
            for f in dataclasses.fields(of)
            if "help" in f.metadata
        ),
    )
    wrong, what = (of_optimization, "goes without") if options.model else (of_model, "goes with")
    for name in wrong:
        if getattr(options, name) is not None:
            flag = "eps" if name == "epsilon" else name.replace("_", "-")
            raise OptionError(f"--{flag} {what} --model; leave it out")
    if not options.model and options.format not in (None, "saved_model"):
        raise OptionError(
            f"--format {options.format} is for a trained network: give one with --model, or leave "
            "it out for the optimization, a SavedModel"
        )


def _optimization(options: argparse.Namespace, output: Path, begun: float) -> int:
    """Export the optimization itself; the exit code."""
    if output.suffix in set(FORMATS.values()) - {""}:
        raise OptionError(
            f"--output {output.name}: the optimization is exported as a SavedModel, a folder; name "
            "one, or give a trained network with --model"
        )
    preset = options.preset or "athalye2015"
    wanted = objective_of(options, PRESETS[preset].objective)
    schedule = with_fields(Schedule(), options)
    folders.check_target(output, overwrite=options.overwrite, **_FOLDER)
    location = fetch.find(options.network or "auto")
    weights = read(location.path)
    moving = not (options.content_layers or options.style_layers)
    objective = runs.in_layers_of(weights, wanted, preset, moving)
    pooling = options.pooling or PRESETS[preset].pooling

    tensorflow.start()
    from neural_style_tf.serving.module import Stylizer
    from neural_style_tf.serving.saved import save
    from vgg.network import build
    from vgg.portable import Portable

    network = Portable(
        build(weights, pooling=pooling, layers=objective.layers, exact=schedule.exact)
    )
    about = {
        "program": f"neural-style-tf {__version__}",
        "network": {"name": weights.name, "origin": location.origin, "pooling": pooling},
        "preset": preset,
    }
    with folders.replacing(output, _FOLDER["kind"]) as made:
        save(Stylizer(network, objective, schedule, about), made)
    logging.info(
        "Wrote %s: saved_model of the optimization with %s from %s (%s), in %s",
        *(output, weights.name, location.path, location.origin, hms(time.monotonic() - begun)),
    )
    return 0
