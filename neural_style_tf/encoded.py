"""The bytes of a picture file -> pixels, in a graph: for what is exported, which has no Pillow."""

from __future__ import annotations

import tensorflow as tf


def decode(data: tf.Tensor) -> tf.Tensor:
    """A JPEG, PNG, GIF or BMP file as RGB pixels `[H, W, 3]`, uint8: those of `decoding`.

    But for what TensorFlow does not heed: orientation, alpha, color profile.

    Args:
        data: the bytes, a scalar string.

    Raises:
        InvalidArgumentError: when it runs, and they are no such file.
    """
    picture = tf.cond(
        tf.io.is_jpeg(data),
        # TensorFlow's default is quicker, and up to 7 grey levels off.
        lambda: tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(data, 3, expand_animations=False),
    )
    return tf.ensure_shape(picture, (None, None, 3))
