"""The whole of `loop.stylize` as one graph: any size, any number of styles, nothing on the host.

It is made of the program's own parts, in the program's own order; what is here is only what the
program does in Python between them: the sizes, and the resizing of the given pictures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from neural_style_tf import optimizers
from neural_style_tf.descent import Descent
from neural_style_tf.losses import Loss, Targets, Terms
from neural_style_tf.networks import Network, centered
from neural_style_tf.objective import Objective
from neural_style_tf.pixels import detailed, start
from neural_style_tf.schedule import COARSEST, Schedule
from neural_style_tf.serving.resampling import resample
from neural_style_tf.traced import Traced

# Sizes from coarse to fine there can be at most, as for `Schedule.scales`.
_MOST_SCALES = 16


class Styles(NamedTuple):
    """Pictures of different sizes in one tensor.

    Attributes:
        pictures: `[S, H, W, 3]` float32 0-255, each in the upper left corner of its own.
        sizes: the height and width of each, `[S, 2]` int32.
        blend: the share of each, `[S]` float32, of sum 1.
    """

    pictures: tf.Tensor
    sizes: tf.Tensor
    blend: tf.Tensor


class Result(NamedTuple):
    """Of a run.

    Attributes:
        pixels: the picture, `[1, H, W, 3]` float32, not clipped.
        terms: its losses.
        iterations: how many were done at all sizes together, int32.
    """

    pixels: tf.Tensor
    terms: Terms
    iterations: tf.Tensor


def stylize(
    network: Network,
    objective: Objective,
    schedule: Schedule,
    content: tf.Tensor,
    styles: Styles,
    weights: tuple[tf.Tensor, ...],
    iterations: tf.Tensor,
    seed: tf.Tensor,
    noise: tf.Tensor,
) -> Result:
    """Paint the content in the styles, as `loop.stylize` does.

    Args:
        network: as for `loop.stylize`.
        objective: with all its terms.
        schedule: optimizer, number of sizes, tolerance and which picture to keep.
        content: `[1, H, W, 3]` float32 0-255.
        styles: each is resized to the width of the content.
        weights: of content, style and total variation, scalars.
        iterations: at full size, at most; int32.
        seed: of the noise; int32.
        noise: share of it in the first picture, which else is the content; float32.
    """
    schedule = schedule.resolved()
    network, mean = centered(network)
    optimizer = optimizers.of_pictures(schedule, mean)
    loss = Loss(network, objective)
    sizes = sizes_of(schedule, *tf.unstack(tf.shape(content)[1:3]))
    last = tf.shape(sizes)[0] - 1
    # Detail is a guess where the contents are to be seen in another style; see `loop.stylize`.
    guided = (weights[0] > 0) & (weights[1] > 0)

    def paint(index: tf.Tensor, before: Result) -> tuple[tf.Tensor, Result]:
        """Work at one size, from what the one before it left."""
        height, width = sizes[index, 0], sizes[index, 1]
        here = resample(content, height, width)

        def refined() -> tf.Tensor:
            enlarged = tf.image.resize(before.pixels, (height, width), "bicubic")
            coarser = tf.unstack(tf.shape(before.pixels)[1:3])
            return tf.cond(
                guided,
                lambda: detailed(enlarged, resample(content, *coarser), here),
                lambda: enlarged,
            )

        first = tf.cond(index == 0, lambda: start(here, noise, seed), refined)
        targets = targets_of(loss, here, styles, weights, mean)
        descent = Descent(loss.value_and_gradient, optimizer, schedule)
        own = tf.where(index == last, iterations, (iterations + 1) // 2)
        state = descent.until(
            descent.begin(tf.ensure_shape(first - mean, (1, None, None, 3)), targets), own, targets
        )
        found = _finite(state.result.pixels, state)
        terms = tf.cond(
            index == last, lambda: descent.evaluate(found, targets)[0], lambda: before.terms
        )
        return index + 1, Result(found + mean, terms, before.iterations + state.iteration)

    zero = tf.zeros(())
    nothing = Result(tf.zeros((1, 1, 1, 3)), Terms(zero, zero, zero, zero), tf.constant(0))
    scalar = tf.TensorSpec(())
    _, result = tf.while_loop(
        lambda index, _: index <= last,
        paint,
        (tf.constant(0), nothing),
        shape_invariants=(
            tf.TensorSpec((), tf.int32),
            Result(
                tf.TensorSpec((1, None, None, 3)),
                Terms(scalar, scalar, scalar, scalar),
                tf.TensorSpec((), tf.int32),
            ),
        ),
        parallel_iterations=1,
    )
    return result._replace(pixels=tf.ensure_shape(result.pixels, content.shape))


def targets_of(
    loss: Loss,
    content: tf.Tensor,
    styles: Styles,
    weights: tuple[tf.Tensor, ...],
    mean: tf.Tensor | float = 0.0,
) -> Targets:
    """The targets at the content's size: `Loss.targets`, of styles resized to its width.

    Args:
        loss: of pixels less the mean.
        content, styles, weights: as for `stylize`.
        mean: what the network does not subtract by itself.
    """
    layers = loss.objective.shares("style")
    width = tf.shape(content)[2]
    count = tf.shape(styles.pictures)[0]
    features, moments = Traced(loss.features), Traced(loss.moments)

    def measure(index: tf.Tensor, found: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        height, own = styles.sizes[index, 0], styles.sizes[index, 1]
        picture = styles.pictures[index : index + 1, :height, :own]
        measured = moments(resample(picture, *style_size(height, own, width)) - mean)
        return index + 1, {layer: found[layer].write(index, measured[layer]) for layer in layers}

    _, found = tf.while_loop(
        lambda index, _: index < count,
        measure,
        (
            tf.constant(0),
            {layer: tf.TensorArray(tf.float32, count, infer_shape=False) for layer in layers},
        ),
        parallel_iterations=1,
    )
    channels = {layer: moments.graph.structured_outputs[layer].shape for layer in layers}
    stacked = {
        layer: tf.ensure_shape(array.stack(), (None, *channels[layer]))
        for layer, array in found.items()
    }
    return loss.mixed(features(content - mean), stacked, styles.blend, weights)


def style_size(height: tf.Tensor, own: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`pixels.style_size` of scalar int32 tensors."""
    factor = tf.cast(width, tf.float64) / tf.cast(own, tf.float64)
    rows, columns = (
        tf.maximum(tf.cast(tf.cast(side, tf.float64) * factor, tf.int32), 1)
        for side in (height, own)
    )
    return rows, columns


def sizes_of(schedule: Schedule, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """`Schedule.sizes` of scalar int32 tensors: `[sizes, 2]` int32, coarse to fine."""
    shorter = tf.minimum(height, width)
    if schedule.scales is not None or schedule.optimizer == "adam":
        count = tf.constant(schedule.scales or 1)
    else:
        enough = shorter >= [COARSEST * 2**k for k in range(1, _MOST_SCALES)]
        count = 1 + tf.reduce_sum(tf.cast(enough, tf.int32))
    halvings = tf.range(count - 1, -1, -1)
    full = tf.cast(tf.stack([height, width]), tf.float64)
    sizes = full / 2.0 ** tf.cast(halvings, tf.float64)[:, None]
    return tf.maximum(tf.cast(tf.round(sizes), tf.int32), 1)  # half to even, as Python's round


def _finite(picture: tf.Tensor, state: Any) -> tf.Tensor:
    """The picture, if the run came to its end.

    Raises:
        InvalidArgumentError: when it runs, where the loss became NaN or infinite.
    """
    finite = state.finite & tf.math.is_finite(state.result.loss)
    message = "the loss became NaN or infinite: give lower weights, or other pictures"
    with tf.control_dependencies([tf.debugging.Assert(finite, [message])]):
        return tf.identity(picture)
