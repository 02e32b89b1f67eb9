"""The `stylize` command: the flags of the 2017 program and more."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from neural_style_tf import progress
from neural_style_tf.commands import fitting, interrupts, runs, tensorflow
from neural_style_tf.commands.job import Inputs, check_outputs, resolve
from neural_style_tf.commands.options import add_fields
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule
from vgg import fetch
from vgg.weights import read

if TYPE_CHECKING:
    from neural_style_tf.descent import Step

SUMMARY = "Paint a photograph in the style of paintings."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    add = add_pictures(parser)
    add(
        "--save-style",
        metavar="FILE.npz",
        help="keep the style, or the blend of styles: --styles takes such a file, too",
    )
    add(
        "--config",
        metavar="FILE",
        help="take the settings of an earlier run: a JSON file, or a picture that a run wrote; "
        "flags beside it win",
    )

    add = add_losses(parser)
    add(
        "--style-blend-weights",
        type=float,
        nargs="*",
        metavar="WEIGHT",
        help="one weight for each style; without values, equal ones",
    )

    add_optimization(parser)
    add_progress(parser)


def add_losses(
    parser: argparse.ArgumentParser, base: Objective | None = None
) -> Callable[..., object]:
    """Declare the flags of the Objective but for the blend of styles.

    Args:
        parser: gets them.
        base: what is wanted where nothing is said; the 2017 program's by default.

    Returns:
        What adds more flags to the group.
    """
    losses = parser.add_argument_group("losses")
    add_fields(losses, Objective, base=base)
    add = losses.add_argument
    add("--content-layers", nargs="+", metavar="LAYER[=WEIGHT]", help="any content layers")
    add("--style-layers", nargs="+", metavar="LAYER[=WEIGHT]", help="any style layers")
    add(
        "--content-weight-blend",
        type=float,
        metavar="BLEND",
        help="content layers relu4_2 * BLEND + relu5_2 * (1 - BLEND) (default 1)",
    )
    add(
        "--style-layer-weight-exp",
        type=float,
        metavar="EXP",
        help="style layer weights: weight(layer n+1) = EXP * weight(layer n) (default 1.0)",
    )
    return add


def add_pictures(parser: argparse.ArgumentParser) -> Callable[..., object]:
    """Declare what every command that paints one picture reads and writes.

    Returns:
        What adds more flags to the group.
    """
    pictures = parser.add_argument_group("pictures and network")
    add_fields(pictures, Inputs)
    add = pictures.add_argument
    add("--output", metavar="OUTPUT", help="output path; its extension chooses the format")
    add("--overwrite", action="store_true", help="replace a file that is already there")
    return add


def add_optimization(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the Schedule."""
    add_fields(parser.add_argument_group("optimization"), Schedule)


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Declare what a run shows and leaves behind."""
    add = parser.add_argument_group("progress").add_argument
    add("--print-iterations", type=int, metavar="N", help="print the losses every N iterations")
    add(
        "--checkpoint-output",
        metavar="FORMAT",
        help="checkpoint path, such as output_{:05}.jpg or output_%%05d.jpg",
    )
    add("--checkpoint-iterations", type=int, metavar="N", help="checkpoint every N iterations")
    add("--progress-write", action="store_true", help="write the losses to OUTPUT's folder")
    add("--progress-plot", action="store_true", help="plot the losses to OUTPUT's folder")
    add("--log-dir", type=Path, metavar="DIR", help="write TensorBoard losses and pictures")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")


def run(options: argparse.Namespace) -> int:
    """Stylize a picture; the exit code.

    Raises:
        NeuralStyleError, WeightsError: whatever is wrong with the input, before any work is done.
    """
    begun = time.monotonic()
    job = resolve(options)
    check_outputs(options, job)
    location = fetch.find(job.inputs.network)
    pictures = runs.read_pictures(job)
    weights = read(location.path)
    objective = runs.objective_on(job, weights)

    device = tensorflow.start()
    logging.info(
        "Network: %s from %s (%s), %s pooling, on %s, %s",
        *(weights.name, location.path, location.origin, job.pooling, device),
        fitting.precision(job),
    )
    run = runs.Run(job, pictures, weights, objective)
    if run.draft:
        logging.info("Drafted with the embedded network, which is several times as fast")
    ways = "a smaller --width (half of it takes a quarter of the time), fewer --iterations"
    if location.origin != "embedded" and job.inputs.network != "compact":
        ways += ", --network compact"
    watchers = [*_watchers(options, run, begun), progress.Advice(ways, logging.info)]
    if options.save_style:
        run.save_style(options.save_style)
    steps = run.steps({stop for watcher in watchers for stop in watcher.stops})
    with contextlib.ExitStack() as closing:
        for watcher in reversed(watchers):  # an exit stack closes the last one first
            closing.callback(watcher.close)
        try:
            for step in interrupts.interruptible(steps):
                for watcher in watchers:
                    watcher(step)
            interrupts.finish()
        except KeyboardInterrupt:
            interrupts.exit_on_next()
            logging.warning("Interrupted: ending with the best picture so far")
            return interrupts.exit_code()
    return 0


class _Output:
    """The watcher that writes the picture when the run is over, however it ended."""

    stops: Collection[int] = ()

    def __init__(self, path: str, run: runs.Run, begun: float) -> None:
        self.path, self.run, self.begun = path, run, begun
        self.last: Step | None = None

    def __call__(self, step: Step) -> None:
        self.last = step

    def close(self) -> None:
        if self.last is None:
            return
        self.run.write(self.path, self.last)
        result = self.last.result
        _, height, width, _ = result.pixels.shape
        logging.info(
            "Wrote %s: %d×%d, iteration %d of %d, loss %.6g, in %s",
            *(self.path, width, height, result.iteration, self.last.total, result.loss),
            progress.hms(time.monotonic() - self.begun),
        )


def _watchers(options: argparse.Namespace, run: runs.Run, begun: float) -> list[progress.Watcher]:
    """Whoever follows this run, in the order in which they are told and closed."""
    total = run.total
    watchers: list[progress.Watcher] = [_Output(options.output, run, begun)]
    if not options.quiet:
        # Before the output: its bar has to go before the last line comes.
        watchers.insert(0, progress.Terminal(options.print_iterations, total))
    if options.checkpoint_output:
        template, period = options.checkpoint_output, options.checkpoint_iterations
        watchers.append(progress.Checkpoints(template, period, total, run.write))
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
    if options.log_dir:
        watchers.append(progress.TensorBoard(options.log_dir, total, run.picture))
    return watchers
