"""The `audio` command: the texture of sounds on the content of another, or by itself."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from neural_style_tf import files, progress, sound_files
from neural_style_tf.audio.recipe import LEARNING_RATE, RECIPE
from neural_style_tf.commands import interrupts, tensorflow
from neural_style_tf.commands.apart import check_apart
from neural_style_tf.commands.options import add_fields
from neural_style_tf.commands.sound_job import WEIGHTS, Inputs, Job, resolve
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import HISTORY, PATIENT, TOLERANCE, Schedule

if TYPE_CHECKING:
    from neural_style_tf.audio.transfer import Take
    from neural_style_tf.commands.sounds import Sounds

SUMMARY = "put the texture of a sound on the content of another, or make more of it"

_SCHEDULE = {
    "iterations": "evaluations of the loss with the filters, at most, for each piece of up to "
    "20 s; as many cheap ones come before (default: lbfgs 100, adam 1000)",
    "optimizer": "lbfgs or adam (default: lbfgs, or adam if one of its settings is given)",
    "tolerance": "done when the loss falls by less than this share in 20 iterations (default: "
    f"lbfgs {TOLERANCE['lbfgs']:g}, {PATIENT['lbfgs']:g} where iterations are given; adam "
    "0: never)",
    "history": f"L-BFGS: past steps that it remembers (default {HISTORY})",
    "learning_rate": "Adam: learning rate, in log magnitudes or hundredths of full scale (default "
    f"{LEARNING_RATE})",
    "beta1": "Adam: decay of the mean gradient (default 0.9)",
    "beta2": "Adam: decay of the mean squared gradient (default 0.999)",
    "epsilon": "Adam: epsilon (default 1e-08)",
    "initial_noiseblend": "share of noise, with the spectrum of the style, in the sound to start "
    "from (default 0, or 1 without --content)",
    "seed": "of the noise and the filters: the same seed, the same sound",
    "keep": "end with the sound of the lowest loss, or with the last one",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    group = parser.add_argument_group("sounds")
    add_fields(group, Inputs, ("content",))
    add = group.add_argument
    add(
        *("--style", "--styles"),
        dest="styles",
        nargs="+",
        metavar="FILE",
        help="one or more sounds whose texture is wanted: WAV, FLAC, OGG, MP3 or AIFF",
    )
    add("--output", metavar="OUTPUT", help="output path; its extension chooses the format")
    add("--overwrite", action="store_true", help="replace a file that is already there")
    add_fields(group, Inputs, ("duration",))
    add("--plot", action="store_true", help="draw the spectrograms beside OUTPUT, as a PNG")
    add(
        "--config",
        metavar="FILE",
        help="take the settings of an earlier run: a JSON file, or a sound that a run wrote; flags "
        "beside it win",
    )
    losses = parser.add_argument_group("losses")
    add_fields(losses, Objective, WEIGHTS, base=RECIPE)
    losses.add_argument(
        "--style-blend-weights",
        type=float,
        nargs="*",
        metavar="WEIGHT",
        help="one weight for each style; without values, equal ones",
    )
    add_fields(losses, Inputs, ("filters",))
    optimization = parser.add_argument_group("optimization")
    add_fields(optimization, Schedule, _SCHEDULE)
    add_fields(optimization, Inputs, ("unknown",))
    add = parser.add_argument_group("progress").add_argument
    add("--print-iterations", type=int, metavar="N", help="print the losses every N iterations")
    add("--progress-write", action="store_true", help="write the losses to OUTPUT's folder")
    add("--progress-plot", action="store_true", help="plot the losses to OUTPUT's folder")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")
    others = {f.name for of in (Objective, Schedule) for f in dataclasses.fields(of)}
    unset = others - {*WEIGHTS, *_SCHEDULE, "style_blend_weights"}
    parser.set_defaults(**dict.fromkeys(unset))


def check_outputs(options: argparse.Namespace, job: Job) -> None:
    """Whether everything that a run will leave behind can be written.

    Raises:
        OptionError, FileError: it cannot, and why.
    """
    if not options.output:
        raise OptionError("--output is missing: expected a path such as out.wav; see --help")
    sound_files.check_target(options.output, overwrite=options.overwrite, settings=job.to_dict())
    if options.plot:
        files.check_target(_plot_path(options), overwrite=options.overwrite)
    if options.print_iterations is not None and options.print_iterations < 1:
        raise OptionError(f"--print-iterations: expected 1 or more, got {options.print_iterations}")
    for flag, wanted in (("--plot", options.plot), ("--progress-plot", options.progress_plot)):
        if wanted and importlib.util.find_spec("matplotlib") is None:
            raise OptionError(f"{flag} needs matplotlib: run `pip install matplotlib`")
    check_apart(
        (job.inputs.content, *job.inputs.styles, options.config),
        options.output,
        {
            "--plot": _plot_path(options) if options.plot else None,
            **progress.LossLog.beside(options),
        },
    )


def _plot_path(options: argparse.Namespace) -> Path:
    return Path(options.output).with_suffix(".png")


def run(options: argparse.Namespace) -> int:
    """Make a sound; the exit code.

    Raises:
        NeuralStyleError: whatever is wrong with the input, before any work is done.
    """
    begun = time.monotonic()
    sound_files.packages()
    job = resolve(options)
    check_outputs(options, job)
    from neural_style_tf.commands.sounds import Sounds

    sounds = Sounds(job)
    sound_files.check_encoding(options.output, sounds.rate, sounds.like.file.channels)
    device = tensorflow.start()
    logging.info("%s, on %s", sounds.told(), device)
    watchers = _watchers(options, sounds.iterations)
    takes = sounds.takes({stop for watcher in watchers for stop in watcher.stops})
    recording = Recording(options, sounds, begun)
    with contextlib.ExitStack() as closing:
        closing.callback(recording.close)
        for watcher in watchers:  # closed first: a bar has to go before the last line comes
            closing.callback(watcher.close)
        try:
            for take in interrupts.interruptible(takes):
                with interrupts.deferring():  # else a piece might be there twice
                    recording(take)
                if take.step is not None:
                    for watcher in watchers:
                        watcher(take.step)
            interrupts.finish()
        except KeyboardInterrupt:
            interrupts.exit_on_next()
            logging.warning("Interrupted: ending with the best sound so far")
            return interrupts.exit_code()
    return 0


class Recording:
    """Whoever follows a run and writes its sound when it is over, however it ended."""

    def __init__(self, options: argparse.Namespace, sounds: Sounds, begun: float) -> None:
        from neural_style_tf.commands.sounds import Spool

        self.options, self.sounds, self.begun = options, sounds, begun
        self.spool = Spool(sounds.like, Path(options.output).parent)
        self.last: Take | None = None
        self.losses: list[float] = []

    def __call__(self, take: Take) -> None:
        """Take note of what a run has come to."""
        if take.step is None:
            self._add(take)
        self.last = take

    def close(self) -> None:
        """Write what there is."""
        with contextlib.closing(self.spool):
            if self.last is not None:
                self._write(self.last)

    def _write(self, last: Take) -> None:
        if last.step is not None:
            self._add(last)
        output = self.options.output
        self.spool.write(output, self.sounds)
        if self.options.plot:
            self._draw(_plot_path(self.options))
        logging.info(
            "Wrote %s: %.1f s of %.1f, %s, loss %.4g, in %s",
            output,
            self.spool.meter.length / self.sounds.rate,
            self.sounds.length / self.sounds.rate,
            sound_files.SoundFile(output).encoding,
            sum(self.losses) / len(self.losses),
            progress.hms(time.monotonic() - self.begun),
        )

    def _add(self, take: Take) -> None:
        self.spool.add(take.sound())
        self.losses.append(take.loss)

    def _draw(self, path: Path) -> None:
        """Content, styles and result side by side."""
        from neural_style_tf.audio.plot import draw
        from neural_style_tf.commands.sounds import listen

        sounds = self.sounds
        titled = [("content", sounds.content)] if sounds.content else []
        names = (
            ["style"]
            if len(sounds.styles) == 1
            else [f"style {i}" for i in range(1, 1 + len(sounds.styles))]
        )
        titled += [*zip(names, sounds.styles, strict=True), ("result", listen(self.options.output))]
        with files.replacing(path, "plot") as place:
            draw(place, [(title, sound.windows(sounds.rate)) for title, sound in titled])
        logging.info("Wrote %s: the spectrograms", path)


def _watchers(options: argparse.Namespace, total: int) -> list[progress.Watcher]:
    watchers: list[progress.Watcher] = []
    if not options.quiet:
        watchers.append(progress.Terminal(options.print_iterations, total))
    if options.progress_write or options.progress_plot:
        watchers.append(
            progress.LossLog(
                Path(options.output).parent,
                options.print_iterations,
                total,
                table=options.progress_write,
                plot=options.progress_plot,
            )
        )
    return watchers
