"""Dispatch to a command; the only place that turns an error into an exit code."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from absl import app, logging

from neural_style_tf import __version__
from neural_style_tf.commands.interrupts import exit_code, heed, leave
from neural_style_tf.commands.options import Parser
from neural_style_tf.errors import NeuralStyleError
from vgg import WeightsError

COMMANDS = ("stylize", "train", "apply", "export", "reconstruct", "figures", "audio", "weights")
DEFAULT = "stylize"
BAD_INPUT = 2


def main(argv: Sequence[str]) -> int:
    """Run one command line (`argv[0]` is the program); the exit code."""
    return _reported(lambda: execute(parse(argv)))


def console() -> None:
    """The `neural-style-tf` script and `python -m neural_style_tf`, in absl's program frame."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by whoever started this. Its number is free, and the next file to be opened
            # would get it, and be written into.
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            # What a terminal's encoding lacks, of a bar or of a path, is no reason to end a run.
            stream.reconfigure(errors="replace")
    try:
        code = _reported(lambda: app.run(execute, flags_parser=parse))
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        code = end.code or 0
    leave(code)


def parse(argv: Sequence[str]) -> tuple[ModuleType, Any]:
    """The command that a command line names, and its options."""
    words = list(argv[1:])
    name = words.pop(0) if words and words[0] in COMMANDS else DEFAULT
    command = _command(name)
    others = [other for other in COMMANDS if other != DEFAULT]
    parser = Parser(
        prog="neural-style-tf" if name == DEFAULT else f"neural-style-tf {name}",
        description=command.SUMMARY,
        epilog="Other commands, each with a --help of its own: "
        + "; ".join(f"`{other}`, {_command(other).SUMMARY}" for other in others)
        if name == DEFAULT
        else None,
    )
    parser.add_argument("--version", action="version", version=f"neural-style-tf {__version__}")
    command.add_arguments(parser)
    return command, parser.parse_args(words)


def execute(parsed: tuple[ModuleType, Any]) -> int:
    """Run a parsed command; its exit code."""
    command, options = parsed
    quiet = getattr(options, "quiet", False)
    logging.set_verbosity(logging.WARNING if quiet else logging.INFO)
    logging.get_absl_handler().setFormatter(None)  # plain lines
    heed()
    code: int = command.run(options)
    return code


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"neural_style_tf.commands.{name}")


def _reported(work: Callable[[], int]) -> int:
    try:
        return work()
    except (NeuralStyleError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except Exception as error:
        if not _out_of_memory(error):
            raise
        print(
            "error: this needs more memory than there is: lower --width (of a sound: --filters)",
            file=sys.stderr,
        )
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: nothing is written", file=sys.stderr)
        return exit_code()


def _out_of_memory(error: Exception) -> bool:
    # By its name, for TensorFlow may not have been imported.
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


if __name__ == "__main__":
    console()
