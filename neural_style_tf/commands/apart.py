"""What a run writes has a place of its own: it takes neither that of an input nor of its result."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from neural_style_tf.errors import OptionError
from neural_style_tf.files import shown
from neural_style_tf.progress import checkpoint_name


def check_apart(
    inputs: Iterable[str | None],
    output: str,
    beside: Mapping[str, Path | None],
    checkpoints: str | None = None,
) -> None:
    """Whether nothing is written over something else.

    Args:
        inputs: what the run reads.
        output: its result.
        beside: `{flag: path}` of what else it writes; None for what it does not.
        checkpoints: the template of their names.

    Raises:
        OptionError: one of them would be.
    """
    taken = {_place(output): "ends with"}
    taken |= {_place(each): "reads" for each in inputs if each}
    for flag, path in beside.items():
        if path is None:
            continue
        place = _place(path)
        if place in taken:
            raise OptionError(
                f"{flag}: expected a place of its own for {shown(path)}, got the file that the run "
                f"{taken[place]}; name another"
            )
        taken[place] = f"writes by {flag}"
    for place, role in taken.items() if checkpoints else ():
        for digits in re.findall(r"\d+", place.name):
            if _place(checkpoint_name(str(checkpoints), int(digits))) == place:
                raise OptionError(
                    f"--checkpoint-output: expected names of their own, got {checkpoints!r}, "
                    f"one of which is the file {shown(place.name)} that the run {role}; "
                    "choose another"
                )


def _place(path: str | Path) -> Path:
    """Where it is in the end; a name that can be none is refused by whoever opens it."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:
        return Path(path)
