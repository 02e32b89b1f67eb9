"""Loudness, against the numbers of ITU-R BS.1770 and EBU Tech 3341."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neural_style_tf.audio.loudness import CEILING, REFERENCE, Meter, matched, weighting
from tests import sounds

RATE = 48000


def sine(seconds: float, decibels: float, hertz: float = 997.0, rate: int = RATE) -> Any:
    """`[1, n]`, of so many dB of full scale at its peaks."""
    at = np.arange(round(seconds * rate)) / rate
    return 10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * at)[None]


def metered(samples: Any, rate: int = RATE, pieces: int = 1) -> Meter:
    meter = Meter(rate, len(samples))
    for piece in np.array_split(samples, pieces, axis=1):
        meter.add(piece)
    return meter


def test_the_filters_are_the_standards() -> None:
    """BS.1770-4, tables 1 and 2, for 48000 Hz."""
    shelf, high_pass = weighting(RATE)
    assert shelf == pytest.approx(
        (
            1.53512485958697,
            -2.69169618940638,
            1.19839281085285,
            1,
            -1.69065929318241,
            0.73248077421585,
        ),
        abs=1e-8,
    )
    assert high_pass == pytest.approx([1, -2, 1, 1, -1.99004745483398, 0.99007225036621], abs=1e-8)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_a_full_sine(rate: int) -> None:
    """The standard: 0 dB of full scale at 997 Hz in one channel is -3.01."""
    assert metered(sine(3, 0, rate=rate), rate).loudness == pytest.approx(-3.01, abs=0.06)


def test_two_channels_are_louder_than_one() -> None:
    """EBU Tech 3341, case 1: stereo, each -23 dB of full scale, is -23."""
    both = np.repeat(sine(5, -23, 1000), 2, 0)
    meter = metered(both)
    assert meter.loudness == pytest.approx(-23, abs=0.1)
    assert meter.gain == pytest.approx(10 ** ((REFERENCE + 26.01) / 20), rel=0.01)


def test_what_is_quiet_does_not_count() -> None:
    """EBU Tech 3341, case 3: -36, -23 and -36 after one another are -23."""
    parts = [sine(seconds, level, 1000) for seconds, level in ((10, -36), (60, -23), (10, -36))]
    both = np.repeat(np.concatenate(parts, 1), 2, 0)
    assert metered(both, pieces=7).loudness == pytest.approx(-23, abs=0.1)


def test_pieces_make_no_difference() -> None:
    samples = np.stack([sounds.noise(2, 1, RATE), sounds.clicks(2, rate=RATE)])
    whole, pieces = metered(samples), metered(samples, pieces=97)
    assert pieces.energies == pytest.approx(whole.energies, rel=1e-9)
    assert (pieces.peaks == whole.peaks).all()
    assert pieces.length == whole.length == 96000


def test_shorter_than_a_block() -> None:
    assert metered(sine(0.25, 0)).loudness == pytest.approx(-3.01, abs=0.3)


@pytest.mark.parametrize("level", [-200.0, -80.0])
def test_silence(level: float) -> None:
    meter = metered(sine(1, level))
    assert meter.loudness == -np.inf
    assert not meter.energies.any()


def test_samples_that_are_no_numbers() -> None:
    meter = metered(sine(1, -20))
    for bad in (np.nan, np.inf):
        other = metered(sine(1, -20))
        other.add(np.array([[0.1, bad]]))
        other.add(np.array([[0.1, 0.2]]))
        assert not other.finite
        assert other.length == meter.length + 4
    assert meter.finite


def test_matched_channel_by_channel() -> None:
    own = np.stack([sounds.noise(1, 1), sounds.noise(1, 2, level=0.001), sounds.noise(1, 3)])
    wanted = np.stack(
        [sounds.tones(1, 500, level=0.02), sounds.clicks(1, level=0.1), np.zeros(8000)]
    )
    gains = matched(metered(own, 8000), metered(wanted, 8000))
    again = metered(own * gains[:, None], 8000)
    assert again.energies[:2] == pytest.approx(metered(wanted, 8000).energies[:2], rel=1e-6)
    assert gains[2] == 0


def test_nothing_is_clipped() -> None:
    spiky = np.zeros((1, 8000))
    spiky[0, ::2000] = 1.0
    gains = matched(metered(spiky, 8000), metered(sine(1, 0, rate=8000), 8000))
    assert np.abs(spiky * gains).max() == pytest.approx(CEILING)
