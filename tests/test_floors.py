"""The house: imports only go down, public names are pinned, TensorFlow waits until it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neural_style_tf

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "neural_style_tf"

# From the ground up; a module may import those of lower floors. `files` stands beside the
# numerics: they may not import it.
FLOORS = (
    (
        *("errors", "traced", "staging", "chatter", "encoded", "audio.channels", "audio.loudness"),
        *("networks", "sums", "recent", "metrics"),
    ),
    ("decoding", "distances", "history"),
    ("settings",),
    ("objective", "schedule", "transform.architecture", "transform.training"),
    (
        *("pixels", "files", "memory", "figures.plan", "figures.texts", "figures.sheet"),
        "transform.convolution",
    ),
    (
        "folders",
        "saved_model",
        "styles",
        "sound_files",
        "audio.recipe",
        "serving.resampling",
        "serving.inputs",
    ),
    ("serving.signatures",),
    (
        *("style_files", "transform.stored", "transform.net", "transform.photos"),
        *("audio.resolution", "audio.chunks"),
    ),
    (
        *("losses", "figures.page", "transform.shipped", "transform.model", "transform.tiling"),
        *("audio.spectrogram", "audio.features"),
    ),
    (
        *("tiles", "figures.measures", "transform.painter", "transform.export", "transform.soap"),
        *("audio.expected", "audio.phase", "audio.texture"),
    ),
    ("adam", "lbfgs"),
    ("optimizers",),
    ("descent",),
    ("optimization",),
    ("loop", "transform.train", "audio.stages", "audio.plot", "serving.stylizer"),
    ("serving.module", "audio.transfer"),
    ("progress", "serving.saved"),
    (
        "commands.interrupts",
        "commands.apart",
        "commands.options",
        "commands.tensorflow",
        "commands.distribution",
        "commands.following",
        "commands.models",
    ),
    ("commands.job", "commands.sound_job", "commands.weights"),
    ("commands.fitting", "commands.styles", "commands.sounds", "commands.apply"),
    ("commands.drafting",),
    ("commands.runs",),
    ("commands.cells",),
    ("commands.sheets",),
    ("commands.stylize", "commands.figures", "commands.audio"),
    ("commands.reconstruct", "commands.train", "commands.export"),
    ("__main__",),
)
FLOOR = {module: height for height, modules in enumerate(FLOORS) for module in modules}
NUMERICS = (
    *(f"audio/{path.stem}" for path in sorted((HOUSE / "audio").glob("*.py"))),
    "figures/measures",
    "pixels",
    "styles",
    "networks",
    "sums",
    "metrics",
    "distances",
    "losses",
    "tiles",
    "adam",
    "lbfgs",
    "optimizers",
    "descent",
    "optimization",
    "loop",
    "serving/inputs",
    "serving/module",
    "serving/resampling",
    "serving/saved",
    "serving/signatures",
    "serving/stylizer",
    "traced",
    "transform/architecture",
    "transform/export",
    "transform/model",
    "transform/net",
    "transform/painter",
    "transform/photos",
    "transform/tiling",
    "transform/train",
    "transform/training",
)


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(HOUSE.rglob("*.py")):
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        if not name.endswith("__init__"):
            found.append((name, path))
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, but not for types only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_only_go_down(name: str, path: Path) -> None:
    assert name in FLOOR, f"give {name} a floor"
    for imported in imports(path):
        below = imported.removeprefix("neural_style_tf.")
        if imported.startswith("neural_style_tf.") and below in FLOOR:
            assert FLOOR[below] < FLOOR[name], f"{name} imports {below}"


@pytest.mark.parametrize("name", NUMERICS)
def test_the_numerics_know_neither_files_nor_vgg(name: str) -> None:
    for imported in imports(HOUSE / f"{name}.py"):
        assert imported.split(".")[0] != "vgg"
        assert imported not in ("neural_style_tf.files", "neural_style_tf.sound_files")


def test_vgg_knows_nothing_of_style() -> None:
    for path in (ROOT / "vgg").glob("*.py"):
        assert not [name for name in imports(path) if name.startswith("neural_style_tf")]


def test_public_names() -> None:
    assert set(neural_style_tf.__all__) == {
        "PRESETS", "Candidate", "DivergedError", "FileError", "Graphs", "KeptStyle", "Loss",
        "Net", "NeuralStyleError", "Objective", "OptionError", "Painter", "Preset", "Schedule",
        "Step", "Targets", "Terms", "TransformNet", "read_net", "read_style", "stylize",
        "stylize_image",
    }  # fmt: skip
    for name in neural_style_tf.__all__:
        assert getattr(neural_style_tf, name).__doc__ or name == "PRESETS"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'stylise'"):
        neural_style_tf.stylise  # noqa: B018


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["weights", "--help"],
        ["figures", "--help"],
        ["audio", "--help"],
        ["train", "--help"],
        ["apply", "--help"],
        ["export", "--help"],
        ["apply", "--model", "missing.keras", "--input", "a.jpg", "--output", "b.jpg"],
        ["--content", "missing.jpg"],
    ],
)
def test_tensorflow_waits_until_work_starts(words: list[str]) -> None:
    """Help and errors answer at once: TensorFlow, Keras and SciPy take seconds to import."""
    code = (
        "import sys\n"
        "from neural_style_tf.__main__ import main\n"
        "try:\n"
        f"    main(['neural-style-tf', *{words!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted({'tensorflow', 'keras', 'scipy', 'h5py'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
