"""The exported optimization against the program: size, start-up, first call, cost of an iteration.

Both run the embedded network with the same settings on the same pictures, in this process, in
turns; start-up is that of a process of its own, against one that only imports TensorFlow.

    python -m benchmarks.serving [--content FILE --style FILE] [--width 256] [--iterations 100]
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


def measure(options: argparse.Namespace, folder: Path) -> None:
    words = ["export", "--network", "compact", "--output", str(folder), "--tolerance", "0"]
    if program(["neural-style-tf", *words, "--quiet"]):
        raise SystemExit("the export failed")
    graph = (folder / "saved_model.pb").stat().st_size
    variables = sum(each.stat().st_size for each in (folder / "variables").iterdir())
    print(f"size: graph {graph / 2**20:.1f} MiB, weights {variables / 2**20:.1f} MiB")

    bare = process(_IMPORT)
    loading = process(_LOAD.format(folder=str(folder)))
    print(f"start-up: {loading:.1f} s, of which TensorFlow {bare:.1f} s")

    content, style = (
        resize_to_width(files.read(path).pixels, width)
        for path, width in ((options.content, options.width), (options.style, options.width))
    )
    model = tf.saved_model.load(str(folder))
    network = vgg.load("compact", layers=Objective().layers)
    own: dict[str, int] = {}
    losses: dict[str, float] = {}

    def exported(n: int, picture: tf.Tensor = content) -> Any:
        found = model.stylize(picture, style, iterations=tf.constant(n), seed=tf.constant(0))
        own["exported"] = int(found["iterations"])
        losses["exported"] = float(found["total_loss"])
        return found["picture"].numpy()

    def ours(n: int, picture: tf.Tensor = content) -> Any:
        schedule = Schedule(iterations=n, tolerance=0.0)
        *_, last = stylize(network, picture, [style], Objective(), schedule, heartbeat=60.0)
        own["program"], losses["program"] = last.iteration, last.result.loss
        return np.clip(last.result.pixels.numpy(), 0, 255)

    first, _ = timed(lambda: exported(1))
    again, _ = timed(lambda: exported(1))
    other = content[:, : content.shape[1] * 3 // 4]
    resized, _ = timed(lambda: exported(1, other))
    print(
        f"one iteration: first call {first:.2f} s, again {again:.2f} s, other size {resized:.2f} s"
    )

    few = 2
    costs: dict[str, list[float]] = {"exported": [], "program": []}
    for _ in range(3):
        for name, run in (("exported", exported), ("program", ours)):
            short, _ = timed(lambda run=run: run(few))  # type: ignore[misc]
            before = own[name]
            long, _ = timed(lambda run=run: run(options.iterations))  # type: ignore[misc]
            costs[name].append((long - short) / (own[name] - before))
    median = {name: statistics.median(values) for name, values in costs.items()}
    print(
        f"an iteration at {content.shape[2]}×{content.shape[1]} and below: exported "
        f"{1000 * median['exported']:.1f} ms, program {1000 * median['program']:.1f} ms: "
        f"{median['exported'] / median['program']:.3f}"
    )
    # Rounding in the last digit grows from iteration to iteration; the loss tells of the rest.
    for n in (1, 5, options.iterations):
        difference = np.abs(exported(n) - ours(n)).max()
        ratio = losses["exported"] / losses["program"]
        print(f"after {n}: largest difference {difference:.3f} grey levels, loss {ratio:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--content", default=str(ROOT / "examples" / "content.jpg"))
    parser.add_argument("--style", default=str(ROOT / "examples" / "style.jpg"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder) / "model")


if __name__ == "__main__":
    main()
