"""styles.py and style_files.py: a kept style is the painting's, at any size, on disk too."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf import Objective, Schedule, read_style, style_files, stylize, stylize_image
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.losses import Loss
from neural_style_tf.pixels import resize_style
from neural_style_tf.style_files import Remembered, write_style
from neural_style_tf.styles import KeptStyle, Painting, keep
from tests import tiny

BIG = tiny.picture(150, 200, 7)


@pytest.fixture(scope="module")
def measure(shallow: Any) -> Any:
    return tf.function(Loss(shallow, Objective()).moments)


def kept(measure: Any, paintings: Sequence[Any] = (BIG,), width: int = 256) -> KeptStyle:
    styles = [Painting(painting) for painting in paintings]
    equal = [1 / len(styles)] * len(styles)
    levels = keep(styles, [1.0] * len(styles), equal, width, measure)
    return KeptStyle(levels, {"network": "abc", "pooling": "max"}, {"styles": ["big.png"]})


def apart(a: Any, b: Any, layer: str) -> float:
    return float(np.linalg.norm(a[layer] - b[layer]) / np.linalg.norm(b[layer]))


def test_at_its_own_widths_a_kept_style_is_the_painting(measure: Any) -> None:
    style = kept(measure)
    assert sorted(style.levels) == [64, 91, 128, 181, 256]
    for width in style.levels:
        expected = measure(resize_style(BIG, width))
        for layer, moments in style.moments(width).items():
            assert moments == pytest.approx(expected[layer].numpy(), rel=1e-6), (width, layer)


@pytest.mark.parametrize("width", [75, 105, 150, 220])
def test_between_its_widths_it_is_nearer_than_the_nearest(measure: Any, width: int) -> None:
    style = kept(measure)
    expected = {layer: m.numpy() for layer, m in measure(resize_style(BIG, width)).items()}
    nearest = min(style.levels, key=lambda level: abs(np.log(level / width)))
    for layer in ("relu1_1", "relu2_1"):
        mixed = apart(style.moments(width), expected, layer)
        assert mixed < 1.05 * apart(style.levels[nearest], expected, layer)
        assert mixed < 0.2


def test_a_width_between_takes_more_of_the_nearer_one() -> None:
    style = KeptStyle({100: {"relu1_1": np.zeros(1)}, 400: {"relu1_1": np.ones(1)}}, {}, {})
    for quarter in (1, 2, 3):
        moments = style.moments(100 * 4 ** (quarter / 4))
        assert moments["relu1_1"] == pytest.approx(quarter / 4)


@pytest.mark.parametrize(("width", "level"), [(20, 64), (64, 64), (256, 256), (4000, 256)])
def test_beyond_its_widths_it_is_the_last_one(measure: Any, width: int, level: int) -> None:
    style = kept(measure)
    assert style.moments(width) is style.levels[level]


def test_a_narrow_result_has_one_width(measure: Any) -> None:
    assert list(kept(measure, width=50).levels) == [50]


def test_several_paintings_are_kept_as_their_blend(measure: Any, style: Any) -> None:
    both, one, other = (kept(measure, paintings) for paintings in ((BIG, style), (BIG,), (style,)))
    for layer in both.layers:
        mean = (one.moments(128)[layer] + other.moments(128)[layer]) / 2
        assert both.moments(128)[layer] == pytest.approx(mean, rel=1e-5)


def test_the_picture_is_the_same_as_from_the_painting(
    shallow: Any, measure: Any, content: Any
) -> None:
    schedule = Schedule(iterations=4, scales=1)
    style = dataclasses.replace(kept(measure, width=64), measured=shallow.measures)
    pictures = [stylize_image(shallow, content, [s], None, schedule) for s in (BIG, style)]
    assert np.abs(pictures[0] - pictures[1]).max() < 0.1


def test_moments_of_another_network_are_refused(shallow: Any, measure: Any, content: Any) -> None:
    style = dataclasses.replace(kept(measure, width=64), origin={"network": "VGG-16"})
    with pytest.raises(OptionError, match="the same network and pooling, got one kept with VGG-16"):
        next(stylize(shallow, content, [style]))
    unknown = stylize_image(
        lambda pixels: shallow(pixels), content, [style], None, Schedule(iterations=2)
    )
    assert np.isfinite(unknown).all(), "whoever knows better may"


def test_a_file_gives_the_style_back(measure: Any, tmp_path: Path) -> None:
    style = kept(measure)
    write_style(tmp_path / "s.npz", style)
    again = read_style(tmp_path / "s.npz")
    assert (again.measured, again.origin) == (style.measured, style.origin)
    assert again.levels.keys() == style.levels.keys()
    for width, moments in style.levels.items():
        for layer, matrix in moments.items():
            # Only one triangle of a symmetric matrix is written.
            assert again.levels[width][layer] == pytest.approx(matrix, rel=1e-5)


def test_layers_that_were_not_kept_are_named(measure: Any) -> None:
    style = kept(measure)
    assert style.only(["relu2_1"]).layers == ("relu2_1",)
    with pytest.raises(OptionError, match="lacks relu2_2: expected one of relu1_1, relu2_1"):
        style.only(["relu2_1", "relu2_2"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"PK\3\4" + bytes(200),
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    ],
)
def test_a_damaged_style_is_one_line(measure: Any, tmp_path: Path, damage: Any) -> None:
    write_style(tmp_path / "s.npz", kept(measure))
    data = (tmp_path / "s.npz").read_bytes()
    (tmp_path / "s.npz").write_bytes(damage(data))
    with pytest.raises(FileError, match=r"cannot read style .*expected a picture, or a style kept"):
        read_style(tmp_path / "s.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"conv1_1/kernel": np.zeros((3, 3, 3, 4))},
        {"settings": '{"measured": {}, "origin": {}}'},
        {"settings": '{"measured": {}, "origin": {}}', "64/relu1_1": np.zeros(5, np.float32)},
        {"settings": '{"measured": {}, "origin": {}}', "64/relu1_1": np.full(3, np.nan, "f4")},
        {"settings": '{"measured": {}, "origin": {}}', "0/relu1_1": np.zeros(3, np.float32)},
        {
            "settings": '{"measured": {}, "origin": {}}',
            "64/relu1_1": np.zeros(3, np.float32),
            "32/relu2_1": np.zeros(3, np.float32),
        },
        {"settings": "[]", "64/relu1_1": np.zeros(3, np.float32)},
    ],
)
def test_an_npz_of_another_kind_is_no_style(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(FileError, match="expected a picture, or a style kept by --save-style"):
        read_style(tmp_path / "s.npz")


class Counter:
    """A measure that counts how often it is asked."""

    def __init__(self, measure: Any) -> None:
        self.measure, self.asked = measure, 0

    def __call__(self, picture: Any) -> Any:
        self.asked += 1
        return self.measure(picture)


def test_what_was_measured_is_found_again(measure: Any, tmp_path: Path) -> None:
    counter = Counter(measure)

    def moments(pixels: Any = BIG, width: float = 100, **measured: str) -> Any:
        return Remembered(pixels, measured, tmp_path / "cache").moments(width, counter)

    first, again = moments(network="a"), moments(network="a")
    assert counter.asked == 1
    for layer, matrix in first.items():
        assert again[layer] == pytest.approx(matrix, rel=1e-6)
    moments(network="b")
    moments(network="a", width=99)
    moments(255 - BIG, network="a")
    assert counter.asked == 4


def test_a_cache_that_is_damaged_or_refused_is_none(measure: Any, tmp_path: Path) -> None:
    counter = Counter(measure)
    style = Remembered(BIG, {}, tmp_path / "cache")
    expected = style.moments(64, counter)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(b"PK no more")
    assert style.moments(64, counter)["relu1_1"] == pytest.approx(expected["relu1_1"])
    assert counter.asked == 2
    (tmp_path / "file").touch()
    Remembered(BIG, {}, tmp_path / "file" / "cache").moments(64, counter)
    assert counter.asked == 3


def test_the_cache_forgets_what_was_used_longest_ago(
    measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(measure)
    style = Remembered(BIG, {}, tmp_path)
    style.moments(64, counter)
    (first,) = tmp_path.iterdir()
    monkeypatch.setattr(style_files, "_ROOM", 2.5 * first.stat().st_size)
    for width in (70, 64, 80):  # 64 is used again, so that 70 is the oldest
        style.moments(width, counter)
    assert len(list(tmp_path.iterdir())) == 2
    assert counter.asked == 3
    style.moments(64, counter)
    assert counter.asked == 3
    style.moments(70, counter)
    assert counter.asked == 4
