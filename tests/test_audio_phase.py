"""Phases for magnitudes: Griffin-Lim, plain and fast."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from neural_style_tf.audio.phase import convergence, griffin_lim
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.spectrogram import stft
from tests import sounds

SMALL = Resolution(128)
SOUND = tf.constant(
    (sounds.tones(0.5, 440, 900, 620) + sounds.clicks(0.5))[None, : SMALL.span(120)]
)
WANTED = tf.abs(stft(SOUND, SMALL))
NOISE = tf.constant(sounds.noise(0.5, 9)[None, : SMALL.span(120)])


def reached(rounds: int, momentum: float = 0.99, start: Any = NOISE, wanted: Any = WANTED) -> float:
    found = griffin_lim(wanted, start, SMALL, rounds, momentum)
    return float(convergence(found, wanted, SMALL))


def test_convergence_is_the_relative_error_of_magnitudes() -> None:
    ours = float(convergence(NOISE, WANTED, SMALL))
    apart = np.abs(stft(NOISE, SMALL)) - WANTED.numpy()
    assert ours == pytest.approx(np.linalg.norm(apart) / np.linalg.norm(WANTED), rel=1e-5)
    assert float(convergence(SOUND, WANTED, SMALL)) == pytest.approx(0, abs=1e-6)


def test_plain_rounds_never_lose_ground() -> None:
    """What Griffin and Lim proved."""
    errors = [reached(rounds, 0.0) for rounds in (1, 2, 4, 8, 16, 32)]
    assert all(after < before * (1 + 1e-4) for before, after in pairwise(errors))
    assert errors[-1] < 0.6 * errors[0]


def test_momentum_gets_further() -> None:
    assert reached(60) < 0.9 * reached(60, 0.0)


def test_phases_that_fit_stay() -> None:
    found = griffin_lim(WANTED, SOUND, SMALL, 5)
    assert np.abs(found - SOUND)[0, 256:-256].max() < 1e-3


def test_a_start_with_good_phases_helps() -> None:
    """Magnitudes that have changed somewhat, as those of a content do."""
    louder = WANTED * tf.constant(
        np.random.default_rng(0).uniform(0.5, 1.5, WANTED.shape), tf.float32
    )
    assert reached(20, start=SOUND, wanted=louder) < reached(20, wanted=louder)


def test_samples_that_are_held_stay() -> None:
    free = (np.arange(SOUND.shape[1]) >= 700).astype(np.float32)
    found = griffin_lim(WANTED, NOISE, SMALL, 10, free=tf.constant(free)).numpy()
    assert (found[0, :700] == NOISE.numpy()[0, :700]).all()
    assert np.abs(found - NOISE.numpy())[0, 700:].max() > 0.01


def test_silence_does_not_stay_silent() -> None:
    assert reached(30, start=tf.zeros_like(NOISE)) < 0.9
