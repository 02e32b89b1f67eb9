"""The short-time Fourier transform, against SciPy and against what defines its inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.spectrogram import istft, log_magnitude, magnitude, reweighted, stft
from tests import sounds

SMALL = Resolution(64)


def scipys(resolution: Resolution) -> Any:
    window = scipy.signal.get_window("hann", resolution.window)
    return scipy.signal.ShortTimeFFT(window, resolution.hop, fs=1, phase_shift=None)


def test_as_scipy() -> None:
    samples = sounds.noise(0.5)
    ours = stft(tf.constant(samples), SMALL).numpy()
    theirs = scipys(SMALL)
    first = theirs.lower_border_end[1]  # frames that begin before the sound are not ours
    wanted = theirs.stft(samples).T[first - theirs.p_min :][: len(ours)]
    assert len(ours) == (len(samples) - 64) // 16 + 1
    assert np.abs(ours - wanted).max() < 1e-5


def test_there_and_back() -> None:
    samples = tf.constant(np.stack([sounds.noise(0.5), sounds.tones(0.5, 300, 700)])[:, :3984])
    again = istft(stft(samples, SMALL), SMALL)
    assert again.shape == samples.shape
    assert np.abs(again - samples)[:, 8:-8].max() < 1e-5


def test_back_is_to_the_nearest_sound() -> None:
    """Whatever the spectrum: least squares says so, too."""
    generator = np.random.default_rng(3)
    frames, span = 5, SMALL.span(5)
    spectrum = generator.normal(size=(frames, 33)) + 1j * generator.normal(size=(frames, 33))
    # What irfft makes of it is what a frame wants to be.
    wanted = np.fft.irfft(spectrum, 64, axis=1)
    window = scipy.signal.get_window("hann", 64)
    matrix = np.zeros((frames * 64, span))
    for frame in range(frames):
        at = np.arange(64)
        matrix[frame * 64 + at, frame * 16 + at] = window
    nearest = np.linalg.lstsq(matrix, wanted.ravel(), rcond=None)[0]
    ours = istft(tf.constant(spectrum, tf.complex64), SMALL).numpy()
    assert ours[8:-8] == pytest.approx(nearest[8:-8], abs=1e-4)


def test_magnitudes_do_not_depend_on_the_window() -> None:
    tone = tf.constant(sounds.tones(1, 1000))
    peaks = [float(tf.reduce_max(log_magnitude(tone, Resolution(n)))) for n in (512, 1024, 2048)]
    assert peaks == pytest.approx([peaks[-1]] * 3, rel=1e-3)
    # Half of the amplitude times half of the window: what librosa gives for 2048 samples.
    assert np.expm1(peaks[-1]) == pytest.approx(0.1 * 2048 / 4, rel=1e-3)


def test_log_magnitudes_back_to_magnitudes() -> None:
    samples = tf.constant(sounds.noise(0.2))
    frames = log_magnitude(samples, SMALL)
    assert np.allclose(magnitude(frames, SMALL), np.abs(stft(samples, SMALL)), atol=1e-5)
    assert (magnitude(-frames, SMALL).numpy() == 0).all()


def test_silence_has_a_slope_of_zero() -> None:
    samples = tf.zeros((1, 256))
    with tf.GradientTape() as tape:
        tape.watch(samples)
        total = tf.reduce_sum(log_magnitude(samples, SMALL))
    assert (tape.gradient(total, samples).numpy() == 0).all()


def test_reweighting_is_symmetric_and_positive() -> None:
    generator = np.random.default_rng(5)
    a, b = (tf.constant(generator.normal(size=(2, 256)), tf.float32) for _ in range(2))
    weights = tf.constant(generator.uniform(0, 9, (2, 13, 33)), tf.float32)

    def product(x: Any, y: Any) -> float:
        return float(tf.reduce_sum(x * reweighted(y, weights, SMALL)))

    assert product(a, b) == pytest.approx(product(b, a), rel=1e-4)
    assert product(a, a) > 0
    weighted = np.square(np.abs(stft(a, SMALL))) * weights
    double = np.where(np.isin(np.arange(33), (0, 32)), 1, 2)
    assert product(a, a) == pytest.approx((weighted * double).numpy().sum() / 64, rel=1e-4)


@pytest.mark.parametrize(
    ("rate", "window"), [(8000, 1024), (22050, 2048), (44100, 4096), (48000, 4096), (96000, 8192)]
)
def test_windows_last_alike_at_all_rates(rate: int, window: int) -> None:
    resolution = Resolution.at(rate)
    assert (resolution.window, resolution.hop) == (window, window // 4)
    assert resolution.bins == window // 2 + 1
