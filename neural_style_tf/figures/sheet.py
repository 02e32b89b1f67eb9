"""A contact sheet: pictures in equal cells, in rows, with labels that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Array = npt.NDArray[np.uint8]
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_NARROWEST = 160  # pixels of a cell: room for labels that can be read
_PAPER, _INK, _PALE = (255, 255, 255), (24, 24, 24), (110, 110, 110)


class Picture(NamedTuple):
    """A picture uint8 `[h, w, 3]`, and the lines that stand under it, the first in ink."""

    pixels: Array
    lines: tuple[str, ...]


class Row(NamedTuple):
    """Pictures side by side under a heading; None leaves a cell empty.

    Attributes:
        guests: whether these are shown in cells that the other rows are to size.
    """

    heading: str
    pictures: Sequence[Picture | None]
    guests: bool = False


def draw(title: str, rows: Sequence[Row]) -> Array:
    """The sheet, uint8 `[H, W, 3]`.

    Every cell is as large as the largest picture in either direction, and wide enough for labels;
    each picture is shown whole, as large as fits. Text is of a size that goes with the cells, and
    wrapped to them.
    """
    shown = [picture for row in rows if not row.guests for picture in row.pictures if picture]
    width = max(picture.pixels.shape[1] for picture in shown)
    height = max(picture.pixels.shape[0] for picture in shown)
    if width < _NARROWEST:
        width, height = _NARROWEST, round(height * _NARROWEST / width)
    size = min(32, max(13, round(width / 15)))
    font, large = ImageFont.load_default(size), ImageFont.load_default(round(1.4 * size))
    line, gap = round(1.3 * size), size
    columns = max(len(row.pictures) for row in rows)
    across = gap + columns * (width + gap)

    def wrapped(text: str, of: _Font, room: int) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if of.getlength(longer) <= room:
                lines[-1] = longer
                continue
            lines.append("")
            for letter in word:  # of words longer than a line as many letters as fit
                if of.getlength(lines[-1] + letter) > room:
                    lines.append("")
                lines[-1] += letter
        return [each for each in lines if each]

    def labels(picture: Picture) -> list[tuple[str, tuple[int, int, int]]]:
        return [
            (part, _PALE if index else _INK)
            for index, text in enumerate(picture.lines)
            for part in wrapped(text, font, width)
        ]

    heads = wrapped(title, large, across - 2 * gap)
    down = gap + round(1.3 * line) * len(heads)
    tops = []
    for row in rows:
        down += gap
        headings = wrapped(row.heading, font, across - 2 * gap)
        lines = max(len(labels(picture)) for picture in row.pictures if picture)
        tops.append((down, headings))
        down += len(headings) * line + size // 3 + height
        down += size // 3 + lines * line if lines else 0
    sheet = Image.new("RGB", (across, down + gap), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, text in enumerate(heads):
        pen.text((gap, gap + index * round(1.3 * line)), text, _INK, large)
    for (top, headings), row in zip(tops, rows, strict=True):
        for text in headings:
            pen.text((gap, top), text, _INK, font)
            top += line
        top += size // 3
        for column, picture in enumerate(row.pictures):
            if picture is None:
                continue
            left = gap + column * (width + gap)
            image = _fitted(picture.pixels, width, height)
            x, y = (width - image.width) // 2, (height - image.height) // 2
            sheet.paste(image, (left + x, top + y))
            under = top + height + size // 3
            for index, (text, ink) in enumerate(labels(picture)):
                pen.text((left, under + index * line), text, ink, font)
    return np.asarray(sheet)


def _fitted(pixels: Array, width: int, height: int) -> Image.Image:
    """The picture, whole, as large as fits."""
    image = Image.fromarray(pixels)
    factor = min(width / image.width, height / image.height)
    size = (round(image.width * factor), round(image.height * factor))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
