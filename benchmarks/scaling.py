"""How the time of an evaluation grows with the picture, and with the number of styles.

    python benchmarks/scaling.py --network imagenet-vgg-verydeep-19.mat --sides 128 256 512 1024

One loss and gradient of the default objective at each size, the least of several, and the exponent
of a straight line through them in logarithms (1: the time grows as the pixels); then the same at
one size for one style and for several.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from neural_style_tf.commands import tensorflow  # noqa: E402

tensorflow.start()

import tensorflow as tf  # noqa: E402

import vgg  # noqa: E402
from neural_style_tf import Loss, Objective  # noqa: E402


def drawn(side: int, seed: int) -> tf.Tensor:
    """A smooth random picture `[1, side, side, 3]`."""
    noise = tf.random.stateless_uniform((1, side // 8, side // 8, 3), (seed, 0), 0, 255)
    return tf.image.resize(noise, (side, side), "bicubic")


def fastest(work: Callable[[], Any], times: int) -> float:
    """Seconds of the fastest of so many, after one that is not counted."""
    work()
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", default="compact")
    parser.add_argument("--precision", default=tensorflow.fastest_precision())
    parser.add_argument("--sides", nargs="+", type=int, default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--styles", nargs="+", type=int, default=[1, 2, 4, 8])
    options = parser.parse_args(argv)
    objective = Objective()
    named = options.network if options.network == "compact" else Path(options.network)
    network = vgg.load(named, layers=objective.layers, precision=options.precision, raw=True)
    loss = Loss(network, objective)
    evaluate = tf.function(loss.value_and_gradient, reduce_retracing=True)

    def seconds(side: int, styles: int) -> float:
        targets = loss.targets(drawn(side, 0), [drawn(64, 2 + i) for i in range(styles)])
        picture = drawn(side, 1)
        return fastest(lambda: evaluate(picture, targets)[1].numpy(), max(2, min(20, 2048 // side)))

    print(f"{options.network}, {options.precision}\n\n| side | s | ns/pixel |\n|-|-|-|")
    measured = {}
    for side in options.sides:
        measured[side] = seconds(side, 1)
        print(
            f"| {side} | {measured[side]:.3f} | {measured[side] / side**2 * 1e9:.0f} |", flush=True
        )
    pixels = np.log([side**2 for side in measured])
    exponent = np.polyfit(pixels, np.log(list(measured.values())), 1)[0]
    print(f"\nexponent {exponent:.3f}\n\n| styles | s at 256 |\n|-|-|")
    for styles in options.styles:
        print(f"| {styles} | {seconds(256, styles):.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
