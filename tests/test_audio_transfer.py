"""Transfer and its stages: what a sound ends with, whole or in pieces."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from neural_style_tf.audio import transfer
from neural_style_tf.audio.chunks import chunks
from neural_style_tf.audio.resolution import Resolution
from neural_style_tf.audio.stages import Stages
from neural_style_tf.audio.texture import measure, noise
from neural_style_tf.audio.transfer import Take, Transfer
from neural_style_tf.errors import DivergedError, OptionError
from neural_style_tf.schedule import Schedule
from tests.sounds import RATE, Sound, clicks, recipe, tones
from tests.sounds import noise as noise_of

RESOLUTION = Resolution(256)
CONTENT, STYLE = tones(1.5, 300, 500, 800), clicks(1.5)
OTHER = noise_of(1.5)
FILTERS = 32


@functools.cache
def transfer_of(
    content_weight: float = 0.01, blend: tuple[float, ...] = (), unknown: str = "samples"
) -> Transfer:
    """Made once for all tests that want it: what it has traced, it keeps."""
    objective = recipe(content_weight=content_weight, style_blend_weights=blend)
    return Transfer(RESOLUTION, objective, Schedule(iterations=30), FILTERS, unknown, heartbeat=0.0)


def made(
    content: Any = CONTENT,
    styles: Any = (STYLE,),
    run: Transfer | None = None,
    length: int | None = None,
) -> list[Take]:
    """All Takes of a run."""
    run = run or transfer_of()
    textures = [run.measure(Sound(style)) for style in styles]
    given = None if content is None else Sound(content)
    channels, own = (given.channels, given.length) if given else (1, 0)
    return list(run.takes(given, textures, channels, length or own))


def samples(takes: list[Take]) -> Any:
    """What a run ends with, `[channels, n]`."""
    return np.concatenate([take.sound() for take in takes if take.step is None], 1)


def style_loss(sound: Any, style: Any = STYLE) -> float:
    """Of a finished sound, by the filters of the default seed."""
    stages = transfer_of(0.0).stages
    target = measure(Sound(style), stages.moments, RESOLUTION)
    frames = stages.frames(tf.constant(np.atleast_2d(sound)[None, :, :, None], tf.float32))
    targets = stages.loss.blended({}, [target.moments])
    return float(stages.loss.value_and_gradient(frames, targets)[0].style)


@functools.cache
def restyled() -> list[Take]:
    return made()


@functools.cache
def without_content_loss() -> list[Take]:
    return made(run=transfer_of(0.0))


def test_the_style_comes_and_the_content_stays() -> None:
    found = samples(restyled())
    assert found.shape == (1, len(CONTENT))
    assert style_loss(found) < 0.2 * style_loss(CONTENT)
    assert alike(found, CONTENT) > alike(found, STYLE)
    assert alike(found, CONTENT) > alike(samples(without_content_loss()), CONTENT)


def test_frames_can_be_what_is_sought_as_in_the_notebook() -> None:
    found = samples(made(run=transfer_of(unknown="frames")))
    assert found.shape == (1, len(CONTENT))
    assert style_loss(found) < 0.2 * style_loss(CONTENT)
    # Phases come last, and lose of the style: less is lost where samples are sought.
    assert style_loss(samples(restyled())) < style_loss(found)


def alike(a: Any, b: Any) -> float:
    """Correlation of two log spectrograms."""
    both = [np.log1p(np.abs(signal.stft(np.ravel(x), RATE, nperseg=256)[2])) for x in (a, b)]
    return float(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1])


def test_the_loss_that_is_told_is_of_what_is_heard() -> None:
    """Over samples the last loss is that of the sound itself, not of frames that no sound has."""
    *_, before, last = without_content_loss()
    window = chunks(len(CONTENT), RESOLUTION.hop)[0].window
    whole = np.zeros(window[1] - window[0], np.float32)
    whole[-window[0] :][: len(CONTENT)] = last.sound()[0]
    assert last.loss == before.loss
    assert style_loss(whole) == pytest.approx(last.loss, rel=1e-3)


def test_texture_alone() -> None:
    found = samples(made(None, run=transfer_of(0.0), length=9000))
    assert found.shape == (1, 9000)
    assert style_loss(found) < 0.1 * style_loss(CONTENT)
    # It is not the style again: nowhere does it follow the style's own samples.
    likeness = np.correlate(found[0], STYLE / np.linalg.norm(STYLE), "full")
    assert np.abs(likeness).max() < 0.6 * np.linalg.norm(found)


def test_several_styles_are_blended() -> None:
    found = samples(made(styles=(STYLE, OTHER), run=transfer_of(0.0, (1.0, 4.0))))
    first = samples(without_content_loss())
    assert style_loss(found, OTHER) < style_loss(first, OTHER)
    assert style_loss(found) > style_loss(first)


def test_weights_for_other_styles_are_refused() -> None:
    with pytest.raises(OptionError, match=r"for each of 1 style\(s\), got 2"):
        made(run=transfer_of(blend=(1.0, 2.0)))


def test_two_channels_are_each_their_own() -> None:
    stereo = np.stack([tones(1.5, 300, 500), tones(1.5, 900)])
    found = samples(made(stereo))
    assert found.shape == stereo.shape
    for own, other in ((0, 1), (1, 0)):
        assert alike(found[own], stereo[own]) > alike(found[own], stereo[other])


def test_pieces_follow_each_other_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a steady sound nobody can tell where one piece ends and the next begins."""
    monkeypatch.setattr(transfer, "chunks", lambda length, hop: chunks(length, hop, 60))
    pieces = chunks(len(CONTENT), RESOLUTION.hop, 60)
    takes = made(styles=(OTHER,))
    ends = [take for take in takes if take.step is None]
    assert len(ends) == len(pieces) == ends[0].pieces > 2
    assert [take.piece for take in ends] == [*range(len(pieces))]
    found = samples(takes)[0]
    assert found.shape == CONTENT.shape
    jumps = np.abs(np.diff(found))
    seams = [jumps[piece.settles[0] - 20 :][:40] for piece in pieces[1:]]
    assert max(seam.max() for seam in seams) < jumps.max(), "somewhere else is more of a jump"
    assert np.mean(seams) < 2 * jumps.mean()
    assert style_loss(found, OTHER) < 0.2 * style_loss(CONTENT, OTHER)

    steps = [take.step for take in takes if take.step]
    iterations, shares, totals = zip(*((s.iteration, s.share, s.total) for s in steps), strict=True)
    assert list(iterations) == sorted(iterations)
    assert iterations[0] == 0
    assert list(shares) == sorted(shares)
    assert shares[-1] == 1
    assert list(totals) == sorted(totals, reverse=True), "less once a piece has converged"
    assert steps[-1].last


def test_a_silence_in_the_content_gets_the_style_too() -> None:
    """Where frames are zero the loss has no slope: a little noise lets it begin."""
    gap = CONTENT.copy()
    gap[4000:8000] = 0
    found = samples(made(gap, run=transfer_of(0.0)))[0]
    assert np.abs(found[5000:7000]).max() > 0.01


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    with pytest.raises(DivergedError):
        made(CONTENT * np.nan)


class TestMeasure:
    """What is taken of a style."""

    stages = Stages(RESOLUTION, recipe(), Schedule(), FILTERS)

    def test_pieces_make_no_difference(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sound = Sound(clicks(2.0))
        whole = measure(sound, self.stages.moments, RESOLUTION)
        monkeypatch.setattr("neural_style_tf.audio.texture._PIECE", 50)
        parts = measure(sound, self.stages.moments, RESOLUTION)
        for layer, moments in whole.moments.items():
            np.testing.assert_allclose(parts.moments[layer], moments, rtol=1e-4, atol=1e-7)

    def test_the_power_is_what_noise_is_made_of(self) -> None:
        """Noise drawn to a texture's spectrum has that spectrum."""
        sound = tones(2.0, 440)
        power = measure(Sound(sound), self.stages.moments, RESOLUTION).power
        drawn = noise(power, 1, 16000, 0)
        again = measure(Sound(drawn), self.stages.moments, RESOLUTION).power
        assert np.argmax(again) == np.argmax(power)
        assert again.sum() == pytest.approx(power.sum(), rel=0.2)
        assert np.std(drawn) == pytest.approx(np.std(sound), rel=0.1)

    def test_excerpts_are_bounded(self) -> None:
        texture = measure(Sound(clicks(30.0)), self.stages.moments, RESOLUTION)
        assert texture.frames.shape[1] * texture.frames.shape[2] <= 2048

    def test_a_style_shorter_than_a_filter(self) -> None:
        enough = RESOLUTION.span(11)
        measure(Sound(clicks(2.0)[:enough]), self.stages.moments, RESOLUTION)
        with pytest.raises(OptionError, match=f"at least {enough} samples"):
            measure(Sound(clicks(2.0)[: enough - 1]), self.stages.moments, RESOLUTION)
