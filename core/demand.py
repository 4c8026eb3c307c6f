"""What a lowering finds: which nodes are wanted where, and the loops and positions that a kernel computes."""

from __future__ import annotations

import math
from dataclasses import field

from .graph import Node
from .index import Mask
from .position import Position
from .record import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A position, and the mask where it is meant. Equal ones are one object: most nodes share theirs."""

    position: Position
    mask: Mask
    is_ever: bool


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """A node wanted somewhere. Each is one object."""

    node: Node
    spot: Spot


@dataclass(eq=False, slots=True)
class Nest:
    """Loops over some variables: the kernel's own, or a reduction's.

    Attributes:
        extents: its variables, outermost first once ordered.
        parent, level: the nest it stands in, and how many of that one's loops are open around it.
        depth: how many nests stand around it.
        times: how often its loops are run in all, once it is placed.
        demand: what it reduces; None of the kernel's own nest.
        needs: the variables that its position depends on.
    """

    extents: dict[str, int]
    name: str = ""
    parent: Nest | None = None
    level: int = 0
    depth: int = 0
    times: int = 1
    demand: Demand | None = None
    source: Demand | None = None
    needs: frozenset[str] = frozenset()
    children: list[Nest] = field(default_factory=list)
    lets: list[Gathered] = field(default_factory=list)
    made: int = 0

    @property
    def reduces(self) -> Node:
        """The reduction that it is."""
        assert self.demand is not None
        return self.demand.node

    def runs(self, level: int) -> int:
        """How often a statement under its first ``level`` loops is run."""
        return self.times * math.prod(list(self.extents.values())[:level])

    def level_of(self, names: frozenset[str]) -> int:
        """How many of its loops must be open for ``names`` to be known."""
        level = 0
        for i, v in enumerate(self.extents):
            if v in names:
                level = i + 1
        return level


@dataclass(eq=False, slots=True)
class Gathered:
    """A position that the kernel computes: an index of a GATHER."""

    name: str
    source: Demand
    needs: frozenset[str]
    made: int = 0
