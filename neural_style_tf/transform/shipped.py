"""The networks that come with the program, by the names of their styles."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import numpy as np

from neural_style_tf.errors import OptionError
from neural_style_tf.transform.stored import Net, read_net

FOLDER = Path(__file__).with_name("nets")


def names() -> dict[str, Path]:
    """`{style: the file of the network that has it}`."""
    found: dict[str, Path] = {}
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for style in json.loads(str(arrays["settings"]))["styles"]:
                found[style] = path
    return found


def find(model: str, flag: str = "--model") -> tuple[Net, tuple[str, ...]]:
    """A network and the styles of it that are meant, by the name of a style or of a file.

    A name of ours is that style alone; a file is all of its styles. Where a file has such a name,
    `./starry` means the file. An error names the flag.

    Raises:
        OptionError: neither.
        FileError: a file that is no network.
    """
    known = names()
    if model in known:
        return read_net(known[model]), (model,)
    if not Path(model).exists() and Path(model).suffix.lower() not in (".keras", ".npz"):
        near = difflib.get_close_matches(model, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise OptionError(
            f"unknown {flag} {model}{hint}: expected a .keras or .npz file, or one of "
            f"{', '.join(known)}"
        )
    net = read_net(model)
    return net, net.styles
