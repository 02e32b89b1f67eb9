"""Functions of tensors as graphs, in which what is no longer needed is freed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Traced:
    """A function that is traced when it is first called, once, for pictures of any size.

    A `tf.function` would warn whoever paints several pictures that it is traced again and again:
    each run has a graph of its own. Called from another graph it stays a function of its own: put
    into the body of a loop, its poolings would lose their fast gradient, which oneDNN takes only
    where it sees the pooling before its gradient, and in a circle nothing comes first.

    Args:
        function: takes and returns nested tensors; those of four or more dimensions may differ in
            height and width, the third and the second last, from call to call.
        jit_compile: as for `tf.function`.
    """

    def __init__(self, function: Callable[..., Any], jit_compile: bool | None = None) -> None:
        self.function, self.jit_compile = function, jit_compile
        self.graph: Any = None
        self.tracing = threading.RLock()  # a graph may be made ready in another thread

    def __call__(self, *args: Any) -> Any:
        with self.tracing:
            if self.graph is None:
                self.graph = tf.function(
                    self.function,
                    input_signature=_any_size(args),
                    autograph=False,  # nothing here needs it, and it doubles the time to trace
                    jit_compile=self.jit_compile,
                    experimental_attributes={"_noinline": True},
                ).get_concrete_function()
        return self.graph(*args)


def _any_size(tensors: Any) -> Any:
    """The tensors' shapes and types, with any height and width where there are some."""

    def spec(tensor: tf.Tensor) -> tf.TensorSpec:
        shape = list(tensor.shape)
        if len(shape) >= 4:
            shape[-3:-1] = None, None
        return tf.TensorSpec(shape, tensor.dtype)

    return tf.nest.map_structure(spec, tensors)
