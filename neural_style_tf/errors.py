"""What can go wrong, as one tree.

Every message is one line that says what was expected, what was found and what to do about it.
`neural_style_tf.__main__` is the only place that turns one into an exit code.
"""

from __future__ import annotations


class NeuralStyleError(Exception):
    """Base of every error that the program raises on purpose."""


class OptionError(NeuralStyleError):
    """A flag, a weight or a combination of them that cannot be meant."""


class FileError(NeuralStyleError):
    """A picture, settings file or folder that cannot be read or written."""


class DivergedError(NeuralStyleError):
    """The loss became NaN or infinite; the last finite picture is in the last Step."""
