"""The roofline of a certificate, as numbers for a picture and rows for the table under it.

A job cannot be done faster than its bytes can move, nor than its operations can be computed: of how many
operations it does with each byte, that is a roof of two lines on axes by powers of ten. Both come from the
certificate's own limits. A job's share is that floor of seconds over the seconds that it took at its best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import atan2, ceil, cos, degrees, floor, log10, pi, sin

from .speed import (
    COPY,
    COPY_IN,
    COPY_OUT,
    LAUNCH,
    READ,
    Record,
    Speed,
    bytes_per_second,
    flops_per_second,
    peaks,
    scaled,
)

WIDTH, HEIGHT = 340.0, 270.0
"""Of the picture, in its own units: about the pixels of a phone."""
LEFT, RIGHT, TOP, BOTTOM = 44.0, 16.0, 28.0, 36.0
"""The margins, in which the ticks stand."""
DTYPE = "float32"
"""What the kernels compute in."""
_MOST_TICKS = 6
_RADIUS = 2.6
_LABEL = (11.0, 9.0)
"""The room that a number takes."""
_SAID = 75.0
"""How wide a roof's own words are."""


@dataclass(frozen=True)
class Roofs:
    """The limits that a share is taken of: the greatest bandwidth, and operations in a second on float32."""

    bytes: float
    flops: float

    def floor(self, timing: Record) -> float:
        """The seconds below which a job cannot be done."""
        return max(float(timing["bytes"]) / self.bytes, float(timing["flops"]) / self.flops)

    def at(self, intensity: float) -> float:
        """The most operations in a second, of so many for each byte."""
        return min(self.bytes * intensity, self.flops)


@dataclass(frozen=True)
class Tick:
    """A power of ten: where it stands, and how it is called ("" of one between two that are)."""

    at: float
    said: str


@dataclass(frozen=True)
class Point:
    """A kernel in the picture, its number beside it."""

    number: int
    name: str
    x: float
    y: float
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Job:
    """A job in the table.

    Attributes:
        number: its point's; None of one that computes nothing, and has no place on an axis of powers of ten.
        name: the kernel's.
        share: of the roof, in percent; "" where a roof is not known.
        best, median, p90: seconds, in words.
        moved, computed: bytes and operations in a second at its best, in words.
        intensity: operations for each byte, in words.
        runs: how many were timed, and by which clock.
    """

    number: int | None
    name: str
    share: str
    best: str
    median: str
    p90: str
    moved: str
    computed: str
    intensity: str
    runs: str


@dataclass(frozen=True)
class Roofline:
    """The picture.

    Attributes:
        x_ticks, y_ticks: of operations for each byte, and in a second.
        roof: the line, as its points.
        slope_said, flat_said: what they stand for.
        slope_at: where the first is written, and how far it is turned.
        flat_at: where the second is, and which end of it stands there.
        points: the kernels.
        said: all of it, for those who do not see it.
        width, height: of the whole.
        left, right, top, foot: of the part within the axes.
    """

    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    roof: str
    slope_said: str
    flat_said: str
    slope_at: tuple[float, float, float]
    flat_at: tuple[float, float, str]
    points: tuple[Point, ...]
    said: str
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    foot: float = HEIGHT - BOTTOM


def roofs(speed: Speed) -> Roofs | None:
    """Those of a certificate; None where one of them was not measured."""
    moved = [bytes_per_second(speed["limits"][n]) for n in (COPY, READ) if n in speed["limits"]]
    computed = peaks(speed).get(DTYPE)
    return Roofs(max(moved), computed) if moved and computed else None


def jobs(speed: Speed) -> list[Job]:
    """The kernels: those that do least with a byte first, and what computes nothing last."""
    found, known = list[Job](), roofs(speed)
    for name, timing in _in_order(speed):
        share = "" if known is None else f"{100 * known.floor(timing) / timing['best_seconds']:.0f} %"
        best, median, p90 = (scaled(timing[f"{k}_seconds"], "s") for k in ("best", "median", "p90"))
        number = sum(job.number is not None for job in found) + 1 if timing["flops"] else None
        found.append(
            Job(
                number,
                name,
                share,
                best,
                median,
                p90,
                scaled(bytes_per_second(timing), "B/s"),
                scaled(flops_per_second(timing), "flop/s") if timing["flops"] else "",
                f"{_intensity(timing):.3g}",
                f"{timing['runs']:,}, {timing['clock']}",
            )
        )
    return found


def limits(speed: Speed) -> list[tuple[str, str]]:
    """What the device can do: each limit and its number in words."""
    words = {
        COPY: "copies by a kernel",
        READ: "reads by a kernel",
        COPY_IN: "host to device",
        COPY_OUT: "device to host",
        LAUNCH: "launch, one element",
    }
    found = []
    order = [*(n for n in words if n in speed["limits"]), *sorted(speed["limits"].keys() - words.keys())]
    for name in order:
        timing = speed["limits"][name]
        if name == LAUNCH:
            number = scaled(timing["median_seconds"], "s")
        elif name in words:
            number = scaled(bytes_per_second(timing), "B/s")
        else:
            number = scaled(flops_per_second(timing), "flop/s")
        found.append((words.get(name, f"multiply-add {name.partition('-')[2]}"), number))
    return found


def roofline(speed: Speed) -> Roofline | None:
    """The picture of a certificate's speed; None where a roof or every kernel is missing."""
    known = roofs(speed)
    kernels = [(name, t) for name, t in _in_order(speed) if t["flops"]]
    if known is None or not kernels:
        return None
    ridge = known.flops / known.bytes
    across = _Axis.over([*(_intensity(t) for _, t in kernels), ridge], LEFT, WIDTH - RIGHT)
    up = _Axis.over([*(flops_per_second(t) for _, t in kernels), known.flops * 1.5], HEIGHT - BOTTOM, TOP)
    foot = max(across.low, up.low / known.bytes)
    begin, bend, end = ((across.at(i), up.at(known.at(i))) for i in (foot, ridge, across.high))
    spots = [(across.at(_intensity(t)), up.at(flops_per_second(t))) for _, t in kernels]
    turn = degrees(atan2(bend[1] - begin[1], bend[0] - begin[0]))
    bandwidth, peak = scaled(known.bytes, "B/s"), scaled(known.flops, "flop/s")
    flat = (bend[0] - 4, bend[1] + 3, "end") if bend[0] - LEFT > _SAID else (bend[0], bend[1] - 5, "start")
    words = _Box(flat[0] - _SAID * (flat[2] == "end"), flat[1] - 10, _SAID, 14)
    shares = ", ".join(f"{j.number} {j.name} {j.share}" for j in jobs(speed) if j.number is not None)
    return Roofline(
        tuple(across.ticks(lambda value: f"{value:g}")),
        tuple(up.ticks(lambda value: scaled(value, "").replace(".00", "").replace(".0", "").strip())),
        " ".join(f"{x},{y}" for x, y in (begin, bend, end)),
        bandwidth,
        peak,
        (*begin, round(turn, 1)),
        flat,
        tuple(_labelled([name for name, _ in kernels], spots, words)),
        f"Operations in a second by operations for each byte. The roofs: {bandwidth} and {peak} on {DTYPE}. "
        f"The kernels, and their share of the roof above them: {shares}.",
    )


@dataclass(frozen=True)
class _Axis:
    """Powers of ten from ``low`` to ``high``, drawn from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """The whole powers of ten that hold all values."""
        low, high = floor(log10(min(values))), ceil(log10(max(values)))
        return cls(10.0**low, 10.0 ** max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        share = log10(value / self.low) / log10(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, name: Callable[[float], str]) -> Iterator[Tick]:
        first, last = round(log10(self.low)), round(log10(self.high))
        every = ceil((last - first + 1) / _MOST_TICKS)
        for power in range(first, last + 1):
            value = 10.0**power
            yield Tick(self.at(value), name(value) if (power - first) % every == 0 else "")


def _in_order(speed: Speed) -> list[tuple[str, Record]]:
    return sorted(
        speed["kernels"].items(), key=lambda item: (not item[1]["flops"], _intensity(item[1]), item[0])
    )


def _intensity(timing: Record) -> float:
    return float(timing["flops"]) / float(timing["bytes"]) if timing["bytes"] else 0.0


@dataclass(frozen=True)
class _Box:
    """A part of the picture."""

    left: float
    top: float
    width: float
    height: float


def _labelled(names: Sequence[str], spots: Sequence[tuple[float, float]], words: _Box) -> Iterator[Point]:
    """The points with their numbers, each where it covers no point, number or word if there is room."""
    taken: list[tuple[float, float]] = []
    for number, (name, (x, y)) in enumerate(zip(names, spots, strict=True), 1):
        rings = product((9.0, 14.0, 20.0), range(12))
        places = [(x + r * cos(pi * turn / 6 - 1), y + r * sin(pi * turn / 6 - 1)) for r, turn in rings]
        place = min(places, key=lambda p: _covers(p, spots, taken, words))
        taken.append(place)
        yield Point(number, name, x, y, round(place[0], 1), round(place[1], 1))


def _covers(
    place: tuple[float, float],
    spots: Sequence[tuple[float, float]],
    taken: Sequence[tuple[float, float]],
    words: _Box,
) -> int:
    """How many points, numbers and words a number there would cover; being outside counts most."""
    (x, y), (wide, high) = place, _LABEL
    out = not (LEFT + wide / 2 < x < WIDTH - RIGHT and TOP < y < HEIGHT - BOTTOM - high / 2)
    near = sum(abs(x - a) < wide / 2 + _RADIUS and abs(y - b) < high / 2 + _RADIUS for a, b in spots)
    said = (
        abs(x - words.left - words.width / 2) < (wide + words.width) / 2
        and abs(y - words.top - words.height / 2) < (high + words.height) / 2
    )
    return 100 * out + near + said + sum(abs(x - a) < wide and abs(y - b) < high for a, b in taken)
