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
    log2e = 1 / mp.log(2)
    low, high = mp.mpf(2) ** -20, mp.pi / 4 * (1 + mp.mpf(2) ** -10)
    for bits, exp2, log2, sin, cos in ((24, 6, 10, 7, 8), (53, 11, 22, 13, 14)):
        leading = rounded(log2e, bits)
        tables = {
            f"exp2 degree {exp2}": fit(
                lambda x: mp.mpf(2) ** x - 1,
                lambda x: mp.mpf(2) ** -x,
                range(1, exp2 + 1), mp.mpf(-1) / 2, mp.mpf(1) / 2, bits,
            ),
            f"log2 degree {log2}": fit(
                lambda x, leading=leading: mp.log1p(x) / mp.log(2) - leading * x,
                lambda x: mp.log(2) / mp.log1p(x) if x else log2e,
                range(1, log2 + 1), mp.sqrt(0.5) - 1, mp.sqrt(2) - 1, bits,
            ),
            f"sin degree {sin}": fit(
                lambda x: mp.sin(x) - x,
                lambda x: 1 / mp.sin(x),
                range(3, sin + 1, 2), low, high, bits,
            ),
            f"cos degree {cos}": fit(
                lambda x: mp.cos(x) - 1 + x * x / 2,
                lambda x: 1 / mp.cos(x),
                range(4, cos + 1, 2), low, high, bits,
            ),
        }  # fmt: skip
        for name, (coefficients, error) in tables.items():
            print(f"float{32 if bits == 24 else 64} {name}: relative error 2^{error:.1f}")
            print("    " + ", ".join(c.hex() if bits == 53 else _shortest(c) for c in coefficients))


def _shortest(x: float) -> str:
    """The shortest decimal that is ``x`` in float32."""
    for digits in range(1, 18):
        text = f"{x:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == x:
            return text
    return repr(x)


if __name__ == "__main__":
    main()
