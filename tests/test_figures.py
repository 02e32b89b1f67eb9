"""What the figures are made of: their plan, their sheets, their numbers, their page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import ImageFont

from neural_style_tf.figures import plan, sheet
from neural_style_tf.figures.measures import feature_errors, gram_errors, psnr
from neural_style_tf.figures.page import page
from neural_style_tf.figures.texts import TEXTS
from neural_style_tf.objective import LAYERS, PRESETS
from neural_style_tf.pixels import as_pixels
from neural_style_tf.schedule import Schedule
from tests import reference

ALL = plan.figures(Schedule(), (256, 341), LAYERS, 2)


def cells(number: int) -> list[plan.Cell]:
    return list(ALL[number - 1].cells)


def test_there_are_eight_and_each_has_its_text() -> None:
    assert [figure.number for figure in ALL] == list(range(1, 9))
    assert [figure.slug for figure in ALL] == list(TEXTS)
    for text in TEXTS.values():
        assert len(text.english) > 100
        assert len(re.findall("[\u4e00-\u9fff]", text.chinese)) > 40


def test_a_run_that_several_figures_show_is_done_once() -> None:
    names = [recipe.name for recipe in plan.recipes(ALL)]
    assert len(names) == len(set(names)) == 46
    shown = [c.source.name for f in ALL for c in f.cells if isinstance(c.source, plan.Recipe)]
    assert shown.count("default") > 5
    assert all(re.fullmatch(r"[a-z0-9._-]+", name) for name in names), "names of files"


def test_two_runs_of_one_name_are_a_mistake() -> None:
    one = plan.Recipe("same", PRESETS["gatys2015"].objective, Schedule())
    other = plan.Recipe("same", PRESETS["johnson2016"].objective, Schedule())
    rows = (plan.Row("", (plan.Cell("", one), plan.Cell("", other))),)
    with pytest.raises(ValueError, match="two different recipes named same"):
        plan.recipes([plan.Figure(1, "x", "", rows)])


def objective(cell: plan.Cell) -> Any:
    assert isinstance(cell.source, plan.Recipe)
    return cell.source.objective


def test_reconstructions_have_one_term() -> None:
    for cell in cells(1):
        if isinstance(cell.source, plan.Recipe):
            shares = [objective(cell).shares(term) for term in ("content", "style")]
            assert sum(map(bool, shares)) == 1
            assert objective(cell).tv_weight == 0
    up_to = [list(objective(cell).shares("style")) for cell in cells(1)[7:]]
    assert up_to[0] == ["conv1_1"]
    assert up_to[4] == ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]


def test_the_grid_is_that_of_the_paper() -> None:
    grid = [[objective(cell) for cell in row.cells] for row in ALL[1].rows]
    assert [len(row) for row in grid] == [4] * 5
    for count, row in enumerate(grid, 1):
        assert [o.content_weight / o.style_weight for o in row] == pytest.approx(
            [1e-5, 1e-4, 1e-3, 1e-2]
        )
        assert all(len(o.shares("style")) == count for o in row)


def test_the_strip_compares_as_many_iterations() -> None:
    for recipe in (row.cells[-1].source for row in ALL[4].rows):
        assert isinstance(recipe, plan.Recipe)
        assert recipe.schedule.total(256, 341) == 200
    assert [cell.iteration for cell in ALL[4].rows[0].cells] == [1, 10, 50, 100, None]
    short = plan.figures(Schedule(iterations=10), (64, 64), LAYERS, 1, only=[5])
    assert [cell.iteration for cell in short[0].rows[0].cells] == [1, None]


def test_blends_go_from_one_style_to_the_other() -> None:
    blends = [c.source for c in cells(8)[1:-1] if isinstance(c.source, plan.Recipe)]
    shares = [dict(zip(r.styles, r.objective.blend(len(r.styles)), strict=True)) for r in blends]
    first, second = (0, 1.0), (1, 1.0)
    assert [share.get(second, 0) for share in shares] == [0, 0.25, 0.5, 0.75, 1]
    assert [share.get(first, 0) for share in shares] == [1, 0.75, 0.5, 0.25, 0]
    alone = plan.figures(Schedule(), (256, 341), LAYERS, 1, only=[8])
    assert {style for r in plan.recipes(alone) for style in r.styles} == {(0, 1.0), (0, 0.5)}


def test_a_shallow_network_is_shown_as_deep_as_it_is() -> None:
    shallow = LAYERS[: LAYERS.index("relu4_1") + 1]
    made = plan.figures(Schedule(), (256, 341), shallow, 1, only=[1, 2])
    assert [figure.number for figure in made] == [1, 2]
    labels = [cell.label for cell in made[0].rows[0].cells]
    assert labels[1:] == ["relu1_2", "relu2_2", "relu3_2", "relu4_1"]
    assert len(made[1].rows) == 4


def test_every_label_can_be_drawn() -> None:
    font = ImageFont.load_default(40)
    missing = bytes(font.getmask("\uffff"))
    texts = [figure.title for figure in ALL] + [row.label for f in ALL for row in f.rows]
    texts += [cell.label for figure in ALL for cell in figure.cells]
    for letter in set("".join(texts)) - {" "}:
        assert bytes(font.getmask(letter)) != missing, letter


def flat(height: int, width: int, color: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.array(color, np.uint8), (height, width, 3)).copy()


def extent(drawn: npt.NDArray[np.uint8], color: tuple[int, int, int]) -> tuple[int, ...]:
    rows, columns = np.nonzero((drawn == color).all(-1))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_cells_of_a_sheet_are_equal_and_their_pictures_whole() -> None:
    red, green, blue = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    rows = [
        sheet.Row(
            "one",
            [
                sheet.Picture(flat(120, 180, red), ("red",)),
                sheet.Picture(flat(60, 60, green), ("green",)),
            ],
        ),
        sheet.Row("two", [None, sheet.Picture(flat(120, 180, blue), ("blue", "a second line"))]),
    ]
    drawn = sheet.draw("Title", rows)
    top, bottom, left, right = extent(drawn, red)
    assert (bottom - top, right - left) == (120, 180)
    # Half as large, in the middle of a cell of the same size; the blue one below it.
    g_top, g_bottom, g_left, g_right = extent(drawn, green)
    assert (g_bottom - g_top, g_right - g_left) == (120, 120)
    b_top, _, b_left, b_right = extent(drawn, blue)
    assert g_top == top
    assert b_top > bottom
    assert (g_left + g_right) / 2 == (b_left + b_right) / 2
    assert b_left - right == left, "a gap as wide as the margin"


def test_long_labels_are_wrapped_and_stay_in_their_cells() -> None:
    words = "a label that is much too long for the width of one cell and has to be wrapped"
    words += " and one_word_that_is_longer_than_any_line_of_it_can_be"
    pictures = [
        sheet.Picture(flat(25, 50, (250, 0, 0)), (words,)),
        sheet.Picture(flat(25, 50, (0, 250, 0)), ("",)),
    ]
    guest = sheet.Picture(flat(2000, 1000, (9, 9, 9)), ("",))
    drawn = sheet.draw("", [sheet.Row("", pictures), sheet.Row("", [guest], guests=True)])
    assert drawn.shape[1] < 400, "a guest makes no cell larger"
    drawn = sheet.draw("", [sheet.Row("", pictures)])
    _, _, _, right = extent(drawn, (250, 0, 0))
    _, bottom, left, _ = extent(drawn, (0, 250, 0))
    between = drawn[bottom:, right : (right + left) // 2]
    assert (between == 255).all(), "a label runs out of its cell"
    assert (drawn[bottom:, :right] < 128).any(), "no label"


def test_psnr() -> None:
    original = np.zeros((1, 4, 4, 3))
    assert psnr(original, original) == float("inf")
    assert psnr(original + 25.5, original) == pytest.approx(20)


@pytest.fixture(scope="module")
def noise(content: npt.NDArray[np.uint8]) -> Any:
    return np.random.default_rng(0).uniform(0, 255, content.shape)


def test_errors_of_reconstructions(
    network: Any,
    content: npt.NDArray[np.uint8],
    style: npt.NDArray[np.uint8],
    noise: Any,
) -> None:
    """Against NumPy in float64, on the features that the network gives."""
    layers = ["relu1_1", "relu3_1"]

    def some(pixels: Any) -> dict[str, Any]:
        return {layer: network(pixels)[layer] for layer in layers}

    pictures = content, style, noise, noise / 2 + content / 2
    first, painting, start, end = (as_pixels(picture) for picture in pictures)
    errors = feature_errors(some, end, first, start)
    f, p, n = ({k: np.float64(v) for k, v in some(x).items()} for x in (end, first, start))
    for layer in layers:
        wanted = np.square(f[layer] - p[layer]).sum() / np.square(n[layer] - p[layer]).sum()
        assert errors[layer] == pytest.approx(wanted, rel=1e-4)
    assert set(feature_errors(some, first, first, start).values()) == {0.0}

    errors = gram_errors(some, end, painting, start)
    gs, targets, begun = (
        {k: reference.gram(np.asarray(v, np.float64)[0]) for k, v in some(x).items()}
        for x in (end, painting, start)
    )
    losses = {
        layer: [np.square(x[layer] - targets[layer]).mean() for x in (gs, begun)]
        for layer in layers
    }
    for layer in layers:
        assert errors[layer] == pytest.approx(losses[layer][0] / losses[layer][1], rel=1e-3)
    ends, starts = (sum(each) for each in zip(*losses.values(), strict=True))
    assert errors["total"] == pytest.approx(ends / starts, rel=1e-3)


def test_errors_are_those_of_all_channels() -> None:
    class Slim:
        """Two of three channels, the third of which is the sum of the others."""

        def __init__(self) -> None:
            self.embeddings = {"relu1_1": tf.constant([[1.0, 0, 1], [0, 1, 1]])}

        def __call__(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"relu1_1": pixels[..., :2]}

    pictures = np.random.default_rng(4).uniform(0, 255, (3, 1, 8, 8, 3)).astype(np.float32)
    pictures *= np.reshape([1, 2, 4], (3, 1, 1, 1, 1))  # far apart: no small difference is rounded
    pictures[..., 2] = pictures[..., 0] + pictures[..., 1]
    for measure in (feature_errors, gram_errors):
        whole = measure(lambda pixels: {"relu1_1": pixels}, *pictures)
        assert measure(Slim(), *pictures) == pytest.approx(whole, rel=1e-5)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_figure_in_both_languages() -> None:
    sizes = {figure.name: (800, 600) for figure in ALL}
    shown = Page(page(ALL, sizes, {"photograph": "<b>&.jpg"}))
    assert not shown.open
    images = [attributes for tag, attributes in shown.found if tag == "img"]
    assert [image["src"] for image in images] == [f"{figure.name}.png" for figure in ALL]
    assert all(image["alt"] and image["width"] == "800" for image in images)
    assert "<b>&.jpg" in shown.text
    for text in TEXTS.values():
        assert text.english in shown.text
        assert text.chinese in shown.text
    assert sum(attributes.get("lang") == "zh" for _, attributes in shown.found) >= 3 * len(ALL)
