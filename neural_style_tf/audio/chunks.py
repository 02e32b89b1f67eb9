"""A long sound in pieces that are worked on one after the other: plain arithmetic.

Every piece goes on from the sound that the one before has settled: its first frames see ten frames
of that sound, held as they are, so that each patch of the whole sound is compared once and no seam
is left to be hidden. At its end a piece looks ahead as far as the samples that it settles are seen;
what it finds there is found again by the next.
"""

from __future__ import annotations

from typing import NamedTuple

from neural_style_tf.audio.recipe import TAPS

# Frames of a piece, at most: 20 s.
LONGEST = 860

# A window covers four hops: a frame's own and one to each side wholly, two more in part.
_HALF = 2


class Chunk(NamedTuple):
    """A piece of a sound.

    Attributes:
        frames: it works on, `[first, last)`; frame f is centered at sample f·hop.
        held: of these, how many at the beginning are of the sound before.
        settles: samples that it settles, `[begin, end)`.
        window: samples that its frames cover, `[begin, end)`, beyond the sound's ends too.
    """

    frames: tuple[int, int]
    held: int
    settles: tuple[int, int]
    window: tuple[int, int]


def frames_of(length: int, hop: int) -> int:
    """Frames of a sound of so many samples, centered from its first one on."""
    return 1 + length // hop


def chunks(length: int, hop: int, longest: int = LONGEST) -> list[Chunk]:
    """The pieces of a sound of so many samples, alike in size."""
    total = frames_of(length, hop)
    count = -(-total // longest)
    advance = -(-total // count)
    found = []
    for index in range(count):
        begin, end = index * advance, (index + 1) * advance  # in hops
        # The last frame wholly before, and the ten that a patch sees with the first one after it.
        first = begin - _HALF - (TAPS - 2) if index else 0
        # The last frame that touches the end, and the ten that its patches see.
        last = min(total, end + _HALF + TAPS - 1)
        found.append(
            Chunk(
                (first, last),
                TAPS - 1 if index else 0,
                (begin * hop, length if index == count - 1 else end * hop),
                ((first - _HALF) * hop, (last - 1 + _HALF) * hop),
            )
        )
    return found
