"""Files decoded in a graph, against the decoder that the program uses."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from PIL import Image

from neural_style_tf.decoding import decode as decoded
from neural_style_tf.encoded import decode
from tests import tiny

# Odd sizes, so that the last block and the last pixel of subsampled color are cut off.
IMAGE = Image.fromarray(tiny.picture(61, 83, 1))


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def in_graph(data: bytes) -> npt.NDArray[np.uint8]:
    function = tf.function(decode, input_signature=[tf.TensorSpec((), tf.string)])
    pixels: npt.NDArray[np.uint8] = function(tf.constant(data)).numpy()
    return pixels


@pytest.mark.parametrize(
    ("mode", "kind", "how"),
    [
        ("RGB", "JPEG", {"quality": 60}),
        ("RGB", "JPEG", {"quality": 95, "subsampling": 0}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("L", "PNG", {}),
        ("P", "PNG", {}),
        ("RGB", "BMP", {}),
        ("P", "GIF", {}),
    ],
)
def test_to_the_grey_level(mode: str, kind: str, how: dict[str, object]) -> None:
    data = encoded(IMAGE.convert(mode), kind, **how)
    np.testing.assert_array_equal(in_graph(data), decoded(data, kind).pixels[0])


def test_what_is_no_picture() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(b"no picture")
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(encoded(IMAGE, "JPEG")[:40])
