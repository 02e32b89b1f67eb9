"""The `apply` command: pictures painted by a trained network, each in one pass."""

from __future__ import annotations

import argparse
import dataclasses
import glob
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import logging

from neural_style_tf import __version__, files, memory
from neural_style_tf.commands import interrupts, models, tensorflow
from neural_style_tf.commands.job import PRECISIONS, SMALLEST, WIDEST
from neural_style_tf.commands.models import Model
from neural_style_tf.commands.options import add_fields, with_fields
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.progress import Bar, hms
from neural_style_tf.settings import option

if TYPE_CHECKING:
    import numpy as np

    from neural_style_tf.transform.painter import Painter

SUMMARY = "paint pictures with a trained network, each in one pass"

# What results are written as in a folder: as their pictures, or, where that would lose, as PNG.
_WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
_PLAIN = ".png"
# Pixels across from which on strokes look small in the whole.
_LARGE = 2048
# Sides of tiles in pixels; larger ones are no faster.
_SIDES = (512, 256)


@dataclass(frozen=True)
class Look:
    """How large the result is, and how much of the painting and of the photograph is seen."""

    width: int | None = option(
        None,
        "output width (default: the picture's); strokes have their size in pixels, so that a "
        "smaller picture has larger ones",
        type=int,
    )
    strength: float = option(1.0, "share of the painting in the result, 0 to 1")
    preserve_colors: bool = option(
        False, "keep the colors of the photograph: only the brightness is painted", type=bool
    )

    def __post_init__(self) -> None:
        if self.width is not None and not SMALLEST <= self.width <= WIDEST:
            raise OptionError(f"--width: expected {SMALLEST} to {WIDEST} pixels, got {self.width}")
        if not 0 <= self.strength <= 1:
            raise OptionError(f"--strength: expected 0 to 1, got {self.strength}")


class Task(NamedTuple):
    """A picture to be painted, and where to."""

    source: str
    target: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    models.add_arguments(parser)
    add = parser.add_argument
    add(
        "--input",
        nargs="+",
        metavar="INPUT",
        help="pictures: files, folders (searched through), or patterns such as 'photos/*.jpg'",
    )
    add("--output", metavar="OUTPUT", help="a picture; for more than one, a folder")
    add("--overwrite", action="store_true", help="replace files that are already there")
    add_fields(parser, Look)
    add(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the network; auto is bfloat16 where the processor has it",
    )
    add(
        "--memory-limit",
        type=float,
        metavar="GIB",
        help="GiB that it may take (default: most of what is free); larger pictures are worked on "
        "in tiles, with the same result",
    )
    add("--quiet", action="store_true", help="print nothing but warnings and errors")


def run(options: argparse.Namespace) -> int:
    """Paint; the exit code.

    Raises:
        NeuralStyleError: whatever is wrong with the input, before any work is done. Of several
            pictures those that cannot be read are named when the others are painted.
    """
    begun = time.monotonic()
    for flag, given in (
        ("--model", options.model),
        ("--input", options.input),
        ("--output", options.output),
    ):
        if not given:
            raise OptionError(f"{flag} is missing; see `neural-style-tf apply --help`")
    limit = options.memory_limit
    if limit is not None and not 0 < limit < float("inf"):
        raise OptionError(f"--memory-limit: expected a finite number of GiB above 0, got {limit}")
    look = with_fields(Look(), options)
    model = models.find(options)
    sources, several = _sources(options.input)
    work = _Work(model, look, options.precision, limit)
    if several or options.output.endswith((os.sep, "/")) or Path(options.output).is_dir():
        return _folder(work, _tasks(options, sources), options, begun)
    files.check_target(options.output, overwrite=options.overwrite)
    [(source, _)] = sources
    picture = files.read(source)
    work.start()
    settings = work.settings(_digest(source))
    picture = work.sized(picture)
    work.write(Path(options.output), picture, work.paint(picture), settings)
    _, height, width, _ = picture.pixels.shape
    logging.info(
        "Wrote %s: %d×%d, in %s", options.output, width, height, hms(time.monotonic() - begun)
    )
    if look.width is None and max(width, height) > _LARGE:
        logging.info("For larger strokes give a smaller --width, such as 1024")
    return 0


class _Work:
    """A network and how it is applied; TensorFlow is not needed before `start`."""

    def __init__(self, model: Model, look: Look, precision: str, limit: float | None) -> None:
        self.model, self.look, self.precision = model, look, precision
        self.limit = limit and limit * memory.GIB

    def start(self) -> None:
        """Start TensorFlow and make the network ready."""
        device = tensorflow.start()
        if self.precision == "auto":
            self.precision = tensorflow.fastest_precision()
        logging.info(
            "Network: %s, on %s, %s",
            *(", ".join(self.model.shares), device, self.precision),
        )
        from neural_style_tf.transform.painter import Painter

        self.painter: Painter = Painter(self.model.net, self.model.mix, self.precision)
        if self.limit is None and not tensorflow.on_gpu():
            free = memory.available()
            self.limit = free and memory.SHARE * free

    def sized(self, picture: files.Picture) -> files.Picture:
        """A picture at the width that is asked for.

        Raises:
            OptionError: it would explode.
        """
        from neural_style_tf.pixels import resize, resize_plane, size_at_width

        if not self.look.width:
            return picture
        height, width = size = size_at_width(picture.pixels, self.look.width)
        if height * width > files.MAX_PIXELS:
            raise OptionError(
                f"--width: expected a result of at most {files.MAX_PIXELS} pixels in all, got "
                f"{width}×{height}; give a smaller one"
            )
        return dataclasses.replace(
            picture,
            pixels=resize(picture.pixels, *size).numpy(),
            alpha=None if picture.alpha is None else resize_plane(picture.alpha, *size),
        )

    def paint(self, picture: files.Picture) -> np.ndarray:
        """The result, float32 `[1, H, W, 3]`, not clipped.

        Raises:
            OptionError: the picture takes more memory than there is.
        """
        from neural_style_tf.pixels import keep_colors

        pixels, strength = picture.pixels, self.look.strength
        painted = self.painter(pixels, self._side(*pixels.shape[1:3]))
        if self.look.preserve_colors:
            painted = keep_colors(painted, pixels)
        if strength == 1:
            return painted
        return (1 - strength) * pixels + strength * painted.clip(0, 255)

    def _side(self, height: int, width: int) -> int | None:
        """Of the tiles, None for none."""
        from neural_style_tf.transform.painter import footprint

        if self.limit is None:
            return None
        net, precision = self.model.net, self.precision

        def taken(side: int | None) -> float:
            return memory.BASE + footprint(net, precision, (height, width), side)

        for side in (None, *_SIDES):
            if taken(side) <= self.limit:
                return side
        least, most = (bytes / memory.GIB for bytes in (taken(_SIDES[-1]), self.limit))
        raise OptionError(
            f"a picture of {width}×{height} pixels takes at least {least:.1f} GiB of memory: "
            f"expected at most {most:.1f}; give a smaller picture, or a larger --memory-limit if "
            "the machine has it"
        )

    def settings(self, digest: str) -> dict[str, Any]:
        """What a result is told to be made of."""
        return {
            "program": f"neural-style-tf {__version__}",
            "painted": {
                "styles": self.model.shares,
                "network": self.model.fingerprint,
                "width": self.look.width,
                "strength": self.look.strength,
                "preserve_colors": self.look.preserve_colors,
                "input": digest,
            },
        }

    def write(
        self, path: Path, picture: files.Picture, painted: np.ndarray, settings: dict[str, Any]
    ) -> None:
        """Write a result with the alpha and color profile of its picture.

        Raises:
            FileError: a disk that refuses.
        """
        files.write(
            path,
            painted,
            alpha=picture.alpha,
            icc_profile=picture.icc_profile,
            settings=settings,
        )


def _folder(work: _Work, tasks: list[Task], options: argparse.Namespace, begun: float) -> int:
    """Paint all that is not there yet; the exit code.

    Raises:
        FileError: files that are none of this work's, or, when all else is done, pictures that
            cannot be read.
    """
    todo = []
    for task in tasks:
        if task.target.exists() and not options.overwrite:
            if not _done(work, task):
                raise FileError(
                    f"{files.shown(task.target)} exists and was made otherwise: name another "
                    "--output or pass --overwrite"
                )
        else:
            todo.append(task)
    if len(todo) < len(tasks):
        logging.info("Pictures to paint: %d, there already: %d", len(todo), len(tasks) - len(todo))
    if not todo:
        return 0
    for folder in {task.target.parent for task in todo}:
        _make_folder(folder)
    work.start()
    bar = None if options.quiet else Bar(window=11)
    failed: list[str] = []
    done = 0
    try:
        for task, result in interrupts.interruptible(_painted(work, todo)):
            if isinstance(result, FileError):
                failed.append(str(result))
                logging.warning("skipped: %s", result)
            else:
                work.write(task.target, *result)
            done += 1
            if bar:
                bar.advance(done / len(todo))
                bar.draw(f"{done:4d}/{len(todo)}", files.shown(task.target.name))
    except KeyboardInterrupt:
        interrupts.exit_on_next()
        logging.warning(
            "Interrupted: %d of %d pictures are there, the same command%s goes on with the others",
            *(len(tasks) - len(todo) + done - len(failed), len(tasks)),
            " without --overwrite" if options.overwrite else "",
        )
        return interrupts.exit_code()
    finally:
        if bar:
            bar.close()
    logging.info(
        "Wrote %d picture(s) to %s, in %s",
        *(done - len(failed), options.output, hms(time.monotonic() - begun)),
    )
    if failed:
        raise FileError(
            f"{len(failed)} of {len(todo)} pictures could not be painted, the others are there; "
            f"the first: {failed[0]}"
        )
    return 0


def _painted(work: _Work, tasks: list[Task]) -> Iterator[tuple[Task, Any]]:
    """Each task with what `_Work.write` is to be given, or with why it cannot be done."""
    for task in tasks:
        try:
            picture = work.sized(files.read(task.source))
            yield task, (picture, work.paint(picture), work.settings(_digest(task.source)))
        except (FileError, OptionError) as error:
            yield task, FileError(str(error))


def _done(work: _Work, task: Task) -> bool:
    """Whether the result is there, complete, and made of the same in the same way."""
    try:
        return files.read_settings(task.target) == work.settings(_digest(task.source))
    except FileError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"cannot make the folder {files.shown(folder)}: {error.strerror}; name another --output"
        ) from error


def _sources(inputs: Sequence[str]) -> tuple[list[tuple[str, Path]], bool]:
    """The pictures that are meant, each with its place in an output folder; whether there is one.

    Raises:
        FileError: there are none.
    """
    found: dict[str, Path] = {}
    several = len(inputs) > 1
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            several = True
            paths = files.pictures_in(path)
            found |= {each: Path(each).relative_to(path) for each in paths}
        elif not path.exists() and glob.has_magic(name):
            several = True
            paths = [
                each
                for each in sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - of any root
                if Path(each).is_file()
            ]
            found |= {each: Path(Path(each).name) for each in paths}
            if not paths:
                raise FileError(f"--input: expected pictures like {name}, got none; check the name")
        else:
            found[name] = Path(path.name)
    return list(found.items()), several


def _tasks(options: argparse.Namespace, sources: list[tuple[str, Path]]) -> list[Task]:
    """Every picture with the file that it becomes.

    Raises:
        FileError: an output that is no folder, or two pictures that would become one.
    """
    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise FileError(
            f"--output: expected a folder for {len(sources)} pictures, got the file "
            f"{files.shown(folder)}; name another"
        )
    inside = folder.resolve()
    tasks: dict[Path, Task] = {}
    for source, place in sources:
        if inside in Path(source).resolve().parents:
            if source in options.input:
                raise FileError(
                    f"--input: expected pictures outside of the output folder "
                    f"{files.shown(folder)}, got {files.shown(source)}; name another --output"
                )
            continue  # a result of an earlier run
        target = folder / place
        if target.suffix.lower() not in _WRITTEN:
            target = target.with_suffix(_PLAIN)
        if target in tasks:
            raise FileError(
                f"{files.shown(tasks[target].source)} and {files.shown(source)} would both become "
                f"{files.shown(target)}: give them one at a time, or rename one"
            )
        tasks[target] = Task(source, target)
    if not tasks:
        raise FileError(
            f"--input: expected pictures outside of the output folder {files.shown(folder)}, got "
            "none; name another --output"
        )
    return list(tasks.values())


def _digest(path: str) -> str:
    """A hash of a file."""
    return hashlib.sha256(files.read_bytes(path, "picture")).hexdigest()[:32]
