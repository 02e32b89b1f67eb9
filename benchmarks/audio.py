"""Audio style transfer against the reference notebook's method, side by side in one run.

The notebook (DmitryUlyanov/neural-style-audio-tf) is followed from its description: log magnitudes
of a 2048-point STFT, one convolution of random 1×11 filters and a rectifier, content loss
α·Σ(F−P)², style loss Σ(G−A)² with G = FᵀF/frames, SciPy's L-BFGS-B over the frames for 300
iterations, then 500 rounds of Griffin-Lim from random phases. Both have the same filters and see
the same frames; every result is judged by the notebook's loss, computed by its convolution.

    python -m benchmarks.audio --content speech.mp3 --style fire.mp3 [--starts notebook content]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize
import tensorflow as tf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from neural_style_tf.audio.features import random_filters  # noqa: E402
from neural_style_tf.audio.phase import convergence, griffin_lim  # noqa: E402
from neural_style_tf.audio.recipe import FILTERS, RECIPE  # noqa: E402
from neural_style_tf.audio.resolution import Resolution  # noqa: E402
from neural_style_tf.audio.spectrogram import log_magnitude, magnitude  # noqa: E402
from neural_style_tf.audio.stages import ROUNDS  # noqa: E402
from neural_style_tf.audio.transfer import Transfer  # noqa: E402
from neural_style_tf.commands.sounds import listen  # noqa: E402
from neural_style_tf.schedule import Schedule  # noqa: E402
from tests.sounds import Sound  # noqa: E402

RATE, FRAMES, ALPHA = 22050, 430, 1e-2
ITERATIONS, PLAIN_ROUNDS = 300, 500
RESOLUTION = Resolution.at(RATE)

Array = npt.NDArray[Any]


class Notebook:
    """The loss of the reference notebook, of frames `[T, bins]`."""

    def __init__(self, filters: Array, content: Array, style: Array) -> None:
        # Its initialization: variance 4/((bins + filters)·taps).
        taps, bins, count = filters.shape
        scaled = filters / filters.std() * np.sqrt(4 / ((bins + count) * taps))
        self.filters = tf.constant(scaled[None], tf.float32)  # [1, taps, bins, filters]
        self.content = self.features(tf.constant(content))
        features = self.features(tf.constant(style))
        self.gram = tf.matmul(features, features, transpose_a=True) / len(style)
        self.own_style = self.terms(content)[1]

    def features(self, frames: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.nn.conv2d(frames[None, None], self.filters, 1, "VALID")[0, 0])

    def _losses(self, frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.features(frames)
        gram = tf.matmul(features, features, transpose_a=True) / tf.cast(
            tf.shape(frames)[0], tf.float32
        )
        content = ALPHA * tf.reduce_sum(tf.square(features - self.content))
        return content, tf.reduce_sum(tf.square(gram - self.gram))

    @tf.function
    def value_and_gradient(self, frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(frames)
            content, style = self._losses(frames)
            total = content + style
        return total, tape.gradient(total, frames)

    def terms(self, frames: Array) -> tuple[float, float]:
        content, style = self._losses(tf.constant(frames, tf.float32))
        return float(content), float(style)

    def minimized(self, start: Array) -> Array:
        def evaluate(x: Array) -> tuple[float, Array]:
            total, gradient = self.value_and_gradient(
                tf.constant(x.reshape(start.shape), tf.float32)
            )
            return float(total), gradient.numpy().ravel().astype(np.float64)

        found = scipy.optimize.minimize(
            evaluate, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
        )
        return found.x.reshape(start.shape).astype(np.float32)


class Row(NamedTuple):
    """A result: its frames as they were found, and its sound `[N]` on the content's window."""

    name: str
    seconds: float
    frames: Array | None
    sound: Array


def mono(path: str, samples: int) -> Array:
    """The beginning of a sound along its first axis, at 22050 Hz and the reference loudness."""
    heard = listen(path)
    return heard.windows(RATE).read(0, samples)[0]


def frames_of(sound: Array) -> Array:
    found = log_magnitude(tf.constant(sound, tf.float32), RESOLUTION)
    return np.asarray(found)


def correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = work()
    return time.perf_counter() - begun, found


def measure(options: argparse.Namespace) -> None:
    hop, window = RESOLUTION.hop, RESOLUTION.window
    length = (FRAMES - 1) * hop
    content = mono(options.content, length)
    style = mono(options.style, RESOLUTION.span(FRAMES))
    # What frames see: half a window before the sound and half a window after it are silent.
    around = np.pad(content, (window // 2, window // 2))
    content_frames, style_frames = frames_of(around), frames_of(style)

    patient = Schedule(iterations=ITERATIONS, tolerance=0.001)
    runs = {
        name: Transfer(RESOLUTION, RECIPE, schedule, FILTERS, unknown, heartbeat=5.0)
        for name, unknown, schedule in (
            ("samples", "samples", Schedule()),
            ("frames, to the end", "frames", patient),
            ("frames", "frames", Schedule()),
        )
    }
    filters = random_filters(RESOLUTION.bins, FILTERS, seed=0).numpy()
    judge = Notebook(filters, content_frames, style_frames)
    rows = []

    def plain(frames: Array, seed: int = 1) -> Array:
        """500 plain rounds from random phases."""
        start = np.random.default_rng(seed).standard_normal(around.shape).astype(np.float32)
        wanted = magnitude(tf.constant(frames), RESOLUTION)
        found = tf.function(griffin_lim)(
            wanted, tf.constant(start), RESOLUTION, PLAIN_ROUNDS, momentum=0.0
        )
        return np.asarray(found)

    noise = 1e-3 * np.random.default_rng(0).standard_normal(content_frames.shape)
    starts = {"notebook": noise.astype(np.float32), "content": content_frames}
    for name in options.starts:
        seconds, frames = timed(lambda name=name: judge.minimized(starts[name]))  # type: ignore[misc]
        more, sound = timed(lambda frames=frames: plain(frames))  # type: ignore[misc]
        print(f"notebook from {name}: {seconds:.0f} s + Griffin-Lim {more:.1f} s", flush=True)
        rows.append(Row(f"notebook, from {name}", seconds + more, frames, sound))

    for name, run in runs.items():

        def made(run: Transfer = run) -> tuple[Array | None, Array]:
            given = Sound(content, RATE)
            textures = [run.measure(Sound(style, RATE))]
            takes = list(run.takes(given, textures, 1, length))
            pixels = takes[-2].step.result.pixels.numpy()  # type: ignore[union-attr]
            frames = pixels[0, 0] if pixels.shape[-1] == RESOLUTION.bins else None
            found = takes[-1].sound()[0]
            return frames, np.pad(found, (window // 2, window // 2))

        seconds, (frames, sound) = timed(made)
        rows.append(Row(f"ours, {name}", seconds, frames, sound))

    print(f"\n{options.content} in the texture of {options.style}: {length / RATE:.1f} s, mono")
    print("| | s | loss of the frames found | of the sound | its style | corr. content | style |")
    print("|-|-|-|-|-|-|-|")
    for row in rows:
        heard = frames_of(row.sound)
        content_loss, style_loss = judge.terms(heard)
        found = "–" if row.frames is None else f"{sum(judge.terms(row.frames)):.1f}"
        print(
            f"| {row.name} | {row.seconds:.0f} | {found} | {content_loss + style_loss:.1f} | "
            f"{100 * style_loss / judge.own_style:.2f} % | "
            f"{correlation(heard, content_frames):.3f} | "
            f"{correlation(heard, style_frames[: len(heard)]):.3f} |"
        )
    least = min(row.seconds for row in rows if row.name.startswith("notebook"))
    for row in rows[len(options.starts) :]:
        print(f"{row.name}: {least / row.seconds:.1f} times as fast as the notebook's method")

    target = rows[-1].frames
    assert target is not None
    wanted = magnitude(tf.constant(target), RESOLUTION)
    seconds, sound = timed(lambda: plain(target))
    print(
        f"phases: {PLAIN_ROUNDS} plain rounds {_decibels(sound, wanted):.1f} dB, {seconds:.1f} s",
        end="",
    )
    seconds, sound = timed(
        lambda: tf.function(griffin_lim)(
            wanted, tf.constant(around, tf.float32), RESOLUTION, ROUNDS
        )
    )
    print(f"; ours, {ROUNDS} rounds {_decibels(sound, wanted):.1f} dB, {seconds:.1f} s")


def _decibels(sound: Any, wanted: tf.Tensor) -> float:
    found = convergence(tf.constant(np.asarray(sound)), wanted, RESOLUTION)
    return float(20 * np.log10(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--content", required=True)
    parser.add_argument("--style", required=True)
    parser.add_argument(
        "--starts", nargs="+", choices=("notebook", "content"), default=["notebook"]
    )
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
