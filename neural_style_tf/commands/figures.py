"""The `figures` command: what explains style transfer, shown on any photograph and painting."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from neural_style_tf import __version__, files
from neural_style_tf.commands import interrupts, sheets, tensorflow
from neural_style_tf.commands.cells import Cells
from neural_style_tf.commands.job import POOLING, Inputs
from neural_style_tf.commands.options import add_fields
from neural_style_tf.errors import FileError, NeuralStyleError, OptionError
from neural_style_tf.figures import plan
from neural_style_tf.figures.page import MARK, page
from neural_style_tf.figures.plan import Figure, Recipe
from neural_style_tf.progress import Bar, hms
from neural_style_tf.schedule import Schedule
from vgg import fetch
from vgg.weights import read

SUMMARY = "make the figures that explain style transfer, and a page that shows them"

WIDTH = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    add_fields(parser, Inputs, ("content",))
    add = parser.add_argument
    add(
        "--style",
        "--styles",
        dest="styles",
        nargs="+",
        metavar="STYLE",
        help="the painting; a second one is for the figure that blends two (default there: the "
        "same at half its size)",
    )
    add("--output-dir", metavar="DIR", help="folder for the figures; made if need be")
    add("--width", type=int, default=WIDTH, metavar="WIDTH", help=f"of a cell (default {WIDTH})")
    add(
        "--only",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help=f"these figures, by their numbers, 1 to {plan.COUNT} (default: all)",
    )
    add(
        "--published",
        type=Path,
        metavar="DIR",
        help="folder with the pictures that the 2017 program published (swe02.jpg, …), to be shown "
        "below ours",
    )
    add(
        "--pooling",
        choices=POOLING,
        default="max",
        help="where a figure does not choose it (default max)",
    )
    add_fields(parser, Inputs, ("network", "precision", "memory_limit"))
    add_fields(parser, Schedule, ("iterations", "seed"))
    add("--quiet", action="store_true", help="print nothing but warnings and errors")


def run(options: argparse.Namespace) -> int:
    """Make the figures; the exit code.

    Raises:
        NeuralStyleError, WeightsError: whatever is wrong with the input, before any work is done.
    """
    inputs = _inputs(options)
    schedule = Schedule(iterations=options.iterations, seed=options.seed or 0).resolved()
    location = fetch.find(inputs.network)
    folder = Path(options.output_dir)
    cells = Cells(folder / "cells", inputs, read(location.path))

    def planned(only: Sequence[int] = ()) -> list[Figure]:
        layers, count = cells.weights.layers, len(inputs.styles)
        return plan.figures(schedule, cells.size, layers, count, only)

    figures = planned(options.only)
    recipes = plan.recipes(figures)
    for recipe in recipes:
        cells.check(recipe)
    published = sheets.published(figures, options.published)
    _make_folder(cells.folder)

    device = tensorflow.start()
    logging.info(
        "Network: %s from %s (%s), on %s",
        *(cells.weights.name, location.path, location.origin, device),
    )
    todo = [recipe for recipe in recipes if cells.record(recipe) is None]
    logging.info("Pictures to paint: %d, there already: %d", len(todo), len(recipes) - len(todo))
    painting = _Painting(cells, todo, None if options.quiet else Bar())
    facts = _facts(cells, schedule)
    with contextlib.ExitStack() as closing:
        closing.callback(painting.close)
        try:
            for index, figure in enumerate(figures):
                for recipe in plan.recipes([figure]):
                    painting.paint(recipe)
                if not index:  # not before the first run, which chooses how memory is had
                    cells.given()
                sheets.write(figure, cells, folder, published)
                html = page(*sheets.up_to_date(planned(), cells, folder), facts)
                files.write_bytes(folder / "index.html", html.encode(), "page")
        except (KeyboardInterrupt, NeuralStyleError) as stopped:
            painting.close()
            logging.warning(
                "%d of %d pictures are there, the same command goes on with the others",
                *(len(recipes) - len(painting.todo), len(recipes)),
            )
            if isinstance(stopped, NeuralStyleError):
                raise
            interrupts.exit_on_next()
            return interrupts.exit_code()
    logging.info("Wrote %s: the figures, to be opened in a browser", folder / "index.html")
    return 0


def _inputs(options: argparse.Namespace) -> Inputs:
    """What all runs have in common.

    Raises:
        OptionError: flags that cannot be meant.
    """
    for flag, given in (
        ("--content", options.content),
        ("--style", options.styles),
        ("--output-dir", options.output_dir),
    ):
        if not given:
            raise OptionError(f"{flag} is missing; see `neural-style-tf figures --help`")
    if len(options.styles) > 2:
        raise OptionError(f"--style: expected one or two paintings, got {len(options.styles)}")
    for number in options.only:
        if not 1 <= number <= plan.COUNT:
            raise OptionError(f"--only: expected numbers from 1 to {plan.COUNT}, got {number}")
    if options.published and not options.published.is_dir():
        raise OptionError(f"--published: expected a folder, got {options.published}")
    return Inputs(
        content=options.content,
        styles=options.styles,
        width=options.width,
        network=options.network or "auto",
        pooling=options.pooling,
        precision=options.precision or "auto",
        draft="none",  # every iteration that is shown is to be the network's own
        memory_limit=options.memory_limit,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder {folder}: {error.strerror}; name another --output-dir"
        ) from error
    files.check_target(folder / "default.png", overwrite=True)
    index = folder.parent / "index.html"
    files.check_target(index, overwrite=True, kind="page")
    if index.exists() and MARK.encode() not in files.read_bytes(index, "page"):
        raise FileError(
            f"{files.shown(index)} is there and is none of ours: expected a folder of its own for "
            "the figures; name another --output-dir"
        )


class _Painting:
    """The runs that are still to be done, and how far they are together."""

    def __init__(self, cells: Cells, todo: list[Recipe], bar: Bar | None) -> None:
        self.cells, self.bar = cells, bar
        self.todo = {recipe.name: cells.work(recipe) for recipe in todo}
        self.count = len(todo)
        self.work, self.done = sum(self.todo.values()), 0.0

    def paint(self, recipe: Recipe) -> None:
        """Paint it, unless it is there."""
        if recipe.name not in self.todo:
            return
        if self.bar:
            self.bar.close()  # what the run says stands on a line of its own
        number = self.count - len(self.todo) + 1
        own = self.todo[recipe.name]

        def watch(share: float) -> None:
            if self.bar:
                self.bar.advance((self.done + share * own) / self.work)
                self.bar.draw(f"{number:3d}/{self.count}", recipe.name)

        record = self.cells.paint(recipe, watch)
        del self.todo[recipe.name]
        self.done += own
        if self.bar:
            self.bar.advance(self.done / self.work)
            if not self.bar.live:
                self.bar.line(
                    f"{number}/{self.count} {recipe.name}: loss {record['loss']:.4g} "
                    f"({hms(self.bar.elapsed)} elapsed, {hms(self.bar.remaining)} remaining)"
                )

    def close(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.close()


def _facts(cells: Cells, schedule: Schedule) -> dict[str, str]:
    """What the figures were made from, in words."""
    inputs = cells.inputs
    height, width = cells.size
    return {
        "photograph 照片": files.shown(Path(inputs.content or "").name),
        "painting 画作": ", ".join(files.shown(Path(path).name) for path in inputs.styles),
        "network 网络": cells.weights.name,
        "size 尺寸": f"{width} × {height}",
        "iterations 迭代次数": f"{schedule.iterations}",
        "program 程序": f"neural-style-tf {__version__}",
    }
