"""Convolutions that are frozen: the same numbers, or nearly so, sooner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vgg.processor import features
from vgg.squares import FEW, squared

# From benchmarks/convolutions.py.
# Channels from which on, with AVX-512, oneDNN's plain way is the slower one.
_WIDE = 256
# Channels in and out from which on Winograd's algorithm pays for its sums, with AVX-512 or without;
# in bfloat16 for what it rounds, too: from 128 to 128 it would gain 2 % of an evaluation of VGG-19,
# and the gradient, 5 % off in plain bfloat16, 6 % with these, would be 7 % off.
_MANY = {True: (128, 128), False: (64, 128)}
_MANY_BFLOAT16 = (128, 256)


class Given(keras.initializers.Initializer):
    """Start from the trained array, so that no second copy is ever made at random."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __call__(self, shape: tuple[int, ...], dtype: object = None) -> object:
        return keras.ops.convert_to_tensor(self.value, dtype)


def algorithm(shape: Sequence[int], precision: str = "float32", *, exact: bool = False) -> str:
    """What computes a frozen convolution soonest here: "plain", "turned", "squared" or "winograd".

    All but the plain one are for oneDNN on x86: a GPU's library chooses by itself. (For bfloat16
    oneDNN wants AVX-512; what takes its place would add up in bfloat16.)

    Args:
        shape: of the kernel, `[k, k, in, out]`.
        precision: of kernel and activations.
        exact: never "winograd", which rounds in the sixth digit (bfloat16: the second) where the
            others agree, nor "squared", which need not add up in the same order.
    """
    side, _, channels, out = shape
    if side == 1 or not _on_onednn() or tf.config.list_physical_devices("GPU"):
        return "plain"
    known, single = features(), precision == "float32"
    wide = "avx512f" in known
    if side == 3 and not exact:
        many = _many(known, single=single)
        if many and channels >= many[0] and out >= many[1]:
            return "winograd"
        if channels <= FEW and single and wide:  # without, the way back is a product of matrices
            return "squared"
    if wide or not known:
        return "turned" if channels >= _WIDE else "plain"
    return "turned" if single and "avx2" in known else "plain"


def _many(known: frozenset[str], *, single: bool) -> tuple[int, int] | None:
    """Channels in and out from which on Winograd's algorithm is the soonest; None for never."""
    if single:
        return _MANY["avx512f" in known] if "avx2" in known else None
    # A matrix unit takes so little time for the products themselves that the sums would tell.
    vectors = "avx512_bf16" in known and "amx_bf16" not in known
    return _MANY_BFLOAT16 if vectors else None


def _on_onednn() -> bool:
    """Whether TensorFlow computes convolutions by oneDNN. It says so nowhere in public."""
    try:
        from tensorflow.python.util import _pywrap_util_port as port

        return bool(port.IsMklEnabled())
    except (ImportError, AttributeError):
        return False


class TurnedConvolution(keras.layers.Conv2D):
    """A convolution, stride 1, "same", by the way of its gradient: up to 2.6 times as fast.

    oneDNN computes a convolution forward with the kernel as it lies in memory, where the numbers
    that are needed together are far apart once there are hundreds of channels, and without AVX-512
    as a product of matrices, for which it copies each number nine times; for the gradient it puts
    the kernel in order first. With stride 1 the gradient of the convolution with a kernel that is
    turned about is the convolution itself, so that way is taken both forward and back. It costs a
    second copy of the kernel.
    """

    def build(self, input_shape: Any) -> None:
        """Make both copies of the kernel, which a `Given` has to have brought."""
        super().build(input_shape)
        self.given = self.kernel_initializer.value
        turned = self.derive(self.given)
        self.derived = self.add_weight(
            name="derived", shape=turned.shape, initializer=Given(turned), trainable=False
        )

    @staticmethod
    def derive(kernel: Any) -> tf.Tensor:
        """The kernel turned about: `[k, k, in, out]` -> `[k, k, out, in]`."""
        return tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))

    def call(self, inputs: Any) -> Any:
        """`[N, H, W, in]` -> `[N, H, W, out]`."""
        # Read once, outside: a custom gradient must not touch variables.
        kernel, turned = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.derived)

        @tf.custom_gradient
        def convolve(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return _backward(x, turned), lambda upstream: _backward(upstream, kernel)

        result = convolve(inputs)
        return tf.nn.bias_add(result, self.bias) if self.use_bias else result


class SquaredConvolution(keras.layers.Conv2D):
    """A convolution of few channels in, stride 1, "same": what comes back to them, in squares."""

    def call(self, inputs: Any) -> Any:
        """`[N, H, W, in]` -> `[N, H, W, out]`."""
        # Read once, outside: a custom gradient must not touch variables.
        kernel = tf.convert_to_tensor(self.kernel)
        turned = squared(TurnedConvolution.derive(kernel))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # "SAME" leaves one row and column before, as for each position by itself.
            made = tf.nn.depth_to_space(tf.nn.conv2d(upstream, turned, 2, "SAME"), 2)
            height, width = tf.unstack(tf.shape(upstream)[1:3])
            return tf.ensure_shape(made[:, :height, :width], (*upstream.shape[:3], kernel.shape[2]))

        @tf.custom_gradient
        def convolve(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

        result = convolve(inputs)
        return tf.nn.bias_add(result, self.bias) if self.use_bias else result


class Opening(keras.layers.Layer):
    """conv1_1 and relu1_1 of a network that goes on in bfloat16.

    Forward in float32, for it sees whole grey levels, which eight bits would blur. What comes back
    has eight bits already, and is taken on in bfloat16: at three channels several times as fast.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, **options: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **options)
        self.kernel = self.add_weight(
            name="kernel", shape=kernel.shape, initializer=Given(kernel), trainable=False
        )
        self.bias = self.add_weight(
            name="bias", shape=bias.shape, initializer=Given(bias), trainable=False
        )

    def call(self, inputs: Any) -> Any:
        """float32 `[N, H, W, 3]` -> bfloat16 `[N, H, W, out]`."""
        # Read once, outside: a custom gradient must not touch variables.
        kernel, bias = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)

        @tf.custom_gradient
        def opened(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            summed = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            activation = tf.cast(tf.nn.relu(summed), tf.bfloat16)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                passed = tf.raw_ops.ReluGrad(gradients=upstream, features=activation)
                return tf.cast(_backward(passed, tf.cast(kernel, tf.bfloat16)), tf.float32)

            return activation, gradient

        return opened(inputs)


class Rectifier(keras.layers.Layer):
    """max(x + bias, 0): the end of a convolution, where something has to come before it."""

    def __init__(self, bias: np.ndarray, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.bias = self.add_weight(
            name="bias", shape=bias.shape, initializer=Given(bias), trainable=False
        )

    def call(self, inputs: Any) -> Any:
        """`[N, H, W, C]`, and out of it the same."""
        return tf.nn.relu(tf.nn.bias_add(inputs, self.bias))


def _backward(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The gradient of a convolution with `[k, k, in, out]`: `[N, H, W, out]` -> `[N, H, W, in]`."""
    channels = kernel.shape[2]
    gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.concat([tf.shape(upstream)[:3], [channels]], 0),
        filter=kernel,
        out_backprop=upstream,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
    return tf.ensure_shape(gradient, (*upstream.shape[:3], channels))
