"""PyTorch programs beside ours: what the 2017 objective says of their pictures, and when.

    python benchmarks/pytorch_peers.py --network imagenet-vgg-verydeep-19.mat --work DIR \\
        --pair c.jpg:s.jpg --width 256 --peer-python venv/bin/python \\
        [--neural-style-pt DIR] [--style-transfer-pytorch DIR]

Runs ProGamerGov/neural-style-pt and crowsonkb/style-transfer-pytorch, each in its checkout, and
ours, each as it is by default but for size, on the CPU. `--peer-python` is a Python with torch,
torchvision and what else they need. All have the same weights, Oxford's: those that the second one
would download, torchvision's own, are other ones.

Prints a Markdown table: seconds from the start of the process, and the loss of the picture as it
was written by then, judged by VGG-19 in float32. The first peer has the same layers and weights but
for total variation, the second one losses of its own, so that the table says less of it than the
eye: `--sheet` shows the last pictures side by side.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import peer
from PIL import Image
from versus import Judge, Match

OUTPUT = "out.png"
EVERY = 50  # iterations between two pictures of neural-style-pt

# Makes the weights of both peers of a file of VGG-19; run by the Python that has torch.
_CONVERT = """
import sys
from pathlib import Path
import numpy as np, torch
from vgg.weights import read
weights = read(Path(sys.argv[1]))
mean = torch.tensor(weights.mean, dtype=torch.float32)
state, place = {}, 0
for name in weights.layers:
    if name.startswith("conv"):
        kernel, bias = (torch.tensor(np.array(part)) for part in weights.convolutions[name])
        state[f"features.{place}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        state[f"features.{place}.bias"] = bias
    place += 1
first, bias = state["features.0.weight"], state["features.0.bias"]
# Blue before red, as Caffe has it.
torch.save({**state, "features.0.weight": first.flip(1).contiguous()}, sys.argv[2])
# Of pixels (p/255 - m)/s, as torchvision has it, instead of p - mean.
m, s = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
state["features.0.weight"] = first * (255 * s).view(1, 3, 1, 1)
state["features.0.bias"] = bias + (first.sum((2, 3)) * (255 * m - mean)).sum(1)
# Classes are asked of nobody: zeros, in next to no room.
for place, shape in ((0, (4096, 25088)), (3, (4096, 4096)), (6, (1000, 4096))):
    state[f"classifier.{place}.weight"] = torch.zeros(1, 1).expand(shape)
    state[f"classifier.{place}.bias"] = torch.zeros(1).expand(shape[0])
torch.save(state, sys.argv[3])
"""


def ran(command: Sequence[str], folder: Path, **environment: str) -> float:
    """Run a program to its end on the CPU, and say how many seconds that took.

    Raises:
        peer.RunError: it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, begun = folder / "log.txt", time.time()
    # Pictures are known by when they were written: none may be of an earlier run.
    for old in folder.glob("out*.png"):
        old.unlink()
    with log.open("w") as file:
        code = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        last = log.read_text().strip().splitlines()[-1:]
        raise peer.RunError(f"{command[1]} ended with {code}: {' '.join(last)}; see {log}")
    return time.time() - begun


def written(folder: Path, seconds: float) -> list[tuple[str, float, Path]]:
    """The pictures in a folder, oldest first: iteration, seconds after the start, file."""
    paths = sorted(folder.glob("out*.png"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise peer.RunError(f"expected pictures in {folder}, got none; see its log.txt")
    end = paths[-1].stat().st_mtime
    names = [re.sub(r"out_?", "", path.stem) or "the end" for path in paths]
    times = [seconds - (end - path.stat().st_mtime) for path in paths]
    return list(zip(names, times, paths, strict=True))


def sized(match: Match) -> tuple[int, float]:
    """The longer side of the result, and how much larger than it the style's is, as ours has it."""
    shapes = [Image.open(path).size for path in (match.content, match.style)]
    longest, style = (match.width * max(1, height / width) for width, height in shapes)
    return round(longest), style / longest


def main(argv: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--network", type=peer.existing, required=True, help="the VGG-19 .mat file")
    add("--pair", type=peer.pair, required=True, metavar="CONTENT:STYLE")
    add("--width", type=int, default=256, help="default 256")
    add("--work", type=Path, required=True, help="a folder for what the programs write")
    add(
        "--peer-python",
        type=peer.interpreter,
        default=sys.executable,
        help="the Python that runs the peers",
    )
    add("--neural-style-pt", type=Path, help="a checkout of ProGamerGov/neural-style-pt")
    add("--style-transfer-pytorch", type=Path, help="a checkout of crowsonkb's")
    add("--sheet", type=Path, help="also write the last pictures here, side by side")
    options = parser.parse_args(argv)
    content, style = options.pair
    match = Match(content, style, options.width)
    network, work, python = options.network, options.work.resolve(), options.peer_python
    longest, scale = sized(match)

    caffe, torchvision = work / "vgg19-caffe.pth", work / "hub/checkpoints/vgg19-dcbb9e9d.pth"
    torchvision.parent.mkdir(parents=True, exist_ok=True)
    arguments = [str(path) for path in (network, caffe, torchvision)]
    ran([python, "-c", _CONVERT, *arguments], work, PYTHONPATH=str(peer.ROOT))
    judge = Judge(network, match)
    print("| program | iteration | s | loss |\n|-|-|-|-|", flush=True)
    last = []

    def tell(name: str, command: Sequence[str], **environment: str) -> None:
        folder = work / match.name / name
        seconds = ran(command, folder, **environment)
        for iteration, moment, path in written(folder, seconds):
            picture = np.asarray(Image.open(path).convert("RGB"))
            print(f"| {name} | {iteration} | {moment:.0f} | {judge(picture):.4g} |", flush=True)
        last.append(picture)

    ours = [sys.executable, "-m", "neural_style_tf", *match.flags(network)]
    tell("ours", [*ours[:-1], OUTPUT, "--overwrite"], PYTHONPATH=str(peer.ROOT))
    if options.neural_style_pt:
        script = str(options.neural_style_pt.resolve() / "neural_style.py")
        flags = ["-content_image", str(match.content), "-style_image", str(match.style)]
        flags += ["-image_size", str(longest), "-style_scale", f"{scale:.6f}"]
        flags += ["-model_file", str(caffe), "-disable_check", "-gpu", "c", "-print_iter", "0"]
        flags += ["-save_iter", str(EVERY), "-output_image", OUTPUT]
        tell("neural-style-pt", [python, script, *flags])
    if options.style_transfer_pytorch:
        flags = [str(match.content), str(match.style), "--end-scale", str(longest)]
        flags += ["--style-scale-fac", f"{scale:.6f}", "--output", OUTPUT]
        flags += ["--save-every", "1000000", "--devices", "cpu"]
        tell(
            "style-transfer-pytorch",
            [python, "-m", "style_transfer.cli", *flags],
            PYTHONPATH=str(options.style_transfer_pytorch.resolve()),
            TORCH_HOME=str(work),
        )
    if options.sheet:
        Image.fromarray(np.concatenate(last, axis=1)).save(options.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
