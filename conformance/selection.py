"""Which cases of the suite a climb runs."""

from __future__ import annotations

from dataclasses import dataclass

from .ladder import Rung
from .tiers import SuiteTier


@dataclass(frozen=True)
class Selection:
    """Which cases are run; without a word, the standard tier of every rung.

    Attributes:
        rungs: which, in order.
        keyword: only cases whose names match this expression, as pytest's ``-k``; "": all.
        tier: how much of the suite.
        seed: what the samples depend on; the same seed gives the same samples.
        only: of the cases that the rest selects, those with these names; None: all.
        stop: stop after the first rung that a case of fails, or in it once ``runner.MOST_FAILED`` have.
    """

    rungs: tuple[Rung, ...] = tuple(Rung)
    keyword: str = ""
    tier: SuiteTier = SuiteTier.STANDARD
    seed: int = 0
    only: frozenset[str] | None = None
    stop: bool = False

    @property
    def has_whole_rungs(self) -> bool:
        """Whether nothing that the tier has of a rung is left out by name."""
        return not self.keyword and self.only is None

    @property
    def groups(self) -> list[tuple[Rung, ...]]:
        """The rungs, in order, by whose cases may run side by side: each alone, in a climb that stops."""
        if self.stop:
            return [(r,) for r in self.rungs]
        together = tuple(r for r in self.rungs if not r.is_alone)
        return [*([together] if together else []), *((r,) for r in self.rungs if r.is_alone)]
