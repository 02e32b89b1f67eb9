"""The SavedModel on disk, with a README and its metadata beside the graph (`assets.extra`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neural_style_tf import saved_model
from neural_style_tf.serving.module import Stylizer
from neural_style_tf.serving.signatures import Signature

_INTRODUCTION = """# Neural style transfer

A SavedModel: the whole optimization, to be run by TensorFlow alone. Its signatures are below.
Pictures are RGB, 0-255, of any size. An input with a default may be left out where whoever calls
knows of defaults (`SignatureDef.defaults`), as the functions of the same names do in Python:
`tf.saved_model.load(DIR).stylize(content, styles)`. Files are decoded as they are: alpha and
orientation are not heeded. All of a picture is in memory at once. `metadata.json` says what was
exported.
"""


def save(module: Stylizer, folder: Path) -> None:
    """Write a module as a SavedModel into a folder that is not there yet.

    Raises:
        OSError: a disk that refuses.
    """
    described = module.signatures
    saved_model.save(module, folder, {name: getattr(module, name) for name in described})
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "metadata.json").write_text(module.about + "\n", encoding="utf-8")
    readme = [
        _INTRODUCTION,
        *(_section(name, each, module.defaults) for name, each in described.items()),
    ]
    (extra / "README.md").write_text("\n".join(readme), encoding="utf-8")


def _section(name: str, signature: Signature, defaults: Mapping[str, Any]) -> str:
    lines = [f"## {name}", "", signature.text]
    if signature.inputs:
        lines += ["", "| Input | Type | Shape | Default | |", "|-|-|-|-|-|"]
    for each in signature.inputs:
        default = f"`{defaults[each.name].numpy().tolist()}`" if each.name in defaults else ""
        lines.append(
            f"| `{each.name}` | {each.dtype.name} | `{each.shown}` | {default} | {each.text} |"
        )
    lines += ["", "| Output | |", "|-|-|"]
    lines += [f"| `{output}` | {text} |" for output, text in signature.outputs.items()]
    return "\n".join((*lines, ""))
