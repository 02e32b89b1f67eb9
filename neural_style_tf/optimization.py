"""What brings a picture nearer to an Objective, ready to be used: `Optimization`; `Graphs` of them.

An Optimization is of no particular picture, nor of any style. So runs that are alike can share one,
and with it the graphs, which take seconds to trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from neural_style_tf import optimizers
from neural_style_tf.descent import Descent, Step
from neural_style_tf.losses import Loss, Targets
from neural_style_tf.networks import Network, centered
from neural_style_tf.objective import Objective
from neural_style_tf.pixels import resize
from neural_style_tf.recent import Recent
from neural_style_tf.schedule import Schedule
from neural_style_tf.styles import Measure, Moments, Painting, Style
from neural_style_tf.sums import host_moments
from neural_style_tf.tiles import TiledLoss, Tiles, make_loss
from neural_style_tf.traced import Traced

# Pixels of a picture that is painted for the sake of the graphs: one, at VGG's fifth block.
_SMALL = 16


class Optimization:
    """A network, what pictures are compared with through it, and what brings them nearer.

    Args:
        network, objective, schedule, tiles: as for `loop.stylize`; of objective and schedule their
            `form` counts.
    """

    def __init__(
        self, network: Network, objective: Objective, schedule: Schedule, tiles: Tiles | None
    ) -> None:
        network, self.mean = centered(network)
        self.loss = make_loss(network, objective.form, tiles)
        self.features = Traced(self.loss.features)
        self.measure = _measure(self.loss, exact=schedule.exact)
        self.descent = Descent(
            *(self.loss.value_and_gradient, optimizers.of_pictures(schedule, self.mean), schedule),
            compiled=tiles is None,  # tiles differ in size, which XLA would compile anew each time
        )

    def targets(
        self,
        content: tf.Tensor,
        styles: Sequence[tuple[Style, float]],
        objective: Objective,
        rows: int,
        columns: int,
    ) -> Targets:
        """At a size; the pictures are let go of once they are known.

        Args:
            content: `[1, H, W, 3]`.
            styles: each with its width against the picture's.
            objective: how much each counts.
            rows, columns: the size in pixels.
        """

        def moments(painting: tf.Tensor) -> Moments:
            return self.measure(painting - self.mean)

        return self.loss.blended(
            self.features(resize(content, rows, columns) - self.mean),
            [style.moments(factor * columns, moments) for style, factor in styles],
            objective,
        )

    def prepare(self, objective: Objective, styles: int) -> None:
        """Trace now what is traced, else, when the first picture that was drafted is gone on with.

        Args:
            objective: as for `targets`.
            styles: how many.
        """
        picture = tf.zeros((1, _SMALL, _SMALL, 3)) + self.mean
        painting = Painting(picture[0])
        targets = self.targets(picture, [(painting, 1.0)] * styles, objective, _SMALL, _SMALL)
        self.descent.prepare(picture - self.mean, targets)

    def steps(
        self,
        picture: tf.Tensor,
        targets: Targets,
        own: int,
        before: int,
        after: int,
        stops: Iterable[int],
        heartbeat: float,
        learnt: Any,
        *,
        tolerance: float | None,
        hands_over: bool,
    ) -> Iterator[Step]:
        """See `Descent.steps`: of a picture `[1, H, W, 3]`, where a Step's are less `mean`."""
        picture -= self.mean
        when = before, after, stops, heartbeat
        return self.descent.steps(
            *(picture, targets, own, *when, learnt), tolerance=tolerance, hands_over=hands_over
        )


class Graphs:
    """Optimizations kept for runs to come: those alike trace their graphs once.

    Runs are alike that have the same network, one and the same object, and an objective and a
    schedule of the same `form`: whatever the pictures, their sizes and number, the weights of
    content, style and total variation, blend, iterations, tolerance, start and seed. (Large
    pictures have a shorter history, which is part of a schedule's form.)

    Args:
        most: how many are kept, those that were used last; each keeps its network.
    """

    def __init__(self, most: int = 4) -> None:
        self.kept: Recent[Any, Optimization] = Recent(most)

    def optimization(
        self, network: Network, objective: Objective, schedule: Schedule, tiles: Tiles | None
    ) -> Optimization:
        """One for such a run, new or of an earlier one; arguments as for `Optimization`."""
        return self.kept.get(
            (_Same(network), objective.form, schedule.form, tiles),
            lambda: Optimization(network, objective, schedule, tiles),
        )


class _Same:
    """Equal to itself alone, whatever the thing thinks of that."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing


def _measure(loss: Loss, *, exact: bool) -> Measure:
    """What gives the moments of a painting; with `exact`, the 2017 program's to the last bit."""
    if not exact or isinstance(loss, TiledLoss):
        return Traced(loss.moments)
    features = Traced(loss.style_features)
    return lambda painting: {
        layer: host_moments(each) for layer, each in features(painting).items()
    }
