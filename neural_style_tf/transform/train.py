"""Training a transform network on the perceptual losses: a generator of Records, no I/O.

Johnson, Alahi, Fei-Fei 2016, with the same `Loss` that `stylize` minimizes for one picture. With
several styles each example has one of them in turn (Dumoulin, Shlens, Kudlur 2017).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from neural_style_tf.errors import DivergedError
from neural_style_tf.losses import Loss, Targets, Terms
from neural_style_tf.transform.architecture import MARGIN
from neural_style_tf.transform.model import TransformNet, keras
from neural_style_tf.transform.photos import Photos
from neural_style_tf.transform.soap import Soap
from neural_style_tf.transform.training import Training

# Steps in which the learning rate rises, where there are ten times as many.
WARM_UP = 20


class Record(NamedTuple):
    """Where a training stands.

    Attributes:
        step: how many are done.
        total: steps that it will do.
        examples: photographs that were seen since this process began.
        terms: the weighted losses, their mean over all examples since the Record before.
        seconds: since this process began to train.
    """

    step: int
    total: int
    examples: int
    terms: Terms
    seconds: float

    @property
    def last(self) -> bool:
        """Whether the training is over."""
        return self.step == self.total


class Trainer:
    """A network in training: weights, the optimizer's state and the number of the step.

    An example is painted whole, and judged in a part that is `2·MARGIN` rows and columns smaller,
    anywhere in it. If it were judged to its border, where the loss network sees zeros, the network
    would learn to paint a frame as dark as those.

    Args:
        model: what is trained.
        loss: of a picture; its objective without blend weights.
        styles: of each style the moments `{layer: [C, C]}`, see `Loss.moments`.
        training: the settings.
        strategy: the devices; one by default. To be the scope in which the model was made.
        abreast: of how many photographs a device may work on at the same time.
    """

    def __init__(
        self,
        model: TransformNet,
        loss: Loss,
        styles: Sequence[Mapping[str, Any]],
        training: Training,
        strategy: tf.distribute.Strategy | None = None,
        abreast: int = 1,
    ) -> None:
        self.model, self.loss, self.training, self.abreast = model, loss, training, abreast
        self.strategy = strategy or tf.distribute.get_strategy()
        self.batch = training.batch(self.strategy.num_replicas_in_sync)
        self.variables = list(model.named.values())
        objective = loss.objective
        layers = objective.shares("style")
        # {layer: [S, C, C]}
        self.grams = {
            layer: loss.gram(layer, tf.stack([style[layer] for style in styles]))
            for layer in layers
        }
        # One style is not to outshout the others: each one's losses are divided by what its style
        # loss is for a picture of no features at all, [S].
        apart = [
            share * loss.style_distance(layer, tf.zeros_like(self.grams[layer]), self.grams[layer])
            for layer, share in layers.items()
        ]
        ones = tf.ones(len(styles))
        self.loudness = objective.style_weight * tf.add_n(apart) if apart else ones
        with self.strategy.scope():
            # The first steps are short ones: what the optimizer goes by is hardly known yet.
            first = min(WARM_UP, training.steps // 10)
            schedule = keras.optimizers.schedules.CosineDecay(
                initial_learning_rate=0.0,
                decay_steps=training.steps - first,
                warmup_target=training.learning_rate,
                warmup_steps=first,
            )
            self.optimizer = Soap(schedule)
            self.optimizer.build(self.variables)
        self._judge: Any = None

    @property
    def step(self) -> int:
        """How many steps are done."""
        return int(self.optimizer.iterations.numpy())

    def state(self) -> dict[str, np.ndarray]:
        """All that a training needs to go on as if it had not stopped, by name."""
        own = {f"soap/{i}": v.numpy() for i, v in enumerate(self.optimizer.variables)}
        return {**self.model.arrays(), **own}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` gave.

        Raises:
            KeyError, ValueError: it is of another network.
        """
        for name, variable in self.model.named.items():
            variable.assign(state[name])
        for index, variable in enumerate(self.optimizer.variables):
            variable.assign(state[f"soap/{index}"])

    def records(
        self, photos: Photos, stops: Collection[int] = (), heartbeat: float = 1.0
    ) -> Iterator[Record]:
        """Train to the end.

        Args:
            photos: the examples.
            stops: steps at which a Record is wanted.
            heartbeat: seconds after which one comes anyway.

        Raises:
            DivergedError: the loss became NaN or infinite.
        """
        training, begun, first = self.training, time.perf_counter(), self.step
        batches = iter(self._batches(photos, first))
        waypoints = sorted({stop for stop in stops if stop > first} | {training.steps})
        update = tf.function(self._update, autograph=False)
        done, since, sums, last = first, first, None, begun
        while done < training.steps:
            terms = update(*next(batches))
            sums = terms if sums is None else tf.nest.map_structure(tf.add, sums, terms)
            done += 1
            now = time.perf_counter()
            if done < waypoints[0] and now - last < heartbeat:
                continue
            mean = Terms(*(float(term) / (done - since) for term in sums))  # waits for the device
            if not np.isfinite(mean.total):
                raise DivergedError(
                    f"the loss became NaN or infinite at step {done}: expected a finite number; "
                    f"the learning rate ({training.learning_rate:g}) or a weight is likely too "
                    "large: lower it"
                )
            if done >= waypoints[0]:
                waypoints.pop(0)
            seconds = time.perf_counter() - begun
            yield Record(done, training.steps, (done - first) * self.batch, mean, seconds)
            since, sums, last = done, None, time.perf_counter()

    def validate(self, crops: np.ndarray) -> tuple[np.ndarray, Terms]:
        """What each style makes of photographs, and the mean losses.

        Args:
            crops: `[N, height, width, 3]`, 0-255.

        Returns:
            The middle of each, `[S, N, height − 2·MARGIN, width − 2·MARGIN, 3]`, and the terms as
            numbers.
        """
        if self._judge is None:
            self._judge = tf.function(self._painted, autograph=False)
        middle = tf.constant([MARGIN, MARGIN])
        styles = range(len(self.model.styles))
        results = [
            [self._judge(tf.cast(crop[None], tf.float32), tf.constant(s), middle) for crop in crops]
            for s in styles
        ]
        painted = np.stack([[picture[0].numpy() for picture, _ in row] for row in results])
        terms = [term for row in results for _, term in row]
        return painted, Terms(*(float(np.mean(values)) for values in zip(*terms, strict=True)))

    def _batches(self, photos: Photos, done: int) -> Any:
        """From the step after those that are done; each worker reads its own part of a batch."""
        whole = self.batch

        def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
            workers, devices = context.num_input_pipelines, context.num_replicas_in_sync
            return photos.dataset(
                done * whole,
                whole // devices,
                devices // workers,
                workers,
                context.input_pipeline_id,
            )

        return self.strategy.distribute_datasets_from_function(dataset)

    def _update(self, crops: Any, numbers: Any) -> Terms:
        """One step on all devices; the mean terms of its batch."""
        terms = self.strategy.run(self._on_device, (crops, numbers))
        return Terms(*(self.strategy.reduce("SUM", term, axis=None) for term in terms))

    def _on_device(self, crops: tf.Tensor, numbers: tf.Tensor) -> Terms:
        """One step on one device: its part of the gradient and of the terms."""
        share = 1 / self.batch
        count = len(self.model.styles)

        def add(index: tf.Tensor, gradients: Any, sums: Terms) -> Any:
            photo = tf.cast(crops[index][None], tf.float32)  # [1, size, size, 3]
            style = tf.cast(numbers[index] % count, tf.int32)
            corner = self.corner(numbers[index])
            with tf.GradientTape() as tape:
                _, terms = self._painted(photo, style, corner)
                total = terms.total / self.loudness[style]
            own = tape.gradient(total, [v.value for v in self.variables])
            gradients = [a + share * b for a, b in zip(gradients, own, strict=True)]
            return (
                index + 1,
                gradients,
                Terms(*(a + share * b for a, b in zip(sums, terms, strict=True))),
            )

        # Photograph by photograph: memory for a few, whatever the batch.
        zeros = [tf.zeros(v.shape) for v in self.variables]
        _, gradients, terms = tf.while_loop(
            lambda index, *_: index < crops.shape[0],
            add,
            (tf.constant(0), zeros, Terms(*(tf.zeros(()),) * 4)),
            parallel_iterations=self.abreast,
        )
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True))
        return terms

    def corner(self, number: tf.Tensor) -> tf.Tensor:
        """Where what is judged of the example of that number begins: row and column, `[2]`."""
        seed = tf.stack([tf.constant(self.training.seed, tf.int64), number])
        return tf.random.stateless_uniform([2], seed, 0, 2 * MARGIN + 1, tf.int32)

    def _painted(
        self, photo: tf.Tensor, style: tf.Tensor, corner: tf.Tensor
    ) -> tuple[tf.Tensor, Terms]:
        """What the network makes of a photograph `[1, H, W, 3]`, and the losses of that.

        Both are of `[1, H − 2·MARGIN, W − 2·MARGIN, 3]` from the corner on.
        """
        painted = self.model(photo, tf.one_hot(style[None], len(self.model.styles)))
        begin = tf.concat([[0], corner, [0]], 0)
        size = [1, *(length - 2 * MARGIN for length in photo.shape[1:3]), 3]
        photo, painted = (tf.slice(each, begin, size) for each in (photo, painted))
        targets = Targets(
            self.loss.features(photo),
            {layer: gram[style] for layer, gram in self.grams.items()},
            dict.fromkeys(self.grams, tf.zeros(())),
        )
        return painted, self.loss(painted, targets)
