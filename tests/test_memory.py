"""memory.py: what fits is planned, what cannot fit is refused; the figures are in benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_style_tf import memory
from neural_style_tf.errors import OptionError
from neural_style_tf.memory import GIB, Cut, Need, estimate, plan
from neural_style_tf.schedule import HISTORY, HISTORY_OF_LARGE

NEED = Need(
    sizes=[(2048, 2048), (1024, 1024)],
    pixel=1716,
    content=32,
    weights=80 * 2**20,
    cuts=[Cut(1716, 160)],
    history=None,
)


def test_where_there_is_room_nothing_is_cut() -> None:
    found = plan(NEED, 100 * GIB)
    assert (found.side, found.history) == (None, HISTORY_OF_LARGE)
    assert found.bytes == estimate(NEED, None, HISTORY_OF_LARGE)


def test_less_room_makes_smaller_tiles_and_then_a_shorter_history() -> None:
    limits = (7, 5, 4, 3.3)
    ways = [plan(NEED, limit * GIB) for limit in limits]
    assert all(way.bytes <= limit * GIB for way, limit in zip(ways, limits, strict=True))
    sides = [way.side or 0 for way in ways]
    assert sides[0] > sides[1] > 0
    assert ways[0].history == HISTORY_OF_LARGE
    assert ways[-1].history < HISTORY_OF_LARGE
    assert not any(way.gives_back for way in ways)


def test_the_first_blocks_are_cut_before_the_whole_network() -> None:
    first = Cut(1000, 2, "pool1", 900)
    need = NEED._replace(cuts=[first, *NEED.cuts])
    taken = [estimate(need, 512, HISTORY_OF_LARGE, cut=cut) for cut in (first, None)]
    found = [plan(need, limit) for limit in (100 * GIB, taken[0], taken[1])]
    assert [(way.side, way.until) for way in found[:2]] == [(None, None), (512, "pool1")]
    assert found[1].bytes == taken[0] < found[0].bytes
    assert found[1].told(9 * GIB).endswith("in tiles of 512 pixels up to pool1")
    # What is behind them is there for the whole picture, which may be too much.
    assert found[2].until is None
    assert found[2].side is not None


@pytest.mark.parametrize("history", [0, 4])
def test_a_history_asked_for_is_kept(history: int) -> None:
    for limit in (100, 5):
        assert plan(NEED._replace(history=history), limit * GIB).history == history


def test_of_a_small_picture_more_is_remembered() -> None:
    small = NEED._replace(sizes=[(512, 682)], history=None)
    found = plan(small, 100 * GIB)
    assert (found.side, found.history) == (None, HISTORY)
    # Less of it is remembered before there are tiles, but not less than of a large one.
    shorter = estimate(small, None, HISTORY_OF_LARGE)
    assert shorter < found.bytes
    assert plan(small, shorter).history == HISTORY_OF_LARGE
    assert plan(small, shorter).side is None


def test_a_large_style_counts_too() -> None:
    large = NEED._replace(sizes=[(512, 512), (4096, 4096)])
    assert estimate(large, None, HISTORY_OF_LARGE) > estimate(NEED, None, HISTORY_OF_LARGE)
    assert plan(large, 4 * GIB).side is not None


def test_what_cannot_fit_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(OptionError, match=r"2048×2048 pixels takes at least [\d.]+ GiB.*--width"):
        plan(NEED, 0.5 * GIB)


def test_coarser_sizes_leave_less_room() -> None:
    coarser = NEED._replace(coarser=True)
    assert estimate(coarser, 512, 3) > estimate(NEED, 512, 3)
    with pytest.raises(OptionError, match="--scales 1, or a larger --memory-limit"):
        plan(coarser, 0.5 * GIB)


def test_memory_is_given_back_where_nothing_else_fits() -> None:
    """4096×4096 from coarse to fine within 6 GiB, with the compact network in bfloat16."""
    large = NEED._replace(sizes=[(4096, 4096)], pixel=1160, cuts=[Cut(1160, 80)], coarser=True)
    least = estimate(large, 256, 3)
    assert not plan(large, least).gives_back
    found = plan(large, 6 * GIB)
    assert found.gives_back
    assert found.side is not None
    assert found.bytes < 6 * GIB < least
    assert estimate(large, found.side, found.history) > 6 * GIB


def test_a_plan_says_what_it_takes() -> None:
    assert memory.Plan(None, 10, 1.5 * GIB).told(8 * GIB) == "Memory: about 1.5 GiB of 8.0"
    told = memory.Plan(512, 5, 2 * GIB).told(3 * GIB)
    assert told == "Memory: about 2.0 GiB of 3.0, in tiles of 512 pixels"
    told = memory.Plan(512, 5, 2 * GIB, True).told(3 * GIB)
    assert told.endswith("of 3.0, in tiles of 512 pixels, given back as it is freed")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"meminfo": "MemTotal: 9 kB\nMemAvailable: 4096 kB\n"}, 4096 * 1024),
        ({"meminfo": "MemAvailable: 4096 kB\n", "memory.max": "max\n"}, 4096 * 1024),
        (
            {
                "meminfo": "MemAvailable: 4096 kB\n",
                "memory.max": "3000\n",
                "memory.current": "1000",
            },
            2000,
        ),
        (
            {
                "meminfo": "MemAvailable: 4096 kB\n",
                "memory.max": "3000\n",
                "memory.current": "1000",
                "memory.stat": "anon 100\ninactive_file 700\nactive_file 20\n",
            },
            2700,
        ),
        ({"meminfo": "MemAvailable: 4096 kB\n", "statm": "900 7 3 1 0 8 0"}, 4096 * 1024 + 7000),
    ],
)
def test_a_container_may_have_less_than_its_machine(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: float
) -> None:
    def read_text(path: Path) -> str:
        if path.name not in files:
            raise FileNotFoundError(path)
        return files[path.name]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("os.sysconf", lambda name: 1000)
    assert memory.available() == expected


def test_the_free_memory_of_this_machine() -> None:
    free = memory.available()
    assert free is None or free > 0.1 * GIB
