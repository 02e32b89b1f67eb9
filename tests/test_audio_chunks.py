"""Pieces of a long sound: all of it is settled, once, and seen as far as filters see."""

from __future__ import annotations

from itertools import pairwise

import pytest

from neural_style_tf.audio.chunks import LONGEST, chunks, frames_of

HOP = 16


@pytest.mark.parametrize("frames", [11, 12, 60, 61, 119, 120, 121, 500, 5000])
def test_all_is_settled_once(frames: int) -> None:
    length = (frames - 1) * HOP + 7
    found = chunks(length, HOP, longest=60)
    assert found[0].settles[0] == 0
    assert found[-1].settles[1] == length
    assert all(a.settles[1] == b.settles[0] for a, b in pairwise(found))
    assert all(begin < end for _, _, (begin, end), _ in found)


@pytest.mark.parametrize("frames", [61, 130, 500, 5000])
def test_what_is_settled_is_seen_as_in_the_whole_sound(frames: int) -> None:
    """Every patch with a frame that touches a settled sample is in the piece, whole."""
    length = (frames - 1) * HOP + 7
    for piece in chunks(length, HOP, longest=60):
        begin, end = piece.settles
        touching = [
            f
            for f in range(frames_of(length, HOP))
            if f * HOP + 2 * HOP > begin and f * HOP - 2 * HOP < end
        ]
        first, last = piece.frames
        assert first <= max(0, touching[0] - 10)
        assert last - 1 >= min(frames - 1, touching[-1] + 10)
        # The past is held: these frames see nothing that is not settled yet.
        assert all((first + i) * HOP + 2 * HOP <= begin for i in range(piece.held))
        assert first + piece.held == (touching[0] if piece.held else 0)
        assert piece.window == ((first - 2) * HOP, (last + 1) * HOP)


def test_pieces_are_bounded_and_alike() -> None:
    for frames in (10, 860, 861, 2000, 10**5, 10**6):
        found = chunks(frames * HOP, HOP)
        sizes = [last - first for (first, last), *_ in found]
        assert max(sizes) <= LONGEST + 24
        assert len(found) == -(-(frames + 1) // LONGEST)
        settled = [end - begin for _, _, (begin, end), _ in found]
        assert max(settled) - min(settled) <= len(found) * HOP


def test_a_short_sound_is_one_piece() -> None:
    (piece,) = chunks(1000, HOP)
    assert piece == ((0, 63), 0, (0, 1000), (-32, 64 * HOP))
