"""vgg/pooling.py: the library's pooling, forth and back, to the last bit; and less is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from vgg.pooling import SparingMaxPooling


def both(pool: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What a pooling makes, and what comes back of weights that are all different."""

    def found(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = pool(x)
        weight = tf.reshape(tf.range(1, tf.size(made) + 1), tf.shape(made))
        return made, tape.gradient(made, x, tf.cast(weight, made.dtype))

    graph = tf.function(found, input_signature=[tf.TensorSpec((None, None, None, 5), x.dtype)])
    made, gradient = graph(x)
    return tuple(tf.cast(each, tf.float32).numpy() for each in (made, gradient))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [(6, 8), (7, 8), (6, 9), (7, 9), (1, 1)])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_it_is_the_librarys_to_the_last_bit(
    precision: str, size: tuple[int, int], levels: int
) -> None:
    """Few levels are alike often: then the first takes it all."""
    drawn = np.random.default_rng(levels).integers(-levels, levels, (2, *size, 5))
    x = tf.cast(tf.constant(drawn / 8), precision)
    ours = both(SparingMaxPooling(dtype=precision), x)
    wanted = both(lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), x)
    for own, other in zip(ours, wanted, strict=True):
        np.testing.assert_array_equal(own, other)
    assert tf.as_dtype(precision).name == SparingMaxPooling(dtype=precision)(x).dtype


def test_of_what_went_in_a_byte_for_each_square_is_kept() -> None:
    def back(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = SparingMaxPooling()(x)
        return tape.gradient(made, x, upstream)

    sizes = (tf.TensorSpec((1, 6, 8, 5)), tf.TensorSpec((1, 3, 4, 5)))
    graph = tf.function(back).get_concrete_function(*sizes).graph
    # All that the gradient is made of, but for what places and sizes are made of.
    made_of, seen = list(graph.outputs), []
    while made_of:
        each = made_of.pop()
        seen.append(each)
        made_of += each.op.inputs if each.dtype.is_floating else ()
    assert {each.name for each in seen if each.op.type == "Placeholder"} == {"upstream:0"}
    assert [each.shape.num_elements() for each in seen if each.dtype == tf.uint8] == [60]
