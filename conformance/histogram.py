"""A histogram of distances from exact, as numbers for a small picture: bars, their places and heights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from typing import Any

from .spread import FINE, STEP

WIDTH, HEIGHT = 240.0, 60.0
"""Of the picture, in its own units."""
LEAST = 1.5
"""The height of a bar that counts anything."""
FEWEST = round(0.5 / STEP)
"""Bins that are always shown: to half a unit, so that pictures can be told apart at a glance."""
GAP = 0.8


@dataclass(frozen=True)
class Bar:
    """One bin: where it stands, and what it counts."""

    x: float
    y: float
    width: float
    height: float
    said: str


@dataclass(frozen=True)
class Histogram:
    """How far the results of a primitive on a dtype lay.

    Attributes:
        op, dtype: of what.
        bars: the bins that are not empty, left to right from exact.
        end: the last edge, in ulp.
        count: how many results.
        worst, p99, mean: in ulp.
        bound: what is allowed, in words.
        operands, got: the worst result, in hex.
    """

    op: str
    dtype: str
    bars: tuple[Bar, ...]
    end: float
    count: int
    worst: float
    p99: float
    mean: float
    bound: str
    operands: tuple[str, ...]
    got: str


def histogram(op: str, dtype: str, measured: Mapping[str, Any]) -> Histogram:
    """The picture of an entry of a certificate's ``accuracy``, which has a histogram that is not empty."""
    counts = {float(edge): n for edge, n in measured["histogram"].items()}
    end = max(*counts, 0.5)
    bins = max(_position(end), FEWEST) + 1
    width, most = WIDTH / bins, max(counts.values())
    bars = []
    for edge in sorted(counts):
        height = max(LEAST, HEIGHT * counts[edge] / most)
        said = f"exact: {counts[edge]:,}" if edge == 0 else f"to {edge:g} ulp: {counts[edge]:,}"
        x = round(_position(edge) * width, 2)
        bars.append(Bar(x, round(HEIGHT - height, 2), round(width - GAP, 2), round(height, 2), said))
    return Histogram(
        op,
        dtype,
        tuple(bars),
        end,
        sum(counts.values()),
        measured["ulp"],
        measured["p99"],
        measured["mean"],
        measured["bound"],
        tuple(measured["operands"]),
        measured["got"],
    )


def _position(edge: float) -> int:
    """Which bin from the left: steps to the end of the fine ones, doublings from there."""
    fine = round(min(edge, FINE) / STEP)
    return fine + (round(log2(edge / FINE)) if edge > FINE else 0)
