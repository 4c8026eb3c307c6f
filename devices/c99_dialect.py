"""Stand-in: C without vectors, until the dialect of the c family is here."""

from __future__ import annotations

from .c_dialect import C

C99 = C
