"""The perceptual network: a file of VGG weights in, a Keras model of named activations out.

Knows nothing of style. The model maps RGB pixels (0-255, `[1, H, W, 3]`, any size) to
`{layer name: activation}`; see `vgg.network` for the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vgg.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import keras

__all__ = ["WeightsError", "load"]


def load(
    network: str | Path = "auto",
    pooling: str = "max",
    layers: Iterable[str] | None = None,
    precision: str = "float32",
    exact: bool = False,
    raw: bool = False,
    sparing: bool = False,
) -> keras.Model:
    """Find, read and build a network.

    Args:
        network: a weights file (MatConvNet `.mat`, Keras `.h5`/`.weights.h5`, our `.npz`),
            "vgg19", "vgg16" or "compact", or "auto" for the first one found (see
            `vgg.fetch.find`). A `Path` is always a file.
        pooling: "max" (as VGG was trained) or "avg" (as Gatys et al. 2015 prefer).
        layers: names of the activations wanted; the model is only as deep as they need. All by
            default.
        precision: "float32", or "bfloat16": see `vgg.network.build`.
        exact: convolutions to the last bit, where faster ones would differ in the sixth digit.
        raw: activations in `precision`, which is sooner; else they are made float32.
        sparing: less is kept for the way back, on a CPU: see `vgg.network.build`. It pays within a
            graph, from half a megapixel on.

    Returns:
        A Keras model: float32 `[1, H, W, 3]` RGB pixels 0-255 -> `{layer: [1, h, w, C]}`. Layers of
        the embedded network may have some of VGG-19's channels; `embeddings`, `{layer: [k, C]}`,
        make all of them, `features @ embedding`.

    Raises:
        WeightsError: no such file, not a VGG, unknown pooling, layer or precision.
    """
    from vgg import fetch
    from vgg.network import build
    from vgg.weights import read

    path = fetch.find(network).path if isinstance(network, str) else network
    return build(
        read(path),
        pooling=pooling,
        layers=layers,
        precision=precision,
        exact=exact,
        raw=raw,
        sparing=sparing,
    )
