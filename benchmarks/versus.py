"""The 2017 program and ours, side by side: how long each takes to how low a loss.

    python benchmarks/versus.py --peer neural-style --network imagenet-vgg-verydeep-19.mat \\
        --pairs c.jpg:s.jpg d.jpg:t.jpg --widths 256 512 --work DIR

For each pair of content and style at each width:

1. The reference program's 1000 iterations, with its checkpoints: what loss it comes to, and when.
   This takes an hour at width 512, so a folder under `--work` that has it already is used again.
2. Its pace, in a short run without checkpoints: seconds to start and seconds an iteration. Its
   times are taken from these, and so do not depend on what else ran during the long run.
3. Ours, whole: by default, for longer, in float32, and at full size alone from noise (which is
   where the reference starts); and the pace of each.

Losses are those that the programs print. That both mean the same by a loss is what
benchmarks/parity.py shows; as ours may work in bfloat16, the picture that each ends with is judged
once more, as it was written (8 bits, cut off to 0-255), by VGG-19 in float32. Times are those of a
user, from the start of the process; those of coarser sizes are left out of the curves.

Prints Markdown tables; `versus.json` and, with matplotlib, `versus.png` (loss against time) are
written to `--work`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peer
from peer import Program
from PIL import Image

ITERATIONS = 1000
PRINTED = 25
EVERY = 5  # iterations between two losses that ours prints
PACED = 16  # iterations of a short run
CHECKPOINTS = "cp_{:05}.png"

_OURS = (sys.executable, "-m", "neural_style_tf")
PROGRAMS = (
    Program("ours, default", _OURS),
    Program("ours, longer", _OURS, ("--iterations", "160")),
    Program("ours, no draft", _OURS, ("--draft", "none")),
    Program("ours, default, float32", _OURS, ("--precision", "float32")),
    Program("ours, one size from noise", _OURS, ("--scales", "1", "--iterations", "400")),
)
ADAM = Program("ours, adam", _OURS, ("--optimizer", "adam"))


@dataclass(frozen=True)
class Match:
    """One content, one style, one width."""

    content: Path
    style: Path
    width: int

    @property
    def name(self) -> str:
        """A name for tables and folders."""
        return f"{self.content.stem}-{self.style.stem}-{self.width}"

    def flags(self, network: Path) -> list[str]:
        """What both programs are told."""
        return [
            *("--network", str(network), "--content", str(self.content)),
            *("--styles", str(self.style), "--width", str(self.width), "--output", peer.OUTPUT),
        ]


@dataclass(frozen=True)
class Curve:
    """Losses by iteration and by time, and what the run took.

    Attributes:
        iterations, losses, seconds: one entry for each picture that was looked at.
        pace: seconds an iteration at full size, none of them the first.
        memory: bytes, the most that was resident.
        judged: the loss of the picture as written, in float32.
    """

    iterations: list[int]
    losses: list[float]
    seconds: list[float]
    pace: float
    memory: int
    judged: float

    def reaching(self, loss: float) -> float | None:
        """Seconds after which the loss is not above this; None if it never is."""
        pairs = zip(self.seconds, self.losses, strict=True)
        return next((seconds for seconds, each in pairs if each <= loss), None)


def reference_curve(
    program: Program, match: Match, network: Path, folder: Path, judge: Judge
) -> Curve:
    """The reference's printed losses, at the times that its pace gives."""
    log = folder / "log.txt"
    # Before the first iteration, after the first, then every so many, and at the end.
    iterations = [0, *range(1, ITERATIONS, PRINTED), ITERATIONS]
    losses = printed(log)
    if len(losses) < len(iterations):
        folder.mkdir(parents=True, exist_ok=True)
        flags = ["--iterations", str(ITERATIONS), "--checkpoint-iterations", str(PRINTED)]
        flags += [*match.flags(network), "--checkpoint-output", CHECKPOINTS]
        run = peer.run(program, flags, folder, print_every=PRINTED)
        log.write_text("\n".join(run.lines))
        losses = printed(log)
    if len(losses) != len(iterations):
        raise peer.RunError(f"expected {len(iterations)} losses in {log}, got {len(losses)}")
    begin, pace, memory = paced(program, match, network, folder)
    seconds = [begin + pace * i for i in iterations]
    last = np.asarray(Image.open(folder / CHECKPOINTS.format(ITERATIONS)).convert("RGB"))
    return Curve(iterations, losses, seconds, pace, memory, judge(last))


def printed(log: Path) -> list[float]:
    """The total losses in what a program printed."""
    text = log.read_text() if log.is_file() else ""
    return [float(x) for x in re.findall(r"total loss: (\S+)", text)]


def paced(program: Program, match: Match, network: Path, folder: Path) -> tuple[float, float, int]:
    """Seconds to start, seconds an iteration and bytes of memory, of a short run at full size."""
    flags = [*match.flags(network), "--iterations", str(PACED)]
    run = peer.run(program, flags, folder, print_every=PACED)
    pace = float(run.times[-1] - run.times[1]) / (PACED - 1)
    return float(run.times[1]) - pace, pace, run.memory


def our_curve(program: Program, match: Match, network: Path, folder: Path, judge: Judge) -> Curve:
    """Ours: the losses at full size as they are printed."""
    folder.mkdir(parents=True, exist_ok=True)
    run = peer.run(program, match.flags(network), folder, print_every=EVERY)
    (folder / "log.txt").write_text("\n".join(run.lines))
    text = "\n".join(run.lines)
    # Where seconds pass without losses, a line of its own tells how far it is.
    named = re.findall(r"^Iteration +(\d+)/ *(\d+) \([^()]*\)$", text, re.M)
    rows = [(int(i), int(n)) for i, n in named]
    # Before the first iteration, none is named.
    rows = [(0, rows[0][1])] * (len(run.losses) - len(rows)) + rows
    # What is left after the earlier stages; these may have converged before their time.
    own = finishing(program, run.picture.shape)
    kept = [i for i, (row, total) in enumerate(rows) if row > total - own]
    single = [flag for flag in program.flags if flag in ("--precision", "float32")]
    _, pace, _ = paced(
        Program(program.name, program.command, (*single, "--scales", "1", "--draft", "none")),
        match,
        network,
        folder,
    )
    return Curve(
        [rows[i][0] for i in kept],
        [float(run.losses[i, -1]) for i in kept],
        [float(run.times[i]) for i in kept],
        pace,
        run.memory,
        judge(run.picture),
    )


def finishing(program: Program, shape: tuple[int, ...]) -> int:
    """Iterations, at most, of the last stage: at full size with the network itself."""
    from neural_style_tf import Schedule

    more = program.flags.index("--iterations") + 1 if "--iterations" in program.flags else 0
    scales = 1 if "--scales" in program.flags else None
    schedule = Schedule(iterations=int(program.flags[more]) if more else None, scales=scales)
    return schedule.stages(*shape[:2], drafted="none" not in program.flags)[-1].iterations


class Judge:
    """The 2017 objective of a picture under VGG-19, in float32."""

    def __init__(self, network: Path, match: Match) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        from neural_style_tf.commands.tensorflow import start

        environment = dict(os.environ)
        start()
        # What ours asks for is not for the reference, which is run as its users have it.
        os.environ.clear()
        os.environ.update(environment)
        import tensorflow as tf

        import vgg
        from neural_style_tf import Loss, Objective, files
        from neural_style_tf.pixels import resize_style, resize_to_width

        objective = Objective()
        loss = Loss(vgg.load(network, layers=objective.layers), objective)
        content = resize_to_width(files.read(match.content).pixels, match.width)
        style = resize_style(files.read(match.style).pixels, match.width)
        targets = loss.targets(content, [style])
        self.total = tf.function(lambda pixels: loss(pixels, targets).total)

    def __call__(self, picture: Any) -> float:
        return float(self.total(np.asarray(picture, np.float32)[None]))


def table(match: Match, reference: Curve, curves: dict[str, Curve]) -> str:
    """The rows of a match."""
    last = reference.losses[-1]
    best = min(reference.losses)
    rows = []
    for name, curve in curves.items():
        cells = [match.name, name, f"{curve.pace:.3g}", f"{curve.pace / reference.pace:.2f}×"]
        cells += [f"{curve.memory / 2**20:.0f}", f"{curve.memory / reference.memory:.2f}×"]
        for loss in (last, best):
            theirs, ours = reference.reaching(loss), curve.reaching(loss)
            if loss == last:
                theirs = reference.seconds[-1]  # it went on though it may have been there before
                ours = theirs if curve is reference else ours
            cells.append("never" if ours is None else f"{ours:.0f}")
            cells.append("" if ours is None or theirs is None else f"{theirs / ours:.1f}×")
        cells += [f"{min(curve.losses):.4g}", f"{curve.judged:.4g}", f"{curve.seconds[-1]:.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            f"{match.name}: the reference ends at {last:.4g}, best printed {best:.4g}",
            "",
            "| | | s/iteration | | peak MiB | | s to its last loss | | s to its best | | "
            "own best | as written | s in all |",
            "|-|-|-|-|-|-|-|-|-|-|-|-|-|",
            *rows,
            "",
        ]
    )


def plot(path: Path, results: dict[str, dict[str, Curve]]) -> None:
    """Loss against time, one panel a match."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(results), 4.5), layout="constrained")
    for axes, (name, curves) in zip(
        np.atleast_1d(figure.subplots(1, len(results))), results.items(), strict=True
    ):
        for program, curve in curves.items():
            axes.plot(curve.seconds, curve.losses, label=program)
        axes.set(title=name, xlabel="seconds", ylabel="loss", xscale="log", yscale="log")
        axes.legend()
    figure.savefig(path, dpi=100)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options, with paths made absolute: the programs run in folders of their own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--peer", type=Path, required=True, help="a checkout of anishathalye/neural-style")
    add(
        "--peer-python",
        type=peer.interpreter,
        default=sys.executable,
        help="the Python that runs it",
    )
    add("--network", type=peer.existing, required=True, help="the VGG-19 .mat file")
    add("--pairs", nargs="+", type=peer.pair, required=True, metavar="CONTENT:STYLE")
    add("--widths", nargs="+", type=int, default=[256, 512])
    add("--work", type=Path, required=True, help="a folder for what the programs write")
    options = parser.parse_args(argv)
    try:
        options.reference = peer.reference_program(options.peer.resolve(), options.peer_python)
    except peer.RunError as error:
        parser.error(str(error))
    options.work = options.work.resolve()
    options.matches = [
        Match(content, style, width) for content, style in options.pairs for width in options.widths
    ]
    return options


def main(argv: list[str] | None = None) -> int:
    """Run, print, write."""
    options = parse(argv)
    results: dict[str, dict[str, Curve]] = {}
    for match in options.matches:
        folder = options.work / match.name
        judge = Judge(options.network, match)
        curves = {
            "reference": reference_curve(
                options.reference, match, options.network, folder / "reference", judge
            )
        }
        for program in PROGRAMS:
            name = re.sub(r"\W+", "-", program.name)
            curves[program.name] = our_curve(program, match, options.network, folder / name, judge)
        results[match.name] = curves
        print(table(match, curves["reference"], curves), flush=True)
        begin, pace, memory = paced(ADAM, match, options.network, folder)
        print(f"adam: {begin:.1f} s to start, {pace:.3g} s/iteration, {memory >> 20} MiB\n")
        plain = {
            name: {program: dataclasses.asdict(curve) for program, curve in each.items()}
            for name, each in results.items()
        }
        (options.work / "versus.json").write_text(json.dumps(plain, indent=1))
    try:
        plot(options.work / "versus.png", results)
    except ImportError:
        print("no plot: it needs matplotlib", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
