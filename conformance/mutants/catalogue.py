"""Every mutant, by family."""

from __future__ import annotations

from difflib import get_close_matches

from ...core.errors import ArgumentError
from . import (
    accumulators,
    accuracy,
    barriers,
    bools,
    bounds,
    caches,
    casts,
    cheats,
    division,
    faults,
    fusion,
    memory,
    narrow,
    special,
    strain,
    strides,
    subnormals,
    tails,
    width,
)
from .mutant import Family, Mutant

FAMILIES: tuple[Family, ...] = (
    division.FAMILY,
    casts.FAMILY,
    tails.FAMILY,
    barriers.FAMILY,
    subnormals.FAMILY,
    caches.FAMILY,
    special.FAMILY,
    bools.FAMILY,
    strides.FAMILY,
    width.FAMILY,
    accumulators.FAMILY,
    narrow.FAMILY,
    bounds.FAMILY,
    fusion.FAMILY,
    memory.FAMILY,
    faults.FAMILY,
    strain.FAMILY,
    cheats.FAMILY,
    accuracy.FAMILY,
)
MUTANTS: tuple[Mutant, ...] = tuple(m for f in FAMILIES for m in f.mutants)


def mutant(name: str) -> Mutant:
    """The mutant of this name.

    Raises:
        ArgumentError: when there is none, with names that are like it.
    """
    found = next((m for m in MUTANTS if m.name == name), None)
    if found is None:
        near = get_close_matches(name, [m.name for m in MUTANTS], n=3)
        raise ArgumentError(f"no mutant {name!r}" + (f": {', '.join(near)}?" if near else ""))
    return found


def select(families: tuple[str, ...], names: tuple[str, ...]) -> tuple[Mutant, ...]:
    """The mutants of these names, and of families in whose names one of these texts stands; all if none is.

    Raises:
        ArgumentError: when a text is of no family, or a name of no mutant.
    """
    for text in families:
        if not any(text.lower() in f.name.lower() for f in FAMILIES):
            raise ArgumentError(f"no family {text!r}; there are: {'; '.join(f.name for f in FAMILIES)}")
    wanted = {mutant(n).name for n in names}
    chosen = [m for m in MUTANTS if m.name in wanted or any(t.lower() in m.family.lower() for t in families)]
    return tuple(chosen) if families or names else MUTANTS
