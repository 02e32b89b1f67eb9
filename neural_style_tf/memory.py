"""How much memory a run takes, and how it is kept within a limit: plain arithmetic, no TensorFlow.

The constants were measured with benchmarks/memory.py: VGG-19 and the compact network, both
precisions, 512 to 4096 pixels wide.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neural_style_tf.errors import OptionError
from neural_style_tf.schedule import HISTORY, HISTORY_OF_LARGE, longest_history

GIB = 2**30

# Of the memory that is free, what a run may take where nobody said.
SHARE = 0.8

# Python, TensorFlow and its graphs; a network's weights come on top.
BASE = 0.8 * GIB
# Pictures of full size in float32, 12 bytes a pixel, that are there at once beside the history of
# L-BFGS: the point, its trial, gradients and direction, their spectra, the result, the content.
# Fewer where what is freed is given back: the spectra and a tile are not there at once.
_PICTURES, _PICTURES_GIVEN_BACK = 12, 11
# The allocator keeps what is freed, in pieces; tiles of several sizes leave more of them.
_PIECES, _PIECES_OF_TILES = 1.1, 1.6
# What the coarser sizes leave behind: oneDNN's kernels for each of their shapes; and with tiles
# pieces that full size cannot use, unless they are given back (most at 4096×4096).
_KERNELS, _COARSER = 0.2 * GIB, 1.65
# Tiles in pixels, from those that cost next to nothing to those that cost several times the work;
# of a network's first blocks small ones are as fast as large ones.
_SIDES = (2048, 1536, 1024, 768, 512, 384, 256)
_SIDES_OF_FIRST_BLOCKS = (512, 256)
_HISTORIES = (HISTORY, HISTORY_OF_LARGE, 5, 3)


class Cut(NamedTuple):
    """How much of a network goes tile by tile.

    Attributes:
        tile: bytes for each pixel of a tile and of its margin.
        margin: pixels around a tile that are seen.
        until: the pooling up to which it is in tiles, all behind it at once; None for all of it.
        rest: bytes for each pixel of the picture, of what is behind.
    """

    tile: float
    margin: int
    until: str | None = None
    rest: float = 0.0


class Need(NamedTuple):
    """What a run takes, as far as its memory goes.

    Attributes:
        sizes: height and width of the result and of each style in pixels, the result first.
        pixel: bytes for each pixel that the network is differentiated on.
        content: bytes for each pixel of what the content is compared by.
        weights: bytes of the network.
        cuts: the ways to have tiles, from the one that costs least to the one that holds least.
        history: past steps of L-BFGS, None for as many as fit; 0 for Adam.
        coarser: whether the run begins at coarser sizes or with a draft.
    """

    sizes: Sequence[tuple[int, int]]
    pixel: float
    content: float
    weights: int
    cuts: Sequence[Cut]
    history: int | None
    coarser: bool = False


class Plan(NamedTuple):
    """How a run is kept within its memory.

    Attributes:
        side: of its tiles in pixels, None for no tiles.
        history: past steps of L-BFGS.
        bytes: that it is to take.
        gives_back: whether freed memory has to go back to the system, which takes time.
        until: the pooling up to which there are tiles, None for all of the network.
    """

    side: int | None
    history: int
    bytes: float
    gives_back: bool = False
    until: str | None = None

    def told(self, limit: float) -> str:
        """What a user wants to know of it, on one line."""
        text = f"Memory: about {self.bytes / GIB:.1f} GiB of {limit / GIB:.1f}"
        text += "" if self.side is None else f", in tiles of {self.side} pixels"
        text += "" if self.until is None else f" up to {self.until}"
        return f"{text}, given back as it is freed" if self.gives_back else text


def estimate(
    need: Need,
    side: int | None,
    history: int,
    gives_back: bool = False,
    cut: Cut | None = None,
) -> float:
    """Bytes that a run takes with tiles of that side, of all of the network or as `cut` says."""
    (height, width), *_ = need.sizes
    whole = max(h * w for h, w in need.sizes)
    if side is None:
        activations = _PIECES * need.pixel * whole
    else:
        cut = cut or need.cuts[-1]
        around = 2 * cut.margin
        seen = max(min(h, side + around) * min(w, side + around) for h, w in need.sizes)
        activations = _PIECES_OF_TILES * cut.tile * seen + _PIECES * cut.rest * whole
    count = (_PICTURES_GIVEN_BACK if gives_back else _PICTURES) + 2 * history
    pictures = height * width * (12 * count + need.content)
    left = _KERNELS if side is None or gives_back else (_COARSER - 1) * pictures
    return BASE + need.weights + pictures + activations + (left if need.coarser else 0)


def plan(need: Need, limit: float) -> Plan:
    """The fastest way that fits: a long history before large tiles, and no tiles before any.

    Memory is given back only where nothing else fits.

    Raises:
        OptionError: nothing fits.
    """
    height, width = need.sizes[0]
    longest = longest_history(height, width)
    histories = [history for history in _HISTORIES if history <= longest]
    if need.history is not None:
        histories = [need.history]
    tiles = [
        (side, cut)
        for cut in need.cuts
        for side in (_SIDES_OF_FIRST_BLOCKS if cut.until else _SIDES)
    ]
    # Ten steps do nearly as well as more, and cost less than tiles.
    whole = [history for history in histories if history in (histories[0], HISTORY_OF_LARGE)]
    ways: list[tuple[int | None, int, bool, Cut | None]] = [(None, h, False, None) for h in whole]
    ways += [(s, h, back, c) for back in (False, True) for h in histories for s, c in tiles]
    for side, history, gives_back, cut in ways:
        taken = estimate(need, side, history, gives_back, cut)
        found = Plan(side, history, taken, gives_back, cut and cut.until)
        if found.bytes <= limit:
            return found
    raise OptionError(
        f"a picture of {width}×{height} pixels takes at least {found.bytes / GIB:.1f} GiB of "
        f"memory: expected at most {limit / GIB:.1f}; give a smaller --width or style scale, "
        f"{'--scales 1, ' if need.coarser else ''}or a larger --memory-limit if the machine has it"
    )


def available() -> float | None:
    """Bytes that this process may hold on this machine or in this container; None if unknown.

    What it holds already is among them, as it is in what a run is reckoned to take.
    """
    free = _free()
    return None if free is None else free + _held()


def _held() -> float:
    """Bytes that this process holds; 0 if unknown."""
    with contextlib.suppress(OSError, ValueError, AttributeError, IndexError):
        pages = float(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0.0


def _free() -> float | None:
    """Bytes that may still be taken; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(float(free.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = float((group / "memory.max").read_text())  # "max" is no number
        taken = float((group / "memory.current").read_text())
        # Among them are files that were read and may be forgotten.
        with contextlib.suppress(OSError, StopIteration):
            lines = (group / "memory.stat").read_text().splitlines()
            forgettable = next(line for line in lines if line.startswith("inactive_file "))
            taken -= float(forgettable.split()[1])
        found.append(limit - taken)
    if not found:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    return min(found, default=None)
