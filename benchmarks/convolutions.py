"""The algorithms that a frozen 3×3 convolution may be computed by, layer by layer of VGG-19.

    python benchmarks/convolutions.py --size 341 512 --precision bfloat16

Milliseconds forward and back of each (the median, in turns) as a Markdown table, and what
`vgg.convolution.algorithm` chooses on this machine: its constants have their values from here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from neural_style_tf.commands.tensorflow import start  # noqa: E402

start()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from vgg.convolution import (  # noqa: E402
    Given,
    SquaredConvolution,
    TurnedConvolution,
    algorithm,
)
from vgg.network import PRECISIONS  # noqa: E402
from vgg.winograd import WinogradConvolution  # noqa: E402

# Name, poolings before it, channels in and out: one of each kind.
LAYERS = (
    ("conv1_1", 0, 3, 64),
    ("conv1_2", 0, 64, 64),
    ("conv2_1", 1, 64, 128),
    ("conv2_2", 1, 128, 128),
    ("conv3_1", 2, 128, 256),
    ("conv3_2", 2, 256, 256),
    ("conv4_1", 3, 256, 512),
    ("conv4_2", 3, 512, 512),
    ("conv5_1", 4, 512, 512),
)


def convolutions(kernel: np.ndarray, precision: str) -> dict[str, keras.layers.Layer]:
    """A kernel `[3, 3, in, out]` in a layer by each algorithm."""

    def by(kind: type[keras.layers.Conv2D]) -> keras.layers.Layer:
        return kind(
            kernel.shape[3],
            3,
            padding="same",
            use_bias=False,
            kernel_initializer=Given(kernel),
            dtype=precision,
        )

    return {
        "plain": by(keras.layers.Conv2D),
        "turned": by(TurnedConvolution),
        "squared": by(SquaredConvolution),
        "winograd": WinogradConvolution(kernel, None, dtype=precision),
    }


def both_ways(layer: keras.layers.Layer) -> tuple[Callable[..., tf.Tensor], ...]:
    """Forward, `x -> y`, and back, `(x, upstream) -> gradient`, each without the other's work."""

    def back(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return tape.gradient(y, x, upstream)

    return tf.function(layer, autograph=False), tf.function(back, autograph=False)


def milliseconds(
    functions: dict[str, Callable[..., tf.Tensor]], *args: tf.Tensor, rounds: int
) -> dict[str, float]:
    """The median time of each, by turns."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            begun = time.perf_counter()
            tf.reshape(function(*args), [-1])[0].numpy()
            if turn:  # the first one traces
                taken[name].append(1000 * (time.perf_counter() - begun))
    return {name: statistics.median(each) for name, each in taken.items()}


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--size", type=int, nargs=2, default=(341, 512), metavar=("HEIGHT", "WIDTH"))
    add("--rounds", type=int, default=9)
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    options = parser.parse_args()
    print("| | channels | positions | plain | turned | squared | winograd | chosen |")
    print("|-|-|-|-|-|-|-|-|", flush=True)
    random = np.random.default_rng(0)
    for name, poolings, channels, out in LAYERS:
        height, width = (-(-side // 2**poolings) for side in options.size)
        deviation = np.sqrt(2 / (9 * channels))
        kernel = random.normal(0, deviation, (3, 3, channels, out)).astype(np.float32)
        x = tf.nn.relu(tf.random.normal((1, height, width, channels)))
        upstream = tf.random.normal((1, height, width, out))
        x, upstream = (tf.cast(each, options.precision) for each in (x, upstream))
        forth, back = {}, {}
        for kind, layer in convolutions(kernel, options.precision).items():
            forth[kind], back[kind] = both_ways(layer)
        first = milliseconds(forth, x, rounds=options.rounds)
        second = milliseconds(back, x, upstream, rounds=options.rounds)
        cells = [f"{first[kind]:.0f} + {second[kind]:.0f}" for kind in forth]
        chosen = algorithm(kernel.shape, options.precision)
        print(
            f"| {name} | {channels} → {out} | {height}×{width} | {' | '.join(cells)} | {chosen} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
