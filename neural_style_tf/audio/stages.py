"""One piece of sound, gone through in stages, as a picture is in sizes.

1. Its frames, by the loss that is expected of random filters (`expected`): cheap, and near.
2. Phases for them (`phase`). No sound has just these frames: of the style, most is lost again.
3. So, last, its samples, by the filters' loss of the frames that they have.

The reference notebook optimizes the frames by the filters' loss, and ends with phases; so does
`unknown="frames"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf import optimizers
from neural_style_tf.audio.expected import ExpectedLoss
from neural_style_tf.audio.features import RandomFeatures, random_filters, variance
from neural_style_tf.audio.phase import griffin_lim
from neural_style_tf.audio.recipe import UNKNOWNS
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.spectrogram import log_magnitude, magnitude, reweighted
from neural_style_tf.audio.texture import Texture
from neural_style_tf.descent import Descent, Step
from neural_style_tf.losses import Loss, Terms
from neural_style_tf.metrics import Metric
from neural_style_tf.objective import Objective
from neural_style_tf.optimizers import Optimizer
from neural_style_tf.schedule import Schedule
from neural_style_tf.traced import Traced

# Rounds of Griffin-Lim: more are hardly heard, and the samples themselves follow.
ROUNDS = 100
# Samples are counted in hundredths of full scale, so that a step of an optimizer is about as large
# for them as for log magnitudes.
_UNIT = 100.0
_FIRST_STEP = 0.1
# What an iteration costs without the filters, about, against one with them.
_CHEAP = 0.12


class Ground(NamedTuple):
    """What is known of a piece before it is worked on.

    Attributes:
        start: samples `[1, channels, N, 1]` to begin with.
        free: 1 or 0, which samples may change, `[1, 1, N, 1]`.
        held: how many frames at the beginning lie wholly before those.
        content: frames of the content, `[1, channels, T, bins]`.
    """

    start: tf.Tensor
    free: tf.Tensor
    held: int
    content: tf.Tensor


class Stand(NamedTuple):
    """A Step, and what gives the piece's samples `[1, channels, N, 1]` if it ends here."""

    step: Step
    samples: Callable[[], tf.Tensor]


class _Aim(NamedTuple):
    """What samples aim at: targets of their loss, and 1 or 0, which of them may change.

    `weights` are of their metric, `[1, channels, T, bins]`; see `Stages._followed`.
    """

    targets: Any
    free: tf.Tensor
    weights: tf.Tensor


class Stages:
    """The stages, made ready for any number of pieces.

    Args:
        resolution: of the frames.
        objective: of the layer "random", with the norms "mean", "hw" and "mean".
        schedule: `iterations` without the filters and as many with them, at most; `scales` does not
            count.
        filters: how many random filters.
        unknown: what the filters' loss is minimized over, "samples" or "frames".
        stops, heartbeat: as for `stylize`.
    """

    def __init__(
        self,
        resolution: Resolution,
        objective: Objective,
        schedule: Schedule,
        filters: int,
        unknown: str = UNKNOWNS[0],
        stops: Iterable[int] = (),
        heartbeat: float = 1.0,
    ) -> None:
        self.resolution, self.unknown = resolution, unknown
        self.schedule = schedule = schedule.resolved()
        network = RandomFeatures(random_filters(resolution.bins, filters, schedule.seed))
        self.loss = Loss(network, objective)
        self.expected = ExpectedLoss(objective, variance(resolution.bins), filters)
        of_samples = Loss(lambda units: network(self._frames(units / _UNIT)), objective)
        self.features, self.moments = Traced(self.loss.features), Traced(self.loss.moments)
        self.frames, self.phase = Traced(self._frames), Traced(self._phase)
        self.stops, self.heartbeat = frozenset(stops), heartbeat
        plain = optimizers.make(schedule, first_step=_FIRST_STEP)

        def descent(evaluate: Any, optimizer: Callable[[Any, tf.Tensor], Optimizer]) -> Descent:
            return Descent(evaluate, optimizer, schedule)

        self.without = descent(self.expected.value_and_gradient, lambda *_: plain)
        self.within = (
            descent(_where_free(of_samples.value_and_gradient), self._optimizer_of_samples)
            if unknown == "samples"
            else descent(self.loss.value_and_gradient, lambda *_: plain)
        )

    @property
    def iterations(self) -> int:
        """Of both stages that iterate, at most."""
        return 2 * (self.schedule.iterations or 0)

    def stands(
        self, ground: Ground, textures: Sequence[Texture], before: int = 0, later: int = 0
    ) -> Iterator[Stand]:
        """Go through the stages.

        Args:
            ground: of the piece.
            textures: of the styles.
            before, later: iterations done at earlier pieces, and to follow at later ones.

        Yields:
            Stands in order, with the share of this piece's work alone.
        """
        own, when = self.iterations // 2, (self.stops, self.heartbeat)
        begun = self.frames(ground.start)
        # The frames that are sought know nothing of those before them. Beside frames that are held,
        # the first one would make up for ten: a click, once it is heard.
        start, content = (frames[:, :, ground.held :] for frames in (begun, ground.content))

        def whole(found: tf.Tensor) -> tf.Tensor:
            return tf.concat([begun[:, :, : ground.held], found], 2)

        def phased(found: tf.Tensor) -> tf.Tensor:
            return self.phase(whole(found), ground.start, ground.free)

        near = self.expected.targets(content, [texture.frames for texture in textures])
        for step in self.without.steps(start, near, own, before, own + later, *when):
            yield _stand(step, 0.0, _CHEAP, phased)
        found, before = step.result.pixels, step.iteration
        moments = [texture.moments for texture in textures]
        aim: Any
        if self.unknown == "frames":
            start, samples = found, phased
            aim = self.loss.blended(self.features(content), moments)
        else:
            start, samples = phased(found) * _UNIT, _full_scale
            exact = self.loss.blended(self.features(ground.content), moments)
            aim = _Aim(exact, ground.free, tf.exp(2 * tf.maximum(whole(found), 0.0)))
        for step in self.within.steps(start, aim, own, before, later, *when):
            yield _stand(step, _CHEAP, 1.0, samples)

    def _frames(self, samples: tf.Tensor) -> tf.Tensor:
        """`[1, channels, N, 1]` -> `[1, channels, T, bins]`."""
        return log_magnitude(samples[..., 0], self.resolution)

    def _phase(self, frames: tf.Tensor, start: tf.Tensor, free: tf.Tensor) -> tf.Tensor:
        """Samples `[1, channels, N, 1]` of such frames."""
        wanted = magnitude(frames, self.resolution)
        return griffin_lim(wanted, start[..., 0], self.resolution, ROUNDS, free=free[..., 0])[
            ..., None
        ]

    def _optimizer_of_samples(self, aim: _Aim, _: tf.Tensor) -> Optimizer:
        metric = Metric(lambda gradient: self._followed(gradient, aim))
        return optimizers.make(self.schedule, metric, _FIRST_STEP)

    def _followed(self, gradient: tf.Tensor, aim: _Aim) -> tf.Tensor:
        """The gradient by samples, in a metric in which log magnitudes are alike.

        log(1 + |z|) changes by 1 where |z| changes by 1 + |z|: loud bins have a long way to go and
        faint ones a short one. With S the STFT, J = S/(1 + |z|) is about how frames follow samples,
        and Sᵀ(1 + |z|)²S about what undoes JᵀJ.
        """
        free = gradient * aim.free
        steered = reweighted(free[..., 0], aim.weights, self.resolution)[..., None]
        return tf.ensure_shape(steered * aim.free, gradient.shape)


def _full_scale(found: tf.Tensor) -> tf.Tensor:
    return found / _UNIT


def _stand(
    step: Step, done: float, work: float, samples: Callable[[tf.Tensor], tf.Tensor]
) -> Stand:
    """A Step of a stage, with its share of the piece's work."""
    share = (done + work * step.share) / (_CHEAP + 1)
    return Stand(step._replace(share=share), partial(samples, step.result.pixels))


def _where_free(
    evaluate: Callable[[tf.Tensor, Any], tuple[Terms, tf.Tensor]],
) -> Callable[[tf.Tensor, _Aim], tuple[Terms, tf.Tensor]]:
    """The same loss, with a gradient that leaves alone what may not change."""

    def evaluated(unknown: tf.Tensor, aim: _Aim) -> tuple[Terms, tf.Tensor]:
        terms, gradient = evaluate(unknown, aim.targets)
        return terms, gradient * aim.free

    return evaluated
