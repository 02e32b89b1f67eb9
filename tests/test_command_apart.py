"""commands/apart.py: what a run writes beside its result takes the place of nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_style_tf.commands.apart import check_apart
from neural_style_tf.errors import OptionError
from tests.commandline import PICTURES, SHORT, error


def test_a_link_to_itself_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    loop = tmp_path / "loop1.png"
    loop.symlink_to(loop)
    check_apart([str(loop)], "out.png", {"--log-dir": None}, "out{}.png")
    with pytest.raises(OptionError, match=r"that the run reads"):
        check_apart([str(loop)], "out.png", {"--log-dir": loop})


def test_a_folder_in_the_place_of_the_losses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("progress.txt").mkdir()
    told = error(capsys, *PICTURES, *SHORT, "--progress-write")
    assert "expected room for a file, got the folder progress.txt" in told
