"""How much memory a run takes, and how near the program's own estimate comes.

    python benchmarks/memory.py --networks imagenet-vgg-verydeep-19.mat compact \\
        --content c.jpg --style s.jpg --widths 512 1024 2048 --limits 1000 3 [--peer DIR]

Each network at each width within each limit (GiB), in both precisions, for as many iterations as
fill the history of L-BFGS; the reference program, too, if `--peer` names it. Prints a Markdown
table of what the program expected and what the process held at most (resident). A limit that it
refuses is a row as well. `neural_style_tf.memory` and `vgg.network.footprint` have their constants
from here.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import peer

COLUMNS = ("", "network", "precision", "size", "limit", "tiles", "expected", "peak", "s/iteration")


def row(program: peer.Program, flags: list[str], folder: Path, iterations: int) -> list[str]:
    """The last five cells of a row."""
    wanted = [*flags, "--output", peer.OUTPUT, "--iterations", str(iterations)]
    try:
        run = peer.run(program, wanted, folder, print_every=iterations)
    except peer.RunError as error:
        refused = re.search(r"takes at least ([\d.]+) GiB", str(error))
        if not refused:
            raise
        return ["", "", f"refused: {refused[1]}", "", ""]
    told = re.search(
        r"about ([\d.]+) GiB of [\d.]+(?:, in tiles of ([^,\n]+))?", "\n".join(run.lines)
    )
    height, width, _ = run.picture.shape
    pace = float(run.times[-1] - run.times[1]) / max(1, iterations - 1)
    expected, tiles = (told[1], told[2] or "no") if told else ("", "")
    return [f"{width}×{height}", tiles, expected, f"{run.memory / 2**30:.2f}", f"{pace:.2f}"]


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--networks", nargs="+", required=True)
    add("--content", type=Path, required=True)
    add("--style", type=Path, required=True)
    add("--widths", nargs="+", type=int, default=[512, 1024])
    add("--limits", nargs="+", default=["1000"], metavar="GIB")
    add("--precisions", nargs="+", default=["float32", "bfloat16"])
    add("--iterations", type=int, default=13, help="with 13 the history is full")
    add("--draft", default="none", help="auto: with a draft; the pace is then of both networks")
    add("--peer", type=Path, help="a checkout of anishathalye/neural-style")
    options = parser.parse_args(argv)
    print(f"| {' | '.join(COLUMNS)} |\n|{'-|' * len(COLUMNS)}")
    pictures = ["--content", str(options.content.resolve())]
    pictures += ["--styles", str(options.style.resolve())]
    more = ("--scales", "1", "--draft", options.draft)
    ours = peer.Program("ours", (sys.executable, "-m", "neural_style_tf"), more)
    for name in options.networks:
        network = str(Path(name).resolve()) if Path(name).exists() else name
        for width in options.widths:
            flags = [*pictures, "--network", network, "--width", str(width)]
            with tempfile.TemporaryDirectory() as folder:
                if options.peer and network.endswith(".mat"):
                    program = peer.reference_program(options.peer)
                    size, *rest = row(program, flags, Path(folder), 3)
                    print_row("reference", Path(name).stem, "float32", size, "", *rest)
                for precision in options.precisions:
                    for limit in options.limits:
                        all_flags = [*flags, "--precision", precision, "--memory-limit", limit]
                        size, *rest = row(ours, all_flags, Path(folder), options.iterations)
                        print_row("ours", Path(name).stem, precision, size, limit, *rest)
    return 0


def print_row(*cells: str) -> None:
    """One line of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
