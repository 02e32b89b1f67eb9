"""The last few things that were made, to be had again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Things by what they were made of, which needs no hash, unlike with `functools.lru_cache`.

    Threads may share one.

    Args:
        most: how many are kept, those that were asked for last; 0 keeps none.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: list[tuple[K, V]] = []  # the one asked for last comes last
        self.asked = threading.Lock()

    def get(self, made_of: K, make: Callable[[], V]) -> V:
        """The thing made of that; it is made where it is not there."""
        with self.asked:
            for index, (known, found) in enumerate(self.kept):
                if known == made_of:
                    self.kept.append(self.kept.pop(index))
                    return found
            if len(self.kept) == self.most:
                del self.kept[:1]  # before there is another one
            made = make()
            if self.most:
                self.kept.append((made_of, made))
            return made
