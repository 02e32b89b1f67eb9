"""How the objective is reached: optimizer, iterations, start. Plain data, no TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neural_style_tf.errors import OptionError
from neural_style_tf.settings import option

OPTIMIZERS = ("adam", "lbfgs")
KEEP = ("best", "last")


@dataclass(frozen=True)
class Schedule:
    """The settings of one run; the defaults are those of the 2017 program.

    Attributes:
        keep: which picture a run ends with: "best", the one of the lowest loss among all
            iterations (Adam swings, the last is seldom the best), or "last".
        initial_noiseblend: share of noise in the first picture, 0-1; None is 1 (noise alone), or
            0 where an initial picture is given.

    Raises:
        OptionError: a value out of its range.
    """

    iterations: int = option(1000, "iterations")
    optimizer: str = option(
        "adam",
        "adam, as the 2017 program, or lbfgs, which needs far fewer iterations",
        choices=OPTIMIZERS,
    )
    learning_rate: float = option(10.0, "Adam: learning rate, in grey levels")
    beta1: float = option(0.9, "Adam: decay of the mean gradient")
    beta2: float = option(0.999, "Adam: decay of the mean squared gradient")
    epsilon: float = option(1e-8, "Adam: epsilon", flag="eps")
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
        blend = self.initial_noiseblend
        for ok, name, expected in (
            (self.iterations >= 1, "iterations", "a whole number, 1 or more"),
            (self.optimizer in OPTIMIZERS, "optimizer", " or ".join(OPTIMIZERS)),
            (0 < self.learning_rate < math.inf, "learning_rate", "a finite number above 0"),
            (0 <= self.beta1 < 1, "beta1", "at least 0 and below 1"),
            (0 <= self.beta2 < 1, "beta2", "at least 0 and below 1"),
            (0 < self.epsilon < math.inf, "epsilon", "a finite number above 0"),
            (blend is None or 0 <= blend <= 1, "initial_noiseblend", "between 0 and 1"),
            (0 <= self.seed < 2**31, "seed", "a whole number from 0 to 2147483647"),
            (self.keep in KEEP, "keep", " or ".join(KEEP)),
        ):
            if not ok:
                raise OptionError(
                    f"{name.replace('_', ' ')}: expected {expected}, got {getattr(self, name)}"
                )
