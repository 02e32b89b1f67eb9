"""The transform network tile by tile, exactly: the same picture in bounded memory.

Instance normalization takes the mean and variance of a whole layer, so a picture cannot be cut and
painted in parts: the parts would differ in color and the seams would show. Instead the network is
computed stage by stage, each over all tiles, and the moments of the tiles are put together before
the next stage begins. A stage's result is kept at half of the picture's size and less; at full size
it is computed anew by whoever needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from neural_style_tf.transform.architecture import Stage
from neural_style_tf.transform.convolution import spare_of, within
from neural_style_tf.transform.net import EPSILON, affine, entered, left

# Top, left, bottom, right, in positions of a stage.
Box = tuple[int, int, int, int]


class _Moments:
    """Mean and variance of positions that come in parts, in float64 (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, np.zeros(()), np.zeros(())

    def add(self, part: tf.Tensor) -> None:
        """Take note of `[1, h, w, C]`."""
        mean, variance = tf.nn.moments(tf.cast(part, tf.float32), [0, 1, 2])
        count = int(part.shape[1] * part.shape[2])
        total = self.count + count
        apart = mean.numpy().astype(np.float64) - self.mean
        self.mean = self.mean + apart * count / total
        self.squares = (
            self.squares
            + variance.numpy().astype(np.float64) * count
            + apart**2 * self.count * count / total
        )
        self.count = total

    @property
    def variance(self) -> npt.NDArray[np.float64]:
        return self.squares / self.count


class _Layer(NamedTuple):
    """What a stage makes: kept, or computed anew from the layer before.

    Attributes:
        kept: `[1, h, w, C]`, finished; None where it is computed anew.
        size: h and w.
        stage, below: which stage it is of, and the layer that is computed from.
        finish: what its normalization comes to, x·a + b: a and b, `[1, C]`.
        adds: the layer that is added at the end.
    """

    kept: npt.NDArray[Any] | None
    size: tuple[int, int]
    stage: Stage | None = None
    below: _Layer | None = None
    finish: tuple[tf.Tensor, tf.Tensor] | None = None
    adds: _Layer | None = None


class Tiling:
    """The network for one mix of styles, in tiles.

    Args:
        stages: `Architecture.stages`.
        weights: `{name: array}`.
        mix: `[1, S]`.
        precision: of convolutions and activations.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        weights: Mapping[str, npt.NDArray[np.float32]],
        mix: npt.NDArray[np.float32],
        precision: str,
    ) -> None:
        self.stages, self.weights, self.mix = stages, weights, mix
        self.dtype = tf.as_dtype(precision)

    def __call__(self, pixels: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
        """Paint `[1, H, W, 3]` in tiles of at most so many pixels a side."""
        first = np.asarray(entered(pixels), self.dtype.as_numpy_dtype)
        layer = _Layer(first, pixels.shape[1:3])
        sizes = [layer.size]
        added = {stage.adds for stage in self.stages}
        layers: dict[str, _Layer] = {}
        for stage in self.stages:
            height, width = layer.size
            if stage.stride > 1:
                sizes.append(layer.size)
                size = -(-height // 2), -(-width // 2)
            else:
                size = sizes.pop() if stage.enlarge else layer.size
            adds = layers.pop(stage.adds) if stage.adds else None
            made = _Layer(None, size, stage, layer, adds=adds)
            if not stage.normalized:
                return self._last(made, side)
            layer = self._normalized(made, side, keeps=size != sizes[0])
            if stage.name in added:
                layers[stage.name] = layer
        raise AssertionError("the last stage has no normalization")

    def _normalized(self, made: _Layer, side: int, *, keeps: bool) -> _Layer:
        """The layer with its normalization known, and kept if so wanted."""
        stage = made.stage
        assert stage is not None
        kept = None
        if keeps:
            kept = np.empty((1, *made.size, stage.outputs), self.dtype.as_numpy_dtype)
        moments = _Moments()
        for top, left_, bottom, right in _boxes(made.size, side):
            part = self._convolved(made, (top, left_, bottom, right))
            moments.add(part)
            if kept is not None:
                kept[:, top:bottom, left_:right] = part.numpy()
        scale, offset = (
            self.mix.astype(np.float64) @ self.weights[f"{stage.name}/{part}"]
            for part in ("scale", "offset")
        )
        a = scale / np.sqrt(moments.variance + EPSILON)
        b = offset - moments.mean * a
        finish = tf.constant(a, tf.float32), tf.constant(b, tf.float32)
        made = made._replace(finish=finish)
        if kept is None:
            return made
        for top, left_, bottom, right in _boxes(made.size, side):
            place = np.s_[:, top:bottom, left_:right]
            box = top, left_, bottom, right
            kept[place] = self._finished(tf.constant(kept[place]), made, box).numpy()
        return _Layer(kept, made.size)

    def _last(self, made: _Layer, side: int) -> npt.NDArray[np.float32]:
        """The picture, of the last stage."""
        assert made.stage is not None
        bias = tf.constant(self.weights[f"{made.stage.name}/bias"])
        picture = np.empty((1, *made.size, 3), np.float32)
        for top, left_, bottom, right in _boxes(made.size, side):
            part = tf.cast(self._convolved(made, (top, left_, bottom, right)), tf.float32)
            picture[:, top:bottom, left_:right] = left(part + bias).numpy()
        return picture

    def _window(self, layer: _Layer, box: Box) -> tf.Tensor:
        """A part of a layer, `[1, h, w, C]`."""
        if layer.kept is None:
            return self._finished(self._convolved(layer, box), layer, box)
        top, left_, bottom, right = box
        return tf.constant(layer.kept[:, top:bottom, left_:right])

    def _finished(self, part: tf.Tensor, layer: _Layer, box: Box) -> tf.Tensor:
        """A part of what a stage's convolution made, with all that follows."""
        assert layer.finish is not None
        assert layer.stage is not None
        part = affine(part, *layer.finish)
        part = tf.nn.relu(part) if layer.stage.rectified else part
        return part if layer.adds is None else part + self._window(layer.adds, box)

    def _convolved(self, layer: _Layer, box: Box) -> tf.Tensor:
        """A part of what a stage's convolution makes, before normalization."""
        stage, below = layer.stage, layer.below
        assert stage is not None
        assert below is not None
        top, left_, bottom, right = box
        rows = _sources(top, bottom, stage, below.size[0])
        columns = _sources(left_, right, stage, below.size[1])
        rows, columns = (np.pad(each, (0, spare_of(stage)), "edge") for each in (rows, columns))
        low, high = rows.min(), rows.max() + 1
        first, last = columns.min(), columns.max() + 1
        seen = self._window(below, (low, first, high, last))
        seen = tf.gather(tf.gather(seen, rows - low, axis=1), columns - first, axis=2)
        kernel = tf.cast(tf.constant(self.weights[f"{stage.name}/kernel"]), self.dtype)
        return within(seen, kernel, stage)


def _sources(begin: int, end: int, stage: Stage, below: int) -> npt.NDArray[np.int64]:
    """The positions of the layer below that positions begin to end of a stage are computed from.

    Along one axis, where the layer below has so many positions.
    """
    margin = stage.kernel // 2
    length = 2 * below if stage.enlarge else below  # of what is convolved
    seen = np.arange(begin * stage.stride - margin, (end - 1) * stage.stride + margin + 1)
    seen = np.abs(seen)  # reflected at the beginning, and at the end
    seen = np.where(seen >= length, 2 * (length - 1) - seen, seen)
    return seen // 2 if stage.enlarge else seen


def _boxes(size: tuple[int, int], side: int) -> Iterator[Box]:
    """Tiles alike in size that cover height and width."""
    height, width = size
    rows, columns = -(-height // side), -(-width // side)
    for row in range(rows):
        for column in range(columns):
            yield (
                row * height // rows,
                column * width // columns,
                (row + 1) * height // rows,
                (column + 1) * width // columns,
            )
