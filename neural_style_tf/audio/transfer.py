"""The texture of sounds on the content of another: a generator of Takes; no I/O.

The method of Ulyanov & Lebedev 2016, with the Objective, Loss, optimizers and Steps of pictures.
Departures from the reference notebook: the expected loss before the filters' own and the samples
themselves after it (`stages`); the content to start from in place of noise, for frames and phases;
phases by fast Griffin-Lim; several channels; any length, in pieces (`chunks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.audio.chunks import Chunk, chunks
from neural_style_tf.audio.recipe import FILTERS, UNKNOWNS
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.stages import Ground, Stages
from neural_style_tf.audio.texture import Samples, Sound, Texture, measure, noise
from neural_style_tf.descent import Step
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule

# Of noise in the content that is begun with, at least: where frames are wholly silent every filter
# is at its kink, and the loss has no slope.
_LEAST_NOISE = 0.01


class Take(NamedTuple):
    """Where a run stands.

    Attributes:
        step: for watchers, None where a piece is done and its sound will not change. Its pixels are
            frames `[1, channels, T, bins]` or samples `[1, channels, N, 1]` of the piece under way.
        piece: which one that is, from 0.
        pieces: how many there are.
        loss: of what the piece would end with here.
        sound: gives the samples `[channels, n]` of it; the pieces follow each other without a gap.
    """

    step: Step | None
    piece: int
    pieces: int
    loss: float
    sound: Callable[[], Samples]


class Transfer:
    """Sound in the texture of others, piece by piece.

    Args:
        resolution: of the frames.
        objective: of the layer "random", with the norms "mean", "hw" and "mean".
        schedule: `iterations` without the filters and as many with them, at most, for each piece;
            `scales` does not count.
        filters: how many random filters.
        unknown: what the filters' loss is minimized over: "samples", or "frames" as in the
            notebook.
        stops, heartbeat: as for `stylize`.
    """

    def __init__(
        self,
        resolution: Resolution,
        objective: Objective,
        schedule: Schedule,
        filters: int = FILTERS,
        unknown: str = UNKNOWNS[0],
        *,
        stops: Iterable[int] = (),
        heartbeat: float = 1.0,
    ) -> None:
        self.resolution, self.objective = resolution, objective
        self.stages = Stages(resolution, objective, schedule, filters, unknown, stops, heartbeat)

    def total(self, length: int) -> int:
        """Iterations for a sound of so many samples, at most."""
        return len(chunks(length, self.resolution.hop)) * self.stages.iterations

    def measure(self, style: Sound) -> Texture:
        """What is taken of a style.

        Raises:
            OptionError: it is shorter than what a filter sees.
        """
        return measure(style, self.stages.moments, self.resolution)

    def takes(
        self, content: Sound | None, textures: Sequence[Texture], channels: int, length: int
    ) -> Iterator[Take]:
        """The run.

        Args:
            content: of so many channels and samples, or None for texture alone.
            textures: one or more, of the same sample rate.
            channels: of the result.
            length: of the result, in samples.

        Raises:
            OptionError: blend weights of another number than textures.
            DivergedError: the loss became NaN or infinite.
        """
        pieces = chunks(length, self.resolution.hop)
        blend = self.objective.blend(len(textures))
        power = np.average([texture.power for texture in textures], axis=0, weights=blend)
        past: Samples = np.zeros((channels, 0), np.float32)
        done, each = 0, self.stages.iterations
        for index, piece in enumerate(pieces):
            given = content.read(*piece.window) if content else None
            start = self._start(given, power, channels, piece, index)
            free = _free(piece, length)
            start *= free
            start[:, : past.shape[1]] = past
            sought = _tensor(start if given is None else given)
            ground = Ground(_tensor(start), _tensor(free), piece.held, self.stages.frames(sought))
            later = (len(pieces) - 1 - index) * each
            for stand in self.stages.stands(ground, textures, done, later):
                share = 1.0 if stand.step.last else (index + stand.step.share) / len(pieces)
                step = stand.step._replace(share=share)
                loss, sound = step.result.loss, partial(_settled, piece, stand.samples)
                yield Take(step, index, len(pieces), loss, sound)
            done, final = stand.step.iteration, stand.samples()
            sound = partial(_settled, piece, partial(tf.identity, final))
            yield Take(None, index, len(pieces), loss, sound)
            if later:
                begin, end = pieces[index + 1].window[0], piece.settles[1]
                past = final.numpy()[0, :, begin - piece.window[0] : end - piece.window[0], 0]

    def _start(
        self,
        content: Samples | None,
        power: npt.NDArray[np.float64],
        channels: int,
        piece: Chunk,
        index: int,
    ) -> Samples:
        """The content, with as much noise as the schedule wants; without content, noise alone."""
        schedule = self.stages.schedule
        begin, end = piece.window
        drawn = noise(power, channels, end - begin, (schedule.seed, index))
        if content is None:
            return drawn
        share = max(schedule.initial_noiseblend or 0.0, _LEAST_NOISE)
        return (1 - share) * content + share * drawn


def _free(piece: Chunk, length: int) -> Samples:
    """1 for the samples of a piece's window that it may choose, `[1, N]`: not the past, nor
    anything outside of the sound."""
    at = np.arange(*piece.window)
    return ((at >= piece.settles[0]) & (at < length)).astype(np.float32)[None]


def _settled(piece: Chunk, samples: Callable[[], tf.Tensor]) -> Samples:
    """Of samples `[1, channels, N, 1]` of a piece's window those that it settles."""
    begin, end = (at - piece.window[0] for at in piece.settles)
    return samples().numpy()[0, :, begin:end, 0]


def _tensor(samples: Samples) -> tf.Tensor:
    """`[channels, N]` -> `[1, channels, N, 1]`."""
    return tf.constant(samples[None, :, :, None], tf.float32)
