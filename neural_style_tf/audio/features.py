"""The network that hears: one layer of random filters along time, and a rectifier.

Ulyanov & Lebedev 2016, "Audio texture synthesis and style transfer"; random features of one layer
are what Ustyuzhaninov et al. 2016 (arXiv:1606.00021) make textures with.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf.audio.recipe import FILTERS, LAYER, TAPS

# Convolution by tiles of frames: what comes out of each is free of wrap-around.
_TILE = 32
_VALID = _TILE - TAPS + 1
_FREQUENCIES = _TILE // 2 + 1


def variance(bins: int) -> float:
    """Of the filters' weights, such that weights of the losses mean what they do in the notebook.

    There the variance is 4/((bins + filters)·taps), the content loss α·Σ(F−P)² and the style loss
    Σ(G−A)² with G = FᵀF/430. Ours are means, so that neither the length of a sound nor the number
    of filters matters; with this variance content weight α against style weight 1 is the notebook's
    objective but for a factor, for its 1025 bins, 4096 filters and 430 frames (420 positions).
    Twice the bins make a patch twice as long, squared; then the variance is a half.
    """
    notebook = 4 / ((1025 + FILTERS) * TAPS)
    return notebook * FILTERS * 420 / 430**2 * 1025 / bins


def random_filters(bins: int, filters: int = FILTERS, seed: int = 0) -> tf.Tensor:
    """Gaussian filters `[taps, bins, filters]`: of the same seed the same on every machine."""
    deviation = np.float32(np.sqrt(variance(bins)))

    def drawn(tap: int) -> tf.Tensor:
        generator = np.random.default_rng((seed, tap))
        return tf.constant(deviation * generator.standard_normal((bins, filters), np.float32))

    with ThreadPoolExecutor() as pool:
        return tf.stack(list(pool.map(drawn, range(TAPS))))


class RandomFeatures(tf.Module):
    """A network: frames `[1, channels, T, bins]` -> `{"random": [1, channels, T − 10, filters]}`.

    Each channel of the sound is filtered along time by every filter, over frames that lie wholly
    inside, and rectified. What costs is the filtering: of 430 frames with 4096 filters of 11×1025
    weights, 19 thousand million multiplications. By the convolution theorem it takes a third of
    them: tiles of 32 frames (overlap-save), a matrix product for each of their 17 frequencies.

    Args:
        filters: `[taps, bins, filters]`.
    """

    def __init__(self, filters: Any) -> None:
        super().__init__()
        taps, bins, count = filters.shape
        if taps != TAPS:
            raise ValueError(f"expected {TAPS} taps, got {taps}")
        # The spectrum of the filters, [17, bins, filters]; conjugate, since a network correlates.
        phases = 2 * np.pi / _TILE * np.outer(range(_FREQUENCIES), range(taps))
        weights = tf.reshape(tf.convert_to_tensor(filters), (taps, bins * count))
        self.real, self.imaginary = (
            tf.reshape(tf.matmul(part.astype(np.float32), weights), (_FREQUENCIES, bins, count))
            for part in (np.cos(phases), np.sin(phases))
        )

    def __call__(self, frames: tf.Tensor) -> dict[str, tf.Tensor]:
        return {LAYER: tf.nn.relu(self.filtered(frames))}

    def filtered(self, frames: tf.Tensor) -> tf.Tensor:
        """Before the rectifier: `[1, channels, T, bins]` -> `[1, channels, T − 10, filters]`."""
        real, imaginary = self.real, self.imaginary
        bins, count = real.shape[1:]
        forward, inverse = map(tf.constant, _bases())

        @tf.custom_gradient
        def correlate(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            rows, length = tf.shape(x)[1], tf.shape(x)[2] - TAPS + 1
            tiles = -(-length // _VALID)
            # [rows, tiles + 1, 22, bins]; a tile is 22 frames and the first ten of the next.
            padded = tf.pad(x[0], ((0, 0), (0, (tiles + 1) * _VALID - tf.shape(x)[2]), (0, 0)))
            strips = tf.reshape(padded, (rows, tiles + 1, _VALID, bins))
            tiled = tf.concat([strips[:, :-1], strips[:, 1:, : TAPS - 1]], 2)
            # [17, 2 (real, imaginary), rows·tiles, bins]
            waves = tf.tensordot(forward, tiled, ((2,), (2,)))
            waves = tf.reshape(waves, (_FREQUENCIES, 2 * rows * tiles, bins))
            by_real, by_imaginary = (
                tf.reshape(tf.matmul(waves, part), (_FREQUENCIES, 2, rows * tiles, count))
                for part in (real, imaginary)
            )
            product = [by_real[:, 0] - by_imaginary[:, 1], by_real[:, 1] + by_imaginary[:, 0]]
            result = tf.tensordot(inverse, tf.stack(product, 1), ((1, 2), (0, 1)))
            result = tf.transpose(result, (1, 0, 2))  # [rows·tiles, 22, filters]
            result = tf.reshape(result, (1, rows, tiles * _VALID, count))[:, :, :length]

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                """Every step of the above, transposed, from the last to the first."""
                whole = tf.pad(upstream[0], ((0, 0), (0, tiles * _VALID - length), (0, 0)))
                whole = tf.reshape(whole, (rows * tiles, _VALID, count))
                product = tf.tensordot(inverse, whole, ((0,), (1,)))  # [17, 2, rows·tiles, filters]
                turned = tf.stack([product[:, 1], -product[:, 0]], 1)
                waves = tf.add_n(
                    [
                        tf.matmul(
                            tf.reshape(each, (_FREQUENCIES, 2 * rows * tiles, count)),
                            part,
                            transpose_b=True,
                        )
                        for each, part in ((product, real), (turned, imaginary))
                    ]
                )
                waves = tf.reshape(waves, (_FREQUENCIES, 2, rows, tiles, bins))
                tiled = tf.tensordot(forward, waves, ((0, 1), (0, 1)))  # [32, rows, tiles, bins]
                tiled = tf.transpose(tiled, (1, 2, 0, 3))
                strips = tf.pad(tiled[:, :, :_VALID], ((0, 0), (0, 1), (0, 0), (0, 0)))
                rest = _VALID - TAPS + 1
                strips += tf.pad(tiled[:, :, _VALID:], ((0, 0), (1, 0), (0, rest), (0, 0)))
                whole = tf.reshape(strips, (1, rows, (tiles + 1) * _VALID, bins))
                return whole[:, :, : tf.shape(x)[2]]

            return result, gradient

        return correlate(frames)


def _bases() -> tuple[Any, Any]:
    """The real Fourier transform of a tile as a matrix, `[17, 2, 32]`, and its inverse for the
    outputs that count, `[22, 17, 2]`."""
    phases = 2 * np.pi / _TILE * np.outer(range(_FREQUENCIES), range(_TILE))
    forward = np.stack([np.cos(phases), -np.sin(phases)], 1)
    twice = np.where(np.isin(range(_FREQUENCIES), (0, _TILE // 2)), 1, 2)  # conjugate pairs
    inverse = forward[:, :, :_VALID] * twice[:, None, None] / _TILE
    return forward.astype(np.float32), inverse.transpose(2, 0, 1).astype(np.float32)
