"""Read MAT-files of version 5, which MATLAB's `save -v6` and `-v7` write, as far as networks need.

Not `scipy.io.loadmat`: its compiled reader trusts every tag, so that one damaged byte can end the
whole program with a segmentation fault. Here damage is a `ValueError`, whatever it hits.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Container
from pathlib import Path
from typing import IO, Any

import numpy as np

# The numbers are those of "MAT-File Format", The MathWorks: data types, then array classes.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"}
_NUMBERS |= {7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {4: "utf-16", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_NUMERIC = range(6, 16)


def read(path: Path, wanted: Container[str]) -> dict[str, Any]:
    """Every variable of a file by name, with the values of those that are wanted.

    A matrix becomes an array (integers where MATLAB saved space so), text a `str`, a cell array a
    list, a struct a dict, and a struct array that is not 1×1 a list of dicts. What is neither (a
    sparse matrix, an object, a function) becomes None, as does a variable that is not wanted.

    Raises:
        ValueError: damaged, truncated, or of another version.
        OSError: it cannot be read.
    """
    variables: dict[str, Any] = {}
    with path.open("rb") as file:
        header = file.read(128)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:])
        if order is None:
            raise ValueError("the header is damaged")
        left = path.stat().st_size - len(header)
        while left > 0:
            tag = file.read(8)
            if len(tag) < 8:
                raise ValueError("the file is truncated")
            kind, size = struct.unpack(f"{order}II", tag)
            left -= 8 + size
            if left < 0:
                raise ValueError(f"the file is truncated: {-left} bytes are missing")
            body: bytes | bytearray
            if kind == _COMPRESSED:
                body = _inflated(file, size)
                kind, content = _Elements(memoryview(body), order).take()
            else:
                body = file.read(size)
                content = memoryview(body)
            if kind != _MATRIX:
                raise ValueError(f"expected a variable, got data of type {kind}")
            name = _Array(content, order).name
            variables[name] = _Array(content, order).value() if name in wanted else None
    return variables


def _inflated(file: IO[bytes], size: int) -> bytearray:
    inflater = zlib.decompressobj()
    body = bytearray()
    try:
        while size > 0 and not inflater.eof:
            block = file.read(min(size, 1 << 20))
            size -= len(block)
            body += inflater.decompress(block)
    except zlib.error as error:
        raise ValueError(f"compressed data are damaged: {error}") from error
    if size or not inflater.eof:
        raise ValueError("compressed data have the wrong length")
    return body


class _Elements:
    """The elements that follow each other in a stretch of data; each is a type and its bytes."""

    def __init__(self, data: memoryview, order: str) -> None:
        self.data, self.order = data, order

    def take(self) -> tuple[int, memoryview]:
        """The type and the bytes of the next element."""
        if len(self.data) < 8:
            raise ValueError("an element is truncated")
        kind, size = struct.unpack(f"{self.order}II", self.data[:8])
        if kind >> 16:  # up to four bytes are packed into the tag itself
            kind, size = kind & 0xFFFF, kind >> 16
            body, rest = self.data[4 : 4 + size], self.data[8:]
            if size > 4:
                raise ValueError(f"a small element claims {size} bytes")
        else:
            body, rest = self.data[8 : 8 + size], self.data[8 + size + -size % 8 :]
        if len(body) < size:
            raise ValueError(f"an element claims {size} bytes, there are {len(body)}")
        self.data = rest
        return kind, body

    def numbers(self) -> np.ndarray:
        """The next element, which holds numbers: `[n]`."""
        kind, body = self.take()
        if kind not in _NUMBERS:
            raise ValueError(f"expected numbers, got data of type {kind}")
        return np.frombuffer(body, f"{self.order}{_NUMBERS[kind]}")

    def text(self) -> str:
        """The next element, which holds characters."""
        kind, body = self.take()
        encoding = _TEXTS.get(kind)
        ending = "-le" if self.order == "<" else "-be"
        # Old files keep letters of a code page that they do not name, in texts that nobody needs.
        return bytes(body).decode(f"{encoding}{ending}" if encoding else "utf-8", "replace")


class _Array:
    """A MATLAB array: class, dimensions, name, and elements by class."""

    def __init__(self, data: memoryview, order: str) -> None:
        self.elements = _Elements(data, order)
        self.kind, self.shape, self.name = 0, (0, 0), ""
        if not data:  # how a field that was never set is written
            self.kind = _NUMERIC[0]
            return
        flags = self.elements.numbers()
        self.kind = int(flags[0]) & 0xFF if flags.size else 0
        if self.kind < _OPAQUE:  # these go on in a way of their own
            shape = self.elements.numbers()
            if shape.dtype.kind not in "iu" or shape.size < 2 or shape.min() < 0:
                raise ValueError(f"an array of shape {shape.tolist()}")
            self.shape = tuple(shape.tolist())
            self.name = self.elements.text()

    def value(self) -> Any:
        """The value in Python's terms; arrays are views of the data."""
        count = math.prod(self.shape)
        if self.kind == _CELL:
            return [self._inner() for _ in self._range(count)]
        if self.kind == _STRUCT:
            names = self._field_names()
            if not names:
                return {}
            values = [
                {name: self._inner() for name in names} for _ in self._range(count, len(names))
            ]
            return values[0] if count == 1 else values
        if self.kind == _CHAR:
            return self.elements.text()
        if self.kind in _NUMERIC:
            numbers = self.elements.numbers() if self.elements.data else np.zeros(0)
            if numbers.size != count:
                raise ValueError(f"an array of shape {self.shape} has {numbers.size} numbers")
            return numbers.reshape(self.shape, order="F")
        return None

    def _inner(self) -> Any:
        kind, body = self.elements.take()
        if kind != _MATRIX:
            raise ValueError(f"expected an array, got data of type {kind}")
        return _Array(body, self.elements.order).value()

    def _range(self, count: int, each: int = 1) -> range:
        # Before the loop: a damaged dimension may be millions, and no part is without a tag.
        if count * each * 8 > len(self.elements.data):
            raise ValueError(f"an array claims {count} parts")
        return range(count)

    def _field_names(self) -> list[str]:
        length = self.elements.numbers()
        _, body = self.elements.take()
        if length.size != 1 or length[0] < 1 or len(body) % length[0]:
            raise ValueError("field names are damaged")
        step = int(length[0])
        names = [bytes(body[at : at + step]) for at in range(0, len(body), step)]
        return [name.split(b"\0")[0].decode("ascii", "replace") for name in names]
