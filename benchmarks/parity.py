"""Run the 2017 program and ours on the same inputs, and say how far apart they are.

    python benchmarks/parity.py --peer DIR
    python benchmarks/parity.py --peer DIR --network FILE --content c.jpg --styles a.jpg b.jpg

Prints a Markdown table: for each case the largest relative difference of each printed loss over the
first 5 iterations and over all, the share of pixel values within one grey level, and seconds an
iteration on the CPU. Exits with 1 beyond `FIRST`, `ALL` or `WITHIN`, and with 2 where a program
does not run. The two-style case needs two styles.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peer
from peer import Case
from PIL import Image

# Relative difference of any loss over the first 5 iterations, and over all of them: rounding, then
# what the descent makes of rounding.
FIRST, ALL = 1e-4, 5e-3
WITHIN = 0.97
# A term this small a part of the total is compared with that part of it: content starts from 0.
FLOOR = 1e-6


def relative_differences(
    ours: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Of each loss `[rows, 4]`, with respect to the reference.

    Raises:
        peer.RunError: the programs printed different numbers of rows.
    """
    if len(ours) != len(reference):
        raise peer.RunError(
            f"expected as many rows of losses from both programs, got {len(reference)} from the "
            f"reference and {len(ours)} from ours; give both the same --iterations"
        )
    scale = np.maximum(np.abs(reference), FLOOR * np.abs(reference[:, 3:]))
    return np.abs(ours - reference) / np.where(scale > 0, scale, 1.0)


def within_one_level(ours: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> float:
    """Share of the values of two pictures that differ by at most 1.

    Raises:
        peer.RunError: the pictures have different sizes.
    """
    if ours.shape != reference.shape:
        raise peer.RunError(
            f"expected a picture {list(reference.shape)} as the reference wrote, got "
            f"{list(ours.shape)} from ours"
        )
    return float((np.abs(ours.astype(int) - reference.astype(int)) <= 1).mean())


def compare(
    programs: tuple[peer.Program, peer.Program],
    case: Case,
    flags: list[str],
    folder: Path,
    *,
    iterations: int,
    timed: bool,
) -> dict[str, Any]:
    """One row of the table, as plain numbers. `programs` are the reference and ours."""
    reference, ours = (peer.run(program, flags, folder) for program in programs)
    differences = relative_differences(ours.losses, reference.losses)
    first, every = differences[:6].max(axis=0), differences.max(axis=0)
    within = within_one_level(ours.picture, reference.picture)
    return {
        "case": case.name,
        "size": list(reference.picture.shape[:2]),
        "first": dict(zip(peer.TERMS, first.tolist(), strict=True)),
        "all": dict(zip(peer.TERMS, every.tolist(), strict=True)),
        "within_one_level": within,
        "seconds_per_iteration": {
            program.name: peer.seconds_per_iteration(program, flags, folder, iterations)
            for program in programs
        }
        if timed
        else None,
        # Written so that NaN fails.
        "passed": bool((first <= FIRST).all() and (every <= ALL).all() and within >= WITHIN),
    }


def header(iterations: int) -> str:
    """The first two lines of the table."""
    terms = "/".join(peer.TERMS)
    columns = (
        *("case", "size", f"{terms}, first 5", f"{terms}, all {iterations}"),
        *("within 1 level", "s/iteration, reference", "s/iteration, ours", ""),
    )
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    height, width = row["size"]
    seconds = row["seconds_per_iteration"]
    columns = (
        row["case"],
        f"{width}×{height}",
        *("/".join(f"{value:.0e}" for value in row[key].values()) for key in ("first", "all")),
        f"{row['within_one_level']:.2%}",
        *([f"{value:.3g}" for value in seconds.values()] if seconds else ("-", "-")),
        "" if row["passed"] else "**beyond**",
    )
    return f"| {' | '.join(columns)} |"


def odd_width(height: int, width: int, widest: int) -> int:
    """The largest width up to `widest` at which both sides of the resized picture are odd."""
    candidates = (
        candidate
        for candidate in range(widest, 0, -1)
        if candidate % 2 and (candidate * height // width) % 2
    )
    return next(candidates, widest)


def cases(content: Path, width: int | None, styles: int) -> list[Case]:
    """The shared cases that these many styles allow, and an odd size."""
    try:
        with Image.open(content) as picture:
            odd = odd_width(picture.height, picture.width, width or picture.width)
    except OSError as error:
        raise peer.RunError(f"expected a picture, got {content} ({error})") from error
    resized = ("--width", str(width)) if width else ()
    return [
        *(
            case._replace(flags=(*case.flags, *resized))
            for case in peer.CASES
            if case.styles <= styles
        ),
        Case("odd-size", 1, ("--width", str(odd))),
    ]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options, with paths made absolute: the programs run in a folder of their own."""
    parser = argparse.ArgumentParser(description="Compare the 2017 program with ours.")
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of the 2017 program")
    parser.add_argument(
        "--peer-python",
        type=peer.interpreter,
        default=sys.executable,
        help="the Python that runs it",
    )
    parser.add_argument("--network", type=peer.existing, help="a .mat file; default: a tiny one")
    parser.add_argument("--content", type=peer.existing, help="default: a drawn picture")
    parser.add_argument(
        "--styles", type=peer.existing, nargs="+", help="default: two drawn pictures"
    )
    parser.add_argument("--width", type=int, help="default: the content's own")
    parser.add_argument(
        "--learning-rate",
        default="10",
        help="default %(default)s, the programs' own",
    )
    parser.add_argument("--iterations", type=int, default=20, help="default 20")
    parser.add_argument("--json", type=Path, help="also write the table here")
    parser.add_argument("--no-timing", action="store_true", help="skip the two runs for the time")
    options = parser.parse_args(argv)
    if options.iterations < 5:
        parser.error(f"expected --iterations of 5 or more, got {options.iterations}")
    return options


def main() -> int:
    """Run every case; the exit status."""
    options = parse()
    # Ours asks for it, and it sums convolutions in an order of its own.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    rows = []
    try:
        programs = (peer.reference_program(options.peer, options.peer_python), peer.our_program())
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            peer.write_inputs(folder)
            network = options.network or folder / peer.NETWORK
            content = options.content or folder / "content.png"
            styles = options.styles or [folder / "style_a.png", folder / "style_b.png"]
            print(header(options.iterations), flush=True)
            for case in cases(content, options.width, len(styles)):
                flags = peer.arguments(
                    case,
                    network=str(network),
                    content=str(content),
                    styles=[str(style) for style in styles],
                    iterations=options.iterations,
                )
                flags += ["--learning-rate", options.learning_rate]
                row = compare(
                    programs,
                    case,
                    flags,
                    folder,
                    iterations=options.iterations,
                    timed=not options.no_timing,
                )
                rows.append(row)
                print(line(row), flush=True)
    except peer.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
