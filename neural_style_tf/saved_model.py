"""To write a SavedModel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from neural_style_tf.chatter import muted


def save(module: tf.Module, folder: Path, signatures: Mapping[str, Any]) -> None:
    """Write a module into a folder that is not there yet.

    Raises:
        OSError: a disk that refuses.
    """
    # Traced before, so that whatever goes wrong in writing is the disk's doing.
    for function in signatures.values():
        function.get_concrete_function()
    with muted():
        try:
            tf.saved_model.save(module, os.fspath(folder), signatures=signatures)
        except tf.errors.OpError as error:
            raise OSError(None, error.message) from error
