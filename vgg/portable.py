"""A network for a SavedModel: plain variables, each of its weights once, and no Keras."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from vgg.network import VGG

Features = dict[str, tf.Tensor]


# No tuple: a `tf.Module` would hold another thing in its place, which cannot be called.
@dataclasses.dataclass(frozen=True)
class Bound:
    """A network with its weights as they are.

    Attributes:
        apply: pixels from which the mean has been subtracted -> `{layer: activation}`.
        embeddings: `{layer: [k, C]}`, as of `vgg.network.VGG`.
        cut: the same in parts, as of `VGG.cut`.
        mean: the mean pixel, `[3]`; None where it is subtracted already.
    """

    apply: Callable[[tf.Tensor], Features]
    embeddings: dict[str, tf.Tensor]
    cut: dict[str, Callable[[tf.Tensor], tf.Tensor]]
    mean: tf.Tensor | None = None

    @property
    def parts(self) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
        """In parts, where these make up the whole: they subtract no mean."""
        return self.cut if self.mean is None else {}

    @property
    def centered(self) -> Bound:
        """The same of pixels from which the mean has been subtracted."""
        return dataclasses.replace(self, mean=None)

    def __call__(self, pixels: tf.Tensor) -> Features:
        """RGB pixels 0-255 `[1, H, W, 3]` -> `{layer: activation}`."""
        return self.apply(pixels if self.mean is None else pixels - self.mean)


class Portable(tf.Module):
    """The weights of a model as variables that a SavedModel keeps, and the model on them.

    Args:
        model: as `vgg.network.build` makes it.
    """

    def __init__(self, model: VGG) -> None:
        super().__init__()
        # Within a function it is not tracked: a SavedModel would hold Keras' own variables as well.
        self._model = lambda: model
        # Each kernel once, though a layer may have made a second one of it.
        given = {
            _key(layer, variable): _given(layer, variable)
            for layer in model.layers
            for variable in layer.variables
        }
        self.weights = {key: tf.Variable(each, trainable=False) for key, each in given.items()}
        self.embeddings = {
            layer: tf.Variable(matrix, trainable=False)
            for layer, matrix in model.embeddings.items()
        }

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the activations."""
        return tuple(self._model().output)

    def bound(self, layers: Iterable[str]) -> Bound:
        """The network with its weights as they are now.

        To be called once in a graph, outside its loops: the weights are read, and kernels turned
        about or transformed, here.

        Args:
            layers: which activations; nothing deeper is computed.
        """
        whole, wanted = self._model(), set(layers)
        centered = whole.centered
        # In the network's order: it is that in which gradients are added up.
        outputs = {layer: output for layer, output in centered.output.items() if layer in wanted}
        model = keras.Model(centered.input, outputs, name=whole.name)
        weights = {name: tf.convert_to_tensor(each) for name, each in self.weights.items()}
        values = {
            variable.path: layer.derive(weights[_key(layer, variable)])
            if _derived(layer, variable)
            else weights[_key(layer, variable)]
            for layer in model.layers
            for variable in layer.variables
        }

        def on_values(model: keras.Model) -> Callable[[tf.Tensor], Any]:
            own = [values[each.path] for layer in model.layers for each in layer.variables]

            def call(pixels: tf.Tensor) -> Any:
                # As Keras would name it: by their names TensorFlow, when it optimizes a graph,
                # orders what is to be added up, and the picture would differ in the last bit.
                with tf.name_scope(model.name):
                    found, _ = model.stateless_call([], own, pixels)
                return found

            return call

        embeddings = {
            layer: tf.convert_to_tensor(matrix)
            for layer, matrix in self.embeddings.items()
            if layer in wanted
        }
        parts = {layer: on_values(part) for layer, part in whole.cut(wanted).items()}
        return Bound(on_values(model), embeddings, parts, whole.mean)


def _derived(layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    """Whether it is what a layer has made of its kernel."""
    return variable is getattr(layer, "derived", None)


def _key(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    """The name of a variable, or of the kernel that it is derived from."""
    path = f"{layer.path}/kernel" if _derived(layer, variable) else variable.path
    return path.replace("/", "_")


def _given(layer: keras.layers.Layer, variable: keras.Variable) -> Any:
    """The value of a variable, or of the kernel that it is derived from."""
    return layer.given if _derived(layer, variable) else variable.value
