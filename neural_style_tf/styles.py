"""What a picture is painted after: a painting, or a style that was kept of one.

All that style transfer takes from a painting are the second moments FᵀF/(h·w) of its features, a
few matrices whatever its size: they can be kept instead of the painting.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neural_style_tf.errors import OptionError

# {layer: [C, C]}
Moments = Mapping[str, Any]
# A picture [1, H, W, 3] -> its moments.
Measure = Callable[[Any], Moments]

# Widths of kept styles are halved down to about this, the coarsest size that is painted at.
_NARROWEST = 64
# Widths kept from one halving to the next. With two, moments between them are right to a few
# percent; those of the deepest layer, of few positions, change more with any pixel that is cut.
_STEPS = 2


@runtime_checkable
class Style(Protocol):
    """Whatever has moments at any width."""

    def moments(self, width: float, measure: Measure) -> Moments:
        """The moments of the painting when it is so many pixels wide."""


@dataclass(frozen=True)
class Painting:
    """A picture `[H, W, 3]`, 0-255."""

    pixels: Any

    def moments(self, width: float, measure: Measure) -> Moments:
        """As measured of the painting resized to that width."""
        from neural_style_tf.pixels import resize_style

        return measure(resize_style(self.pixels, width))


@dataclass(frozen=True)
class KeptStyle:
    """The moments of one or more paintings at several widths.

    Attributes:
        levels: `{width in pixels: {layer: [C, C] float32}}`.
        measured: what measured them: the network's fingerprint and pooling. Moments of another
            network mean nothing to this one.
        origin: for the reader: the network's name, the paintings'.
    """

    levels: Mapping[int, Moments]
    measured: Mapping[str, str]
    origin: Mapping[str, Any]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of which there are moments."""
        return tuple(next(iter(self.levels.values())))

    def moments(self, width: float, measure: Measure | None = None) -> Moments:
        """Those of the two nearest widths, mixed; beyond the ends those of the end."""
        widths = sorted(self.levels)
        above = next((w for w in widths if w >= width), widths[-1])
        below = next((w for w in reversed(widths) if w <= width), widths[0])
        if above <= below:
            return self.levels[above]
        share = math.log(width / below) / math.log(above / below)
        low, high = self.levels[below], self.levels[above]
        return {layer: (1 - share) * low[layer] + share * high[layer] for layer in low}

    def check(self, measures: Mapping[str, str] | None) -> None:
        """Whether it was measured so.

        Args:
            measures: as `measured`; None where nobody knows.

        Raises:
            OptionError: it was not.
        """
        if measures is not None and dict(measures) != dict(self.measured):
            raise OptionError(
                "expected a style kept with the same network and pooling, got one kept with "
                f"{self.origin.get('network')}, {self.measured.get('pooling')} pooling; load that "
                "network, or give the painting"
            )

    def only(self, layers: Sequence[str]) -> KeptStyle:
        """The same with these layers alone.

        Raises:
            OptionError: one that was not kept.
        """
        for layer in layers:
            if layer not in self.layers:
                raise OptionError(
                    f"the kept style lacks {layer}: expected one of {', '.join(self.layers)}"
                )
        levels = {
            width: {layer: moments[layer] for layer in layers}
            for width, moments in self.levels.items()
        }
        return dataclasses.replace(self, levels=levels)


def keep(
    styles: Sequence[Style],
    scales: Sequence[float],
    blend: Sequence[float],
    width: int,
    measure: Measure,
) -> dict[int, Moments]:
    """The levels of a `KeptStyle`: the blend of styles for results up to a width.

    Args:
        styles: one or more.
        scales: of each, its width against the result's.
        blend: of each, its share.
        width: of the result; the other levels are for half of it, a quarter, and so on.
        measure: as for `Style.moments`.
    """
    halvings = max(0, math.floor(math.log2(width / _NARROWEST)))
    widths = [round(width / 2 ** (k / _STEPS)) for k in range(_STEPS * halvings + 1)]
    levels: dict[int, Moments] = {}
    for each in widths:
        parts = [style.moments(each * x, measure) for style, x in zip(styles, scales, strict=True)]
        levels[each] = {
            layer: np.sum(
                [b * np.asarray(part[layer]) for b, part in zip(blend, parts, strict=True)],
                axis=0,
                dtype=np.float32,
            )
            for layer in parts[0]
        }
    return levels
