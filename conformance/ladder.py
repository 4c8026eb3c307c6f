"""The rungs of the ladder, in order: each needs the ones below it."""

from __future__ import annotations

import enum
from pathlib import Path

from ..core.tuned import drawn_by
from .tiers import SuiteTier, keeps

SUITE = Path(__file__).parent / "suite"
"""Where the cases live: one file for each rung."""


class Rung(enum.Enum):
    """One step: what it is called on the command line."""

    OPEN = "open"
    MEMORY = "memory"
    COPY = "copy"
    PRIMITIVES = "primitives"
    CASTS = "casts"
    VIEWS = "views"
    REDUCTIONS = "reductions"
    FUSED = "fused"
    GRADIENTS = "gradients"
    STRESS = "stress"
    SPEED = "speed"

    @property
    def path(self) -> Path:
        """The file that holds the cases."""
        return SUITE / f"test_{self.value}.py"

    @property
    def shows(self) -> str:
        """What a port that passes has shown."""
        return _SHOWS[self]

    @property
    def index(self) -> int:
        """How far up, from 0."""
        return list(Rung).index(self)

    @property
    def is_alone(self) -> bool:
        """Whether its cases run one at a time and after all others, which would disturb them."""
        return self is Rung.SPEED


_SHOWS = {
    Rung.OPEN: "it opens, and its claims do not contradict each other",
    Rung.MEMORY: "buffers are separate, aligned and can be given back",
    Rung.COPY: "bytes come back as they went in, and nothing beside them changes",
    Rung.PRIMITIVES: "each primitive on each dtype, special values and samples, within its bound",
    Rung.CASTS: "every pair of dtypes, by value and by bits",
    Rung.VIEWS: "movement of every kind and its compositions, to the bit",
    Rung.REDUCTIONS: "sums, maxima, matrix products of awkward sizes and compounds, within three gates",
    Rung.FUSED: "random programs, each as one piece, against the graph's meaning",
    Rung.GRADIENTS: "gradients against finite differences, and small models against NumPy",
    Rung.STRESS: "threads, devices beside it, refusals, losses and a full memory, always to the same bits",
    Rung.SPEED: "right results of large kernels; how fast is reported, and never judged",
}


def rung_of(case: str) -> Rung:
    """The rung of a case called "primitives::test_unary[SIN-float32]"."""
    return Rung(case.split("::", 1)[0])


def again(device: str, case: str, seed: int) -> str:
    """The command that runs one case alone."""
    rung, name = case.split("::", 1)
    tier = "" if keeps(SuiteTier.STANDARD, case) else f" --tier {SuiteTier.FULL.value}"
    drawn = drawn_by()
    schedules = "" if drawn is None else f" --schedules {drawn}"
    return f"portwright certify {device} --rung {rung} -k '{name}' --seed {seed}{tier}{schedules}"
