"""Train the compact network from a VGG-19 and a folder of pictures, with PyTorch.

    python benchmarks/distill --teacher imagenet-vgg-verydeep-19.mat --pictures DIR

Fits every layer by least squares, or goes on from a network that it made (`--start`), then teaches
all of them together by SOAP: kill it and start it again, it continues. Writes `vgg/compact.npz`
with each checkpoint. Takes some hours on two cores, an hour with `--precision bfloat16` where the
processor has that, and uses a GPU where PyTorch has one. Besides this project it wants torch and
pytorch_optimizer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import pictures  # noqa: E402
import torch  # noqa: E402
from networks import Teacher  # noqa: E402
from train import Settings, Training  # noqa: E402

from vgg.errors import WeightsError  # noqa: E402
from vgg.weights import read, write_npz  # noqa: E402


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Train the compact network.")
    parser.add_argument("--teacher", type=Path, required=True, help="a file of VGG-19")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder, searched whole")
    parser.add_argument("--start", type=Path, help="go on from this compact network")
    parser.add_argument("--work", type=Path, default=Path("distill"), help="checkpoint and log")
    parser.add_argument("--output", type=Path, default=ROOT / "vgg" / "compact.npz")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, default in Settings()._asdict().items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help="default %(default)s")
    return parser.parse_args(argv)


def main() -> int:
    """Train; the exit status."""
    options = parse()
    settings = Settings(*(getattr(options, name) for name in Settings._fields))
    try:
        if settings.precision not in ("float32", "bfloat16"):
            raise pictures.DataError(
                f"--precision: expected float32 or bfloat16, got {settings.precision}"
            )
        found = pictures.read(options.pictures)
        start = read(options.start) if options.start else None
        training = Training(
            Teacher(read(options.teacher)), list(found.values()), settings, options.device, start
        )
        print(f"{len(found)} pictures, {options.device}", flush=True)
        for line in training.run(options.work):
            print(line, flush=True)
            write_npz(
                options.output,
                training.student.weights(
                    {
                        "name": "compact",
                        "teacher": "VGG-19, Simonyan & Zisserman 2014, Oxford VGG, CC BY 4.0",
                        "license": "CC BY 4.0, derived from the teacher",
                        "made_by": "benchmarks/distill (PyTorch)",
                        "pictures": len(found),
                        "start": training.start,
                        "steps": training.step,
                        "missed": {k: round(v, 4) for k, v in training.missed.items()},
                        "settings": settings._asdict(),
                    }
                ),
            )
    except (pictures.DataError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
