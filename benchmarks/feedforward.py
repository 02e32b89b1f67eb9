"""Painting in one pass: how good against optimization, how fast against other networks, how soon.

    python benchmarks/feedforward.py quality --photos a.jpg b.jpg --styles starry=night.jpg
    python benchmarks/feedforward.py speed --peer TRANSFORMER_NET_PY
    python benchmarks/feedforward.py start --input photo.jpg
    python benchmarks/feedforward.py memory --sides 1024 2048
    python benchmarks/feedforward.py borders --photos a.jpg b.jpg --models starry wave

`quality` judges each photograph, painted by the network of a style, by the objective that it was
trained on, and counts the steps that optimization takes to the same loss. `speed` times the default
network, one of Johnson's size and that of lengstrom/fast-style-transfer, built here in TensorFlow,
side by side; with the transformer_net.py of pytorch/examples and PyTorch, that one too. `start` is
the time of the whole command against that of importing TensorFlow. `borders` compares the border of
a painted picture with the same place in a larger one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from neural_style_tf import Objective, Schedule, files  # noqa: E402
from neural_style_tf.commands import tensorflow  # noqa: E402
from neural_style_tf.transform import shipped  # noqa: E402
from neural_style_tf.transform.architecture import Architecture  # noqa: E402
from neural_style_tf.transform.training import Training  # noqa: E402

if TYPE_CHECKING:
    from neural_style_tf.descent import Descent
    from neural_style_tf.losses import Loss

# Our L-BFGS; the same without its metric, as Johnson et al. had it; Adam as in the 2017 program.
OPTIMIZERS = ["lbfgs", "plain", "adam"]
# Evaluations after which the loss of an optimization is shown.
SHOWN = (10, 20, 30, 50)
# Distances from the border at which `borders` looks.
NEAR = (0, 1, 2, 4, 8, 16)
JOHNSON = Architecture((32, 64, 128), 5, 9)


def main(argv: list[str] | None = None) -> int:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("quality")
    one.add_argument("--photos", nargs="+", required=True, help="not those of the training")
    one.add_argument("--styles", nargs="+", required=True, metavar="NAME=FILE")
    one.add_argument("--side", type=int, default=256, help="of the square that is painted")
    one.add_argument("--network", default="compact")
    one.add_argument("--optimizers", nargs="*", default=OPTIMIZERS, choices=OPTIMIZERS)
    one.add_argument("--output", type=Path, help="folder for the pictures")
    one = commands.add_parser("speed")
    one.add_argument("--side", type=int, default=512)
    one.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    one.add_argument("--peer", type=Path, help="transformer_net.py of pytorch/examples")
    one.add_argument("--times", type=int, default=7)
    one = commands.add_parser("start")
    one.add_argument("--input", required=True)
    one.add_argument("--times", type=int, default=3)
    one = commands.add_parser("memory")
    one.add_argument("--sides", nargs="+", type=int, default=[1024, 2048])
    one = commands.add_parser("borders")
    one.add_argument("--photos", nargs="+", required=True, help="not those of the training")
    one.add_argument("--models", nargs="+", default=shipped.names(), help="names, or files")
    one.add_argument("--side", type=int, default=256, help="of the square that is painted")
    one = commands.add_parser("painted")  # what `memory` runs, in a process of its own
    one.add_argument("side", type=int)
    one.add_argument("tiles", type=int)
    options = parser.parse_args(argv)
    what: Callable[[argparse.Namespace], None] = globals()[options.what]
    what(options)
    return 0


def quality(options: argparse.Namespace) -> None:
    """One pass against optimization, photograph by photograph."""
    device = tensorflow.start()
    import tensorflow as tf

    import vgg
    from neural_style_tf import Loss
    from neural_style_tf.pixels import resize_style
    from neural_style_tf.pixels import start as start_picture
    from neural_style_tf.traced import Traced
    from neural_style_tf.transform.painter import Painter

    print(f"{options.network}, {options.side}×{options.side}, {device}, float32\n")
    for pair in options.styles:
        name, _, path = pair.partition("=")
        net, [style] = shipped.find(name)
        objective = Objective.from_dict(net.card["objective"])
        width = Training(**net.card["training"]).painting_width
        network = vgg.load(options.network, layers=objective.layers)
        loss = Loss(network, objective)
        judge, features = Traced(loss.__call__), Traced(loss.features)
        painting = files.read(path).pixels
        moments = Traced(loss.moments)(resize_style(painting, width))
        painter = Painter(net, [float(style == each) for each in net.styles])
        # Each traced once, for all photographs.
        loops = [_descent(loss, each) for each in options.optimizers]
        heads = [f"{o} after {n}" for o in options.optimizers for n in SHOWN]
        counts = [f"as many of {o}" for o in options.optimizers]
        print(f"\n| {name} | photograph | one pass | " + " | ".join((*heads, *counts)) + " |")
        print("|-" * (3 + len(heads) + len(counts)) + "|")
        for photo in options.photos:
            pixels = _square(photo, options.side)
            painted = painter(pixels)
            targets = loss.blended(features(tf.constant(pixels)), [moments])
            own, given = (
                float(judge(tf.constant(p), targets).total) for p in (painted.clip(0, 255), pixels)
            )
            cells, steps = [], []
            for loop in loops:
                first = start_picture(tf.constant(pixels), 1.0, 0)
                # The lowest loss after 0, 1, … evaluations from noise, at full size alone.
                steps_taken = loop.steps(first, targets, max(SHOWN), stops=range(max(SHOWN)))
                curve = [step.result.loss for step in steps_taken]
                cells += [f"{curve[n]:.3g}" for n in SHOWN]
                reached = next((n for n, value in enumerate(curve) if value <= own), None)
                steps.append(f"> {len(curve) - 1}" if reached is None else f"{reached}")
            row = [f"{own:.3g}", *cells, *steps]
            print(f"| | {Path(photo).stem} ({given:.3g}) | " + " | ".join(row) + " |", flush=True)
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                files.write(options.output / f"{name}-{Path(photo).stem}.png", painted)


def _descent(loss: Loss, name: str) -> Descent:
    """Of one of `OPTIMIZERS`."""
    from neural_style_tf import optimizers
    from neural_style_tf.descent import Descent
    from neural_style_tf.metrics import IDENTITY, Spectral

    optimizer = "adam" if name == "adam" else "lbfgs"
    schedule = Schedule(optimizer=optimizer, iterations=max(SHOWN), tolerance=0.0)

    def minimizer(_: Any, pixels: Any) -> optimizers.Optimizer:
        return optimizers.make(schedule, IDENTITY if name == "plain" else Spectral(pixels))

    return Descent(loss.value_and_gradient, minimizer, schedule.resolved())


def _square(path: str, side: int) -> npt.NDArray[np.float32]:
    """The middle of a photograph, `[1, side, side, 3]`."""
    from PIL import Image

    picture = Image.fromarray(files.read_shrunk(path, 4 * side))
    shorter = min(picture.size)
    left, top = ((length - shorter) / 2 for length in picture.size)
    box = (left, top, left + shorter, top + shorter)
    square = picture.resize((side, side), Image.Resampling.BICUBIC, box)
    return np.asarray(square, np.float32)[None]


def speed(options: argparse.Namespace) -> None:
    """Networks side by side, in turns, medians."""
    device = tensorflow.start()
    print(f"{options.side}×{options.side}, {device}; ms a picture\n")
    nets: dict[str, Callable[[Any], Any]] = {}
    for precision in ("float32", "bfloat16"):
        nets[f"slim, the default, {precision}"] = _ours(Architecture(), precision)
        nets[f"full-size, 32 64 128, {precision}"] = _ours(JOHNSON, precision)
        nets[f"lengstrom's in TensorFlow, {precision}"] = _lengstrom(precision)
    if options.peer:
        nets["pytorch/examples"] = _pytorch(options.peer)
    print("| | " + " | ".join(f"batch {b}" for b in options.batches) + " | against lengstrom's |")
    print("|-" * (2 + len(options.batches)) + "|")
    results: dict[str, list[float]] = {name: [] for name in nets}
    for batch in options.batches:
        generator = np.random.default_rng(0)
        shape = (batch, options.side, options.side, 3)
        pixels = generator.uniform(0, 255, shape).astype(np.float32)
        times: dict[str, list[float]] = {name: [] for name in nets}
        for turn in range(options.times + 2):  # the first two warm up
            for name, work in nets.items():
                begun = time.perf_counter()
                work(pixels)
                if turn > 1:
                    times[name].append((time.perf_counter() - begun) / batch * 1e3)
        for name in nets:
            results[name].append(statistics.median(times[name]))
    base = results["lengstrom's in TensorFlow, float32"]
    for name, row in results.items():
        ratio = ", ".join(f"{b / own:.2f}×" for b, own in zip(base, row, strict=True))
        print(f"| {name} | " + " | ".join(f"{own:.0f}" for own in row) + f" | {ratio} |")
    slim = nets["slim, the default, float32"]
    print("\n| slim, float32 | ms | ns a pixel |\n|-|-|-|")
    for side in (256, 512, 1024, 2048):
        pixels = np.random.default_rng(0).uniform(0, 255, (1, side, side, 3)).astype(np.float32)
        slim(pixels)
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            slim(pixels)
            seconds.append(time.perf_counter() - begun)
        print(f"| {side}² | {min(seconds) * 1e3:.0f} | {min(seconds) / side**2 * 1e9:.0f} |")


def _ours(architecture: Architecture, precision: str) -> Callable[[Any], Any]:
    """A network of ours with random weights; a batch is painted one after the other."""
    from neural_style_tf.transform.model import initial_weights
    from neural_style_tf.transform.painter import Painter
    from neural_style_tf.transform.stored import Net

    net = Net(architecture, ("a",), initial_weights(architecture, 1, 0), {})
    painter = Painter(net, [1.0], precision)
    return lambda pixels: [painter(pixels[i : i + 1]) for i in range(len(pixels))]


def _lengstrom(precision: str) -> Callable[[Any], Any]:
    """The network of lengstrom/fast-style-transfer, random weights: its layers and their order.

    9×9, 32 channels; two of 3×3 with stride 2, 64 and 128; five residual blocks of 128; two
    deconvolutions with stride 2, 64 and 32; 9×9 to pixels; zeros past the border; instance
    normalization from moments after each.
    """
    import tensorflow as tf

    generator = np.random.default_rng(0)

    def kernel(side: int, inputs: int, outputs: int) -> Any:
        return tf.constant(generator.normal(0, 0.1, (side, side, inputs, outputs)), precision)

    down = [(kernel(9, 3, 32), 1), (kernel(3, 32, 64), 2), (kernel(3, 64, 128), 2)]
    blocks = [(kernel(3, 128, 128), kernel(3, 128, 128)) for _ in range(5)]
    up = [kernel(3, 64, 128), kernel(3, 32, 64)]
    last = kernel(9, 32, 3)

    def norm(x: Any) -> Any:
        mean, variance = tf.nn.moments(tf.cast(x, tf.float32), [1, 2], keepdims=True)
        normalized = (tf.cast(x, tf.float32) - mean) / tf.sqrt(variance + 1e-3)
        return tf.cast(normalized, precision)

    @tf.function(autograph=False, reduce_retracing=True)
    def paint(pixels: Any) -> Any:
        x = tf.cast(pixels, precision)
        for weight, stride in down:
            x = tf.nn.relu(norm(tf.nn.conv2d(x, weight, stride, "SAME")))
        for first, second in blocks:
            y = tf.nn.relu(norm(tf.nn.conv2d(x, first, 1, "SAME")))
            x += norm(tf.nn.conv2d(y, second, 1, "SAME"))
        for weight in up:
            batch, height, width, _ = tf.unstack(tf.shape(x))
            shape = tf.stack([batch, 2 * height, 2 * width, weight.shape[2]])
            x = tf.nn.relu(norm(tf.nn.conv2d_transpose(x, weight, shape, 2, "SAME")))
        x = norm(tf.nn.conv2d(x, last, 1, "SAME"))
        return tf.tanh(tf.cast(x, tf.float32)) * 150 + 127.5

    return lambda pixels: paint(tf.constant(pixels)).numpy()


def _pytorch(path: Path) -> Callable[[Any], Any]:
    """The TransformerNet of a given file, random weights."""
    import torch

    spec = importlib.util.spec_from_file_location("transformer_net", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.TransformerNet().eval()

    def work(pixels: Any) -> Any:
        with torch.no_grad():
            return net(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).numpy()

    return work


def start(options: argparse.Namespace) -> None:
    """The whole command against an import of TensorFlow, in turns, medians of whole processes."""
    name = next(iter(shipped.names()))
    apply = ["-m", "neural_style_tf", "apply", "--model", name, "--input", options.input]
    commands: dict[str, Sequence[str]] = {
        "import tensorflow": ["-c", "import tensorflow"],
        "apply": [*apply, "--output", "start.png", "--overwrite", "--quiet"],
    }
    times: dict[str, list[float]] = {key: [] for key in commands}
    for turn in range(options.times + 1):  # the first reads the disk
        for key, words in commands.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, cwd=ROOT, capture_output=True)
            if turn:
                times[key].append(time.perf_counter() - begun)
    (ROOT / "start.png").unlink()
    medians = {key: statistics.median(values) for key, values in times.items()}
    for key, seconds in medians.items():
        print(f"{key}: {seconds:.2f} s")
    print(f"ratio {medians['apply'] / medians['import tensorflow']:.2f}")


def memory(options: argparse.Namespace) -> None:
    """Peaks of processes that paint pictures, whole and in tiles, against the estimate."""
    from neural_style_tf.memory import BASE, GIB
    from neural_style_tf.transform.painter import footprint

    net, _ = shipped.find(next(iter(shipped.names())))
    print("| size | tiles | expected GiB | peak GiB | s |\n|-|-|-|-|-|")
    for side in options.sides:
        for tiles in (0, 512, 256):
            command = [sys.executable, __file__, "painted", str(side), str(tiles)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            told = json.loads(done.stdout.splitlines()[-1])
            expected = BASE + footprint(net, "float32", (side, side), tiles or None)
            print(
                f"| {side}² | {tiles or 'none'} | {expected / GIB:.2f} | "
                f"{told['peak'] / GIB:.2f} | {told['seconds']:.1f} |",
                flush=True,
            )


def borders(options: argparse.Namespace) -> None:
    """How much lighter or darker a picture is near its border than the same in a larger one."""
    tensorflow.start()
    from neural_style_tf.transform.painter import Painter

    around, side = 64, options.side
    rows = np.minimum(np.arange(side), np.arange(side)[::-1])
    distance = np.minimum.outer(rows, rows)  # of each pixel from the nearest border
    print(f"grey levels, {side}×{side}, mean over pixels at that distance from the border\n")
    print("| style | " + " | ".join(map(str, NEAR)) + f" | {side // 4} and more |")
    print("|-" * (2 + len(NEAR)) + "|")
    for model in options.models:
        net, styles = shipped.find(model)
        for style in styles:
            painter = Painter(net, [float(style == each) for each in net.styles])
            lighter = np.zeros((side, side))
            for photo in options.photos:
                large = _square(photo, side + 2 * around)
                inner = np.s_[:, around:-around, around:-around]
                difference = painter(large[inner]) - painter(large)[inner]
                lighter += difference[0].mean(-1) / len(options.photos)
            cells = [lighter[distance == near].mean() for near in NEAR]
            cells.append(lighter[distance >= side // 4].mean())
            print(f"| {style} | " + " | ".join(f"{cell:+.1f}" for cell in cells) + " |", flush=True)


def painted(options: argparse.Namespace) -> None:
    """Paint one picture and tell the peak of this process in bytes."""
    tensorflow.start()
    from neural_style_tf.transform.painter import Painter

    net, [style] = shipped.find(next(iter(shipped.names())))
    painter = Painter(net, [float(style == each) for each in net.styles])
    shape = (1, options.side, options.side, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    begun = time.perf_counter()
    painter(pixels, options.tiles or None)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    print(json.dumps({"peak": peak, "seconds": seconds}))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
