"""Which network drafts a run: the embedded one, where it is the cheaper and sees much the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neural_style_tf.commands import styles, tensorflow
from neural_style_tf.commands.job import Job
from neural_style_tf.objective import Objective
from neural_style_tf.styles import KeptStyle
from vgg import fetch
from vgg.weights import Weights, read


def draft(
    job: Job, weights: Weights, objective: Objective, loaded: Sequence[styles.Loaded]
) -> Weights | None:
    """The network to draft with, or None where there is to be no draft; TensorFlow was started.

    A draft is for pictures in a style: what a content or a style alone leaves open is to be the
    network's own. An initial picture may be one that the network has made, to be gone on with. A
    kept style holds nothing that another network could measure. A GPU, which waits for most of the
    time, paints with a large network as soon as with a small one.

    Args:
        job: what was asked for.
        weights, objective: the network that is to finish, and what is wanted of it.
        loaded: the styles, as they were read.

    Raises:
        WeightsError: the embedded network is damaged.
    """
    from vgg.network import operations

    if (
        job.inputs.draft == "none"
        or job.schedule.exact
        or not (objective.shares("content") and objective.shares("style"))
        or job.inputs.initial
        or any(isinstance(style, KeptStyle) for style in loaded)
        or tensorflow.on_gpu()
    ):
        return None
    (location,) = fetch.candidates("compact")
    if not location.exists():
        return None  # an installation without it, which has the network asked for
    embedded = read(location.path)
    if not set(objective.layers) <= set(embedded.layers):
        return None
    cost = [operations(each, objective.layers) for each in (embedded, weights)]
    return embedded if cost[0] < cost[1] / 2 and _same_eyes(weights, embedded) else None


def _same_eyes(weights: Weights, embedded: Weights) -> bool:
    """Whether this is the network that the embedded one was distilled from.

    The kernels of its first layer are that network's, some or all of them, but for rounding. (Files
    of the published network differ in their last bits and in how deep they go; a fingerprint would
    not do.)
    """
    first = [network.convolutions["conv1_1"] for network in (embedded, weights)]
    if any(len(arrays) != 2 for arrays in first):
        return False  # a factored one
    ours, theirs = (
        np.concatenate([kernel.reshape(-1, bias.size), [bias]]) for kernel, bias in first
    )
    alike = np.isclose(ours[:, :, None], theirs[:, None], 0, 1e-3).all(0)
    return bool(alike.any(1).all())
