"""What a mutant is: a device that is right but for one fault, and where the suite should see it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...core.device import Device

Spoil = Callable[[Device], None]
"""Puts a fault into a device that was just opened."""


class Base(enum.Enum):
    """Which kind of good device a fault is put into."""

    KERNELS = "kernels"  # one that is driven by a kernel language
    BLOCKS = "blocks"  # one whose kernels have blocks of threads, emulated, so that a fault ends nothing else
    DISPATCH = "dispatch"  # one that computes the graph itself


class Seen(enum.Enum):
    """What notices a fault."""

    CASES = "cases"  # two functions of the suite, or more, fail
    CERTIFICATE = "certificate"  # every case passes or is unclaimed: the certificate says what is missing


@dataclass(frozen=True)
class Mutant:
    """A device with one seeded fault.

    Attributes:
        name: of the mutant, and in capitals of the device.
        family: what its fault is like.
        fault: in one sentence.
        spoil: puts the fault into a good device.
        tried: which cases are tried first, as patterns of their names in which only "*" is special.
        base: which kind of good device.
        seen: what must notice.
    """

    name: str
    family: str
    fault: str
    spoil: Spoil
    tried: tuple[str, ...]
    base: Base = Base.KERNELS
    seen: Seen = Seen.CASES


@dataclass
class Family:
    """Mutants whose faults are alike, as rows.

    Attributes:
        name: in words.
        base: of all of them, unless one says otherwise.
        mutants: in the order in which they were added.
    """

    name: str
    base: Base = Base.KERNELS
    mutants: list[Mutant] = field(default_factory=list)

    def add(
        self,
        name: str,
        fault: str,
        spoil: Spoil,
        tried: str | Sequence[str],
        *,
        base: Base | None = None,
        seen: Seen = Seen.CASES,
    ) -> None:
        """One more row; ``tried`` may be a text of patterns that blanks separate."""
        patterns = tuple(tried.split()) if isinstance(tried, str) else tuple(tried)
        self.mutants.append(Mutant(name, self.name, fault, spoil, patterns, base or self.base, seen))
