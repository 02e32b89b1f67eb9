"""traced.py: one graph for all sizes, and a function of its own inside other graphs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from neural_style_tf.traced import Traced


def test_it_is_traced_once_for_all_sizes() -> None:
    traces = []

    def total(picture: Any) -> Any:
        traces.append(picture.shape)
        return tf.reduce_sum(picture)

    traced = Traced(total)
    assert [float(traced(tf.ones((1, n, n + 1, 3)))) for n in (2, 5)] == [18, 90]
    assert [shape.as_list() for shape in traces] == [[1, None, None, 3]]


def test_in_a_loop_it_stays_a_function_of_its_own() -> None:
    """Else oneDNN's gradient of the poolings is lost there."""

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.max_pool2d(x, 2, 2, "SAME")
        return tape.gradient(y, x)

    traced = Traced(gradient)

    @tf.function(autograph=False)
    def looped(x: Any) -> Any:
        return tf.while_loop(lambda _: True, lambda x: (traced(x),), (x,), maximum_iterations=2)

    x = tf.random.stateless_normal((1, 6, 8, 3), (0, 0))
    optimized = tf.function(looped).get_concrete_function(x).graph.as_graph_def()
    bodies = [
        f for f in optimized.library.function if any(n.op == "MaxPoolGrad" for n in f.node_def)
    ]
    assert [f.attr["_noinline"].b for f in bodies] == [True]
    assert set(looped(x)[0].numpy().ravel()) == {0.0, 1.0}
