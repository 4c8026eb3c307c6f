"""The roofline of a certificate: roofs, shares and places follow from the times."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from timings import timing

from portwright.conformance import report, speed
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import CaseResult, Outcome
from portwright.conformance.roofline import HEIGHT, WIDTH, _Box, _labelled, jobs, roofline, roofs
from portwright.conformance.selection import Selection

LIMITS = {
    "copy": timing(1.0, bytes=9_000_000_000, flops=0),
    "read": timing(1.0, bytes=8_000_000_000, flops=0),
    "multiply_add-float32": timing(1.0, flops=90_000_000_000),
    "multiply_add-int32": timing(1.0, flops=999_000_000_000),
}
"""10 GB/s, and 100 Gflop/s on float32: best times are nine tenths of a second."""


def many(kernels: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"limits": LIMITS, "kernels": kernels}


def test_the_roofs_are_the_limits() -> None:
    found = roofs(many({}))
    assert found is not None
    assert (found.bytes, found.flops) == (pytest.approx(10e9), pytest.approx(100e9))
    assert found.at(1.0) == pytest.approx(10e9)
    assert found.at(1000.0) == pytest.approx(100e9)
    assert roofs({"limits": {"copy": LIMITS["copy"]}, "kernels": {}}) is None


def test_a_share_is_the_floor_over_the_time() -> None:
    found = {
        job.name: job
        for job in jobs(
            many(
                {
                    "moves": timing(1 / 0.9, bytes=5_000_000_000, flops=0),
                    "streams": timing(1 / 0.9, bytes=2_500_000_000, flops=1_000_000_000),
                    "computes": timing(1 / 0.9, bytes=1_000_000, flops=75_000_000_000),
                }
            )
        )
    }
    assert {n: j.share for n, j in found.items()} == {"moves": "50 %", "streams": "25 %", "computes": "75 %"}
    assert [(j.number, j.name) for j in found.values()] == [(1, "streams"), (2, "computes"), (None, "moves")]
    assert (found["moves"].moved, found["moves"].computed) == ("5.00 GB/s", "")
    assert found["computes"].runs == "9, host"


def test_what_is_not_there_is_not_drawn() -> None:
    assert roofline({"limits": {}, "kernels": {}}) is None
    assert roofline(many({})) is None
    assert roofline({"limits": {}, "kernels": {"sum": timing()}}) is None
    assert [job.share for job in jobs({"limits": {}, "kernels": {"sum": timing()}})] == [""]


def test_points_and_their_numbers_lie_in_the_picture_and_apart() -> None:
    rng = np.random.default_rng(0)
    kernels = {
        f"k{i}": timing(10 ** rng.uniform(-4, -2), bytes=int(1e7), flops=int(10 ** rng.uniform(6, 9)))
        for i in range(12)
    }
    found = roofline(many(kernels))
    assert found is not None
    assert [p.number for p in found.points] == list(range(1, 13))
    for p in found.points:
        assert found.left <= p.x <= found.right
        assert found.top <= p.y <= found.foot
        assert 0 < p.label_x < WIDTH
        assert 0 < p.label_y < HEIGHT
    labels = [(p.label_x, p.label_y) for p in found.points]
    close = [
        (a, b)
        for i, a in enumerate(labels)
        for b in labels[:i]
        if abs(a[0] - b[0]) < 9 and abs(a[1] - b[1]) < 8
    ]
    assert not close
    at = {p.name: p for p in found.points}
    shares = {j.name: float(j.share[:-2]) for j in jobs(many(kernels))}
    best = max(shares, key=lambda n: shares[n])
    assert f"{at[best].number} {best}" in found.said


def test_a_point_lies_on_the_roof_where_its_share_is_whole() -> None:
    found = roofline(many({"streams": timing(1.0, bytes=9_000_000_000, flops=9_000_000_000)}))
    assert found is not None
    (begin, bend, _) = (tuple(map(float, p.split(","))) for p in found.roof.split())
    (point,) = found.points
    share = (point.x - begin[0]) / (bend[0] - begin[0])
    assert point.y == pytest.approx(begin[1] + share * (bend[1] - begin[1]), abs=0.3)


def test_axes_go_by_powers_of_ten_with_units() -> None:
    found = roofline(many({"streams": timing(1.0, bytes=9_000_000_000, flops=9_000_000_000)}))
    assert found is not None
    assert [t.said for t in found.x_ticks] == ["1", "10"]
    assert [t.said for t in found.y_ticks] == ["10 G", "100 G", "1 T"]
    assert (found.slope_said, found.flat_said) == ("10.0 GB/s", "100 Gflop/s")


def test_a_climb_says_its_speed() -> None:
    outcome = Outcome("ACME", Selection((Rung.SPEED,)))
    kernel = timing(1.0, bytes=4_500_000_000, flops=4_500_000_000)
    held = {**{f"{speed.LIMIT}[{n}]": t for n, t in LIMITS.items()}, "speed::test_kernel[softmax]": kernel}
    held[f"{speed.LIMIT}[launch]"] = timing(6e-6)
    outcome.results = [CaseResult(case, "passed", 0.0, timing=t) for case, t in held.items()]
    outcome.results.append(CaseResult("speed::test_kernel[sum]", "failed", 0.0, timing=timing()))
    assert report.speed_lines(outcome) == [
        "speed: copies 10.0 GB/s, reads 8.89 GB/s",
        "speed: 100 Gflop/s float32, 1.11 Tflop/s int32, a launch 6.00 µs",
        "speed: share of that: softmax 50 %",
    ]
    assert report.speed_lines(Outcome("ACME", Selection((Rung.OPEN,)))) == []


def test_a_number_covers_no_words() -> None:
    for x, y in product(range(120, 300, 7), range(60, 200, 7)):
        words = _Box(x - 20, y - 14, 75, 14)
        (point,) = _labelled(["a kernel"], [(float(x), float(y))], words)
        beside = point.label_x + 5 <= words.left or point.label_x - 5 >= words.left + words.width
        above = point.label_y + 4 <= words.top or point.label_y - 4 >= words.top + words.height
        assert beside or above
