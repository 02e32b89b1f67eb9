"""The one error of this package."""

from __future__ import annotations


class WeightsError(Exception):
    """A network file that cannot be found, fetched or read, or a layer that it lacks."""
