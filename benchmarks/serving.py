"""The exported optimization against the program: size, start-up, first call, cost of an iteration.

Both run the embedded network with the same settings on the same pictures, in this process, in
turns; start-up is that of a process of its own, against one that only imports TensorFlow.

    python -m benchmarks.serving [--content FILE --style FILE] [--width 256] [--turns 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import vgg  # noqa: E402
from neural_style_tf import Objective, Schedule, files, stylize  # noqa: E402
from neural_style_tf.__main__ import main as program  # noqa: E402
from neural_style_tf.pixels import resize_to_width  # noqa: E402

_IMPORT = "import tensorflow as tf"
_LOAD = f"{_IMPORT}; model = tf.saved_model.load({{folder!r}})"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def process(code: str, runs: int = 3) -> float:
    """Seconds of a process that runs it, the median."""
    words = [sys.executable, "-c", code]
    return statistics.median(
        timed(lambda: subprocess.run(words, check=True, capture_output=True))[0]
        for _ in range(runs)
    )


def export(folder: Path, *flags: str) -> Any:
    """The embedded network's optimization, which does not stop by itself; loaded."""
    words = ["export", "--network", "compact", "--output", str(folder), "--tolerance", "0"]
    if program(["neural-style-tf", *words, *flags, "--quiet"]):
        raise SystemExit("the export failed")
    return tf.saved_model.load(str(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    model = export(folder / "model")
    graph = (folder / "model" / "saved_model.pb").stat().st_size
    variables = sum(each.stat().st_size for each in (folder / "model" / "variables").iterdir())
    print(f"size: graph {graph / 2**20:.1f} MiB, weights {variables / 2**20:.1f} MiB")

    bare = process(_IMPORT)
    loading = process(_LOAD.format(folder=str(folder / "model")))
    print(f"start-up: {loading:.1f} s, of which TensorFlow {bare:.1f} s")

    content, style = (
        resize_to_width(files.read(path).pixels, options.width)
        for path in (options.content, options.style)
    )
    network = vgg.load("compact", layers=Objective().layers)

    def exported(model: Any, n: int, picture: tf.Tensor = content) -> Any:
        found = model.stylize(picture, style, iterations=tf.constant(n), seed=tf.constant(0))
        return found["picture"].numpy(), float(found["total_loss"])

    def steps(n: int, scales: int | None = None) -> Any:
        schedule = Schedule(iterations=n, tolerance=0.0, scales=scales)
        return stylize(network, content, [style], Objective(), schedule, heartbeat=60.0)

    first, _ = timed(lambda: exported(model, 1))
    again, _ = timed(lambda: exported(model, 1))
    other = content[:, : content.shape[1] * 3 // 4]
    resized, _ = timed(lambda: exported(model, 1, other))
    print(
        f"one iteration: first call {first:.2f} s, again {again:.2f} s, other size {resized:.2f} s"
    )

    # At one size, without what comes before the second iteration: of the program that is tracing.
    single = export(folder / "single", "--scales", "1")
    exported(single, 1)
    few, many = 1, options.iterations
    costs: list[tuple[float, float]] = []
    for _ in range(options.turns):
        short, _ = timed(lambda: exported(single, few))
        long, _ = timed(lambda: exported(single, many))
        times = [time.perf_counter() for step in steps(many, 1) if step.iteration >= few]
        costs.append(((long - short) / (many - few), (times[-1] - times[0]) / (many - few)))
    theirs, ours = (1000 * statistics.median(each) for each in zip(*costs, strict=True))
    ratios = sorted(a / b for a, b in costs)
    print(
        f"an iteration at {content.shape[2]}×{content.shape[1]}: exported {theirs:.1f} ms, program "
        f"{ours:.1f} ms; in turns {statistics.median(ratios):.3f} "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
    )
    for n in (1, 5, options.iterations):
        picture, loss = exported(model, n)
        *_, last = steps(n)
        difference = np.abs(picture - np.clip(last.result.pixels.numpy(), 0, 255)).max()
        ratio = loss / last.result.loss
        print(f"after {n}: largest difference {difference:.3f} grey levels, loss {ratio:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--content", default=str(ROOT / "examples" / "content.jpg"))
    parser.add_argument("--style", default=str(ROOT / "examples" / "style.jpg"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


if __name__ == "__main__":
    main()
