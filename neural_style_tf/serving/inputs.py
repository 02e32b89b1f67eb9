"""What the signatures take: names, types and what they mean; and whether a call makes sense.

A server sees nothing of Python's errors: what is wrong with a call is found in the graph, before it
works, by an assertion that names the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf.encoded import decode

# The shorter side of what is painted, in pixels, at least: as for the program.
SMALLEST = 16


class Input(NamedTuple):
    """An input: what it is called, its shape and type, and what it means, as the README has it.

    In the shape letters stand for any size, the same letter for the same one.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: tf.DType
    text: str

    @property
    def static(self) -> tuple[int | None, ...]:
        """The shape as TensorFlow has it."""
        return tuple(None if isinstance(side, str) else side for side in self.shape)

    @property
    def spec(self) -> tf.TensorSpec:
        """The same for `tf.function`."""
        return tf.TensorSpec(self.static, self.dtype, name=self.name)

    @property
    def shown(self) -> str:
        """The shape in words."""
        return f"[{', '.join(map(str, self.shape))}]"

    @property
    def files(self) -> Input:
        """The same as files: one string in place of each picture."""
        shape = self.shape[:1] if self.shape[0] != 1 else ()
        text = self.text.replace(", RGB 0-255", ", as bytes of a file").partition("; those of")[0]
        return self._replace(dtype=tf.string, shape=shape, text=text)


_ONE, _SEVERAL = (1, "H", "W", 3), ("S", "H", "W", 3)

CONTENT = Input(
    "content", _ONE, tf.float32, "the photograph, RGB 0-255; the picture will have its size"
)
STYLE = Input("style", _ONE, tf.float32, "the painting, RGB 0-255, of any size")
STYLES = Input(
    "styles",
    _SEVERAL,
    tf.float32,
    "one or more paintings, RGB 0-255; those of different sizes are padded below and to the right "
    "to one size, with anything",
)
SIZES = Input(
    "style_sizes",
    ("S", 2),
    tf.int32,
    "height and width of each painting without its padding; none, `[0, 2]`, where there is none",
)
BLEND = Input(
    "style_blend_weights",
    ("S",),
    tf.float32,
    "one a painting, 0 or more, relative to each other; none, `[0]`, for equal ones",
)
PICTURE = Input("picture", _ONE, tf.float32, "any picture, RGB 0-255")
CONTENT_WEIGHT = Input("content_weight", (), tf.float32, "of the photograph, 0 or more")
STYLE_WEIGHT = Input("style_weight", (), tf.float32, "of the paintings, 0 or more")
TV_WEIGHT = Input("tv_weight", (), tf.float32, "of smoothness (total variation), 0 or more")
ITERATIONS = Input(
    "iterations",
    (),
    tf.int32,
    "evaluations of the loss at full size, at most, 1 or more; half as many at each coarser one",
)
SEED = Input("seed", (), tf.int32, "of the noise that it begins with, 0 or more")

WEIGHTS = (CONTENT_WEIGHT, STYLE_WEIGHT, TV_WEIGHT)


def pictures(given: Input, value: tf.Tensor, smallest: int = 1) -> tf.Tensor:
    """Pictures of any type as float32, once they are seen to be some.

    Args:
        given: the input.
        value: its tensor.
        smallest: pixels that each side has to have.
    """
    value = _shaped(given, value)
    shape = tf.shape(value)
    value = _when(
        (shape[0] >= 1) & (tf.reduce_min(shape[1:3]) >= smallest),
        f"{given.name}: expected {given.shown} with H and W of {smallest} or more, got the shape",
        shape,
        value,
    )
    pixels = tf.cast(value, tf.float32)
    if value.dtype == tf.uint8:
        return pixels
    finite = tf.reduce_all(tf.math.is_finite(pixels))
    return _when(finite, f"{given.name}: expected finite numbers, got NaN or infinity", (), pixels)


def alike(given: Input, value: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """A picture that has to have the content's size."""
    own, wanted = tf.shape(value), tf.shape(content)
    message = f"{given.name}: expected the shape of {CONTENT.name}; that, and its own:"
    return _when(tf.reduce_all(own == wanted), message, (wanted, own), value)


def sizes(value: tf.Tensor, styles: tf.Tensor) -> tf.Tensor:
    """Height and width of each style, `[S, 2]`: those given, or those of the batch."""
    value = _shaped(SIZES, value)
    count, whole = tf.shape(styles)[0], tf.shape(styles)[1:3]
    value = _one_each(SIZES, value, count)
    value = _when(
        tf.reduce_all((value >= 1) & (value <= whole)),
        f"{SIZES.name}: expected 1 or more and at most the height and width of the batch, got",
        value,
        value,
    )
    return tf.cond(tf.shape(value)[0] == 0, lambda: tf.repeat(whole[None], count, 0), lambda: value)


def blend(value: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The share of each of so many styles, `[S]`, of sum 1."""
    value = _one_each(BLEND, _shaped(BLEND, value), count)
    value = tf.cond(tf.size(value) == 0, lambda: tf.ones(count), lambda: value)
    good = tf.reduce_all((value >= 0) & tf.math.is_finite(value)) & (tf.reduce_sum(value) > 0)
    value = _when(
        good, f"{BLEND.name}: expected numbers of 0 or more, one above 0, got", value, value
    )
    exact = tf.cast(value, tf.float64)
    return tf.cast(exact / tf.reduce_sum(exact), tf.float32)


def _one_each(given: Input, value: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    own = tf.shape(value)[0]
    return _when(
        (own == count) | (own == 0),
        f"{given.name}: expected one for each style, or none; the number of styles, and of these:",
        (count, own),
        value,
    )


def weights(*values: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The weights of content, style and total variation, seen to be numbers that can be meant."""
    shaped = [_shaped(given, value) for given, value in zip(WEIGHTS, values, strict=True)]
    return tuple(
        _when(
            tf.math.is_finite(value) & (value >= 0),
            f"{given.name}: expected a finite number of 0 or more, got",
            value,
            value,
        )
        for given, value in zip(WEIGHTS, shaped, strict=True)
    )


def at_least(given: Input, value: tf.Tensor, least: int) -> tf.Tensor:
    """A whole number that is not too small."""
    value = _shaped(given, value)
    return _when(
        value >= least, f"{given.name}: expected a whole number, {least} or more, got", value, value
    )


def decoded(given: Input, data: tf.Tensor) -> tf.Tensor:
    """The bytes of a JPEG, PNG, GIF or BMP file as RGB pixels `[1, H, W, 3]`, uint8."""
    data = _shaped(given, data)
    with tf.name_scope(given.name):  # an error of the decoder names where it is
        return decode(data)[None]


def batched(given: Input, files: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Files decoded into one padded batch, `[S, H, W, 3]` uint8, and the size of each, `[S, 2]`."""
    files = _shaped(given, files)
    files = _when(
        tf.size(files) >= 1, f"{given.name}: expected one file or more, got none", (), files
    )
    one = given._replace(shape=())

    def each(function: Callable[[tf.Tensor], tf.Tensor], dtype: tf.DType) -> Any:
        return tf.map_fn(function, files, fn_output_signature=dtype, parallel_iterations=1)

    found = each(lambda data: tf.shape(decoded(one, data))[1:3], tf.int32)  # [S, 2]
    height, width = tf.unstack(tf.reduce_max(found, 0))

    def padded(data: tf.Tensor) -> tf.Tensor:
        picture = decoded(one, data)[0]
        below, right = height - tf.shape(picture)[0], width - tf.shape(picture)[1]
        return tf.pad(picture, [[0, below], [0, right], [0, 0]])

    return tf.ensure_shape(each(padded, tf.uint8), (None, None, None, 3)), found


def _shaped(given: Input, value: tf.Tensor) -> tf.Tensor:
    """The value, where it has the shape that is declared: by itself the graph only trusts it."""
    # What is known beforehand is not looked at again: an assertion about it would be left out.
    loose = tf.raw_ops.PlaceholderWithDefault(input=value, shape=tf.TensorShape(None))
    shape = tf.shape(loose)
    wanted = tf.constant([-1 if side is None else side for side in given.static], tf.int32)
    right = tf.cond(
        tf.size(shape) == len(given.shape),
        lambda: tf.reduce_all((wanted < 0) | (shape == wanted)),
        lambda: tf.constant(False),
    )
    message = f"{given.name}: expected the shape {given.shown}, got"
    return tf.ensure_shape(_when(right, message, shape, value), given.static)


def _when(right: tf.Tensor, message: str, data: Any, value: tf.Tensor) -> tf.Tensor:
    """The value, where what is said of it is right.

    Raises:
        InvalidArgumentError: when it runs, with the message and the data.
    """
    shown = list(data) if isinstance(data, tuple) else [data]
    with tf.control_dependencies([tf.debugging.Assert(right, [message, *shown], summarize=8)]):
        return tf.identity(value)
