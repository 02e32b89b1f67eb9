"""The embedded network judged by VGG-19: the pictures that each makes, and the time of each.

    python benchmarks/compact.py --network imagenet-vgg-verydeep-19.mat \\
        --contents c.jpg d.jpg --styles s.jpg t.jpg

Every content with every style, in the program's default run. For the content picture itself, and
for the results of a network of the same shape with random weights, of the embedded network and of
VGG-19, prints the terms that VGG-19 gives them (the 2017 objective) as a Markdown table; then the
time of one loss and gradient at 512×512, of VGG-19 by plain convolutions too, and in bfloat16 where
that is faster. `--sheet` shows the pictures side by side.

    python benchmarks/compact.py --network imagenet-vgg-verydeep-19.mat --golden

writes what VGG-19 sees in the example picture, for the tests to hold the embedded network against.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from neural_style_tf.commands.tensorflow import fastest_precision, start  # noqa: E402

start()

import tensorflow as tf  # noqa: E402

from neural_style_tf import Objective, Schedule, stylize  # noqa: E402
from neural_style_tf.losses import Loss  # noqa: E402
from neural_style_tf.networks import centered  # noqa: E402
from neural_style_tf.pixels import resize_style, resize_to_width  # noqa: E402
from vgg.network import build  # noqa: E402
from vgg.weights import Weights, read  # noqa: E402

Network = Callable[[tf.Tensor], Any]


def scrambled(weights: Weights) -> Weights:
    """The same shape with random kernels, as He et al. 2015 draw them, and no bias."""
    random = np.random.default_rng(0)

    def drawn(kernel: np.ndarray, gain: float) -> np.ndarray:
        deviation = np.sqrt(gain / np.prod(kernel.shape[:3]))
        return random.normal(0, deviation, kernel.shape).astype(np.float32)

    convolutions = {}
    for name, (*kernels, bias) in weights.convolutions.items():
        # Two for the rectifier, once a layer.
        gains = [1.0] * (len(kernels) - 1) + [2.0]
        drawn_kernels = (drawn(k, gain) for k, gain in zip(kernels, gains, strict=True))
        convolutions[name] = (*drawn_kernels, np.zeros_like(bias))
    return Weights(convolutions, weights.mean, {"name": "random"})


def evaluation_seconds(networks: dict[str, Network], size: int, rounds: int) -> dict[str, float]:
    """The least time of one loss and gradient on `[1, size, size, 3]`, as in a run, by turns."""
    pixels = tf.random.stateless_uniform((1, size, size, 3), (0, 1)) * 255
    functions = {}
    for name, network in networks.items():
        network, mean = centered(network)
        loss = Loss(network, Objective())
        targets = loss.targets(pixels - mean, [pixels[:, ::-1] - mean])
        functions[name] = tf.function(
            lambda p, loss=loss, targets=targets: loss.value_and_gradient(p, targets)
        )
        functions[name](pixels)
    seconds = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            begun = time.perf_counter()
            function(pixels)[1].numpy()
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return seconds


def timed(weights: dict[str, Weights]) -> dict[str, Network]:
    """What is timed, by a name that ends with its precision."""
    layers, own = Objective().layers, {k: weights[k] for k in ("VGG-19", "compact")}
    networks: dict[str, Network] = {
        f"{k}, float32": build(w, layers=layers) for k, w in own.items()
    }
    plain = build(weights["VGG-19"], layers=layers, exact=True)
    networks["VGG-19 by plain convolutions, float32"] = plain
    if (fast := fastest_precision()) != "float32":
        for k, w in own.items():
            networks[f"{k}, {fast}"] = build(w, layers=layers, precision=fast, raw=True)
    return networks


def opened(path: Path) -> np.ndarray:
    """A picture file as RGB `[H, W, 3]`."""
    return np.asarray(Image.open(path).convert("RGB"))


def compare(
    networks: dict[str, Network], content: tf.Tensor, style: np.ndarray
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """The rows of one pair and its pictures `[H, W, 3]`, the content picture first."""
    width = content.shape[2]
    judge = Loss(networks["VGG-19"], Objective())
    targets = judge.targets(content, [resize_style(style, width)])
    pictures, seconds = [content], [0.0]
    for network in networks.values():
        begun = time.perf_counter()
        *_, last = stylize(network, content, [style], Objective(), Schedule())
        pictures.append(tf.clip_by_value(last.result.pixels, 0, 255))
        seconds.append(time.perf_counter() - begun)
    rows: list[dict[str, Any]] = []
    for name, picture, spent in zip(("content picture", *networks), pictures, seconds, strict=True):
        terms = {key: float(value) for key, value in judge(picture, targets)._asdict().items()}
        rows.append({"picture": name, **terms, "seconds": spent})
    for row in rows:
        row["share"] = row["style"] / rows[0]["style"]
    return rows, [picture[0].numpy() for picture in pictures]


def write_golden(network: Path, path: Path) -> None:
    """`{layer: [C]}`, the mean activation of each channel of VGG-19 over the example picture."""
    layers = (*Objective().layers, "relu5_2")
    content = opened(ROOT / "examples" / "content.jpg").astype(np.float32)
    features = build(read(network), layers=layers)(content[None])
    means = {layer: value.numpy().mean((0, 1, 2)) for layer, value in features.items()}
    np.savez_compressed(path, **means)


def main() -> int:
    """Print the tables; the exit status."""
    parser = argparse.ArgumentParser(description="Judge the embedded network by VGG-19.")
    parser.add_argument("--network", type=Path, required=True, help="a file of VGG-19")
    parser.add_argument("--compact", type=Path, default=ROOT / "vgg" / "compact.npz")
    parser.add_argument("--contents", type=Path, nargs="+", default=[])
    parser.add_argument("--styles", type=Path, nargs="+", default=[])
    parser.add_argument("--width", type=int, default=256, help="default 256")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--sheet", type=Path, help="also write the pictures here, a row a pair")
    parser.add_argument("--golden", action="store_true", help="write the golden, nothing else")
    options = parser.parse_args()
    if options.golden:
        write_golden(options.network, ROOT / "tests" / "goldens" / "vgg19_example.npz")
        return 0

    weights = {"compact": read(options.compact), "VGG-19": read(options.network)}
    weights = {"random": scrambled(weights["compact"]), **weights}
    layers = Objective().layers
    networks: dict[str, Network] = {n: build(w, layers=layers) for n, w in weights.items()}
    if options.contents:
        print(
            "| content | style | picture | content | style | total | of its own style | seconds |"
        )
        print("|-|-|-|-|-|-|-|-|", flush=True)
    table: list[dict[str, Any]] = []
    strips = []
    for content in options.contents:
        for style in options.styles:
            small = resize_to_width(opened(content), options.width)
            rows, pictures = compare(networks, small, opened(style))
            strips.append(np.concatenate(pictures, axis=1))
            for row in rows:
                table.append({"content_file": content.stem, "style_file": style.stem, **row})
                print(
                    f"| {content.stem} | {style.stem} | {row['picture']} | {row['content']:.3g} "
                    f"| {row['style']:.3g} | {row['total']:.3g} | {row['share']:.1%} "
                    f"| {row['seconds']:.0f} |",
                    flush=True,
                )
    seconds = evaluation_seconds(timed(weights), 512, rounds=12)
    print("\nLoss and gradient at 512×512, seconds (the least of 12 by turns):\n")
    for name, spent in seconds.items():
        print(f"- {name}: {spent:.3g}")
    for precision in dict.fromkeys(name.rsplit(", ", 1)[1] for name in seconds):
        compact = seconds[f"compact, {precision}"]
        for name, spent in seconds.items():
            if name.startswith("VGG") and name.endswith(precision):
                print(f"- compact to {name}: {spent / compact:.2f} times as fast")
    if options.json:
        record = {"rows": table, "seconds_512": seconds}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.sheet:
        sheet = np.concatenate(strips, axis=0).round().astype(np.uint8)
        Image.fromarray(sheet).save(options.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
