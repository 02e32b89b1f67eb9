"""What the eight figures show: which runs, which of their pictures, in which place. Plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from neural_style_tf.objective import PRESETS, Objective, equal
from neural_style_tf.schedule import Schedule

# Gatys et al. 2015, figure 1: content from the second convolution of each block, style from the
# first ones, one block more at a time.
CONTENT_LAYERS = tuple(f"relu{block}_2" for block in range(1, 6))
STYLE_LAYERS = tuple(f"conv{block}_1" for block in range(1, 6))
# Their figure 3.
RATIOS = ("1e-5", "1e-4", "1e-3", "1e-2")

# Pictures that are not painted but given, by the names of their files.
CONTENT, STYLE, OTHER, SUM = "content", "style", "other-style", "sum"


@dataclass(frozen=True)
class Recipe:
    """One run. What stands here as default is the program's own.

    Attributes:
        name: of its files; two recipes of one name are one run.
        styles: `((which painting, its scale), …)`.
        pooling: None is that of the network as it was trained.
        from_content: start from the photograph, not from noise.
        stops: iterations at which the result so far is kept besides the last.
        judged: layers at which the result is compared with what was reconstructed.
    """

    name: str
    objective: Objective
    schedule: Schedule
    styles: tuple[tuple[int, float], ...] = ((0, 1.0),)
    pooling: str | None = None
    from_content: bool = False
    preserve_colors: bool = False
    stops: tuple[int, ...] = ()
    judged: tuple[str, ...] = ()


class Cell(NamedTuple):
    """One place of a figure.

    Attributes:
        label: a line under the picture.
        source: what is shown: a run's picture, or one of the given ones.
        iteration: which of the run's results; None is the last.
        detail: the middle of it alone, four times as large.
        published: the 2017 program's own picture of the same, by its file's name in that
            program's repository.
    """

    label: str
    source: Recipe | str
    iteration: int | None = None
    detail: bool = False
    published: str = ""


class Row(NamedTuple):
    """Cells side by side, and what they have in common."""

    label: str
    cells: tuple[Cell, ...]


class Figure(NamedTuple):
    """A contact sheet: `slug` names its files and its text."""

    number: int
    slug: str
    title: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.number}-{self.slug}"

    @property
    def cells(self) -> Iterator[Cell]:
        """All of them, row by row."""
        return (cell for row in self.rows for cell in row.cells)


def figures(
    schedule: Schedule,
    size: tuple[int, int],
    layers: Collection[str],
    paintings: int,
    only: Iterable[int] = (),
) -> list[Figure]:
    """The figures.

    Args:
        schedule: of every run, but where a figure is about the schedule.
        size: height and width of every picture.
        layers: what the network has; deeper ones are left out.
        paintings: how many there are. With one, the second style is the same at half its size.
        only: numbers of the figures wanted; all by default.
    """
    maker = _Maker(schedule, size, layers, paintings)
    made = [
        Figure(number, slug, title, tuple(rows(maker)))
        for number, (slug, title, rows) in enumerate(_FIGURES, 1)
    ]
    wanted = set(only)
    return [figure for figure in made if not wanted or figure.number in wanted]


def recipes(figures: Iterable[Figure]) -> list[Recipe]:
    """Every run that the figures need, each once, in the order in which they need them."""
    found: dict[str, Recipe] = {}
    for figure in figures:
        for cell in figure.cells:
            if isinstance(cell.source, Recipe):
                known = found.setdefault(cell.source.name, cell.source)
                if known != cell.source:
                    raise ValueError(f"two different recipes named {known.name}")
    return list(found.values())


class _Maker:
    """What the figures are made from."""

    def __init__(
        self, schedule: Schedule, size: tuple[int, int], layers: Collection[str], paintings: int
    ) -> None:
        self.schedule = schedule
        self.total = schedule.total(*size)
        self.content_layers = _those_of(CONTENT_LAYERS, layers)
        self.style_layers = _those_of(STYLE_LAYERS, layers)
        self.other = (1, 1.0) if paintings > 1 else (0, 0.5)
        self.objective = PRESETS["athalye2015"].objective
        self.stops = tuple(stop for stop in (1, 10, 50, 100) if stop < self.total)
        self.default = self.changed("default", stops=self.stops)

    def changed(self, name: str, objective: Objective | None = None, **others: object) -> Recipe:
        """The program's own run but for what is named."""
        recipe = Recipe(name, objective or self.objective, self.schedule)
        return dataclasses.replace(recipe, **others)  # type: ignore[arg-type]

    def weighted(self, **changes: object) -> Objective:
        """The program's own objective but for what is named."""
        return dataclasses.replace(self.objective, **changes)  # type: ignore[arg-type]

    def graded(self, exponent: float, **others: object) -> Recipe:
        """Each style layer `exponent` times the weight of the one before."""
        layers = {layer: exponent**i for i, layer in enumerate(self.objective.style_layers)}
        name = f"style-layer-weight-exp-{exponent:g}"
        if "pooling" in others:
            name += f"-{others['pooling']}"
        if "preserve_colors" in others:
            name += "-preserve-colors"
        return self.changed(name, self.weighted(style_layers=layers), **others)

    def reconstructions(self) -> Iterator[Row]:
        one_size = dataclasses.replace(self.schedule, scales=1)
        cells = [
            Cell(
                layer,
                self.changed(
                    f"content-{layer}",
                    Objective(content_layers=equal(layer), style_weight=0, tv_weight=0),
                    schedule=one_size,
                    judged=self.content_layers,
                ),
            )
            for layer in self.content_layers
        ]
        yield Row("content", (Cell("the photograph", CONTENT), *cells))
        cells = [
            Cell(
                _up_to(self.style_layers[:count]),
                self.changed(
                    f"style-up-to-{self.style_layers[count - 1]}",
                    Objective(
                        style_layers=equal(*self.style_layers[:count]),
                        content_weight=0,
                        tv_weight=0,
                    ),
                    judged=self.style_layers[:count],
                ),
            )
            for count in range(1, len(self.style_layers) + 1)
        ]
        yield Row("style", (Cell("the painting", STYLE), *cells))

    def grid(self) -> Iterator[Row]:
        preset = PRESETS["gatys2015"]
        for count in range(1, len(self.style_layers) + 1):
            layers = self.style_layers[:count]
            cells = [
                Cell(
                    f"alpha/beta {ratio}",
                    self.changed(
                        f"grid-{layers[-1]}-{ratio}",
                        dataclasses.replace(
                            preset.objective,
                            style_layers=equal(*layers),
                            style_weight=1 / float(ratio),
                        ),
                        pooling=preset.pooling,
                    ),
                )
                for ratio in RATIOS
            ]
            yield Row(_up_to(layers), tuple(cells))

    def pooling(self) -> Iterator[Row]:
        yield Row(
            "all style layers alike",
            (
                Cell("max pooling", self.default),
                Cell("average pooling", self.changed("pooling-avg", pooling="avg")),
            ),
        )
        yield Row(
            "each layer 1.4 times the one before",
            (
                Cell("max pooling", self.graded(1.4), published="swe14_pmax"),
                Cell("average pooling", self.graded(1.4, pooling="avg"), published="swe14_pavg"),
            ),
        )

    def denoising(self) -> Iterator[Row]:
        usual = self.objective.tv_weight
        cells = [
            Cell("weight 0", self.changed("tv-0", self.weighted(tv_weight=0.0))),
            Cell(f"{usual:g}, the default", self.default),
            Cell(f"{10 * usual:g}", self.changed("tv-10x", self.weighted(tv_weight=10 * usual))),
        ]
        yield Row("total variation", tuple(cells))
        yield Row(
            "the middle, 4 times as large", tuple(cell._replace(detail=True) for cell in cells)
        )

    def start(self) -> Iterator[Row]:
        # As many iterations as the default may do.
        long = dataclasses.replace(self.schedule, scales=1, iterations=self.total, tolerance=0.0)

        def strip(recipe: Recipe) -> tuple[Cell, ...]:
            return (
                *(Cell(f"iteration {stop}", recipe, stop) for stop in self.stops),
                Cell("the end", recipe),
            )

        for label, recipe in (
            ("from noise, coarse to fine (the default)", self.default),
            ("from noise, at full size", self.changed("noise", schedule=long, stops=self.stops)),
            (
                "from the photograph, at full size",
                self.changed("from-content", schedule=long, stops=self.stops, from_content=True),
            ),
        ):
            yield Row(label, strip(recipe))

    def addition(self) -> Iterator[Row]:
        yield Row(
            "",
            (
                Cell("the photograph", CONTENT),
                Cell("the painting", STYLE),
                Cell("half of each, added", SUM),
                Cell("style transfer", self.default),
            ),
        )

    def tweaks(self) -> Iterator[Row]:
        yield Row(
            "style-layer-weight-exp",
            (
                Cell("0.2: fine strokes", self.graded(0.2), published="swe02"),
                Cell("1.0, the default", self.default, published="athalye_example1_default"),
                Cell("2.0: coarse shapes", self.graded(2.0), published="swe20"),
            ),
        )
        abstract = self.weighted(content_layers={"relu4_2": 0.1, "relu5_2": 0.9})
        yield Row(
            "content-weight-blend; preserve-colors",
            (
                Cell("blend 1.0, the default", self.default, published="cwe10_default"),
                Cell(
                    "blend 0.1: more abstract",
                    self.changed("content-weight-blend-0.1", abstract),
                    published="cwe01",
                ),
                Cell(
                    "the photograph's colors (exp 1.4)",
                    self.graded(1.4, preserve_colors=True),
                    published="swe14_pmax_pcyuv",
                ),
            ),
        )

    def blend(self) -> Iterator[Row]:
        both = ((0, 1.0), self.other)
        cells = [Cell("1 : 0", self.default)]
        for share in (0.25, 0.5, 0.75):
            objective = self.weighted(style_blend_weights=(1 - share, share))
            cells.append(
                Cell(
                    f"{1 - share:g} : {share:g}",
                    self.changed(f"blend-{share:g}", objective, styles=both),
                )
            )
        cells.append(Cell("0 : 1", self.changed("blend-1", styles=(self.other,))))
        second = "the second painting" if self.other[0] else "the same at half its size"
        yield Row("", (Cell("the painting", STYLE), *cells, Cell(second, OTHER)))


_FIGURES = (
    ("reconstructions", "What the layers keep of content and of style", _Maker.reconstructions),
    ("grid", "Content against style, from few layers to many", _Maker.grid),
    ("pooling", "Maximum against average pooling", _Maker.pooling),
    ("denoising", "Total variation: none, the default, ten times as much", _Maker.denoising),
    ("start", "The picture emerging", _Maker.start),
    ("addition", "Why not just add them?", _Maker.addition),
    ("tweaks", "Strokes, abstraction, color", _Maker.tweaks),
    ("blend", "From one style to another", _Maker.blend),
)
COUNT = len(_FIGURES)


def _up_to(layers: Sequence[str]) -> str:
    return layers[0] if len(layers) == 1 else f"{layers[0]} … {layers[-1]}"


def _those_of(wanted: Iterable[str], available: Collection[str]) -> tuple[str, ...]:
    """The layers, each as the network has it: where it ends earlier, its deepest once."""
    found: dict[str, None] = {}
    for layer in wanted:
        moved, _ = Objective(content_layers=equal(layer), style_weight=0).on(available)
        found |= dict.fromkeys(moved.content_layers)
    return tuple(found)
