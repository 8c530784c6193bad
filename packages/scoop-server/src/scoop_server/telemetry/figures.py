"""Figures: what ``/metrics`` shows, as plain values. :mod:`scoop_server.admin.metrics` renders them."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class Histogram:
    """A histogram: the number of observations up to each of ``bounds``, ascending, and above all of them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        """``counts[i]`` fell under ``bounds[i]``, or were equal to it, and not under the bound before."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``.

        >>> batches = Histogram([1, 10])
        >>> for size in (1, 2, 10, 11):
        ...     batches.observe(size)
        >>> batches.counts, batches.sum
        ([1, 2, 1], 24.0)
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, one for each combination of labels, or a histogram."""

    name: str
    meaning: str
    value: float | Mapping[tuple[str, ...], float] | Histogram
    """By the values of the labels, if there are any."""
    labels: tuple[str, ...] = ()
    """The names of the labels."""
    is_counter: bool = False
    """True if it never decreases during a run; then its name gets the ending ``_total``."""


def counter(name: str, meaning: str, value: float | Mapping[tuple[str, ...], float], *labels: str) -> Figure:
    """Return a figure that never decreases during a run."""
    return Figure(name, meaning, value, labels, is_counter=True)
