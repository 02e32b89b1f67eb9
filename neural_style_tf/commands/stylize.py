"""The `stylize` command: the flags of the 2017 program and more."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from neural_style_tf import files, progress
from neural_style_tf.commands import fitting, interrupts, styles, tensorflow
from neural_style_tf.commands.job import Inputs, Job, check_outputs, check_sizes, resolve
from neural_style_tf.commands.options import add_fields
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.schedule import Schedule
from vgg import fetch
from vgg.weights import Weights, read

if TYPE_CHECKING:
    from neural_style_tf.loop import Step

SUMMARY = "Paint a photograph in the style of paintings."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    pictures = parser.add_argument_group("pictures and network")
    add_fields(pictures, Inputs)
    add = pictures.add_argument
    add("--output", metavar="OUTPUT", help="output path; its extension chooses the format")
    add("--overwrite", action="store_true", help="replace a file that is already there")
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

    losses = parser.add_argument_group("losses")
    add_fields(losses, Objective)
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
    add(
        "--style-blend-weights",
        type=float,
        nargs="*",
        metavar="WEIGHT",
        help="one weight for each style; without values, equal ones",
    )

    add_fields(parser.add_argument_group("optimization"), Schedule)

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
    logging.set_verbosity(logging.WARNING if options.quiet else logging.INFO)
    logging.get_absl_handler().setFormatter(None)
    job = resolve(options)
    check_outputs(options)
    location = fetch.find(job.inputs.network)
    content = files.read(job.inputs.content or "")
    loaded = styles.load(job.inputs.styles)
    initial = files.read(job.inputs.initial) if job.inputs.initial else None
    check_sizes(job, content, loaded)
    weights = read(location.path)
    objective, moved = job.objective.on(weights.layers) if job.moving else (job.objective, {})
    weights.check_layers(objective.layers)

    device = tensorflow.start()
    precision = fitting.precision(job)
    logging.info(
        "Network: %s from %s (%s), %s pooling, on %s, %s",
        *(weights.name, location.path, location.origin, job.pooling, device, precision),
    )
    _explain(job, weights, moved)

    width = job.inputs.width or content.pixels.shape[2]
    paintings = styles.prepare(job, loaded, weights, objective, precision, width)

    from neural_style_tf.loop import stylize
    from neural_style_tf.pixels import resize_to_width
    from neural_style_tf.tiles import make_loss
    from vgg.network import build

    pixels = resize_to_width(content.pixels, width)
    output = _Output(options.output, job, content, pixels, begun)
    sizes = job.schedule.sizes(pixels.shape[1], pixels.shape[2])
    total = sum(map(job.schedule.iterations_at, range(len(sizes))))
    watchers = _watchers(options, total, output)
    ways = "a smaller --width (half of it takes a quarter of the time), fewer --iterations"
    if location.origin != "embedded" and job.inputs.network != "compact":
        ways += ", --network compact"
    watchers.append(progress.Advice(ways, logging.info))
    schedule, tiles = fitting.fitted(job, weights, objective, precision, pixels, loaded)
    network = build(weights, pooling=job.pooling, layers=objective.layers, precision=precision)
    if options.save_style:
        loss = make_loss(network, objective, tiles)
        styles.save(options.save_style, job, paintings, weights, loss, width)
    steps = stylize(
        network,
        pixels,
        paintings,
        objective,
        schedule,
        initial=initial.pixels if initial else None,
        style_scales=job.inputs.style_scales,
        tiles=tiles,
        stops={stop for watcher in watchers for stop in watcher.stops},
    )
    with contextlib.ExitStack() as closing:
        for watcher in reversed(watchers):  # an exit stack closes the last one first
            closing.callback(watcher.close)
        try:
            for step in interrupts.interruptible(steps):
                for watcher in watchers:
                    watcher(step)
        except KeyboardInterrupt:
            interrupts.exit_on_next()
            logging.warning("Interrupted: ending with the best picture so far")
            return interrupts.EXIT_CODE
    return 0


def _explain(job: Job, weights: Weights, moved: dict[str, str]) -> None:
    preset = PRESETS[job.inputs.preset]
    if job.inputs.preset != "athalye2015" and preset.network != weights.name:
        logging.info("Preset %s was published for %s", job.inputs.preset, preset.network)
    for asked, used in moved.items():
        logging.info("%s has no %s: using %s, the nearest", weights.name, asked, used)


class _Output:
    """The watcher that writes the picture when the run is over, however it ended."""

    stops: Collection[int] = ()

    def __init__(
        self, path: str, job: Job, content: files.Picture, pixels: Any, begun: float
    ) -> None:
        self.path, self.job, self.content, self.pixels = path, job, content, pixels
        self.begun = begun
        self.last: Step | None = None

    def __call__(self, step: Step) -> None:
        self.last = step

    def close(self) -> None:
        if self.last is None:
            return
        self.write(self.path, self.last)
        result = self.last.result
        _, height, width, _ = result.pixels.shape
        logging.info(
            "Wrote %s: %d×%d, iteration %d of %d, loss %.6g, in %s",
            *(self.path, width, height, result.iteration, self.last.total, result.loss),
            progress.hms(time.monotonic() - self.begun),
        )

    def picture(self, step: Step) -> Any:
        """The result so far: float32 RGB `[1, H, W, 3]`, not clipped."""
        from neural_style_tf.pixels import keep_colors

        pixels = step.result.pixels.numpy()
        if self.job.inputs.preserve_colors:
            return keep_colors(pixels, self.pixels)
        return pixels

    def write(self, path: str, step: Step) -> None:
        """Write the result so far with the content's alpha and color profile."""
        from neural_style_tf.pixels import resize_plane

        alpha = self.content.alpha
        files.write(
            path,
            self.picture(step),
            alpha=None if alpha is None else resize_plane(alpha, *step.result.pixels.shape[1:3]),
            icc_profile=self.content.icc_profile,
            settings=self.job.to_dict(),
        )


def _watchers(options: argparse.Namespace, total: int, output: _Output) -> list[progress.Watcher]:
    """Whoever follows this run, in the order in which they are told and closed."""
    watchers: list[progress.Watcher] = [output]
    if not options.quiet:
        # Before the output: its bar has to go before the last line comes.
        watchers.insert(0, progress.Terminal(options.print_iterations, total))
    if options.checkpoint_output:
        template, period = options.checkpoint_output, options.checkpoint_iterations
        watchers.append(progress.Checkpoints(template, period, total, output.write))
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
        watchers.append(progress.TensorBoard(options.log_dir, total, output.picture))
    return watchers
