"""The transform network as plain data: its stages, one after the other. No TensorFlow.

Johnson, Alahi, Fei-Fei 2016 (arXiv:1603.08155): a convolution, two that halve the size, residual
blocks at a quarter of it, two that double the size, a convolution to pixels. Their deconvolutions
are resize-convolutions here (Odena et al. 2016), which leave no checkerboard; every convolution
reads past the border by reflection. After each comes instance normalization with a scale and an
offset for each style (Dumoulin, Shlens, Kudlur 2017, arXiv:1610.07629).

A departure from these papers: what the stages on the way down make at full and at half size is
added on the way up again (as in a U-Net, Ronneberger et al. 2015). The photograph's edges need not
go through the narrow middle, and training reaches the same loss in a fraction of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from neural_style_tf.errors import OptionError
from neural_style_tf.settings import option

# Pixels by which a picture is reflected past its border before it is painted; they are cut off
# after. As many of a border, on average, are not judged in training: there the network reflects, at
# each stage, and what it makes is a little off. A multiple of 4, so that nothing moves.
MARGIN = 8


class Stage(NamedTuple):
    """A convolution and what comes before and after it, in this order.

    Attributes:
        name: of its weights.
        kernel: side of its kernel, odd.
        inputs, outputs: channels.
        enlarge: whether each position is repeated to 2×2 first.
        stride: between two positions that are computed.
        normalized: whether instance normalization follows, or a bias alone.
        rectified: whether a rectifier follows.
        adds: name of the stage whose result is added at the end, None for none.
    """

    name: str
    kernel: int
    inputs: int
    outputs: int
    enlarge: bool = False
    stride: int = 1
    normalized: bool = True
    rectified: bool = True
    adds: str | None = None


@dataclass(frozen=True)
class Architecture:
    """How large a transform network is.

    Raises:
        OptionError: a value out of its range.
    """

    widths: Sequence[int] = option(
        (16, 32, 48),
        "channels at full, half and quarter size; Johnson et al. 2016 have 32 64 128",
        nargs=3,
        type=int,
    )
    blocks: int = option(4, "residual blocks; Johnson et al. 2016 have 5")
    ends: int = option(
        5, "side of the first and of the last kernel; Johnson et al. 2016 have 9", metavar="SIDE"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        for ok, name, expected in (
            (
                len(self.widths) == 3 and all(1 <= width <= 1024 for width in self.widths),
                "widths",
                "three whole numbers from 1 to 1024",
            ),
            (0 <= self.blocks <= 64, "blocks", "a whole number from 0 to 64"),
            (self.ends in range(1, 16, 2), "ends", "an odd number from 1 to 15"),
        ):
            if not ok:
                raise OptionError(f"{name}: expected {expected}, got {getattr(self, name)}")

    def stages(self) -> tuple[Stage, ...]:
        """The network, first to last."""
        full, half, quarter = self.widths
        body: list[Stage] = []
        before = "down2"
        for number in range(1, self.blocks + 1):
            name = f"block{number}_2"
            body += (
                Stage(f"block{number}_1", 3, quarter, quarter),
                Stage(name, 3, quarter, quarter, rectified=False, adds=before),
            )
            before = name
        return (
            Stage("first", self.ends, 3, full),
            Stage("down1", 3, full, half, stride=2),
            Stage("down2", 3, half, quarter, stride=2),
            *body,
            Stage("up1", 3, quarter, half, enlarge=True, adds="down1"),
            Stage("up2", 3, half, full, enlarge=True, adds="first"),
            Stage("last", self.ends, full, 3, normalized=False, rectified=False),
        )

    def shapes(self, styles: int) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights for so many styles, in order."""
        shapes: dict[str, tuple[int, ...]] = {}
        for stage in self.stages():
            shapes[f"{stage.name}/kernel"] = (
                *(stage.kernel, stage.kernel),
                *(stage.inputs, stage.outputs),
            )
            if stage.normalized:
                shapes[f"{stage.name}/scale"] = (styles, stage.outputs)
                shapes[f"{stage.name}/offset"] = (styles, stage.outputs)
            else:
                shapes[f"{stage.name}/bias"] = (stage.outputs,)
        return shapes
