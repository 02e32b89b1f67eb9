"""Make the example pictures: a photograph that may be shared, and two paintings of our own.

    python examples/make.py                     # content.jpg, style.jpg, style2.jpg, beside this
    python examples/make.py --sheet a.png b.png  # the README's picture, from them and results

The photograph is `coffee` of scikit-image (pip install scikit-image), which its photographer,
Rachel Michetti, gave to the public domain (CC0). The painting is painted here, stroke by stroke: a
night sky over hills, from thick strokes to thin ones, each following the swirls of the sky or the
lie of the land (after Haeberli 1990, "Paint by numbers", and Hertzmann 1998, "Painterly rendering
with curved brush strokes of multiple sizes"). The second is colored discs among facets, flat and
hard where the first is soft, on a canvas whose grain shows.
"""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 720, 560
SCALE = 2  # painted larger, then reduced: smooth edges

Array = npt.NDArray[np.float64]


class Light(NamedTuple):
    """A star or the moon: where, how wide its halo, and which way the sky turns around it."""

    x: float
    y: float
    radius: float
    turn: float


LIGHTS = (
    Light(0.82, 0.17, 0.125, 1.0),
    Light(0.18, 0.20, 0.075, -1.0),
    Light(0.47, 0.13, 0.055, 1.0),
    Light(0.33, 0.42, 0.050, -1.0),
    Light(0.63, 0.38, 0.060, 1.0),
    Light(0.06, 0.47, 0.045, 1.0),
    Light(0.94, 0.46, 0.045, -1.0),
)
SWIRLS = (Light(0.50, 0.30, 0.16, -1.0), Light(0.24, 0.31, 0.13, 1.0), Light(0.72, 0.29, 0.11, 1.0))

# Bristles of one stroke differ in lightness by about so much.
BRISTLE = 0.10


def ridge(x: Array | float, hill: int) -> Array:
    """Height of the hills' outlines, far to near, as a share of the picture's height from above."""
    x = np.asarray(x, float)
    return np.stack(
        [
            0.64 - 0.07 * np.sin(5.1 * x + 0.4) - 0.02 * np.sin(13 * x),
            0.73 - 0.05 * np.sin(6.3 * x + 2.6) - 0.02 * np.sin(17 * x + 1),
            0.83 - 0.06 * np.sin(4.2 * x + 4.4) - 0.01 * np.sin(19 * x),
        ]
    )[hill]


def scene(x: float, y: float) -> tuple[tuple[float, float, float], float]:
    """Color (hue, lightness, saturation, each 0-1) and direction (radians) of the painting there.

    x and y are shares of the width and of the height.
    """
    for hill, (hue, light, saturation) in enumerate(
        ((0.56, 0.34, 0.45), (0.36, 0.30, 0.45), (0.24, 0.36, 0.60))
    ):
        nearer = hill == 2 or y < ridge(x, hill + 1)
        if y >= ridge(x, hill) and nearer:
            slope = float(ridge(x + 0.01, hill) - ridge(x, hill)) / 0.01 * HEIGHT / WIDTH
            band = 0.06 * np.sin(60 * (y - float(ridge(x, hill))) + 4 * x)
            field = 0.10 * np.sin(9 * x + 3 * hill)  # ploughed and fallow
            return (hue - field * 0.5, light + band + field * 0.4, saturation), np.arctan(slope)
    angle = 0.25 * np.sin(7 * x + 5 * y) - 0.15
    hue, light, saturation = 0.615 - 0.03 * np.sin(9 * y + 3 * x), 0.24 + 0.38 * y, 0.62
    light += 0.09 * np.sin(26 * y + 6 * np.sin(5 * x))
    dx, dy = np.cos(angle), np.sin(angle)
    for body in (*SWIRLS, *LIGHTS):
        away = np.array([x - body.x, (y - body.y) * HEIGHT / WIDTH])
        distance = float(np.hypot(*away)) + 1e-9
        pull = float(np.exp(-((distance / body.radius) ** 2) / 1.6)) * 4
        dx += pull * body.turn * -away[1] / distance
        dy += pull * body.turn * away[0] / distance
        ring = distance / body.radius
        if body in LIGHTS and ring < 1.25:
            # Rings of ochre and white, thinning out into the sky.
            rings = 0.5 + 0.5 * np.cos(ring * 13)
            if ring < 0.8 or rings > 0.6:
                hue = 0.115 + 0.025 * rings
                light, saturation = 0.55 + 0.25 * max(0.0, 1 - ring) + 0.12 * rings, 0.85
            else:
                hue, light = 0.52, light + 0.2
        elif body in SWIRLS and ring < 1.2:
            arm = np.cos(2 * np.arctan2(away[1], away[0]) - body.turn * ring * 9)
            light += 0.16 * arm * (1.2 - ring)
            hue -= 0.05 * arm * (1.2 - ring)
    return (hue, light, saturation), float(np.arctan2(dy, dx))


def stroke(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], width: float, length: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """One curved stroke of several bristles, from `start` (shares) along the scene's direction."""
    x, y = start
    (hue, light, saturation), angle = scene(x, y)
    hue += rng.normal(0, 0.018)
    light += rng.normal(0, 0.055)
    saturation += rng.normal(0, 0.06)
    path, step = [], 4.0
    for _ in range(max(3, int(length / step))):
        path.append((x * WIDTH * SCALE, y * HEIGHT * SCALE, angle))
        x, y = x + np.cos(angle) * step / WIDTH, y + np.sin(angle) * step / HEIGHT
        _, turned = scene(x, y)
        # A brush does not turn on the spot.
        angle += float(np.clip(np.angle(np.exp(1j * (turned - angle))), -0.35, 0.35))
    bristles = max(2, int(width / 1.6))
    for bristle in range(bristles):
        offset = ((bristle + 0.5) / bristles - 0.5) * width * SCALE
        relief = BRISTLE * (0.5 - (bristle + 0.5) / bristles) + rng.normal(0, BRISTLE / 3)
        tone = colorsys.hls_to_rgb(
            hue % 1, float(np.clip(light + relief, 0.03, 0.95)), float(np.clip(saturation, 0, 1))
        )
        skip = int(rng.integers(0, 2)), int(rng.integers(0, 3))
        points = [(px - np.sin(a) * offset, py + np.cos(a) * offset) for px, py, a in path]
        points = points[skip[0] : len(points) - skip[1]]
        color = tuple(int(255 * channel) for channel in tone)
        draw.line(points, color, max(2, round(width / bristles * SCALE * 1.5)), joint="curve")


def paint(seed: int = 7) -> Image.Image:
    """The painting, 720×560, RGB."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), (38, 44, 74))
    draw = ImageDraw.Draw(canvas)
    for width, length, spacing in ((22, 90, 13), (13, 64, 9), (8, 44, 7)):
        across, down = WIDTH // spacing + 2, HEIGHT // spacing + 2
        spots = [
            ((i + rng.uniform(-0.7, 0.7)) * spacing / WIDTH,
             (j + rng.uniform(-0.7, 0.7)) * spacing / HEIGHT)
            for i in range(across) for j in range(down)
        ]  # fmt: skip
        rng.shuffle(spots)
        if width < 13:  # fine strokes only here and there: thick paint shows between them
            spots = spots[: len(spots) * 2 // 3]
        for x, y in spots:
            stroke(draw, (x, y), width, length * rng.uniform(0.6, 1.2), rng)
    small = canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return small.filter(ImageFilter.UnsharpMask(1.2, 60, 2))


def discs(seed: int = 3) -> Image.Image:
    """The second painting, 720×560, RGB."""
    rng = np.random.default_rng(seed)
    palette = np.array(
        [(214, 58, 38), (240, 148, 32), (250, 206, 92), (36, 110, 96), (28, 58, 110),
         (112, 36, 84), (238, 226, 200), (30, 30, 38), (92, 160, 180)], float,
    )  # fmt: skip
    y, x = np.mgrid[0 : HEIGHT * SCALE, 0 : WIDTH * SCALE] / (HEIGHT * SCALE)
    spots = rng.uniform((0, 0), (1, WIDTH / HEIGHT), (70, 2))
    facet = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in spots], axis=0)
    tones = palette[rng.integers(0, len(palette), len(spots))]
    slopes = rng.normal(0, 1, (len(spots), 2))
    lit = slopes[facet, 0] * (y - spots[facet, 0]) + slopes[facet, 1] * (x - spots[facet, 1])
    canvas = tones[facet] * (0.82 + 1.2 * lit[..., None])
    for _ in range(13):
        center, radius = rng.uniform((0, 0), (1, WIDTH / HEIGHT)), rng.uniform(0.09, 0.27)
        away = np.hypot(y - center[0], x - center[1]) / radius
        turn = np.arctan2(y - center[0], x - center[1]) + rng.uniform(0, 2 * np.pi)
        rings, sectors = rng.integers(3, 7), rng.choice([2, 4, 4, 6])
        ring = np.minimum((away * rings).astype(int), rings - 1)
        sector = ((turn % (2 * np.pi)) / (2 * np.pi) * sectors).astype(int) % sectors
        colors = palette[rng.integers(0, len(palette), (rings, sectors))]
        shade = 0.9 + 0.2 * ((away * rings) % 1)  # each ring a little lighter outwards
        canvas = np.where((away < 1)[..., None], colors[ring, sector] * shade[..., None], canvas)
        outline = (np.abs(away - 1) * radius < 0.004)[..., None]
        canvas = np.where(outline, palette[7], canvas)
    grain = np.zeros(y.shape)
    for down, across in ((1, 8), (8, 1), (2, 2)):  # weft, warp, size
        knots = rng.normal(0, 1, (y.shape[0] // down, y.shape[1] // across))
        grain += np.kron(knots, np.ones((down, across)))
    levels = np.clip(canvas + 7 * grain[..., None], 0, 255).astype(np.uint8)
    return Image.fromarray(levels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def photograph() -> Image.Image:
    """scikit-image's `coffee`, 600×400, CC0."""
    from skimage import data

    return Image.fromarray(data.coffee())


def sheet(pictures: list[Image.Image], height: int = 256) -> Image.Image:
    """Pictures side by side, at one height."""
    gap = 6
    resized = [
        picture.convert("RGB").resize((round(picture.width * height / picture.height), height))
        for picture in pictures
    ]
    width = sum(picture.width + gap for picture in resized) - gap
    result, left = Image.new("RGB", (width, height), "white"), 0
    for picture in resized:
        result.paste(picture, (left, 0))
        left += picture.width + gap
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path(__file__).parent)
    parser.add_argument("--sheet", type=Path, metavar="RESULT", nargs="+")
    options = parser.parse_args()
    folder: Path = options.output_dir
    if options.sheet:
        paths = (folder / "content.jpg", folder / "style.jpg", *options.sheet)
        docs = Path(__file__).parent.parent / "docs"
        sheet([Image.open(path) for path in paths]).save(docs / "example.jpg", quality=90)
        return
    paint().save(folder / "style.jpg", quality=90)
    discs().save(folder / "style2.jpg", quality=85)
    photograph().save(folder / "content.jpg", quality=90)


if __name__ == "__main__":
    main()
