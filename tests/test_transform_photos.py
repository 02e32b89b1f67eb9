"""The photographs of a training: known by number, whoever reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from neural_style_tf import files
from neural_style_tf.errors import FileError
from neural_style_tf.transform.photos import Photos
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for index, name in enumerate(("a.jpg", "b.png", "deep/c.webp", "deep/er/d.JPG")):
        Image.fromarray(tiny.picture(90 + 10 * index, 120, index)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_text("no picture")
    return tmp_path


def photos(folder: Path, seed: int = 0, size: int = 64) -> Photos:
    return Photos(files.pictures_in(folder), files.read_shrunk, size, seed)


def taken(dataset: tf.data.Dataset, count: int) -> list[tuple[npt.NDArray, list[int]]]:
    return [(crops.numpy(), list(numbers.numpy())) for crops, numbers in dataset.take(count)]


def test_a_folder_is_searched_through(folder: Path) -> None:
    found = [str(Path(path).relative_to(folder)) for path in files.pictures_in(folder)]
    assert found == ["a.jpg", "b.png", "deep/c.webp", "deep/er/d.JPG"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"expected pictures in .*, got none; their names end in"):
        files.pictures_in(tmp_path)


def test_an_example_follows_from_seed_and_number(folder: Path) -> None:
    one, other = photos(folder), photos(folder)
    for number in (5, 0, 123):
        np.testing.assert_array_equal(one.example(number), other.example(number))
    assert one.example(0).shape == (64, 64, 3)
    assert one.example(0).dtype == np.uint8
    assert (one.example(0) != one.example(4)).any(), "another crop in the next round"
    assert (one.example(0) != photos(folder, seed=1).example(0)).any()


def test_every_photograph_is_seen_in_each_round(folder: Path) -> None:
    """By their mean colors, which no crop and no mirroring hides."""
    flat = folder / "flat"
    flat.mkdir()
    for level in range(5):
        Image.new("RGB", (80, 70), (50 * level,) * 3).save(flat / f"{level}.png")
    examples = Photos(files.pictures_in(flat), files.read_shrunk, 64, 0)
    for round in range(3):
        seen = sorted(int(examples.example(5 * round + k).mean()) for k in range(5))
        assert seen == [0, 50, 100, 150, 200]


def test_crops_are_mirrored_now_and_then(tmp_path: Path) -> None:
    slope = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, 0).repeat(3, 2)
    Image.fromarray(slope).save(tmp_path / "slope.png")
    examples = photos(tmp_path)
    falls = [examples.example(n)[0, 0, 0] > examples.example(n)[0, -1, 0] for n in range(40)]
    assert 8 < sum(falls) < 32


def test_the_pipeline_gives_the_examples_in_order(folder: Path) -> None:
    examples = photos(folder)
    batches = taken(examples.dataset(6, 3), 3)
    assert [numbers for _, numbers in batches] == [[6, 7, 8], [9, 10, 11], [12, 13, 14]]
    for crops, numbers in batches:
        for crop, number in zip(crops, numbers, strict=True):
            np.testing.assert_array_equal(crop, examples.example(number))


def test_workers_and_devices_share_a_step(folder: Path) -> None:
    """Two workers of two devices have together what one alone has, each its part."""
    examples = photos(folder)
    parts = [taken(examples.dataset(8, 2, 2, 2, worker), 4) for worker in (0, 1)]
    assert [numbers for _, numbers in parts[0]] == [[8, 9], [10, 11], [16, 17], [18, 19]]
    assert [numbers for _, numbers in parts[1]] == [[12, 13], [14, 15], [20, 21], [22, 23]]


def test_what_cannot_be_read_is_counted_and_skipped(folder: Path) -> None:
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no picture")
    examples = photos(folder)
    for number in range(12):
        assert examples.example(number).shape == (64, 64, 3)
    assert sorted(Path(path).name for path in examples.unreadable) == ["cut.jpg", "text.png"]


def test_not_one_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(FileError, match="none of 1 photographs can be read"):
        photos(tmp_path).example(0)


@pytest.mark.parametrize("size", [(40, 30), (300, 90), (90, 300)])
def test_photographs_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(tiny.picture(*size, 1)).save(tmp_path / "a.jpg")
    assert photos(tmp_path).example(3).shape == (64, 64, 3)


def test_a_jpeg_is_shrunk_on_reading_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    image = Image.fromarray(tiny.picture(600, 800, 1))
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    image.save(tmp_path / "a.png", exif=exif)
    shrunk = files.read_shrunk(tmp_path / "a.jpg", 128)
    assert shrunk.shape == (171, 128, 3)
    # Another way of shrinking and another format make little difference.
    plain = files.read_shrunk(tmp_path / "a.png", 128)
    assert abs(shrunk.astype(int) - plain).mean() < 3
    assert files.read_shrunk(tmp_path / "a.jpg", 5000).shape == (800, 600, 3)


def test_the_pipeline_ends_at_once(folder: Path) -> None:
    """Its tuner would be waited for, up to a minute."""
    assert photos(folder).dataset(0, 2).options().autotune.enabled is False
