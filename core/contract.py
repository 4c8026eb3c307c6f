"""Which versions of the contract a port was written for, and the one that it and Portwright both speak.

A port's distribution states its range where it can be read without importing anything: in its entry points,
under the group ``portwright.contract``, as the device's name and ``v1`` (version 1 alone) or ``v1.v3`` (1 to
3). Build backends want a module path there, which these read as.
"""

from __future__ import annotations

import re

from .errors import PortError
from .ops import CONTRACT_VERSION, OLDEST_CONTRACT
from .record import dataclass

_STATED = re.compile(r"v([1-9]\d{0,5})(?:\.v([1-9]\d{0,5}))?")


@dataclass(frozen=True)
class ContractRange:
    """Versions of the contract from ``oldest`` to ``newest``, both included."""

    oldest: int
    newest: int

    @classmethod
    def parse(cls, stated: str) -> ContractRange:
        """The range that a distribution states; 1 where it states none.

        Raises:
            PortError: for a text that is no range.
        """
        if not stated:
            return cls(1, 1)
        found = _STATED.fullmatch(stated)
        if found is None:
            raise PortError(
                f"it states contract {stated!r}, which is no range: v1 is version 1 alone, v1.v3 is 1 to 3"
            )
        oldest, newest = int(found[1]), int(found[2] or found[1])
        if oldest > newest:
            raise PortError(f"it states contract {stated!r}, which ends before it begins")
        return cls(oldest, newest)

    def __contains__(self, version: int) -> bool:
        return self.oldest <= version <= self.newest

    def __str__(self) -> str:
        return str(self.oldest) if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


SPOKEN = ContractRange(OLDEST_CONTRACT, CONTRACT_VERSION)
"""What this Portwright speaks."""


def negotiate(needed: ContractRange, spoken: ContractRange = SPOKEN) -> int | None:
    """The newest version that is in both; None when none is.

    Args:
        needed: the port's.
        spoken: Portwright's.
    """
    newest = min(needed.newest, spoken.newest)
    return newest if newest >= max(needed.oldest, spoken.oldest) else None
