"""The styles of a run: pictures and kept styles, read, checked against the network, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from neural_style_tf import files, style_files
from neural_style_tf.commands.job import Job
from neural_style_tf.errors import OptionError
from neural_style_tf.objective import Objective
from neural_style_tf.styles import KeptStyle, Painting, Style, keep
from vgg import fetch
from vgg.weights import Weights

if TYPE_CHECKING:
    from neural_style_tf.losses import Loss

Loaded = files.Picture | KeptStyle

# Of measuring a painting: another one where it rounds otherwise, for the cache to know.
_WAY = 3


def load(paths: Sequence[str]) -> list[Loaded]:
    """Read pictures and kept styles.

    Raises:
        FileError: one that is neither.
    """
    return [
        style_files.read_style(path) if style_files.is_style(path) else files.read(path)
        for path in paths
    ]


def prepare(
    job: Job,
    loaded: Sequence[Loaded],
    weights: Weights,
    objective: Objective,
    precision: str,
    width: int,
) -> list[Style]:
    """Styles for `stylize`; what was measured of a painting in an earlier run is found again.

    Says so where a kept style is used for a result that is much wider than what it was kept for.

    Raises:
        OptionError: a style that was kept with another network or pooling, or of other layers.
    """
    layers = tuple(objective.shares("style"))
    measured = weights.measures(job.pooling)
    folder = fetch.cache_dir() / "styles"
    styles: list[Style] = []
    for path, style, scale in zip(job.inputs.styles, loaded, job.style_scales, strict=True):
        if isinstance(style, KeptStyle):
            styles.append(_fitting(path, style, measured, layers, weights))
            if scale * width > 1.5 * max(style.levels):
                logging.info(
                    "%s was kept for results up to %d pixels wide: at %d its strokes stay as small",
                    *(path, max(style.levels), width),
                )
        elif job.schedule.exact:
            # Measured as the 2017 program does it, in the last bit not as what is remembered.
            styles.append(Painting(style.pixels))
        else:
            of = {**measured, "precision": precision, "layers": sorted(layers), "way": _WAY}
            styles.append(style_files.Remembered(style.pixels, of, folder))
    return styles


def save(
    path: str,
    job: Job,
    styles: Sequence[Style],
    weights: Weights,
    loss: Loss,
    width: int,
) -> None:
    """Keep the styles of a run, blended as its loss blends them, for results up to its width.

    Raises:
        FileError: a disk that refuses.
    """
    from neural_style_tf.traced import Traced

    blend = loss.objective.blend(len(styles))
    origin = {
        "network": weights.name,
        "styles": [Path(name).name for name in job.inputs.styles],
        "scales": list(job.style_scales),
        "blend": list(blend),
    }
    levels = keep(styles, job.style_scales, blend, width, Traced(loss.moments))
    style_files.write_style(path, KeptStyle(levels, weights.measures(job.pooling), origin))
    logging.info("Wrote %s: the style at %d widths up to %d", path, len(levels), width)


def _fitting(
    path: str, style: KeptStyle, measured: dict[str, str], layers: Sequence[str], weights: Weights
) -> KeptStyle:
    """The style with the layers wanted."""
    from vgg.network import reach

    advice, network = "or give the painting itself", weights.name
    if style.measured != measured:
        then = f"{style.origin.get('network')}, {style.measured.get('pooling')} pooling"
        if style.measured.get("network") != measured["network"]:
            then += ", and other weights" if style.origin.get("network") == network else ""
        raise OptionError(
            f"cannot use style {path}: expected one kept with {network}, {measured['pooling']} "
            f"pooling, got {then}; choose --network and --pooling as then, {advice}"
        )
    try:
        found = style.only(layers)
    except OptionError as error:
        raise OptionError(f"cannot use style {path}: {error}; choose these, {advice}") from None
    _, channels, _ = reach(weights, layers)
    for moments in found.levels.values():
        for layer, matrix in moments.items():
            if len(matrix) != channels[layer]:
                raise OptionError(
                    f"cannot use style {path}: expected {channels[layer]} channels of {layer}, got "
                    f"{len(matrix)}; it is damaged: keep it anew, {advice}"
                )
    return found
