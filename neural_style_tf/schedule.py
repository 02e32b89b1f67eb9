"""How the objective is reached: optimizer, sizes, iterations, start. Plain data, no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

from neural_style_tf.errors import OptionError
from neural_style_tf.settings import option

OPTIMIZERS = ("lbfgs", "adam")
KEEP = ("best", "last")

# What an optimizer is given where nothing is said: Adam what the 2017 program gives it, L-BFGS what
# makes a finished picture.
ITERATIONS = {"lbfgs": 100, "adam": 1000}
# Where twenty iterations bring less than a sixtieth nobody sees what more of them bring; whoever
# says how many there are to be wants them all the same.
TOLERANCE, PATIENT = {"lbfgs": 0.015, "adam": 0.0}, {"lbfgs": 0.01, "adam": 0.0}
# Past steps that L-BFGS remembers. Twenty are worth a tenth of the iterations; their memory, two
# pictures each, is little next to a network's but for large ones, whose pixels are so many.
HISTORY, HISTORY_OF_LARGE = 20, 10
_LARGE = 2**19
ADAM = {"learning_rate": 10.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

# The settings whose defaults are the optimizer's.
OF_OPTIMIZER = ("optimizer", "iterations", "scales", "tolerance", "history", *ADAM)

# The shorter side of the coarsest size is not to fall below: four pixels at VGG's fifth block.
COARSEST = 64

# What an iteration of the draft takes of the network's: an evaluation 0.17 of VGG-19's (0.3 in
# bfloat16 on Intel's), and what L-BFGS takes by itself. So it may have more of them at full size.
_DRAFTED, _DRAFTED_AT_FULL_SIZE = 0.25, 2


class Stage(NamedTuple):
    """Iterations at one size with one network.

    Attributes:
        size: height and width in pixels.
        iterations: at most.
        drafted: whether by the draft and not by the network itself.
    """

    size: tuple[int, int]
    iterations: int
    drafted: bool = False

    @property
    def work(self) -> float:
        """Pixels that are evaluated, at most; one that is drafted counts as a part of one."""
        return self.iterations * math.prod(self.size) * (_DRAFTED if self.drafted else 1)


@dataclass(frozen=True)
class Schedule:
    """The settings of one run. What is None is chosen by `resolved` and `sizes`.

    Attributes:
        optimizer: None is "lbfgs", or "adam" where one of Adam's own settings is given.
        iterations: evaluations of the loss at full size, and where there is a draft twice as many
            of it before; at a coarser size half as many.
        scales: how many sizes, each twice the one before. None is 1 for Adam, as in the 2017
            program; for L-BFGS as many as keep the shorter side at 64 pixels or more.
        tolerance: a size is done when its loss has fallen by less than this share over 20
            iterations; 0 is never. None is 0 for Adam; for L-BFGS 0.015, and 0.01 where the number
            of iterations is given.
        keep: which picture a run ends with: "best", the one of the lowest loss among all
            iterations (Adam swings, the last is seldom the best), or "last".
        initial_noiseblend: share of noise in the first picture, 0-1; None is 1 (noise alone), or
            0 where an initial picture is given.

    Raises:
        OptionError: a value out of its range, or Adam's settings for L-BFGS.
    """

    iterations: int | None = option(
        None,
        "evaluations of the loss at full size, at most, after up to twice as many of a draft; half "
        f"as many at each coarser size (default: lbfgs {ITERATIONS['lbfgs']}, adam "
        f"{ITERATIONS['adam']})",
        type=int,
    )
    optimizer: str | None = option(
        None,
        "lbfgs, or adam, as the 2017 program (default: lbfgs, or adam if one of its settings is "
        "given)",
        choices=OPTIMIZERS,
        type=str,
    )
    scales: int | None = option(
        None,
        "paint at so many sizes, each twice the one before; 1 is full size alone (default: adam 1, "
        f"lbfgs as many as keep both sides at {COARSEST} pixels or more)",
        type=int,
    )
    tolerance: float | None = option(
        None,
        "a size is done when the loss falls by less than this share in 20 iterations "
        f"(default: lbfgs {TOLERANCE['lbfgs']:g}, {PATIENT['lbfgs']:g} where iterations are given; "
        "adam 0: never)",
        type=float,
    )
    history: int | None = option(
        None,
        f"L-BFGS: past steps that it remembers (default {HISTORY}, {HISTORY_OF_LARGE} from half a "
        "megapixel on, fewer where memory is short)",
        type=int,
    )
    learning_rate: float | None = option(
        None,
        f"Adam: learning rate, in grey levels (default {ADAM['learning_rate']:g})",
        type=float,
    )
    beta1: float | None = option(
        None, f"Adam: decay of the mean gradient (default {ADAM['beta1']})", type=float
    )
    beta2: float | None = option(
        None, f"Adam: decay of the mean squared gradient (default {ADAM['beta2']})", type=float
    )
    epsilon: float | None = option(
        None, f"Adam: epsilon (default {ADAM['epsilon']:g})", flag="eps", type=float
    )
    initial_noiseblend: float | None = option(
        None,
        "ratio of blending the initial picture with normalized noise; with no initial picture the "
        "content is used (default 1.0, or 0.0 with --initial)",
        type=float,
    )
    seed: int = option(0, "seed of the noise: the same seed, the same picture")
    keep: str = option(
        "best", "end with the picture of the lowest loss, or with the last one", choices=KEEP
    )

    def __post_init__(self) -> None:
        def fits(value: float | None, low: float, high: float) -> bool:
            return value is None or low <= value <= high

        def whole(value: int | None, low: int, high: int) -> bool:
            return fits(value, low, high) and (value is None or isinstance(value, Integral))

        tiny, most = math.ulp(0.0), math.nextafter(math.inf, 0)
        below_one = math.nextafter(1, 0)
        for ok, name, expected in (
            (whole(self.iterations, 1, 2**31 - 1), "iterations", "a whole number, 1 or more"),
            (self.optimizer in (None, *OPTIMIZERS), "optimizer", " or ".join(OPTIMIZERS)),
            (whole(self.scales, 1, 16), "scales", "a whole number from 1 to 16"),
            (fits(self.tolerance, 0, below_one), "tolerance", "at least 0 and below 1"),
            (whole(self.history, 1, 100), "history", "a whole number from 1 to 100"),
            (fits(self.learning_rate, tiny, most), "learning_rate", "a finite number above 0"),
            (fits(self.beta1, 0, below_one), "beta1", "at least 0 and below 1"),
            (fits(self.beta2, 0, below_one), "beta2", "at least 0 and below 1"),
            (fits(self.epsilon, tiny, most), "epsilon", "a finite number above 0"),
            (fits(self.initial_noiseblend, 0, 1), "initial_noiseblend", "between 0 and 1"),
            (whole(self.seed, 0, 2**31 - 1), "seed", "a whole number from 0 to 2147483647"),
            (self.keep in KEEP, "keep", " or ".join(KEEP)),
        ):
            if not ok:
                raise OptionError(
                    f"{name.replace('_', ' ')}: expected {expected}, got {getattr(self, name)}"
                )
        if self.optimizer == "lbfgs" and self.adam:
            raise OptionError(
                f"{next(iter(self.adam)).replace('_', ' ')} is a setting of adam, got optimizer "
                "lbfgs; choose adam or leave it out"
            )
        if (self.optimizer == "adam" or self.adam) and self.history:
            raise OptionError("history is a setting of lbfgs, got optimizer adam; leave it out")

    @property
    def adam(self) -> dict[str, float]:
        """Adam's settings, those that are given."""
        return {name: value for name in ADAM if (value := getattr(self, name)) is not None}

    @property
    def exact(self) -> bool:
        """Whether it is the 2017 program's procedure: its numbers are kept to the last bit."""
        return self.resolved().optimizer == "adam"

    @property
    def form(self) -> Schedule:
        """The same, but for what is no part of a graph: the sizes, how often, and from where."""
        return dataclasses.replace(
            self.resolved(),
            iterations=None,
            tolerance=None,
            scales=None,
            initial_noiseblend=None,
            seed=0,
        )

    def resolved(self) -> Schedule:
        """The same with the optimizer and its settings chosen, all but the scales."""
        optimizer = self.optimizer or ("adam" if self.adam else "lbfgs")
        adam: dict[str, Any] = ADAM | self.adam if optimizer == "adam" else {}
        tolerance = (TOLERANCE if self.iterations is None else PATIENT)[optimizer]
        return dataclasses.replace(
            self,
            optimizer=optimizer,
            iterations=self.iterations or ITERATIONS[optimizer],
            tolerance=tolerance if self.tolerance is None else self.tolerance,
            **adam,
        )

    def remembering(self, height: int, width: int) -> Schedule:
        """The same with as long a history as is good for a picture of that size, for L-BFGS."""
        if self.resolved().optimizer == "adam":
            return self
        length = self.history or longest_history(height, width)
        return dataclasses.replace(self, history=length)

    def stages(self, height: int, width: int, *, drafted: bool = False) -> list[Stage]:
        """What a run does in turn, coarse to fine; the last stage is at full size.

        At a coarse size there are half as many iterations: it is to find the large structures, and
        whatever is fine there is painted over. With a draft all sizes are drafted, the full one at
        greater length, and the network itself finishes.
        """
        full = self.iterations or ITERATIONS[self.resolved().optimizer or "lbfgs"]
        half = -(-full // 2)
        *coarse, finest = self.sizes(height, width)
        stages = [Stage(size, half, drafted) for size in coarse]
        if drafted:
            stages.append(Stage(finest, _DRAFTED_AT_FULL_SIZE * full, drafted))
        return [*stages, Stage(finest, full)]

    def total(self, height: int, width: int, *, drafted: bool = False) -> int:
        """Iterations of all stages together, at most."""
        return sum(stage.iterations for stage in self.stages(height, width, drafted=drafted))

    def work(self, height: int, width: int) -> float:
        """Pixels that are evaluated at all sizes together, at most, without a draft."""
        return sum(stage.work for stage in self.stages(height, width))

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The sizes to paint at, `(height, width)`, coarse to fine; the last is the full one.

        Raises:
            OptionError: more sizes were asked for than there is room for.
        """
        shorter = min(height, width)
        if self.scales is None and self.resolved().optimizer == "adam":
            scales = 1
        else:
            scales = self.scales or max(1, 1 + int(math.log2(shorter / COARSEST)))
        coarsest = 2 ** (scales - 1)
        if scales > 1 and shorter // coarsest < 16:
            raise OptionError(
                f"{scales} scales of {width}×{height} pixels begin with {width // coarsest}×"
                f"{height // coarsest}: expected at least 16×16; give fewer --scales"
            )
        return [
            (max(1, round(height / 2**k)), max(1, round(width / 2**k)))
            for k in reversed(range(scales))
        ]


def longest_history(height: int, width: int) -> int:
    """How many past steps L-BFGS may remember of a picture of that size, where nobody says."""
    return HISTORY if height * width < _LARGE else HISTORY_OF_LARGE
