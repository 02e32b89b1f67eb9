"""What the program computes on a GPU, as HLO: for a card that has JAX and no TensorFlow.

    python benchmarks/gpu/export.py --network imagenet-vgg-verydeep-19.mat --output DIR

Of the default objective, each size and both precisions, DIR gets what `measure.py` has compiled
there by JAX's client: `targets`, from a photograph and a painting; `evaluation`, the loss and its
gradient; `loop`, so many iterations of L-BFGS, line search and history and all, without a word to
the host. It is what the program's own graphs become where TensorFlow has a GPU: XLA compiles them
there, convolutions are plain ones. DIR also gets the weights, rounded to bfloat16 so that they take
half the room, the pictures, and what a CPU makes of them, to be compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import lzma
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from neural_style_tf.commands import tensorflow  # noqa: E402

tensorflow.start()

import tensorflow as tf  # noqa: E402

from neural_style_tf import Objective, Schedule  # noqa: E402
from neural_style_tf.losses import Targets  # noqa: E402
from neural_style_tf.optimization import Optimization  # noqa: E402
from vgg.network import build, operations  # noqa: E402
from vgg.weights import Weights, read  # noqa: E402

# As `tensorflow.start` has it where there is a GPU.
tf.config.experimental.enable_tensor_float_32_execution(False)
OBJECTIVE = Objective()
# The photograph, the painting, and where to begin: the seeds that they are drawn with.
PICTURES = {"content": 1, "painting": 2, "picture": 3}
# Of the gradient that a CPU finds, every so many pixels are kept.
SPARSE = 8


@contextlib.contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """The program builds what it builds where TensorFlow has a GPU."""

    def devices(kind: str | None = None) -> list[str]:
        return [] if kind == "CPU" else ["GPU:0"]

    with (
        mock.patch.object(tf.config, "list_physical_devices", devices),
        mock.patch.object(tf.config, "list_logical_devices", devices),
    ):
        yield


def halved(weights: Weights) -> Weights:
    """Weights that bfloat16 holds as they are."""
    convolutions = {
        name: tuple(tf.cast(tf.cast(each, "bfloat16"), "float32").numpy() for each in arrays)
        for name, arrays in weights.convolutions.items()
    }
    return dataclasses.replace(weights, convolutions=convolutions)


def drawn(side: int, seed: int) -> np.ndarray:
    """A smooth random picture `[1, side, side, 3]`, RGB 0-255, whole grey levels."""
    noise = tf.random.stateless_uniform((1, side // 8, side // 8, 3), (seed, 0), 0, 255)
    picture = tf.image.resize(noise, (side, side), "bicubic")
    return tf.saturate_cast(tf.round(picture), tf.uint8).numpy()


class Exporter:
    """Writes functions of a network as HLO into a folder, and what they are to be given.

    Args:
        folder: for `NAME.hlo.xz`.

    Attributes:
        weights: `{hash: array}`, of all that were written; what is alike is there once.
        arguments: of each, what it takes in turn: the names of its caller's, or `TYPE_HASH`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights: dict[str, np.ndarray] = {}
        self.arguments: dict[str, list[str]] = {}

    def write(self, name: str, function: Callable[..., Any], **given: tf.Tensor) -> None:
        """A function of these tensors, which gives tensors."""
        compiled = tf.function(function, autograph=False, jit_compile=True)
        graph = compiled.get_concrete_function(*given.values())
        variables = {id(each.handle): each for each in graph.variables}
        captured = [variables.get(id(each), each) for each in graph.captured_inputs]
        module = compiled.experimental_get_compiler_ir(*given.values())(stage="hlo_serialized")
        # A filter of the picture's size stands in it several times.
        with lzma.open(self.folder / f"{name}.hlo.xz", "w") as stream:
            stream.write(module)
        self.arguments[name] = [*given, *(self._kept(each) for each in captured)]

    def _kept(self, value: Any) -> str:
        """Its name, `TYPE_HASH`; as bfloat16's bits where they hold it."""
        tensor = tf.convert_to_tensor(value)
        half = tf.cast(tensor, tf.bfloat16)
        if np.array_equal(tf.cast(half, tensor.dtype), tensor):
            array = tf.bitcast(half, tf.uint16).numpy()
        else:
            array = tensor.numpy()
        name = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        self.weights[name] = array
        return f"{tensor.dtype.name}_{name}"


def export(
    exporter: Exporter, weights: Weights, precision: str, side: int, iterations: int
) -> dict[str, Any]:
    """Write one size in one precision; what `measure.py` has to know of it."""
    name = f"{side}-{precision}"
    content, painting, picture = (tf.constant(drawn(side, seed)) for seed in PICTURES.values())
    picture = tf.cast(picture, tf.float32)
    with as_on_a_gpu():
        network = build(weights, layers=OBJECTIVE.layers, precision=precision, raw=True)
        schedule = Schedule(tolerance=0.0).remembering(side, side)
        optimization = Optimization(network, OBJECTIVE, schedule.resolved(), None)
        loss, mean, descent = optimization.loss, optimization.mean, optimization.descent

        def centered(picture: tf.Tensor) -> tf.Tensor:
            return tf.cast(picture, tf.float32) - mean

        def targets(content: tf.Tensor, painting: tf.Tensor) -> Targets:
            return loss.targets(centered(content), [centered(painting)])

        known = targets(content, painting)
        flat = {f"target_{i}": each for i, each in enumerate(tf.nest.flatten(known))}

        def evaluation(picture: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            terms, gradient = loss.value_and_gradient(
                centered(picture), tf.nest.pack_sequence_as(known, targets)
            )
            return terms.total, gradient

        def loop(picture: tf.Tensor, *targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            given = tf.nest.pack_sequence_as(known, targets)
            state = descent.begin(centered(picture), given)
            result = descent.until(state, tf.constant(iterations), given).result
            return result.loss, tf.clip_by_value(result.pixels + mean, 0, 255)

        exporter.write(f"targets-{name}", targets, content=content, painting=painting)
        exporter.write(f"evaluation-{name}", evaluation, picture=picture, **flat)
        exporter.write(f"loop-{name}", loop, picture=picture, **flat)
        total, gradient = evaluation(picture, *flat.values())
    work = 4 * operations(weights, OBJECTIVE.layers) * side**2
    return {
        "side": side,
        "precision": precision,
        "iterations": iterations,
        "targets": list(flat),
        "operations": work,  # of the convolutions, there and back; two for each multiplication
        "total": float(total),
        "every": SPARSE,
        "gradient": gradient[0, ::SPARSE, ::SPARSE].numpy().tolist(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", type=Path, required=True, help="of any kind that vgg reads")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--iterations", type=int, default=20, help="of the loop")
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    exporter = Exporter(options.output)
    weights = halved(read(options.network))
    cases = [
        export(exporter, weights, precision, side, options.iterations)
        for side in options.sizes
        for precision in options.precisions
    ]
    pictures = {
        f"{name}-{side}": drawn(side, seed)
        for side in options.sizes
        for name, seed in PICTURES.items()
    }
    arrays: dict[str, Any] = exporter.weights | pictures
    np.savez(options.output / "arrays.npz", **arrays)
    about = {"network": weights.name, "arguments": exporter.arguments, "cases": cases}
    (options.output / "about.json").write_text(json.dumps(about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
