"""Record what the 2017 program makes of tiny inputs, as goldens for the tests.

    python benchmarks/goldens.py --peer DIR --output tests/goldens/reference_program.npz

Each case gives `<case>/losses` `[21, 4]` (content, style, tv, total: before the first step and
after each), `<case>/picture` `[H, W, 3]` uint8, and `<case>/command`, its arguments one by one; the
checkpoint cases also `<case>/files`, the names that it wrote. `inputs/<file name>` are the pictures
(they are `tests/tiny.py`'s, as is the network); `how` says what ran.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import peer
from peer import Case

ITERATIONS = 20


CHECKPOINTS = ("--checkpoint-output", "cp_%03d.png", "--checkpoint-iterations", "5")
# So much momentum overshoots: of the checkpoints the third has the least loss, and is written.
OVERSHOOT = ("--learning-rate", "80", "--eps", "1", "--beta1", "0.99")


class Recording(NamedTuple):
    """A case, the inputs that it runs on, and how far it steps."""

    case: Case
    content: str = "content.png"
    styles: tuple[str, ...] = ("style_a.png", "style_b.png")
    network: str = peer.NETWORK
    rate: tuple[str, ...] = ("--learning-rate", peer.LEARNING_RATE)


RECORDINGS = (
    *(Recording(case) for case in peer.CASES),
    Recording(Case("odd-sizes"), "content_odd.png", ("style_odd.png",)),
    Recording(Case("width", 1, ("--width", "40"))),
    Recording(Case("layout-2014"), network=peer.NETWORK_2014),
    # Of all cases this one happens to stay well conditioned at the default rate.
    Recording(Case("defaults"), rate=()),
    Recording(Case("checkpoints", 1, CHECKPOINTS)),
    Recording(Case("checkpoints-best", 1, CHECKPOINTS), rate=OVERSHOOT),
)


def record(program: peer.Program) -> dict[str, npt.NDArray]:
    """Run every recording; the arrays by key."""
    arrays: dict[str, npt.NDArray] = {}
    for recording in RECORDINGS:
        case = recording.case._replace(flags=(*recording.case.flags, *recording.rate))
        flags = peer.arguments(
            case,
            network=recording.network,
            content=recording.content,
            styles=recording.styles,
            iterations=ITERATIONS,
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            peer.write_inputs(folder)
            result = peer.run(program, flags, folder)
        arrays[f"{case.name}/losses"] = result.losses
        arrays[f"{case.name}/picture"] = result.picture
        arrays[f"{case.name}/command"] = np.array(flags)
        if result.files:
            arrays[f"{case.name}/files"] = np.array(result.files)
        saturated = np.isin(result.picture, (0, 255)).mean()
        rows, totals = len(result.losses), result.losses[:, 3]
        print(
            f"{case.name}: {rows} rows, total {totals[0]:g} to {totals[-1]:g}, "
            f"{saturated:.0%} of the picture black or white"
        )
    return arrays


def how(program: peer.Program) -> str:
    """Which program, which libraries."""
    python, script = program.command
    versions = subprocess.run(
        [
            *(python, "-W", "ignore", "-c"),
            "import platform, numpy, PIL, scipy, tensorflow as tf; print('Python', "
            "platform.python_version(), 'TensorFlow', tf.__version__, 'NumPy', "
            "numpy.__version__, 'SciPy', scipy.__version__, 'Pillow', PIL.__version__)",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    sources = sorted(Path(script).parent.glob("*.py"))
    digests = ", ".join(
        f"{path.name} SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sources
    )
    return (
        "What anishathalye/neural-style printed and wrote, run as a program on the CPU by "
        f"benchmarks/goldens.py with --print-iterations 1, on inputs from tests/tiny.py. "
        f"{versions}. {digests}."
    )


def main() -> int:
    """Record, and write one .npz without pickles."""
    parser = argparse.ArgumentParser(description="Record goldens from the 2017 program.")
    parser.add_argument("--peer", type=Path, required=True, help="its checkout")
    parser.add_argument(
        "--peer-python",
        type=peer.interpreter,
        default=sys.executable,
        help="the Python that runs it",
    )
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    try:
        program = peer.reference_program(options.peer, options.peer_python)
        arrays = record(program)
    except peer.RunError as error:
        parser.error(str(error))
    for name, picture in peer.pictures().items():
        arrays[f"inputs/{name}"] = picture
    arrays["how"] = np.array(how(program))
    np.savez_compressed(options.output, allow_pickle=False, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main())
