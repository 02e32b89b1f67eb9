"""A trained network as other programs run it: SavedModel, TensorFlow Lite, ONNX.

All three hold the network in float32 and of plain operations: what makes it fast here (one kernel
for instance normalization, joined slices for reflection) is TensorFlow's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from neural_style_tf import saved_model
from neural_style_tf.chatter import muted
from neural_style_tf.encoded import decode
from neural_style_tf.transform.architecture import MARGIN
from neural_style_tf.transform.net import paint
from neural_style_tf.transform.stored import Net

# Any number of pictures of any size that a margin can be reflected of.
PIXELS = tf.TensorSpec((None, None, None, 3), tf.float32, name="pixels")


class Exported(tf.Module):
    """A network in a mix of its styles, as a module with signatures.

    Args:
        net: the network.
        mix: the share of each style.
    """

    def __init__(self, net: Net, mix: Sequence[float]) -> None:
        super().__init__()
        self.stages = net.architecture.stages()
        self.weights = {name: tf.Variable(w, trainable=False) for name, w in net.weights.items()}
        self.mix = tf.Variable(np.array([mix], np.float32), trainable=False)  # [1, S]

    def paint(self, pixels: tf.Tensor) -> tf.Tensor:
        """`[B, H, W, 3]` RGB 0-255 -> the same, painted and clipped to 0-255.

        With a margin, as `Painter` has it; so a side has 9 pixels or more.
        """
        mix = tf.repeat(self.mix, tf.shape(pixels)[0], 0)
        around = (MARGIN, MARGIN)
        pixels = tf.pad(pixels, ((0, 0), around, around, (0, 0)), "REFLECT")
        painted = paint(self.stages, self.weights, pixels, mix, portable=True)
        return tf.clip_by_value(painted[:, MARGIN:-MARGIN, MARGIN:-MARGIN], 0.0, 255.0)

    @tf.function(input_signature=[PIXELS])
    def serve(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """`pixels` -> `painted`, `[B, H, W, 3]` float32 RGB 0-255."""
        return {"painted": self.paint(pixels)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="pictures")])
    def serve_bytes(self, pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        """`pictures`, the bytes of JPEG, PNG, GIF or BMP files -> `painted_bytes`, of PNG files."""

        def painted(data: tf.Tensor) -> tf.Tensor:
            pixels = tf.cast(decode(data), tf.float32)
            levels = tf.cast(tf.round(self.paint(pixels[None])[0]), tf.uint8)
            return tf.io.encode_png(levels)

        # A server that answers in JSON knows by this ending that it is to encode it in base64.
        return {"painted_bytes": tf.map_fn(painted, pictures, fn_output_signature=tf.string)}


def save(net: Net, mix: Sequence[float], folder: Path) -> None:
    """Write a SavedModel into a folder that is not there yet.

    Its signatures: `serving_default`, `pixels` -> `painted`, and `bytes`, `pictures` ->
    `painted_bytes`.

    Raises:
        OSError: a disk that refuses.
    """
    module = Exported(net, mix)
    signatures = {"serving_default": module.serve, "bytes": module.serve_bytes}
    saved_model.save(module, folder, signatures)


def tflite(net: Net, mix: Sequence[float], size: tuple[int, int] | None) -> bytes:
    """A TensorFlow Lite model, `pixels` `[1, H, W, 3]` -> `painted`, of builtin operations alone.

    Args:
        size: height and width; None for any, to be set with `resize_tensor_input`.
    """
    module = Exported(net, mix)
    height, width = size or (None, None)
    spec = tf.TensorSpec((1, height, width, 3), tf.float32, name="pixels")
    graph = tf.function(lambda pixels: {"painted": module.paint(pixels)}, [spec])
    with muted():
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [graph.get_concrete_function()], module
        )
        data: bytes = converter.convert()
    return data


def onnx(net: Net, mix: Sequence[float]) -> bytes:
    """An ONNX model, `pixels` `[B, H, W, 3]` -> `painted`; needs tf2onnx."""
    import tf2onnx

    module = Exported(net, mix)
    graph = tf.function(module.paint, input_signature=[PIXELS])
    with muted():
        model, _ = tf2onnx.convert.from_function(graph, [PIXELS], opset=OPSET)
    data: Any = model.SerializeToString()
    return bytes(data)


OPSET = 17
