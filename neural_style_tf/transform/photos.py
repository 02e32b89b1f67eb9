"""The photographs of a training, as a `tf.data` pipeline whose every example is known by number.

Which photograph the n-th example is cut from, and where, follows from the seed and n alone: a
training that goes on at step k, on however many workers, sees what it would have seen.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from neural_style_tf.errors import FileError

# A photograph -> uint8 [H, W, 3], upright, its shorter side no longer than so many pixels if that
# is given.
Read = Callable[[str, int], npt.NDArray[np.uint8]]

# Photographs are shrunk on reading so that a crop has at most so many times its final side.
ZOOM = 2
# Batches that are made ahead.
_AHEAD = 4
# Bytes of shrunk photographs that are kept, so that few of them are not decoded again and again.
_ROOM = 512 * 2**20


class Photos:
    """Square crops of photographs, one for each number.

    Args:
        paths: the photographs.
        read: reads one; what it raises as FileError has the photograph skipped.
        size: side of a crop in pixels.
        seed: of order and crops.
    """

    def __init__(self, paths: Sequence[str], read: Read, size: int, seed: int) -> None:
        self.paths, self.read, self.size, self.seed = list(paths), read, size, seed
        self.unreadable: dict[str, str] = {}  # path -> why
        self._kept: dict[str, npt.NDArray[np.uint8]] = {}
        self._room = _ROOM
        self._lock = threading.Lock()

    def example(self, number: int) -> npt.NDArray[np.uint8]:
        """The crop of that number: uint8 `[size, size, 3]`.

        A random square of the photograph, its side between `size` (or all there is) and the shorter
        side after shrinking to `ZOOM·size`, resized; every other one mirrored.

        Raises:
            FileError: not one photograph can be read.
        """
        count = len(self.paths)
        epoch, place = divmod(number, count)
        order = self._order(epoch)
        # In place of one that cannot be read comes the next in order.
        for path in (self.paths[order[(place + skip) % count]] for skip in range(count)):
            photo = self._photo(path)
            if photo is not None:
                return self._crop(photo, np.random.default_rng((self.seed, number)))
        raise FileError(
            f"none of {count} photographs can be read: expected JPEG, PNG, WebP, TIFF, GIF or BMP; "
            "name another --photos"
        )

    def dataset(
        self, first: int, batch: int, devices: int = 1, workers: int = 1, worker: int = 0
    ) -> tf.data.Dataset:
        """Batches of `(crops, numbers)`: uint8 `[batch, size, size, 3]`, int64 `[batch]`, for ever.

        Args:
            first: number of the first example of the first step.
            batch: examples of a device in a step.
            devices: of a worker; its batches go to them in turn.
            workers: each has its own part of a step's examples, in order.
            worker: which one this is, from 0.
        """

        def numbered(index: tf.Tensor) -> tf.Tensor:
            step, device = index // devices, index % devices
            place = (step * workers + worker) * devices + device
            return first + place * batch + tf.range(batch, dtype=tf.int64)

        def load(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            crop = tf.numpy_function(lambda n: self.example(int(n)), [number], tf.uint8)
            return tf.ensure_shape(crop, (self.size, self.size, 3)), number

        numbers = tf.data.Dataset.range(2**62).map(numbered).unbatch()
        examples = numbers.map(load, num_parallel_calls=os.cpu_count() or 1, deterministic=True)
        # What tunes these numbers sleeps for up to a minute, and is waited for at the end of a
        # training, and when one is interrupted (TensorFlow 2.21).
        options = tf.data.Options()
        options.autotune.enabled = False
        return examples.batch(batch, drop_remainder=True).prefetch(_AHEAD).with_options(options)

    def _photo(self, path: str) -> npt.NDArray[np.uint8] | None:
        """The shrunk photograph, or None if it cannot be read."""
        if path in self.unreadable:
            return None
        kept = self._kept.get(path)
        if kept is not None:
            return kept
        try:
            photo = self.read(path, ZOOM * self.size)
        except FileError as error:
            self.unreadable[path] = str(error)
            return None
        with self._lock:
            if path not in self._kept and photo.nbytes <= self._room:
                self._room -= photo.nbytes
                self._kept[path] = photo
        return photo

    def _crop(
        self, photo: npt.NDArray[np.uint8], generator: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        height, width, _ = photo.shape
        shorter = min(height, width)
        side = generator.uniform(min(self.size, shorter), shorter)
        left, top = (generator.uniform(0, length - side) for length in (width, height))
        box = (left, top, left + side, top + side)
        image = Image.fromarray(photo)
        crop = np.asarray(
            image.resize((self.size, self.size), Image.Resampling.BICUBIC, box, reducing_gap=2)
        )
        return np.ascontiguousarray(crop[:, ::-1] if generator.random() < 0.5 else crop)

    @functools.lru_cache(maxsize=4)  # noqa: B019 - as long-lived as the training
    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch, 1)).permutation(len(self.paths))
