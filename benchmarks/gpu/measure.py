"""How long a card takes to what `export.py` has written, by JAX: no TensorFlow, nothing of ours.

    python benchmarks/gpu/measure.py DIR

The card's peak is that of products of matrices of 8192×8192. Of each size and precision: whether
the loss and its gradient are what a CPU makes of the same; milliseconds of an evaluation, and of an
iteration of the loop, which leaves the device in the end alone; and how much of the peak the
convolutions come to. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.backend import get_backend
from jaxlib._jax.mlir import hlo_to_stablehlo
from jaxlib.xla_client import CompileOptions

COLUMNS = (
    *("size", "precision", "ms an evaluation", "TFLOP/s", "of the peak", "ms an iteration"),
    *("loss / a CPU's", "gradient off", "compiled in s"),
)


class Exported:
    """What a folder holds, ready to be called on the first device.

    Args:
        folder: that `export.py` has written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        with np.load(folder / "arrays.npz") as arrays:
            self.arrays = dict(arrays)

    def compiled(self, name: str) -> tuple[Callable[..., Any], float]:
        """A function of what its caller gives by name, and the seconds that it took to compile."""
        with lzma.open(self.folder / f"{name}.hlo.xz") as stream:
            module = hlo_to_stablehlo(stream.read())
        begun = time.perf_counter()
        client = get_backend()
        devices = tuple(client.devices()[:1])
        program = client.compile_and_load(module, devices, CompileOptions())
        seconds = time.perf_counter() - begun
        names = self.about["arguments"][name]
        weights = [each for each in names if each.partition("_")[2] in self.arrays]
        known = {each: self._weight(each) for each in weights}

        def call(**given: jax.Array) -> Any:
            results = program.execute([(known | given)[each] for each in names])
            return [jax.block_until_ready(each) for each in results]

        return call, seconds

    def picture(self, name: str) -> jax.Array:
        """One of the pictures, as it is."""
        return jnp.asarray(self.arrays[name])

    def _weight(self, name: str) -> jax.Array:
        kind, _, key = name.partition("_")
        array = jnp.asarray(self.arrays[key])
        if self.arrays[key].dtype == np.uint16:
            array = jax.lax.bitcast_convert_type(array, jnp.bfloat16)
        return array.astype(kind)


def seconds_of(call: Callable[[], Any], times: int) -> float:
    """The median, after two that are not counted."""
    found = []
    for _ in range(times + 2):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return statistics.median(found[2:])


def peak(precision: str, side: int) -> float:
    """Operations a second of products of random matrices."""
    matrix = jax.random.normal(jax.random.key(0), (side, side), precision)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    seconds = seconds_of(lambda: jax.block_until_ready(product(matrix)), 10)
    return 2 * side**3 / seconds


def row(exported: Exported, case: dict[str, Any], best: float, times: int) -> list[str]:
    """One case: the cells of its row."""
    side, name = case["side"], f"{case['side']}-{case['precision']}"
    pictures = {each: exported.picture(f"{each}-{side}") for each in ("content", "painting")}
    targets, _ = exported.compiled(f"targets-{name}")
    known = dict(zip(case["targets"], targets(**pictures), strict=True))
    known["picture"] = exported.picture(f"picture-{side}").astype("float32")
    evaluate, compiling = exported.compiled(f"evaluation-{name}")
    total, gradient = evaluate(**known)
    sparse = np.asarray(gradient)[0, :: case["every"], :: case["every"]]
    expected = np.asarray(case["gradient"])
    off = np.linalg.norm(sparse - expected) / np.linalg.norm(expected)
    seconds = seconds_of(lambda: evaluate(**known), times)
    loop, more = exported.compiled(f"loop-{name}")
    found, painted = loop(**known)
    # What the loop says of its picture is what the evaluation says.
    again = float(evaluate(**known | {"picture": painted})[0])
    if not (abs(float(found) / again - 1) < 1e-2 and again < 0.5 * float(total)):
        raise SystemExit(f"error: {name}: the loop ended at {float(found):.6g}, judged {again:.6g}")
    iteration = seconds_of(lambda: loop(**known), 3) / case["iterations"]
    speed = case["operations"] / seconds
    return [
        *(f"{side}²", case["precision"], f"{1e3 * seconds:.2f}", f"{speed / 1e12:.1f}"),
        *(f"{speed / best:.2f}", f"{1e3 * iteration:.2f}", f"{float(total) / case['total']:.5f}"),
        *(f"{100 * off:.2g} %", f"{compiling:.0f} + {more:.0f}"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--side", type=int, default=8192, help="of the matrices (default 8192)")
    options = parser.parse_args(argv)
    exported = Exported(options.folder)
    device = jax.devices()[0]
    print(f"{exported.about['network']} on {device.device_kind}, jax {jax.__version__}", flush=True)
    precisions = {case["precision"] for case in exported.about["cases"]}
    peaks = {each: peak(each, options.side) for each in sorted(precisions)}
    for each, found in peaks.items():
        print(f"{each}: at most {found / 1e12:.1f} TFLOP/s", flush=True)
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'-|' * len(COLUMNS)}")
    for case in exported.about["cases"]:
        cells = row(exported, case, peaks[case["precision"]], options.times)
        print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
