"""How this package's polynomials were found: ``python -m portwright.core.legalize.derive`` prints them.

Each is nearly minimax in the relative error of the function: least squares on Chebyshev points, repeated with
more emphasis on the points that were far off (Lawson's iteration). Its coefficients are then rounded to the
format one by one from the lowest power up, refitting the rest after each, so that those still free make up
for the rounding of those already fixed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp

ROUNDS = 8

Real = Any  # an mpmath number; mpmath ships no types
Function = Callable[[Real], Real]


def minimax(f: Function, weight: Function, powers: Sequence[int], low: Real, high: Real) -> list[Real]:
    """The coefficients c that make the greatest weight(x)·|f(x) - Σ c_i x^powers[i]| on [low, high] least."""
    n = 8 * len(powers)
    points = [low + (high - low) * (1 - mp.cos(mp.pi * (i + mp.mpf(1) / 2) / n)) / 2 for i in range(n)]
    rows = [[weight(x) * x**p for p in powers] for x in points]
    wanted = [weight(x) * f(x) for x in points]
    emphasis = [mp.mpf(1)] * n
    coefficients: list[Real] = []
    for _ in range(ROUNDS):
        normal, right = mp.matrix(len(powers)), mp.matrix(len(powers), 1)
        for row, y, e in zip(rows, wanted, emphasis, strict=True):
            for i, a in enumerate(row):
                right[i] += e * a * y
                for j in range(i + 1):
                    normal[i, j] = normal[j, i] = normal[i, j] + e * a * row[j]
        coefficients = list(mp.lu_solve(normal, right))
        errors = [
            abs(y - mp.fdot(zip(coefficients, row, strict=True))) for row, y in zip(rows, wanted, strict=True)
        ]
        emphasis = [e * error for e, error in zip(emphasis, errors, strict=True)]
        total = mp.fsum(emphasis)
        emphasis = [e * n / total for e in emphasis]
    return coefficients


def rounded(x: Real, bits: int) -> Real:
    """``x`` in float32 (24 bits) or float64 (53)."""
    if bits == 53:
        return mp.mpf(float(x))
    mantissa, exponent = mp.frexp(x)
    return mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits)


def fit(
    f: Function, weight: Function, powers: Sequence[int], low: Real, high: Real, bits: int
) -> tuple[list[float], float]:
    """Coefficients in a format of ``bits`` bits, and the log2 of the greatest weighted error that is left."""
    fixed: list[Real] = []

    def rest(x: Real) -> Real:
        return f(x) - mp.fsum(c * x**p for c, p in zip(fixed, powers, strict=False))

    while len(fixed) < len(powers):
        fixed.append(rounded(minimax(rest, weight, powers[len(fixed) :], low, high)[0], bits))
    points = [low + (high - low) * (i + mp.mpf(1) / 3) / 1000 for i in range(1000)]
    return [float(c) for c in fixed], float(mp.log(max(abs(weight(x) * rest(x)) for x in points), 2))


def main() -> None:
    """Prints every polynomial with its error."""
    mp.mp.prec = 240
    small, eighth_turn = mp.mpf(2) ** -20, mp.pi / 4 * (1 + mp.mpf(2) ** -10)
    half_ln2 = mp.log(2) / 2 * (1 + mp.mpf(2) ** -12)
    for bits, degrees in ((24, (6, 10, 7, 8, 6)), (53, (11, 22, 13, 14, 11))):
        leading = rounded(1 / mp.log(2), bits)
        fits: tuple[tuple[str, Function, Function, Real, Real, int, int], ...] = (
            # name, function less what is given, what it is relative to, interval, first power and step
            ("exp2", lambda x: _exp2(x) - 1, _exp2, mp.mpf(-0.5), mp.mpf(0.5), 1, 1),
            ("log2", lambda x: _log2_1p(x) - leading * x, _log2_1p, mp.sqrt(0.5) - 1, mp.sqrt(2) - 1, 1, 1),  # noqa: B023
            ("sin", lambda x: mp.sin(x) - x, mp.sin, small, eighth_turn, 3, 2),
            ("cos", lambda x: mp.cos(x) - 1 + x * x / 2, mp.cos, small, eighth_turn, 4, 2),
            ("exp", lambda x: mp.exp(x) - 1 - x, mp.exp, -half_ln2, half_ln2, 2, 1),
        )
        for (name, f, relative_to, low, high, first, step), degree in zip(fits, degrees, strict=True):
            powers = range(first, degree + 1, step)
            coefficients, error = fit(f, lambda x, r=relative_to: 1 / r(x), powers, low, high, bits)  # type: ignore[misc]
            print(f"{name} in {bits} bits, degree {degree}: relative error 2^{error:.1f}")
            print("    " + ", ".join(c.hex() if bits == 53 else _shortest(c) for c in coefficients))


def _exp2(x: Real) -> Real:
    return mp.mpf(2) ** x


def _log2_1p(x: Real) -> Real:
    return mp.log1p(x) / mp.log(2)


def _shortest(x: float) -> str:
    """The shortest decimal that is ``x`` in float32."""
    for digits in range(1, 18):
        text = f"{x:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == x:
            return text
    return repr(x)


if __name__ == "__main__":
    main()
