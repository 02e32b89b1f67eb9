"""Neural style transfer in TensorFlow 2 / Keras.

>>> import vgg
>>> from neural_style_tf import Objective, stylize
>>> objective = Objective(content_weight=10)
>>> network = vgg.load("imagenet-vgg-verydeep-19.mat", layers=objective.layers)
>>> for step in stylize(network, content, [style], objective):
...     print(step.iteration, step.terms.total)

The names in `__all__` are the public ones. They are imported when first used: TensorFlow takes
seconds, and a wrong flag should not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural_style_tf.descent import Candidate, Step
    from neural_style_tf.errors import DivergedError, FileError, NeuralStyleError, OptionError
    from neural_style_tf.loop import stylize, stylize_image
    from neural_style_tf.losses import Loss, Targets, Terms
    from neural_style_tf.objective import PRESETS, Objective, Preset
    from neural_style_tf.optimization import Graphs
    from neural_style_tf.schedule import Schedule
    from neural_style_tf.style_files import read_style
    from neural_style_tf.styles import KeptStyle
    from neural_style_tf.transform.model import TransformNet
    from neural_style_tf.transform.painter import Painter
    from neural_style_tf.transform.stored import Net, read_net

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Candidate",
    "DivergedError",
    "FileError",
    "Graphs",
    "KeptStyle",
    "Loss",
    "Net",
    "NeuralStyleError",
    "Objective",
    "OptionError",
    "Painter",
    "Preset",
    "Schedule",
    "Step",
    "Targets",
    "Terms",
    "TransformNet",
    "read_net",
    "read_style",
    "stylize",
    "stylize_image",
]

_HOMES = {
    "errors": ("DivergedError", "FileError", "NeuralStyleError", "OptionError"),
    "losses": ("Loss", "Targets", "Terms"),
    "objective": ("PRESETS", "Objective", "Preset"),
    "optimization": ("Graphs",),
    "schedule": ("Schedule",),
    "styles": ("KeptStyle",),
    "style_files": ("read_style",),
    "transform.model": ("TransformNet",),
    "transform.painter": ("Painter",),
    "transform.stored": ("Net", "read_net"),
    "descent": ("Candidate", "Step"),
    "loop": ("stylize", "stylize_image"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            module = importlib.import_module(f"{__name__}.{home}")
            globals().update({each: getattr(module, each) for each in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
