"""What the processor can do: read off it, not timed, so that a machine always answers the same."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def features() -> frozenset[str]:
    """Its maker and instruction sets in Linux' words, "avx512f" among them; none elsewhere."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text().split())
    except OSError:  # not Linux
        return frozenset()
