"""From magnitudes to sound: phases that fit together, found by projecting back and forth."""

from __future__ import annotations

import tensorflow as tf

from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.spectrogram import istft, stft


def griffin_lim(
    magnitude: tf.Tensor,
    start: tf.Tensor,
    resolution: Resolution,
    rounds: int,
    momentum: float = 0.99,
    free: tf.Tensor | None = None,
) -> tf.Tensor:
    """A sound whose spectrum has nearly these magnitudes (Griffin & Lim 1984).

    With momentum it is the fast version (Perraudin, Balazs & Søndergaard 2013), with 0 the plain
    one.

    Args:
        magnitude: |STFT|, `[..., frames, bins]`.
        start: a sound `[..., N]` whose phases are begun with.
        rounds: projections onto these magnitudes, and onto spectra of sounds.
        momentum: how far each round goes on in the direction of the last one.
        free: `[N]`, 1 where samples are to be found and 0 where those of `start` stay.

    Returns:
        `[..., N]`.
    """

    def sound(spectrum: tf.Tensor) -> tf.Tensor:
        """The nearest sound to this spectrum's phases with the magnitudes wanted."""
        size = tf.maximum(tf.abs(spectrum), 1e-12)
        found = istft(spectrum * tf.cast(magnitude / size, spectrum.dtype), resolution)
        return found if free is None else start + free * (found - start)

    def step(index: tf.Tensor, ahead: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, ...]:
        here = stft(sound(ahead), resolution)
        return index + 1, here + tf.cast(momentum, here.dtype) * (here - last), here

    begun = stft(start, resolution)
    # A sound of no phase, silence, would stay silent.
    begun = tf.where(begun == 0, tf.ones_like(begun) * 1e-12, begun)
    _, _, spectrum = tf.while_loop(
        lambda index, *_: index < rounds, step, (tf.constant(0), begun, begun)
    )
    return sound(spectrum)


def convergence(samples: tf.Tensor, magnitude: tf.Tensor, resolution: Resolution) -> tf.Tensor:
    """Spectral convergence ‖|STFT| − M‖/‖M‖ of a sound `[..., N]`: 0 where all magnitudes fit."""
    return tf.norm(tf.abs(stft(samples, resolution)) - magnitude) / tf.norm(magnitude)
