"""The `export` command: a trained network as other programs run it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import tempfile
import time
from pathlib import Path

from absl import logging

from neural_style_tf import files
from neural_style_tf.commands import interrupts, models, tensorflow
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.progress import hms

SUMMARY = "write a trained network as SavedModel, TensorFlow Lite or ONNX"

# The extension of each format's file; a SavedModel is a folder.
FORMATS = {"saved_model": "", "tflite": ".tflite", "onnx": ".onnx"}
_SMALLEST, _LARGEST = 16, 8192


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    models.add_arguments(parser)
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
    logging.set_verbosity(logging.WARNING if options.quiet else logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    interrupts.heed()
    for flag, given in (("--model", options.model), ("--output", options.output)):
        if not given:
            raise OptionError(f"{flag} is missing; see `neural-style-tf export --help`")
    output = Path(options.output)
    format = options.format or next(
        (name for name, suffix in FORMATS.items() if suffix and output.suffix == suffix),
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
        _check_folder(output, overwrite=options.overwrite)
    else:
        if output.suffix.lower() in FORMATS.values() and output.suffix != FORMATS[format]:
            raise OptionError(
                f"--output: expected a name that ends in {FORMATS[format]} for --format {format}, "
                f"got {output.name}; rename it"
            )
        files.check_target(output, overwrite=options.overwrite, kind="model")

    tensorflow.start()
    from neural_style_tf.transform import export

    if format == "saved_model":
        with tempfile.TemporaryDirectory(dir=output.resolve().parent) as folder:
            made = Path(folder) / "model"
            export.saved_model(model.net, model.mix, made)
            _replace(output, made)
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


def _check_folder(output: Path, *, overwrite: bool) -> None:
    """Whether a SavedModel can be written there.

    Raises:
        FileError: it cannot, and why.
    """
    shown = files.shown(output)
    if not output.resolve().parent.is_dir():
        raise FileError(f"cannot write model {shown}: there is no folder for it; create it first")
    if not output.exists():
        return
    ours = (output / "saved_model.pb").is_file()
    if not output.is_dir() or (not ours and any(output.iterdir())):
        raise FileError(f"{shown} exists and is no SavedModel: name another --output")
    if ours and not overwrite:
        raise FileError(f"{shown} exists; name another folder or pass --overwrite")


def _replace(output: Path, made: Path) -> None:
    """Put a finished folder in its place.

    Raises:
        FileError: a disk that refuses.
    """
    try:
        old = made.with_name("old")
        if output.exists():
            output.rename(old)
        made.rename(output)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise FileError(
            f"cannot write model {files.shown(output)}: {error.strerror}; check the disk"
        ) from error
    os.utime(output)
