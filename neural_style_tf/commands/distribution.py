"""The devices that a training is spread over."""

from __future__ import annotations

import json
import os
from typing import Any

from neural_style_tf.errors import OptionError


def check() -> None:
    """Whether $TF_CONFIG, where it is set, can be meant.

    Raises:
        OptionError: it cannot.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text) if text else {}
        workers = config.get("cluster", {}).get("worker", [])
        task = config.get("task", {})
        ok = isinstance(workers, list) and (not workers or isinstance(task.get("index"), int))
    except (ValueError, AttributeError):
        ok = False
    if not ok:
        raise OptionError(
            "$TF_CONFIG: expected JSON with cluster.worker, a list of host:port, and task.index, "
            f"got {text[:80]!r}"
        )


def workers() -> int:
    """How many processes train together, by $TF_CONFIG."""
    config = json.loads(os.environ.get("TF_CONFIG", "") or "{}")
    return max(1, len(config.get("cluster", {}).get("worker", [])))


def strategy() -> Any:
    """What spreads a training: over the workers of $TF_CONFIG, over several GPUs, or not at all.

    TensorFlow has been started, and nothing has been computed yet.
    """
    import tensorflow as tf

    if workers() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: Any) -> bool:
    """Whether this process is the one that writes and speaks."""
    resolver = strategy.cluster_resolver
    return workers() == 1 or resolver is None or resolver.task_id in (0, None)
