"""The sheets of the figures on disk, with what is in them, from the cells that are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neural_style_tf import files
from neural_style_tf.commands.cells import Cells
from neural_style_tf.errors import OptionError
from neural_style_tf.figures import plan, sheet
from neural_style_tf.figures.plan import Cell, Figure, Recipe


def write(
    figure: Figure, cells: Cells, folder: Path, published: Mapping[str, sheet.Picture]
) -> None:
    """Write a figure's sheet and what is in it."""
    rows = []
    for row in figure.rows:
        rows.append(sheet.Row(row.label, [_picture(cell, cells) for cell in row.cells]))
        theirs = [published.get(cell.published) for cell in row.cells]
        if any(theirs):
            told = "the same as the 2017 program published it"
            rows.append(sheet.Row(told, theirs, guests=True))
    drawn = sheet.draw(f"{figure.number}. {figure.title}", rows)
    files.write(folder / f"{figure.name}.png", drawn)
    files.write_bytes(folder / f"{figure.name}.json", _contents(figure, cells), "figure")


def _contents(figure: Figure, cells: Cells) -> bytes:
    """What is in a figure, as JSON."""
    contents = {
        "figure": figure.number,
        "title": figure.title,
        "rows": [
            {"label": row.label, "cells": [_described(cell, cells) for cell in row.cells]}
            for row in figure.rows
        ],
    }
    return json.dumps(contents, indent=1, allow_nan=False).encode()


def up_to_date(
    figures: Iterable[Figure], cells: Cells, folder: Path
) -> tuple[list[Figure], dict[str, tuple[int, int]]]:
    """Those figures whose sheet shows what the cells are now, and the sizes of the sheets."""
    done: list[Figure] = []
    sizes: dict[str, tuple[int, int]] = {}
    for figure in figures:
        drawn, contents = folder / f"{figure.name}.png", folder / f"{figure.name}.json"
        if not (drawn.is_file() and contents.is_file()):
            continue
        whole = all(cells.record(each) for each in plan.recipes([figure]))
        if whole and contents.read_bytes() == _contents(figure, cells):
            with Image.open(drawn) as image:
                sizes[figure.name] = image.size
            done.append(figure)
    return done, sizes


def _picture(cell: Cell, cells: Cells) -> sheet.Picture:
    """A cell as it stands on the sheet."""
    pixels = _read(_file(cell, cells))
    if cell.detail:
        height, width, _ = pixels.shape
        top, left = height * 3 // 8, width * 3 // 8
        part = Image.fromarray(pixels).crop((left, top, left + width // 4, top + height // 4))
        pixels = np.asarray(part.resize((width, height), Image.Resampling.NEAREST))
    lines = [cell.label]
    record = cells.record(cell.source) if isinstance(cell.source, Recipe) else None
    result = (record or {}).get("results", {}).get(str(cell.iteration))
    if result and result["iteration"] < (cell.iteration or 0):
        lines.append(f"converged at {result['iteration']}")
    if record and "psnr" in record:
        (layer,) = record["settings"]["objective"]["content_layers"]
        decibels = "the same" if record["psnr"] is None else f"{record['psnr']:.1f} dB"
        lines.append(f"{decibels}, error {_percent(record['feature_errors'][layer])}")
    elif record and "gram_errors" in record:
        lines.append(f"error {_percent(record['gram_errors']['total'])}")
    return sheet.Picture(pixels, tuple(lines))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def published(figures: Iterable[Figure], folder: Path | None) -> dict[str, sheet.Picture]:
    """The 2017 program's own pictures of these figures' cells, by name.

    Raises:
        OptionError: a folder that has none of them.
        FileError: one that cannot be read.
    """
    names = {cell.published for figure in figures for cell in figure.cells} - {""}
    found: dict[str, sheet.Picture] = {}
    for path in sorted(folder.iterdir()) if folder else ():
        if path.stem in names and path.suffix.lower() in files.FORMATS:
            found[path.stem] = sheet.Picture(_read(path), (path.stem,))
    if folder and names and not found:
        raise OptionError(
            f"--published: expected pictures such as {min(names)}.jpg in {folder}, got none"
        )
    return found


def _described(cell: Cell, cells: Cells) -> dict[str, Any]:
    """A cell as it stands in the figure's JSON."""
    described: dict[str, Any] = {
        "label": cell.label,
        "file": _file(cell, cells).relative_to(cells.folder.parent).as_posix(),
    }
    if not isinstance(cell.source, Recipe):
        return described
    record = cells.record(cell.source) or {}
    if cell.iteration is not None:
        described["result"] = record["results"][str(cell.iteration)]
    return {**described, "detail": cell.detail, "run": record}


def _file(cell: Cell, cells: Cells) -> Path:
    source = cell.source
    if isinstance(source, Recipe):
        return cells.path(source.name, cell.iteration)
    return cells.path(source)


def _read(path: Path) -> sheet.Array:
    return np.rint(files.read(path).pixels[0]).astype(np.uint8)
