"""How a transform network is trained: plain data, no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neural_style_tf.errors import OptionError
from neural_style_tf.settings import option

# The side of a crop is not to fall below: reflection at a quarter of it needs room.
SMALLEST = 64
# Photographs of a step on each device: two, side by side on two cores, take a third longer.
PER_DEVICE = 2


@dataclass(frozen=True)
class Training:
    """The settings of a training.

    Raises:
        OptionError: a value out of its range.
    """

    steps: int = option(6000, "updates of the weights")
    batch_size: int | None = option(
        None,
        "photographs of each step, on all devices together (default: two for each device)",
        type=int,
    )
    size: int = option(256, "side of the square crops of photographs that are judged, in pixels")
    style_width: int | None = option(
        None,
        "width of the style pictures in pixels (default: 1.5 times the size)",
        type=int,
    )
    learning_rate: float = option(2e-3, "of SOAP, at its highest; it falls to 0 along a cosine")
    seed: int = option(0, "of the weights, of the order of the photographs and of their crops")

    @property
    def painting_width(self) -> int:
        """Of the style pictures, in pixels."""
        return self.style_width or round(1.5 * self.size)

    def batch(self, devices: int) -> int:
        """Photographs of a step on so many devices."""
        return self.batch_size or PER_DEVICE * devices

    def __post_init__(self) -> None:
        most = 2**31 - 1
        for ok, name, expected in (
            (1 <= self.steps <= most, "steps", "a whole number, 1 or more"),
            (
                self.batch_size is None or 1 <= self.batch_size <= 4096,
                "batch_size",
                "a whole number from 1 to 4096",
            ),
            (
                SMALLEST <= self.size <= 4096,
                "size",
                f"a whole number from {SMALLEST} to 4096",
            ),
            (
                self.style_width is None or 16 <= self.style_width <= 8192,
                "style_width",
                "a whole number from 16 to 8192",
            ),
            (0 < self.learning_rate < math.inf, "learning_rate", "a finite number above 0"),
            (0 <= self.seed <= most, "seed", f"a whole number from 0 to {most}"),
        ):
            if not ok:
                raise OptionError(
                    f"{name.replace('_', ' ')}: expected {expected}, got {getattr(self, name)}"
                )
