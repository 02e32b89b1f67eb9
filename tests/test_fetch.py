"""vgg.fetch: where weights are found, and fetching them from a real server that misbehaves."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vgg import fetch
from vgg.errors import WeightsError

BODY = bytes(range(256)) * 1200  # 300 KB: several blocks
DIGEST = hashlib.sha256(BODY).hexdigest()
GOOD = fetch.Source("keras", "http://unused.invalid/w.h5", "w.h5", "sha256", DIGEST, len(BODY))
MAT = "imagenet-vgg-verydeep-19.mat"


class Server(ThreadingHTTPServer):
    """Sends what `replies` has for a path, byte for byte, and notes what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.replies = {"/w.h5": response("200 OK", f"Content-Length: {len(BODY)}", body=BODY)}
        self.asked: list[str] = []
        self.stalls = False
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up is what several tests are about."""

    def url(self, path: str = "/w.h5") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.wfile.write(self.server.replies[self.path])
        if self.server.stalls:
            self.server.closing.wait(10)


def response(*head: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {head[0]}", *head[1:], "", "")).encode() + body


CHUNKS = response("200 OK", "Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n" % (len(BODY), BODY))
CUT = response("200 OK", f"Content-Length: {len(BODY)}", body=BODY[:100_000])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user with an empty home and current folder, without an embedded network."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NEURAL_STYLE_NETWORK", raising=False)
    monkeypatch.setattr(fetch, "_EMBEDDED", tmp_path / "compact.npz")
    return home


@pytest.fixture(params=["empty", "occupied"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where a failing fetch should have written; afterwards the folder must be as it was before."""
    folder = tmp_path / "target"
    folder.mkdir()
    if request.param == "occupied":
        (folder / "w.h5").write_bytes(b"what was there")
    yield folder / "w.h5"
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert left == ({"w.h5": b"what was there"} if request.param == "occupied" else {})


def failure(origin: str | None, target: Path, **options: Any) -> str:
    """The message, one line, of a fetch that must fail."""
    options.setdefault("source", GOOD)
    with pytest.raises(WeightsError) as caught:
        fetch.fetch(origin, destination=target, **options)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# Fetching: what goes well.


def test_fetches_into_the_cache_by_default(server: Server, home: Path) -> None:
    path = fetch.fetch(source=GOOD._replace(url=server.url()))
    assert path == home / ".cache" / "neural-style-tf" / "w.h5"
    assert path.read_bytes() == BODY
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("reply", "total"),
    [
        (response("200 OK", f"Content-Length: {len(BODY)}", body=BODY), len(BODY)),
        (response("200 OK", body=BODY), None),
        (CHUNKS + b"0\r\n\r\n", None),
        (response("302 Found", "Location: /w.h5"), len(BODY)),
    ],
    ids=["length", "no length", "chunked", "redirect"],
)
def test_good_servers(server: Server, tmp_path: Path, reply: bytes, total: int | None) -> None:
    server.replies["/start"] = reply
    calls: list[tuple[int, int | None]] = []
    path = fetch.fetch(
        server.url("/start"),
        source=GOOD._replace(digest=DIGEST.upper()),
        destination=tmp_path,  # a folder gets the published name
        progress=lambda received, total: calls.append((received, total)),
    )
    assert path == tmp_path / "w.h5"
    assert path.read_bytes() == BODY
    assert calls[0] == (0, total)
    assert calls[-1] == (len(BODY), total)
    assert len(calls) > 3


def test_replaces_another_file_and_leaves_it_readable(server: Server, tmp_path: Path) -> None:
    path, plain = tmp_path / "w.h5", tmp_path / "plain"
    path.write_bytes(b"an older edition")
    plain.touch()
    fetch.fetch(server.url(), source=GOOD, destination=path)
    assert path.read_bytes() == BODY
    assert path.stat().st_mode == plain.stat().st_mode


def test_the_right_file_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(BODY)
    source = GOOD._replace(digest=DIGEST.upper())

    def progress(received: int, total: int | None) -> None:
        raise AssertionError("nothing was to be fetched")

    assert path == fetch.fetch(server.url(), source=source, destination=path, progress=progress)
    assert server.asked == []


def test_a_local_file_is_copied(home: Path, tmp_path: Path) -> None:
    (home / "mine").write_bytes(BODY)
    path = fetch.fetch("~/mine", source=GOOD, destination=tmp_path / "new" / "w.h5")
    assert path.read_bytes() == BODY
    assert (home / "mine").exists()


# Fetching: what goes wrong. The `target` fixture then checks that nothing was left or touched.


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (CUT, "expected 307200 bytes, got 100000 bytes"),
        (CHUNKS, "closed too early; try again"),
        (response("404 Gone"), "expected w.h5 (307200 bytes), got HTTP 404 Not Found; try --from"),
        (response("500 Oops"), "HTTP 500 Internal Server Error"),
        (response("302 Found", "Location: ftp://127.0.0.1:1/w.h5"), "unknown url type: ftp"),
        (response("302 Found", "Location: file:///etc/hostname"), "HTTP 302"),
        (b"220 \x1b[2Jmail.example\r\n", "got 220  [2Jmail.example; try"),
    ],
    ids=["truncated", "truncated chunk", "404", "500", "to ftp", "to file", "mail"],
)
def test_bad_servers(server: Server, target: Path, reply: bytes, words: str) -> None:
    server.replies["/w.h5"] = reply
    message = failure(server.url(), target)
    assert words in message
    assert message.startswith(server.url())
    assert f"try --from MIRROR, or download {GOOD.url} by hand to {target}" in message


def test_wrong_hash(server: Server, target: Path) -> None:
    page = b"<html>Please log in</html>"
    server.replies["/w.h5"] = response("200 OK", body=page)
    message = failure(server.url(), target)
    assert f"expected w.h5 with sha256 {DIGEST}" in message
    assert f"got 26 bytes with {hashlib.sha256(page).hexdigest()}" in message
    assert "--sha256" in message
    assert "--sha256" not in failure(None, target, source=GOOD._replace(url=server.url()))


def test_refused(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening
        message = failure(f"http://127.0.0.1:{unused.getsockname()[1]}/w.h5", target)
    assert "refused" in message.lower()


@pytest.mark.parametrize("reply", [b"", CUT], ids=["at once", "midway"])
def test_a_server_that_stalls(server: Server, target: Path, reply: bytes) -> None:
    server.replies["/w.h5"] = reply
    server.stalls = True
    assert "no answer for 0.2 s" in failure(server.url(), target, timeout=0.2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_an_exception_in_progress_passes_unchanged(
    server: Server, target: Path, error: type[BaseException]
) -> None:
    def progress(received: int, total: int | None) -> None:
        if received:
            # The file under construction is there: this is what must be cleaned up.
            assert list(target.parent.glob(".*.part"))
            raise error

    with pytest.raises(error):
        fetch.fetch(server.url(), source=GOOD, destination=target, progress=progress)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("file:///etc/hostname", "got file://; give --from a file or an http(s) URL"),
        ("ftp://127.0.0.1/w.h5", "got ftp://"),
        ("http://", "no host given"),
        ("http://127.0.0.1:port/", "nonnumeric port"),
        ("http://127.0.0.1/a b", "control characters"),
        ("http://a..b/", "label"),
    ],
)
def test_impossible_urls(
    target: Path, where: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    message = failure(where, target)
    assert message.startswith(where)
    assert words in message


def test_local_files_that_will_not_do(target: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    assert "got 5 bytes" in failure(str(tmp_path / "other"), target)
    assert "got nothing" in failure(str(tmp_path / "absent"), target)
    assert "got a folder" in failure(str(tmp_path), target)


def test_too_little_room_is_said_before_reading(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    calls: list[int] = []
    message = failure(server.url(), target, progress=lambda received, total: calls.append(received))
    assert "expected room for 307200 bytes, got 1000 bytes" in message
    assert calls == []


def test_a_disk_that_fills_up(server: Server, target: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = failure(server.url(), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.startswith(f"cannot write {target}: File too large")


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = failure(server.url(), tmp_path / "file" / "w.h5")
    assert message.startswith("cannot write")
    assert "--output" in message
    assert server.asked == []
    (tmp_path / "link").symlink_to("nowhere")
    assert "cannot write" in failure(server.url(), tmp_path / "link" / "w.h5")


def test_a_special_file_is_not_replaced(server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "got a special file" in failure(server.url(), tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


# Finding.


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def cached(name: str) -> Path:
    return put(fetch.cache_dir() / fetch.SOURCES[name].filename)


def missing(network: str = "auto") -> str:
    with pytest.raises(WeightsError) as caught:
        fetch.find(network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_auto_takes_the_first_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = put(tmp_path / "compact.npz")
    assert fetch.find() == (embedded, "embedded")
    cached("keras-vgg16")
    assert fetch.find() == (embedded, "embedded")
    mat = cached("mat")
    assert fetch.find() == (mat, "the cache")
    keras = cached("keras")
    assert fetch.find() == (keras, "the cache")
    here = put(Path(MAT))
    assert fetch.find() == (here, "the current folder")
    monkeypatch.setenv("NEURAL_STYLE_NETWORK", str(put(tmp_path / "other.h5")))
    assert fetch.find() == (tmp_path / "other.h5", "$NEURAL_STYLE_NETWORK")


def test_nothing_found_says_how_to_get_it() -> None:
    Path(MAT).mkdir()  # a folder is not a find
    message = missing()
    assert (
        "`python -m neural_style_tf weights` (downloads 80 MB), or give --network FILE" in message
    )
    assert str(fetch.cache_dir()) in message


def test_the_variable_is_named_when_its_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cached("keras")  # no silent second choice
    monkeypatch.setenv("NEURAL_STYLE_NETWORK", "/absent/w.h5")
    message = missing()
    assert message.startswith("$NEURAL_STYLE_NETWORK: ")
    assert "/absent/w.h5" in message
    monkeypatch.setenv("NEURAL_STYLE_NETWORK", "vgg16")
    assert missing().startswith("$NEURAL_STYLE_NETWORK vgg16: ")


def test_when_the_variable_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    keras, mine = cached("keras"), put(Path("mine.h5"))
    for value in ("", "auto"):
        monkeypatch.setenv("NEURAL_STYLE_NETWORK", value)
        assert fetch.find() == (keras, "the cache")
    monkeypatch.setenv("NEURAL_STYLE_NETWORK", "/absent/w.h5")
    assert fetch.find("mine.h5") == (mine, "--network")


def test_explicit_paths(home: Path, tmp_path: Path) -> None:
    path = put(home / "w.npz")
    assert fetch.find(str(path)) == (path, "--network")
    assert fetch.find("~/w.npz") == (path, "--network")
    assert "got nothing at 'absent.mat'" in missing("absent.mat")
    assert "got a folder" in missing(str(tmp_path))
    assert "got a folder" in missing("")
    assert "got file name too long" in missing("x" * 5000)
    assert "impossible" in missing("a\0b")
    assert "vgg19, vgg16 or compact" in missing("VGG-19")


def test_networks_by_name(tmp_path: Path) -> None:
    put(Path(MAT))  # a name means the cached file, not one that happens to lie here
    assert "weights` (downloads 80 MB)" in missing("vgg19")
    assert "weights --format keras-vgg16` (downloads 59 MB)" in missing("vgg16")
    assert "install" in missing("compact")
    mat, vgg16, compact = cached("mat"), cached("keras-vgg16"), put(tmp_path / "compact.npz")
    assert fetch.find("vgg19") == (mat, "the cache")
    assert fetch.find("vgg16") == (vgg16, "the cache")
    assert fetch.find("compact") == (compact, "embedded")
    assert "got nothing" in missing("./vgg19")


def test_the_embedded_network_lies_beside_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert fetch.candidates("compact")[0].path == Path(fetch.__file__).parent / "compact.npz"


def test_cache_dir(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert fetch.cache_dir() == home / ".cache" / "neural-style-tf"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert fetch.cache_dir() == home / ".cache" / "neural-style-tf"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.cache_dir() == tmp_path / "xdg" / "neural-style-tf"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert fetch.cache_dir() == tmp_path / "local" / "neural-style-tf"


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert fetch.cache_dir().is_absolute()
    assert "weights`" in missing()
    assert "got nothing at '~/w.h5'" in missing("~/w.h5")


# What the module promises about itself.


@pytest.mark.parametrize(("name", "module"), [("keras", "vgg19"), ("keras-vgg16", "vgg16")])
def test_digests_are_those_of_the_installed_keras(name: str, module: str) -> None:
    spec = importlib.util.find_spec("keras")  # finds the folder without importing TensorFlow
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    text = (folder / "src" / "applications" / f"{module}.py").read_text()
    source = fetch.SOURCES[name]
    assert source.algorithm == "md5"
    assert f'"{source.filename}"' in text
    # Keras names two files, with and without the classifier: the digest must be of this one.
    after = text.split(f'"{source.filename}",\n')[-1]
    assert after.index(f'file_hash="{source.digest}"') == after.index("file_hash=")
    assert source.url.endswith(f"/{module}/{source.filename}")


def test_sources_are_well_formed() -> None:
    for name, source in fetch.SOURCES.items():
        assert source.name == name
        assert source.url.startswith("https://")
        assert source.url.endswith("/" + source.filename)
        assert len(bytes.fromhex(source.digest)) == hashlib.new(source.algorithm).digest_size
