"""Sounds of a run: looked through before it, read while it goes on, and put together after it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from absl import logging

from neural_style_tf import sound_files
from neural_style_tf.audio.channels import axes, back
from neural_style_tf.audio.chunks import chunks
from neural_style_tf.audio.loudness import Meter, matched
from neural_style_tf.audio.recipe import TAPS
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.commands.sound_job import Job
from neural_style_tf.errors import FileError, OptionError
from neural_style_tf.files import reporting, shown
from neural_style_tf.sound_files import Samples, SoundFile, Windows

if TYPE_CHECKING:
    from neural_style_tf.audio.transfer import Take


@dataclass(frozen=True)
class Heard:
    """A sound that has been looked through.

    Attributes:
        file: where it is.
        meter: its loudness, its peak and its length.
        axes: `[rows, channels]`, along which it is worked on.
    """

    file: SoundFile
    meter: Meter
    axes: npt.NDArray[np.float64]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.meter.length / self.file.rate

    def windows(self, rate: int) -> Windows:
        """To be read along its axes, at some rate, brought to the reference loudness."""
        gain = (self.axes * self.meter.gain).astype(np.float32)
        pieces = (gain @ piece for piece in self.file.pieces(rate))
        length = self.meter.length * rate // self.file.rate
        return Windows(pieces, rate, len(self.axes), length)


def listen(path: str) -> Heard:
    """Look through a sound once; nothing of it stays in memory.

    Raises:
        FileError: it cannot be read, is empty or silent, or has samples that are no numbers.
    """
    file = SoundFile(path)
    meter = Meter(file.rate, file.channels)
    covariance = np.zeros((file.channels, file.channels))
    for piece in file.pieces():
        meter.add(piece)
        if meter.finite:
            covariance += piece.astype(np.float64) @ piece.T
    wrong = ""
    if not meter.length:
        wrong = "the sound is empty"
    elif not meter.finite:
        wrong = "it has samples that are NaN or infinite"
    elif not meter.energies.any():
        wrong = "the sound is silent (nothing in it is above -70 LUFS)"
    if wrong:
        raise FileError(f"cannot use sound {shown(path)}: {wrong}; name another file")
    if meter.length < file.promised:
        logging.warning(
            "%s is cut short: it has %.1f s of %.1f",
            *(shown(path), meter.length / file.rate, file.promised / file.rate),
        )
    return Heard(file, meter, axes(covariance))


class Sounds:
    """The sounds of a job, all looked through.

    Attributes:
        content: where there is one.
        styles: one or more.
        like: the sound that gives the result its rate, channels, encoding and loudness.
        length: samples of the result.

    Raises:
        FileError: one that cannot be used.
        OptionError: one that is shorter than what a filter sees.
    """

    def __init__(self, job: Job) -> None:
        inputs = job.inputs
        self.job = job
        self.content = listen(inputs.content) if inputs.content else None
        self.styles = [listen(path) for path in inputs.styles]
        self.like = self.content or self.styles[0]
        self.rate = self.like.file.rate
        self.resolution = Resolution.at(self.rate)
        self.length = (
            round(inputs.duration * self.rate) if inputs.duration else self.like.meter.length
        )
        least = self.resolution.span(TAPS) / self.rate
        for sound in (self.like, *self.styles):
            if sound.seconds < least:
                raise OptionError(
                    f"{shown(sound.file.path)} lasts {sound.seconds:.2f} s: expected at least "
                    f"{least:.2f}, which is what a filter sees; give a longer sound"
                )
        if self.length / self.rate < least:
            raise OptionError(
                f"--duration: expected at least {least:.2f} seconds, which is what a filter sees, "
                f"got {inputs.duration}"
            )
        for sound in self.styles:
            if sound.file.rate != self.rate:
                logging.info(
                    "%s is resampled from %d to %d Hz",
                    *(shown(sound.file.path), sound.file.rate, self.rate),
                )

    @property
    def pieces(self) -> int:
        """In which the result is made."""
        return len(chunks(self.length, self.resolution.hop))

    @property
    def iterations(self) -> int:
        """Of the run, at most."""
        return self.pieces * 2 * (self.job.schedule.iterations or 0)

    def told(self) -> str:
        """What a user wants to know of the run, on one line."""
        channels, filters = self.like.file.channels, self.job.inputs.filters
        text = f"{self.length / self.rate:.1f} s at {self.rate} Hz, "
        text += {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
        text += " with but one thing in it" if channels > len(self.like.axes) == 1 else ""
        text += f", in {self.pieces} pieces" if self.pieces > 1 else ""
        return f"{text}; {filters} random filters"

    def takes(self, stops: Collection[int]) -> Iterator[Take]:
        """Run the job; TensorFlow has been started."""
        from neural_style_tf.audio.transfer import Transfer

        inputs = self.job.inputs
        transfer = Transfer(
            *(self.resolution, self.job.objective, self.job.schedule),
            *(inputs.filters, inputs.unknown),
            stops=stops,
        )
        textures = [transfer.measure(style.windows(self.rate)) for style in self.styles]
        content = self.content.windows(self.rate) if self.content else None
        return transfer.takes(content, textures, len(self.like.axes), self.length)


class Spool:
    """A result on its way, on disk: only at its end is it known how loud it is.

    Args:
        like: gives the result its channels.
        folder: where there is room for it; a system's own for such things may be in memory.
    """

    def __init__(self, like: Heard, folder: Path) -> None:
        self.channels = like.file.channels
        self.back = back(like.axes).astype(np.float32)
        self.meter = Meter(like.file.rate, self.channels)
        self.folder = folder
        with reporting("write into", folder):
            self.file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see `close`

    def add(self, samples: Samples) -> None:
        """What comes next, along the axes: `[rows, n]`.

        Raises:
            FileError: a disk that refuses.
        """
        samples = self.back @ samples
        with reporting("write into", self.folder):
            self.file.write(np.ascontiguousarray(samples.T, np.float32).tobytes())
        self.meter.add(samples)

    def close(self) -> None:
        """Nothing of it stays on disk."""
        self.file.close()

    def pieces(self, wanted: Meter) -> Iterator[npt.NDArray[Any]]:
        """All of it, `[channels, n]`, as loud as another sound and nowhere clipped."""
        gains = matched(self.meter, wanted)[:, None]
        self.file.seek(0)
        size = 65536 * self.channels * np.dtype(np.float32).itemsize
        while data := self.file.read(size):
            yield np.frombuffer(data, np.float32).reshape(-1, self.channels).T * gains

    def write(self, path: str, sounds: Sounds) -> None:
        """Write it with the rate, the channels, the loudness and, if it can be, the encoding of
        the sound that it is to be like.

        Raises:
            FileError: a disk that refuses.
        """
        file = sounds.like.file
        sound_files.write(
            path,
            self.pieces(sounds.like.meter),
            file.rate,
            file.channels,
            sound_files.encoding_in(path, file.encoding),
            sounds.job.to_dict(),
        )
