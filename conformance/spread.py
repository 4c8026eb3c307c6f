"""How far results lie from exact, as a histogram that adds up over cases: its mean, and its 99th percentile.

A bin is named by its upper edge in units in the last place: "0" holds what is exact, "0.0625" what lies
further and at most a sixteenth away, and so on in sixteenths to 4; from there each edge is twice the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

STEP = 1 / 16
FINE = 4.0
FURTHEST = 2.0**64
"""The last edge; what lies beyond is counted there."""


@dataclass(frozen=True)
class Spread:
    """The distances of many results.

    Attributes:
        count: of how many.
        mean: their mean, in units in the last place.
        histogram: how many in each bin, by the bin's upper edge; empty bins are left out.
    """

    count: int
    mean: float
    histogram: Mapping[str, int]

    @property
    def p99(self) -> float:
        """The edge within which 99 of a hundred lie: never less than the percentile, a bin more at most."""
        return percentile(self.histogram, 0.99)


def spread(ulp: Array) -> Spread:
    """The spread of distances, which are not negative and not NaN."""
    if not ulp.size:
        return Spread(0, 0.0, {})
    bounded = np.minimum(ulp.ravel().astype(np.float64), FURTHEST)
    coarse = np.exp2(np.ceil(np.log2(np.maximum(bounded, FINE))))
    edges = np.where(bounded <= FINE, np.ceil(bounded / STEP) * STEP, coarse)
    values, counts = np.unique(edges, return_counts=True)
    named = {f"{v:.17g}": int(n) for v, n in zip(values.tolist(), counts.tolist(), strict=True)}
    return Spread(ulp.size, float(bounded.mean()), named)


def together(parts: Iterable[Spread]) -> Spread:
    """The spread of all the results of several."""
    counts, total = Counter[str](), 0.0
    for part in parts:
        counts.update(part.histogram)
        total += part.mean * part.count
    count = sum(counts.values())
    return Spread(count, total / count if count else 0.0, dict(counts))


def percentile(histogram: Mapping[str, int], share: float) -> float:
    """The least edge within which at least ``share`` of what was counted lies; 0 of nothing."""
    wanted, seen = share * sum(histogram.values()), 0
    for edge in sorted(histogram, key=float):
        seen += histogram[edge]
        if seen >= wanted:
            return float(edge)
    return 0.0
