"""The `train` command: a network that paints in one pass, for one style or several."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.util
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from neural_style_tf import __version__, files
from neural_style_tf.commands import distribution, following, interrupts, runs, stylize, tensorflow
from neural_style_tf.commands.job import Inputs, objective_of
from neural_style_tf.commands.options import add_fields, with_fields
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.objective import PRESETS, Objective
from neural_style_tf.progress import hms
from neural_style_tf.transform import shipped
from neural_style_tf.transform.architecture import MARGIN, Architecture
from neural_style_tf.transform.stored import Net, check_net_target, packed, read_net
from neural_style_tf.transform.training import PER_DEVICE, Training
from vgg import fetch
from vgg.weights import Weights, read

if TYPE_CHECKING:
    from neural_style_tf.transform.photos import Photos
    from neural_style_tf.transform.train import Record, Trainer

SUMMARY = "train a network that paints in a style, or in several, in one pass"

# Where none is named.
PRESET = "one-pass"
# Of so many photographs and more, a few are not trained on: the validation strip.
_MANY, _HELD_OUT = 20, 4
# Pixels that are worked on at a time, at most, where photographs go side by side: they take memory,
# with VGG-19 nearly 4 KB each.
_ROOM = 8 * 256**2
# Of a hash, by which what an interrupted training was made of is known again.
_DIGITS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    group = parser.add_argument_group("pictures and network")
    add = group.add_argument
    add(
        "--style",
        "--styles",
        dest="styles",
        nargs="+",
        metavar="STYLE",
        help="the painting; several make one network that can mix them",
    )
    add("--names", nargs="+", metavar="NAME", help="of the styles (default: their files')")
    add("--photos", type=Path, metavar="DIR", help="folder of photographs, searched through")
    add("--output", metavar="OUTPUT", help="the network: a .keras or .npz file")
    add(
        "--initial",
        metavar="NET",
        help="begin with the weights of a trained network of the same size: of its styles those of "
        "the same names, of other styles their mean; auto is the one that comes with the program, "
        "where it is of the size; none is random ones (default auto)",
    )
    add("--overwrite", action="store_true", help="replace a file that is already there")
    add(
        "--resume",
        action="store_true",
        help="go on with an interrupted training of the same OUTPUT, if there is one",
    )
    add_fields(group, Inputs, ("network", "pooling", "precision"))
    add(
        "--preset",
        choices=tuple(PRESETS),
        help=f"a published recipe; the other flags change it (default {PRESET})",
    )
    add_fields(parser.add_argument_group("the network that is trained"), Architecture)
    add_fields(parser.add_argument_group("training"), Training)
    stylize.add_losses(parser, PRESETS[PRESET].objective)
    add = parser.add_argument_group("progress").add_argument
    add("--log-dir", type=Path, metavar="DIR", help="write TensorBoard losses and pictures")
    add("--quiet", action="store_true", help="print nothing but warnings and errors")
    parser.set_defaults(style_blend_weights=None)


@dataclass(frozen=True)
class Job:
    """A training, described.

    Attributes:
        moving: whether the layers are the preset's, which may move to the nearest ones that a
            network has.
        initial: the network to begin with, of the architecture; None for random weights.
    """

    styles: tuple[str, ...]
    names: tuple[str, ...]
    photos: tuple[str, ...]
    validation: tuple[str, ...]
    output: Path
    network: str
    preset: str
    pooling: str
    precision: str
    architecture: Architecture
    training: Training
    objective: Objective
    moving: bool
    initial: Net | None = None

    @property
    def kept(self) -> Path:
        """Where the state of the training is kept."""
        return self.output.with_name(f"{self.output.name}.training")

    def settings(
        self, weights: Weights, objective: Objective, paintings: Sequence[files.Picture]
    ) -> dict[str, Any]:
        """What tells this training from others, as plain data."""
        training = dataclasses.asdict(self.training)
        names = repr([Path(photo).name for photo in self.photos])
        # How many devices there are is not known before TensorFlow starts.
        training["batch_size"] = training["batch_size"] or f"{PER_DEVICE} for each device"
        return {
            "styles": list(self.names),
            "paintings": [picture.fingerprint[:_DIGITS] for picture in paintings],
            "initial": self.initial and list(self.initial.styles),
            "photographs": len(self.photos),
            "names of photographs": hashlib.sha256(names.encode()).hexdigest()[:_DIGITS],
            "margin": MARGIN,
            "optimizer": "soap",
            "network": weights.name,
            "weights": weights.fingerprint[:_DIGITS],
            "pooling": self.pooling,
            "architecture": {
                **dataclasses.asdict(self.architecture),
                "widths": list(self.architecture.widths),
            },
            "training": training,
            "objective": {**objective.to_dict(), "style_blend_weights": []},
        }


def run(options: argparse.Namespace) -> int:
    """Train a network; the exit code.

    Raises:
        NeuralStyleError, WeightsError: whatever is wrong with the input, before any work is done.
    """
    begun = time.monotonic()
    job = resolve(options)
    state = _kept_state(job, resume=options.resume, overwrite=options.overwrite)
    location = fetch.find(job.network)
    paintings = [files.read(path) for path in job.styles]
    weights = read(location.path)
    objective = runs.in_layers_of(weights, job.objective, job.preset, job.moving)
    settings = job.settings(weights, objective, paintings)
    if state:
        following.check_same(settings, state[0], job.kept)

    abreast = _abreast(job.training)
    device = tensorflow.start(look=distribution.workers() == 1, single=abreast > 1)
    strategy = distribution.strategy()
    devices = strategy.num_replicas_in_sync
    if job.training.batch(devices) % devices:
        raise OptionError(
            f"--batch-size: expected a multiple of {devices}, the number of devices, got "
            f"{job.training.batch_size}"
        )
    precision = tensorflow.fastest_precision() if job.precision == "auto" else job.precision
    logging.info(
        "Network: %s from %s (%s), %s pooling, on %s, %s",
        *(weights.name, location.path, location.origin, job.pooling, device, precision),
    )
    if tensorflow.on_gpu():
        abreast = 1
    trainer = _trainer(job, weights, objective, paintings, precision, strategy, abreast)
    if state:
        try:
            trainer.restore(state[1])
        # What is damaged within makes TensorFlow raise whatever it does.
        except Exception as error:
            raise following.unreadable(job.kept) from error
        logging.info("Going on after step %d of %d", trainer.step, job.training.steps)
    elif job.initial:
        logging.info("Beginning with the network of %s", ", ".join(job.initial.styles))
    photos = _photos(job, job.photos)
    photos.example(0)  # not one that can be read is an error before work begins

    chief = distribution.is_chief(strategy)
    keeper = following.Keeper(job.kept, trainer, settings, writes=chief)
    watchers: list[following.Watcher] = [keeper]
    if chief and not options.quiet:
        watchers.insert(0, following.Terminal(trainer.step, job.training.steps))
    stops: set[int] = set()
    if chief and options.log_dir:
        held_out = _photos(job, job.validation or job.photos[:_HELD_OUT])
        board = following.TensorBoard(
            options.log_dir, job.training.steps, lambda: _strip(trainer, held_out)
        )
        stops = set(board.stops)
        watchers.append(board)
    last: Record | None = None
    with contextlib.ExitStack() as closing:
        for watcher in reversed(watchers):  # an exit stack closes the last one first
            closing.callback(watcher.close)
        try:
            for record in trainer.records(photos, stops):
                last = record
                for watcher in watchers:
                    watcher(record)
                interrupts.check()
            interrupts.finish()
            with contextlib.suppress(FileError):
                keeper.keep()  # should the network itself not be written
        except KeyboardInterrupt:
            interrupts.exit_on_next()
            keeper.keep()
            logging.warning("Interrupted: with --resume the same command goes on")
            return interrupts.exit_code()
    _tell_unreadable(photos)
    if chief:
        card = {
            "program": f"neural-style-tf {__version__}",
            **settings,
            "training": dataclasses.asdict(job.training) | {"batch_size": trainer.batch},
            "precision": precision,
            "losses": _losses(job, trainer, last),
        }
        write_net(job.output, trainer, job, card)
        job.kept.unlink(missing_ok=True)
        logging.info(
            "Wrote %s: %d style(s), %s bytes, in %s",
            *(job.output, len(job.names), f"{job.output.stat().st_size:,}"),
            hms(time.monotonic() - begun),
        )
    return 0


def resolve(options: argparse.Namespace) -> Job:
    """The Job that flags ask for.

    Raises:
        OptionError, FileError: flags that cannot be meant, a folder without photographs, an output
            that cannot be written.
    """
    for flag, given in (
        ("--style", options.styles),
        ("--photos", options.photos),
        ("--output", options.output),
    ):
        if not given:
            raise OptionError(f"{flag} is missing; see `neural-style-tf train --help`")
    names = tuple(options.names or (Path(path).stem for path in options.styles))
    if len(names) != len(options.styles) or len(set(names)) != len(names):
        raise OptionError(
            f"--names: expected another name for each of {len(options.styles)} style(s), got "
            f"{', '.join(names)}"
        )
    if options.log_dir and importlib.util.find_spec("tensorboard") is None:
        raise OptionError("--log-dir needs tensorboard: run `pip install tensorboard`")
    distribution.check()
    preset = options.preset or PRESET
    job = Job(
        styles=tuple(options.styles),
        names=names,
        photos=(),
        validation=(),
        output=Path(options.output),
        network=options.network or "auto",
        preset=preset,
        pooling=options.pooling or PRESETS[preset].pooling,
        precision=options.precision or "auto",
        architecture=with_fields(Architecture(), options),
        training=with_fields(Training(), options),
        objective=objective_of(options, PRESETS[preset].objective),
        moving=not (options.content_layers or options.style_layers),
    )
    if not job.objective.style_weight:
        raise OptionError("--style-weight: expected a number above 0: a style is to be learnt")
    check_net_target(job.output, overwrite=options.overwrite)
    job = dataclasses.replace(job, initial=_initial(options.initial or "auto", job.architecture))
    if not options.photos.is_dir():
        raise OptionError(f"--photos: expected a folder of photographs, got {options.photos}")
    found = files.pictures_in(options.photos)
    held = found[:: max(1, len(found) // _HELD_OUT)][:_HELD_OUT] if len(found) >= _MANY else []
    trained = tuple(path for path in found if path not in held)
    return dataclasses.replace(job, photos=trained, validation=tuple(held))


def _initial(model: str, architecture: Architecture) -> Net | None:
    """The network to begin with, None for random weights.

    What a network knows of photographs and of paint serves the next style: begun with one, a
    training is as far in a fraction of the steps.

    Raises:
        OptionError, FileError: there is none, or it is of another size.
    """
    if model == "none":
        return None
    if model == "auto":
        ours = map(read_net, sorted(set(shipped.names().values())))
        return next((net for net in ours if net.architecture == architecture), None)
    net, _ = shipped.find(model, "--initial")
    if net.architecture != architecture:
        raise OptionError(
            f"--initial: expected a network of {architecture}, got {net.architecture}; give its "
            "--widths, --blocks and --ends"
        )
    return net


def _kept_state(job: Job, *, resume: bool, overwrite: bool) -> Any:
    """The settings and state of an interrupted training, or None to begin anew."""
    if not job.kept.exists():
        return None
    if resume:
        return following.read_state(job.kept)
    if overwrite:
        return None
    raise FileError(
        f"{files.shown(job.kept)} exists, an interrupted training: go on with --resume, or begin "
        "anew with --overwrite"
    )


def _photos(job: Job, paths: tuple[str, ...]) -> Photos:
    from neural_style_tf.transform.photos import Photos

    around = job.training.size + 2 * MARGIN
    return Photos(paths, files.read_shrunk, around, job.training.seed)


def _abreast(training: Training) -> int:
    """Photographs that a CPU works on side by side, each on a core of its own.

    One photograph hardly keeps two cores busy, most operations being small: two, each on its core,
    take little longer (1.7 times as many in a second, at 256×256).
    """
    cores = tensorflow.cores()
    workers = distribution.workers()
    own = training.batch(workers) // workers
    return cores if cores <= own and cores * training.size**2 <= _ROOM else 1


def _trainer(
    job: Job,
    weights: Weights,
    objective: Objective,
    paintings: list[files.Picture],
    precision: str,
    strategy: Any,
    abreast: int,
) -> Trainer:
    from neural_style_tf.losses import Loss
    from neural_style_tf.pixels import resize_style
    from neural_style_tf.traced import Traced
    from neural_style_tf.transform.model import TransformNet
    from neural_style_tf.transform.train import Trainer
    from vgg.network import build

    # Several workers would send each other what each has read, which TensorFlow cannot in bfloat16.
    with contextlib.nullcontext() if distribution.workers() > 1 else strategy.scope():
        network = build(
            weights,
            pooling=job.pooling,
            layers=objective.layers,
            precision=precision,
            raw=tensorflow.adds_up_in_single(),
        )
    with strategy.scope():
        model = TransformNet(
            job.architecture, job.names, precision=precision, seed=job.training.seed
        )
        if job.initial:
            for name, weight in job.initial.with_styles(job.names).weights.items():
                model.named[name].assign(weight)
    loss = Loss(network, objective)
    measure = Traced(loss.moments)
    moments = [
        measure(resize_style(style.pixels, job.training.painting_width)) for style in paintings
    ]
    return Trainer(model, loss, moments, job.training, strategy, abreast)


def _strip(trainer: Trainer, photos: Photos) -> tuple[np.ndarray, Mapping[str, float]]:
    """Photographs above what each style makes of them, and the mean losses of these."""
    crops = np.stack([photos.example(number) for number in range(len(photos.paths))])
    painted, terms = trainer.validate(crops)
    crops = crops[:, MARGIN:-MARGIN, MARGIN:-MARGIN]  # as the painted ones
    rows = [crops, *np.clip(np.rint(painted), 0, 255).astype(np.uint8)]  # each [N, size, size, 3]
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    return picture, terms._asdict()


def _losses(job: Job, trainer: Trainer, last: Record | None) -> dict[str, float]:
    """Of photographs that were held out, or else of the last ones trained on."""
    terms: Mapping[str, float] = last.terms._asdict() if last else {}
    if job.validation:
        _, terms = _strip(trainer, _photos(job, job.validation))
    return {name: float(f"{value:.6g}") for name, value in terms.items()}


def _tell_unreadable(photos: Photos) -> None:
    if photos.unreadable:
        first = next(iter(photos.unreadable.values()))
        logging.warning(
            "%d of %d photographs could not be read and were skipped: %s%s",
            *(len(photos.unreadable), len(photos.paths), first),
            ", …" if len(photos.unreadable) > 1 else "",
        )


def write_net(path: Path, trainer: Trainer, job: Job, card: Mapping[str, Any]) -> None:
    """Write the network, whole or not at all.

    Raises:
        FileError: a disk that refuses.
    """
    if path.suffix.lower() == ".npz":
        net = Net(job.architecture, job.names, trainer.model.arrays(), dict(card))
        files.write_bytes(path, packed(net), "network")
        return
    from neural_style_tf.transform.model import TransformNet

    model = TransformNet(job.architecture, job.names, card=card)
    for name, array in trainer.model.arrays().items():
        model.named[name].assign(array)
    with (
        files.reporting("write network", path),
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
    ):
        temporary = Path(folder) / "network.keras"
        model.save(temporary)
        network = temporary.read_bytes()
    files.write_bytes(path, network, "network")
