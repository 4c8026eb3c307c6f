"""One expression on its way from Tensor to machine code, a stage at a time.

python examples/seed.py            the stages, with a word on each
DEBUG=4 python examples/seed.py    the same stages as the engine itself reports them, for any program
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax

from portwright import Tensor

N = 512
LINES_SHOWN = 36

console = Console(highlight=False)
number = itertools.count(1)


def stage(title: str, text: str) -> None:
    """A heading, and what to look for below it."""
    console.rule(f"[bold]{next(number)}  {title}", align="left", style="cyan")
    console.print(escape(text), style="italic")
    console.print()


def listing(text: str, language: str, start: str = "") -> None:
    """The beginning of a text, from the line that names ``start`` on, and how much more there is."""
    lines = text.strip().splitlines()
    lines = lines[next(i for i, line in enumerate(lines) if start in line) :]
    shown = "\n".join(lines[:LINES_SHOWN])
    console.print(Syntax(shown, language, theme="ansi_dark"))
    if len(lines) > LINES_SHOWN:
        console.print(f"… {len(lines) - LINES_SHOWN} more lines", style="dim")
    console.print()


def timed(what: Callable[[], object]) -> float:
    """Milliseconds that a call takes."""
    start = time.perf_counter()
    what()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((N, N), dtype=np.float32) for _ in range(2))
    a, b = Tensor(x), Tensor(y)

    stage(
        "What is written",
        "Every row of a times every column of b, summed: a product of matrices, unsaid.\n"
        f"Done literally, the product in the middle is {N}³ numbers, {N**3 * 4 / 1e6:,.0f} MB.",
    )
    listing("c = (a.reshape(N, 1, N) * b.T.reshape(1, N, N)).sum(axis=2)", "python")
    c = (a.reshape(N, 1, N) * b.T.reshape(1, N, N)).sum(axis=2)

    kernels = c.kernels()
    stage(
        "What would run",
        "Nothing has been computed so far; c.kernels() says what realizing c would run.\n"
        f"One kernel that reads a and b and writes c: {3 * N * N * 4 / 1e6:.1f} MB, no buffer of {N}³.",
    )
    for k in kernels:
        console.print(f"  {k.name}: {k.nbytes / 1e6:.1f} MB, {k.flops / 1e6:,.0f} million operations\n")

    kernel = kernels[-1]
    stage(
        "The loops (DEBUG=3)",
        "reshape, T and both broadcasts are gone: they became positions, in brackets.\n"
        "sum is the accumulator; the multiplication happens on the way into it.",
    )
    listing(str(kernel.loops), "text")

    if kernel.schedule:
        stage(
            "The schedule",
            "How this device runs those loops, by steps that keep their meaning.\n"
            "vectorize: a loop in lanes; unroll: copies side by side, so that a tile of\n"
            "results stays in registers; grid: pieces that the threads share.",
        )
        listing("\n".join(map(str, kernel.schedule)), "text")

    stage("The source (DEBUG=4)", "What the compiler is given; compiled once and kept by its content.")
    listing(kernel.source, "c", start=f" {kernel.name}(")

    def again() -> None:
        (a.reshape(N, 1, N) * b.T.reshape(1, N, N)).sum(axis=2).realize()

    first = timed(c.realize)
    second = min(timed(again) for _ in range(5))
    literal = timed(lambda: (x.reshape(N, 1, N) * y.T.reshape(1, N, N)).sum(axis=2))
    product = min(timed(lambda: x @ y) for _ in range(5))
    error = np.abs(c.numpy() - x.astype(np.float64) @ y).max()
    stage("The run", f"Largest difference from the same product in float64: {error:.1e}.")
    console.print(f"  the first time: kernel compiled, or found in the cache  {first:8.1f} ms")
    console.print(f"  again                                                   {second:8.1f} ms")
    console.print(f"  NumPy, the same expression                              {literal:8.1f} ms")
    console.print(f"  NumPy, x @ y                                            {product:8.1f} ms")
    console.print("\nAny program says all this of itself. DEBUG=2: a line per kernel; 3: its loops;")
    console.print("4: its source; 5: the graph and each transform; 6: compiler and disassembly.")


if __name__ == "__main__":
    main()
