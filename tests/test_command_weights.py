"""The `weights` command, from its flags to what it prints."""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from neural_style_tf.commands import weights
from vgg import fetch
from vgg.errors import WeightsError

BODY = b"weights" * 50_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The empty cache of a user in an empty folder, who has a file of weights at ../mirror."""
    (tmp_path / "mirror").write_bytes(BODY)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NEURAL_STYLE_NETWORK", raising=False)
    monkeypatch.setattr(fetch, "_EMBEDDED", tmp_path / "compact.npz")
    return tmp_path / "neural-style-tf"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="weights")
    weights.add_arguments(parser)
    return weights.run(parser.parse_args(arguments))


def mirrored(*arguments: str) -> int:
    return run("--from", "../mirror", "--sha256", SHA256, *arguments)


def test_fetches_into_the_cache_and_says_so(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mirrored() == 0
    path = cache / fetch.SOURCES["keras"].filename
    assert path.read_bytes() == BODY
    assert fetch.find().path == path
    out, err = capsys.readouterr()
    assert out == (f"{path}: fetched, sha256 verified\nIt is used automatically from now on.\n")
    assert err.startswith("fetching ../mirror\n")
    assert "100 %" in err

    assert mirrored("--sha256", SHA256.upper()) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{path}: already there, sha256 verified\n")
    assert err == ""


def test_expects_the_published_file_by_default(cache: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        run("--from", "../mirror")
    assert fetch.SOURCES["keras"].digest in str(caught.value)
    with pytest.raises(WeightsError) as caught:
        run("--from", "../mirror", "--format", "mat")
    assert fetch.SOURCES["mat"].digest in str(caught.value)
    assert list(cache.iterdir()) == []


def test_reads_the_published_url_by_default(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = fetch.SOURCES["keras"]._replace(url="../mirror")
    monkeypatch.setitem(fetch.SOURCES, "keras", mirror)
    assert run("--sha256", SHA256) == 0
    assert capsys.readouterr().err.startswith("fetching ../mirror\n")


# What is printed about the use of the file must hold: each of these names is given to `find`.


def test_a_second_vgg19_does_not_replace_the_first(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mirrored() == 0
    assert mirrored("--format", "mat") == 0
    mat, keras = (cache / fetch.SOURCES[name].filename for name in ("mat", "keras"))
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"Use it with --network {mat}; without, {keras} (the cache) is used."
    )
    assert fetch.find().path == keras


def test_vgg16_is_used_by_name(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mirrored("--format", "keras-vgg16") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Use it with --network vgg16."
    assert fetch.find("vgg16").path == cache / fetch.SOURCES["keras-vgg16"].filename


def test_output(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mirrored("--output", "my weights.h5") == 0
    path = Path("my weights.h5").absolute()
    assert path.read_bytes() == BODY
    assert not cache.exists()
    assert capsys.readouterr().out.splitlines()[-1] == f"Use it with --network '{path}'."
    assert mirrored("--output", "imagenet-vgg-verydeep-19.mat", "--format", "mat") == 0
    assert "automatically from now on in this folder." in capsys.readouterr().out


def test_the_variable_goes_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURAL_STYLE_NETWORK", "../mirror")
    assert mirrored() == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "Use it with --network vgg19; without, ../mirror ($NEURAL_STYLE_NETWORK) is used."
    )


def test_list(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert {row[0] for row in rows[:-1]} == {"auto", "vgg19", "vgg16", "compact"}
    assert {" ".join(row[1:3]) for row in rows[:-1]} == {"not found"}
    assert rows[-1][-1] == "none"

    mirrored("--format", "mat")
    capsys.readouterr()
    assert run("--list") == 0
    out = capsys.readouterr().out
    mat = str(cache / "imagenet-vgg-verydeep-19.mat")
    found = [line.split() for line in out.splitlines() if " not found " not in line]
    assert [row[:2] for row in found[:-1]] == [["auto", "found"], ["vgg19", "found"]]
    assert {row[-1] for row in found} == {mat}


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "a" * 32])
def test_a_digest_that_is_none(digest: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--sha256", digest)
    assert "expected 64 hexadecimal digits" in capsys.readouterr().err


def test_help_tells_sizes_and_survives_any_home(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/100%s")
    with pytest.raises(SystemExit):
        run("--help")
    out = " ".join(capsys.readouterr().out.split())
    assert "keras 80 MB, mat 535 MB, keras-vgg16 59 MB" in out
    assert "/100%s/neural-style-tf" in out


def test_starts_without_tensorflow() -> None:
    code = (
        "import sys, neural_style_tf.commands.weights\n"
        "slow = {'tensorflow', 'keras', 'numpy', 'scipy', 'urllib.request'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    root = Path(weights.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The meter, with a clock of its own.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def metered(stream: io.StringIO, total: int | None, seconds: float) -> str:
    """What is shown of 80 MB that arrive in 800 steps over so many seconds."""
    now = [100.0]
    meter = weights._Meter(stream, "URL", 80_000_000, lambda: now[0])
    for step in range(801):
        meter(step * 100_000, total)
        now[0] += seconds / 800
    meter.close()
    return stream.getvalue()


def test_a_pipe_gets_a_line_each_tenth() -> None:
    lines = metered(io.StringIO(), 80_000_000, 160).splitlines()
    assert lines[0] == "fetching URL"
    assert len(lines) == 11
    assert " ".join(lines[1].split()) == "8.0 of 80.0 MB 10 % 0.5 MB/s 2 min 24 s left"
    assert " ".join(lines[-1].split()) == "80.0 of 80.0 MB 100 % 0.5 MB/s 0 s left"


def test_a_pipe_without_a_total() -> None:
    lines = metered(io.StringIO(), None, 160).splitlines()
    assert len(lines) == 11
    assert lines[1].split() == ["8.0", "MB", "0.5", "MB/s"]


def test_a_terminal_gets_one_line_kept_up_to_date() -> None:
    text = metered(Terminal(), 80_000_000, 8)
    head, line, rest = text.split("\n")
    assert (head, rest) == ("fetching URL", "")
    shown = line.split("\r")[1:]
    assert 60 <= len(shown) <= 82  # 10 a second, not 800 in 8 s
    assert " ".join(shown[-1].split()) == "80.0 of 80.0 MB 100 % 10.0 MB/s 0 s left"


def test_a_shorter_text_covers_the_longer_one() -> None:
    screen = ""
    for text in metered(Terminal(), 80_000_000, 160).split("\n")[1].split("\r"):
        screen = text + screen[len(text) :]
        assert screen.rstrip() == text.rstrip()
    assert "min" not in screen  # as it was at first


def test_the_line_is_ended_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(WeightsError):
        run("--from", "../mirror")  # wrong digest, known only at the end
    assert terminal.getvalue().endswith("left\n")
