"""Where the weights of a network are found, and fetching them.

Only the standard library is used, and its HTTP client (50 ms to import) only once something is
fetched: every command asks `find` for a path before it needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from vgg.errors import WeightsError

if TYPE_CHECKING:
    import urllib.request

__all__ = ["SOURCES", "Location", "Source", "cache_dir", "candidates", "fetch", "find", "size"]


class Source(NamedTuple):
    """A published weights file; `size` is in bytes, for messages, and never compared."""

    name: str
    url: str
    filename: str
    algorithm: str  # "sha256" or "md5"
    digest: str  # hexadecimal
    size: int


class Location(NamedTuple):
    """A place where a weights file is looked for, and who named that place."""

    path: Path
    origin: (
        str  # "--network", "$NEURAL_STYLE_NETWORK", "the current folder", "the cache", "embedded"
    )

    def exists(self) -> bool:
        """Whether a regular file is there that may be looked at."""
        return _kind(self.path) == "a file"


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_SOURCES = (
    # Both VGG-19 files are conversions of the one network that Oxford released. The Keras one
    # leaves out the classifier, which no style needs: hence a seventh of the size, and the default.
    # Its digest is MD5 because that is the one that Keras publishes.
    Source(
        "keras",
        f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "253f8cb515780f3b799900260a226db6",
        80_134_624,
    ),
    Source(
        "mat",
        "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat",
        "imagenet-vgg-verydeep-19.mat",
        "sha256",
        "abdb57167f82a2a1fbab1e1c16ad9373411883f262a1a37ee5db2e6fb0044695",
        534_904_783,
    ),
    Source(
        "keras-vgg16",
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "md5",
        "6d6bbae143d832006294945121d1f1fc",
        58_889_256,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _SOURCES}

# The networks that may be asked for by name, and the sources whose cached file will do, best first.
_CACHED = {"vgg19": ("keras", "mat"), "vgg16": ("keras-vgg16",)}
_EMBEDDED = Path(__file__).with_name("compact.npz")
_VARIABLE = "NEURAL_STYLE_NETWORK"
_BLOCK = 1 << 16


def cache_dir() -> Path:
    """The folder that keeps fetched weights; it need not exist yet.

    `$XDG_CACHE_HOME/neural-style-tf`, else `~/.cache/neural-style-tf`; on Windows
    `%LOCALAPPDATA%\\neural-style-tf`. A user without a home gets one in the temporary folder.
    """
    name = "neural-style-tf"
    windows = sys.platform == "win32"
    base = Path(os.environ.get("LOCALAPPDATA" if windows else "XDG_CACHE_HOME", ""))
    if base.is_absolute():  # the XDG specification has relative paths ignored
        return base / name
    try:
        home = Path.home()
    except RuntimeError:
        import tempfile

        # Containers run under user numbers that /etc/passwd does not list.
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
        return Path(tempfile.gettempdir()) / f"{name}{user}"
    return (home / "AppData" / "Local" if windows else home / ".cache") / name


def candidates(network: str = "auto") -> list[Location]:
    """The places where `network` is looked for, in order; `find` takes the first that exists.

    Args:
        network: "auto", "vgg19", "vgg16", "compact", or the path of a file. Where a file has one of
            these names, `./vgg19` means the file.
    """
    if network == "auto":
        named = os.environ.get(_VARIABLE, "")
        if named not in ("", "auto"):
            return [Location(place.path, f"${_VARIABLE}") for place in candidates(named)]
        here = Location(Path(SOURCES["mat"].filename), "the current folder")
        return [here, *candidates("vgg19"), *candidates("compact")]
    if network in _CACHED:
        folder = cache_dir()
        names = _CACHED[network]
        return [Location(folder / SOURCES[name].filename, "the cache") for name in names]
    if network == "compact":
        return [Location(_EMBEDDED, "embedded")]
    return [Location(_expanded(network), "--network")]


def find(network: str = "auto") -> Location:
    """The weights file that `network` means.

    Args:
        network: as for `candidates`. "auto" is the file that $NEURAL_STYLE_NETWORK names, and
            nothing else if that is set; otherwise imagenet-vgg-verydeep-19.mat in the current
            folder, a VGG-19 in the cache, or the embedded network, whichever is found first.

    Raises:
        WeightsError: no such file; the message says how to get one.
    """
    places = candidates(network)
    for place in places:
        if place.exists():
            return place

    flag = "--network"
    if network == "auto":
        network = os.environ.get(_VARIABLE, "") or "auto"
        flag = f"${_VARIABLE}" if network != "auto" else flag
    looked = " or ".join(str(place.path) for place in places)
    if network == "compact":
        raise _error(f"the embedded network {looked} is missing; install the program again")
    if network == "auto":
        raise _error(f"no network weights: expected {looked}; {_how('keras')}, or give {flag} FILE")
    if network in _CACHED:
        raise _error(f"{flag} {network}: expected {looked}; {_how(_CACHED[network][0])}")
    raise _error(
        f"{flag}: expected a weights file, got {_kind(places[0].path)} at {network!r}; give FILE, "
        f"vgg19, vgg16 or compact, or {_how('keras')}"
    )


def fetch(
    origin: str | None = None,
    *,
    source: Source,
    destination: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
    timeout: float = 30,
) -> Path:
    """Fetch a weights file, unless the very file is there already; the path where it lies.

    The file appears at its place whole and verified, or not at all: whatever goes wrong, also an
    exception out of `progress`, nothing is left behind and a file that was there stays as it was.

    Args:
        origin: an http(s) URL or a local path to read instead of `source.url`.
        source: what is expected: its digest decides.
        destination: the file to write, or an existing folder; by default in the cache. A file there
            with another digest is replaced.
        progress: called with the bytes read so far and the bytes to come in all, or None where the
            server does not tell; first with 0. Never called when nothing had to be fetched.
        timeout: seconds without a byte after which the server is given up.

    Raises:
        WeightsError: unreachable, truncated, not the expected file, or no room to write it.
    """
    target = cache_dir() / source.filename if destination is None else destination
    if _kind(target) == "a folder":
        target /= source.filename
    if _kind(target) not in ("a file", "nothing"):  # replacing /dev/null would be no favour
        raise _error(
            f"cannot write {target}: expected a file, got {_kind(target)}; give --output FILE"
        )
    if _holds(target, source):
        return target

    where = source.url if origin is None else origin
    advice = f"try --from MIRROR, or download {source.url} by hand to {target}"
    stream, total = _opened(where, source, advice, timeout)
    # Beside the target, for os.replace is atomic only within one file system. Not `tempfile`, whose
    # files nobody else may read: a folder of weights is often shared.
    part = target.with_name(f".{os.urandom(4).hex()}.part")
    got = _hasher(source)
    digest = source.digest.lower()
    received = 0
    with stream:
        try:
            _make_room(target, total)
            if progress:
                progress(0, total)
            with contextlib.closing(
                _copied(stream, part, target, where, advice, timeout)
            ) as blocks:
                for block in blocks:
                    got.update(block)
                    received += len(block)
                    if progress:
                        progress(received, total)
            if total is not None and received != total:
                raise _error(
                    f"{where}: expected {size(total)}, got {size(received)} before the connection "
                    f"closed; try again, {advice}"
                )
            if got.hexdigest() != digest:
                meant = "" if origin is None else ", or give --sha256 HEX if that file is meant"
                raise _error(
                    f"{where}: expected {source.filename} with {source.algorithm} {digest}, "
                    f"got {size(received)} with {got.hexdigest()}; {advice}{meant}"
                )
            with _writing(target):
                part.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
    return target


def size(count: int) -> str:
    """A number of bytes in words: "80 MB"."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count} bytes"


def _opened(
    where: str, source: Source, advice: str, timeout: float
) -> tuple[IO[bytes], int | None]:
    """The bytes at a URL or path, and how many there are where that is known."""
    expected = f"{where}: expected {source.filename} ({size(source.size)})"
    scheme, separator, _ = where.partition("://")
    if not separator:
        path = _expanded(where)
        if _kind(path) != "a file":
            raise _error(f"{expected}, got {_kind(path)}; give --from a file or an http(s) URL")
        try:
            return path.open("rb"), path.stat().st_size
        except OSError as error:
            raise _error(f"{expected}, got {_reason(error, timeout)}; {advice}") from error
    if scheme.lower() not in ("http", "https"):
        raise _error(
            f"{expected} by http(s), got {scheme}://; give --from a file or an http(s) URL"
        )

    import http.client
    import urllib.error
    import urllib.request

    try:
        # Some hosts turn Python's own name away.
        request = urllib.request.Request(where, headers={"User-Agent": "neural-style-tf"})
        response = _opener().open(request, timeout=timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _error(f"{expected}, got {_reason(error, timeout)}; {advice}") from error
    return response, response.length


def _opener() -> urllib.request.OpenerDirector:
    """An opener of http(s) alone: the default one follows a redirect to ftp as well."""
    import urllib.request as request

    opener = request.OpenerDirector()
    opener.add_handler(request.ProxyHandler())
    opener.add_handler(request.HTTPHandler())
    if hasattr(request, "HTTPSHandler"):  # absent from a Python built without OpenSSL
        opener.add_handler(request.HTTPSHandler())
    opener.add_handler(request.HTTPRedirectHandler())
    opener.add_handler(request.HTTPErrorProcessor())
    opener.add_handler(request.HTTPDefaultErrorHandler())
    opener.add_handler(request.UnknownHandler())
    return opener


def _copied(
    stream: IO[bytes], part: Path, target: Path, where: str, advice: str, timeout: float
) -> Generator[bytes, None, None]:
    """Copy a stream into the new file `part`, yielding each block once it is written."""
    import http.client

    with _writing(target), part.open("xb") as file:
        while True:
            try:
                block = stream.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _error(
                    f"{where}: expected the rest of the file, got {_reason(error, timeout)}; "
                    f"try again, {advice}"
                ) from error
            if not block:
                return
            file.write(block)
            yield block


def _make_room(target: Path, total: int | None) -> None:
    """Make the folder of `target`, and see that `total` bytes fit on its disk."""
    import shutil

    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
    if total is not None and free < total:
        raise _error(
            f"cannot write {target}: expected room for {size(total)}, got {size(free)}; "
            "free some space, or give --output FILE on another disk"
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error(
            f"cannot write {path}: {error.strerror or error}; free some space, or give "
            "--output FILE elsewhere"
        ) from error


def _hasher(source: Source) -> hashlib._Hash:
    # MD5 here finds accidents, not attacks; systems under FIPS rules refuse it otherwise.
    return hashlib.new(source.algorithm, usedforsecurity=False)


def _holds(path: Path, source: Source) -> bool:
    """Whether the expected file already lies at `path`."""
    found = _hasher(source)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
    except OSError:
        return False
    return found.hexdigest() == source.digest.lower()


def _kind(path: Path) -> str:
    """What is at `path`, in words; never raises, where `Path.is_file` may."""
    try:
        path.stat()
        return "a file" if path.is_file() else "a folder" if path.is_dir() else "a special file"
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError:  # a null character
        return "an impossible path"


def _expanded(path: str) -> Path:
    """`path` with its ~ replaced, which a shell leaves alone in --network=~/file."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _how(name: str) -> str:
    """How to get the file of a source."""
    flag = "" if name == "keras" else f" --format {name}"
    return f"run `python -m neural_style_tf weights{flag}` (downloads {size(SOURCES[name].size)})"


def _reason(error: BaseException, timeout: float) -> str:
    """Why nothing (more) was read."""
    import http.client
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {http.client.responses.get(error.code, '')}".rstrip()
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return _reason(error.reason, timeout)
    if isinstance(error, TimeoutError):
        return f"no answer for {timeout:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "a connection closed too early"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip() or type(error).__name__


def _error(text: str) -> WeightsError:
    # A server's words and a path may hold anything: line ends, and what a terminal would obey.
    return WeightsError("".join(char if char.isprintable() else " " for char in text))
