"""The optimization as a module with signatures, of which a SavedModel is made."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf

from neural_style_tf.distances import gram
from neural_style_tf.losses import Loss, Terms
from neural_style_tf.networks import Network, embedded
from neural_style_tf.objective import Objective
from neural_style_tf.schedule import Schedule
from neural_style_tf.serving import inputs
from neural_style_tf.serving.inputs import Input
from neural_style_tf.serving.signatures import SETTINGS, Signature, defaults, signatures
from neural_style_tf.serving.stylizer import Result, Styles, stylize, targets_of
from neural_style_tf.sums import moments
from neural_style_tf.traced import Traced

Outputs = dict[str, tf.Tensor]


class Weights(Protocol):
    """A network whose weights a SavedModel can keep: a `tf.Module`, such as `vgg.Portable`."""

    def bound(self, layers: Iterable[str]) -> Network:
        """The network as a part of the graph that is being made."""


class Stylizer(tf.Module):
    """The optimization, with every setting fixed that is no input.

    Args:
        network: its weights are kept once, whatever the number of signatures.
        objective: layers and norms, and the default of each term's weight.
        schedule: optimizer, sizes, tolerance, noise and which picture to keep, and the default of
            iterations and seed.
        about: more of what `metadata` says: plain data.

    Attributes:
        about: what `metadata` says, JSON.

    Raises:
        OptionError: an objective without content or style layers.
    """

    def __init__(
        self,
        network: Weights,
        objective: Objective,
        schedule: Schedule,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        # Every term is in the graph, whatever it counts by default.
        self.objective = dataclasses.replace(
            objective, content_weight=1.0, style_weight=1.0, tv_weight=1.0, style_blend_weights=()
        )
        # Whoever calls it says how many iterations there are to be.
        iterations = schedule.resolved().iterations
        self.schedule = dataclasses.replace(schedule, iterations=iterations).resolved()
        given = defaults(objective, schedule)
        self.about = json.dumps(
            {
                **(about or {}),
                "objective": objective.to_dict(),
                "schedule": dataclasses.asdict(self.schedule),
                "defaults": given,
            },
            indent=2,
        )
        self.defaults = {
            each.name: _constant(each, given[each.name]) for each in SETTINGS if each.name in given
        }
        # In the graph once for all signatures.
        self.painted = Traced(self._painted)
        for name, signature in self.signatures.items():
            body = getattr(self, f"_serve_{name}")
            setattr(self, name, _function(name, body, signature.inputs, self.defaults))

    @property
    def signatures(self) -> dict[str, Signature]:
        """Each is a function of this name, `tf.function`, too."""
        return signatures(self.objective)

    def _painted(
        self,
        content: tf.Tensor,
        styles: Styles,
        weights: tuple[tf.Tensor, ...],
        iterations: tf.Tensor,
        seed: tf.Tensor,
    ) -> Result:
        noise = self.schedule.initial_noiseblend
        noise = tf.constant(1.0 if noise is None else noise)
        return stylize(
            *(self._bound(), self.objective, self.schedule),
            *(content, styles, weights, iterations, seed, noise),
        )

    def _bound(self) -> Network:
        return self.network.bound(self.objective.layers)

    def _serve_stylize(
        self, content: tf.Tensor, styles: tf.Tensor, *settings: tf.Tensor
    ) -> Outputs:
        sizes, blend, *weights, iterations, seed = settings
        result = self.painted(
            inputs.pictures(inputs.CONTENT, content, self._smallest),
            _styles(styles, sizes, blend),
            inputs.weights(*weights),
            inputs.at_least(inputs.ITERATIONS, iterations, 1),
            inputs.at_least(inputs.SEED, seed, 0),
        )
        return {
            "picture": tf.clip_by_value(result.pixels, 0.0, 255.0),
            **_losses(result.terms),
            "iterations": result.iterations,
        }

    @property
    def _smallest(self) -> int:
        """Pixels that each side has to have: as for the program."""
        return inputs.SMALLEST * 2 ** ((self.schedule.scales or 1) - 1)

    def _serve_serving_default(self, content: tf.Tensor, style: tf.Tensor) -> Outputs:
        style = inputs.pictures(inputs.STYLE, style)
        return self._serve_stylize(content, style, *self.defaults.values())

    def _serve_stylize_uint8(
        self, content: tf.Tensor, styles: tf.Tensor, *settings: tf.Tensor
    ) -> Outputs:
        outputs = self._serve_stylize(content, styles, *settings)
        return {**outputs, "picture": tf.cast(tf.round(outputs["picture"]), tf.uint8)}

    def _serve_stylize_bytes(
        self, content: tf.Tensor, styles: tf.Tensor, *settings: tf.Tensor
    ) -> Outputs:
        picture = inputs.decoded(inputs.CONTENT.files, content)
        batch, sizes = inputs.batched(inputs.STYLES.files, styles)
        outputs = self._serve_stylize_uint8(picture, batch, sizes, *settings)
        # A server that answers in JSON knows by this ending that it is to encode it in base64.
        return {"picture_bytes": tf.io.encode_png(outputs.pop("picture")[0]), **outputs}

    def _serve_loss(
        self,
        picture: tf.Tensor,
        content: tf.Tensor,
        styles: tf.Tensor,
        sizes: tf.Tensor,
        blend: tf.Tensor,
        *weights: tf.Tensor,
    ) -> Outputs:
        content = inputs.pictures(inputs.CONTENT, content)
        picture = inputs.alike(inputs.PICTURE, inputs.pictures(inputs.PICTURE, picture), content)
        loss, given = Loss(self._bound(), self.objective), _styles(styles, sizes, blend)
        targets = targets_of(loss, content, given, inputs.weights(*weights))
        return _losses(loss(picture, targets))

    def _serve_features(self, picture: tf.Tensor) -> Outputs:
        network, layers = self._bound(), self.objective.layers
        features = embedded(network, network(inputs.pictures(inputs.PICTURE, picture)))
        grams = {
            f"gram_{layer}": gram(moments(features[layer]), self.objective.gram_norm)
            for layer in layers
        }
        return {**{layer: features[layer] for layer in layers}, **grams}

    def _serve_metadata(self) -> Outputs:
        return {"json": tf.constant(self.about)}


def _styles(pictures: tf.Tensor, sizes: tf.Tensor, blend: tf.Tensor) -> Styles:
    pictures = inputs.pictures(inputs.STYLES, pictures)
    return Styles(
        pictures, inputs.sizes(sizes, pictures), inputs.blend(blend, tf.shape(pictures)[0])
    )


def _losses(terms: Terms) -> Outputs:
    return {f"{name}_loss": term for name, term in terms._asdict().items()}


def _constant(given: Input, value: Any) -> tf.Tensor:
    return tf.constant(value, given.dtype, [side or 0 for side in given.static])


def _function(
    name: str,
    body: Callable[..., Outputs],
    given: Sequence[Input],
    defaults: Mapping[str, tf.Tensor],
) -> Any:
    """A `tf.function` of named inputs, of which a SavedModel keeps names, types and defaults."""

    def function(*values: tf.Tensor) -> Outputs:
        return body(*values)

    function.__name__ = name
    empty = inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(each.name, empty),
        )
        for each in given
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return tf.function(function, input_signature=[each.spec for each in given], autograph=False)
