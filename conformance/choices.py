"""The choices that a random program is made by: small numbers, one after another, each of them noted.

A program is a function of choices. Those of a run are drawn by its seed, evenly. From its notes the same
program is made again; from fewer or smaller ones, a smaller program: ``shrink`` has Hypothesis look for the
smallest that still fails. So whoever makes programs puts the tamest choice first (0, False), and asks
``more`` before each further piece, so that any piece can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from ..core.dtype import DType
from .inputs import Array, Rng

T = TypeVar("T")
COUNTING, SMALL, WILD = range(3)
"""How tame the values of an array are: 1, 2, 3 …; whole numbers up to 4 of either sign; any."""


class Choices:
    """Where choices come from, and what was chosen: here a list of notes that are told again.

    Attributes:
        seed: of what is not a choice: the values of arrays.
        notes: the choices so far.
    """

    def __init__(self, seed: int, told: Sequence[int] = ()) -> None:
        self.seed = seed
        self.notes: list[int] = []
        self._told = told
        self._arrays = 0

    def integer(self, low: int, high: int, leaning: float = 1.0) -> int:
        """From ``low`` to ``high``, both included; higher ones more often where ``leaning`` is below 1."""
        return self._note(self._integer(low, high, leaning))

    def chance(self, p: float) -> bool:
        """True once in 1/p times."""
        return bool(self._note(self._chance(p)))

    def settled(self, value: int, most: int) -> int:
        """``value`` in a program that is drawn; from 0 to ``most`` in one that is made smaller."""
        return self._note(self._settled(value, most))

    def more(self, wanted: bool) -> bool:
        """Whether another piece comes: as is wanted, in a program that is drawn."""
        return bool(self.settled(int(wanted), 1))

    def order(self, n: int) -> list[int]:
        """The numbers below n, in any order."""
        made = list(range(n))
        for i in range(n - 1):
            j = self.integer(i, n - 1)
            made[i], made[j] = made[j], made[i]
        return made

    def array(self, dtype: DType, n: int, wild: Callable[[DType, Rng, int], Array]) -> Array:
        """``n`` elements, as ``wild`` draws them or tamer."""
        tameness = self.settled(WILD, WILD)
        self._arrays += 1
        rng = np.random.default_rng([self.seed, self._arrays])
        if tameness == WILD:
            return wild(dtype, rng, n)
        if tameness == COUNTING or dtype.is_bool:
            return (np.arange(1, n + 1) % (2 if dtype.is_bool else 100)).astype(dtype.numpy)
        return rng.integers(-4 if dtype.is_signed else 0, 5, n).astype(dtype.numpy)

    def piece(self, make: Callable[[Choices], T]) -> T:
        """What ``make`` gives; its choices belong together, and are left out together."""
        return make(self)

    def _note(self, value: int) -> int:
        self.notes.append(value)
        return value

    def _integer(self, low: int, high: int, leaning: float) -> int:
        return self._told[len(self.notes)]

    def _chance(self, p: float) -> int:
        return self._told[len(self.notes)]

    def _settled(self, value: int, most: int) -> int:
        return self._told[len(self.notes)]


class Drawn(Choices):
    """Choices that a seeded generator draws."""

    def __init__(self, rng: Rng) -> None:
        super().__init__(int(rng.integers(1 << 62)))
        self._rng = rng

    def _integer(self, low: int, high: int, leaning: float) -> int:
        if leaning == 1.0:
            return int(self._rng.integers(low, high + 1))
        n = high - low + 1
        return low + min(n - 1, int(n * self._rng.random() ** leaning))

    def _chance(self, p: float) -> int:
        return int(self._rng.random() < p)

    def _settled(self, value: int, most: int) -> int:
        return value
