"""Writes docs/contract.md from the table of primitives: run ``make docs`` after a change to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from portwright.core import dtype as dtypes
from portwright.core.legalize import FLOOR, FLOOR_BITS, FLOOR_DTYPES, STAND_IN
from portwright.core.ops import CONTRACT_VERSION, PRIMITIVES, REDUCIBLE, Group, Primitive, Tier

PAGE = Path(__file__).with_name("contract.md")

INTRODUCTION = f"""\
<!-- Generated from core/ops.py by `make docs`. Edit the table there, not this page. -->
# The contract, version {CONTRACT_VERSION}

A port computes {len(PRIMITIVES)} primitives. This page says what each one means, exactly, so that a port is
right or wrong and never merely different. It is generated from `portwright.core.ops.PRIMITIVES`, which the
engine, the reference port and the conformance suite read as well.

**Dtypes**: {", ".join(f"`{d.name}`" for d in dtypes.ALL)}.
A port says in its `Spec` which of them it holds; a bool is one byte, 0 or 1.

**Accuracy** is in units in the last place (ulp) of the correctly rounded result. A port claims one of the
tiers {", ".join(f"*{t.value}*" for t in Tier)}. What no bound is given for is exact, or correctly rounded
where it rounds (0.5 ulp).

**Subnormals** are kept, or flushed to zero everywhere: the `Spec` says which.

**Reductions** fold with {", ".join(f"`{op.name}`" for op in PRIMITIVES if op in REDUCIBLE)}, in any order.
"""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(header)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def section(group: Group) -> str:
    """The primitives of a group, each with its meaning."""
    rows = [p for p in PRIMITIVES.values() if p.group is group]
    overview = table(
        ("primitive", "operands", "takes", "gives"),
        ((f"`{p.name}`", str(p.arity), p.operands.value, p.result.value) for p in rows),
    )
    return f"## {group.value.capitalize()}\n\n{overview}\n\n" + "\n\n".join(meaning(p) for p in rows)


def meaning(p: Primitive) -> str:
    """A primitive in words."""
    parts = [f"**`{p.name}`** {p.meaning}", p.special]
    if p.core_guards:
        parts.append(f"*Never sent*: {p.core_guards}.")
    return " ".join(part for part in parts if part)


def accuracy() -> str:
    """The bounds that are neither exact nor correctly rounded."""
    rows = (
        (f"`{p.name}`", d.name, *(str(p.bound(d, tier)) for tier in Tier))
        for p in PRIMITIVES.values()
        for d in dtypes.FLOATS
        if (Tier.FULL, d.name) in p.bounds
    )
    return "## Accuracy\n\n" + table(("primitive", "dtype", *(t.value for t in Tier)), rows)


def floor() -> str:
    """What a port must have at least, and how the rest is stood in for."""
    needed = ", ".join(f"`{op.name}`" for op in PRIMITIVES if op in FLOOR)
    either = " or ".join(f"`{op.name}`" for op in PRIMITIVES if op in FLOOR_BITS)
    built = ", ".join(f"`{op.name}`" for op in PRIMITIVES if op not in FLOOR | FLOOR_BITS)
    computed = " and ".join(f"`{d.name}`" for d in dtypes.ALL if d in FLOOR_DTYPES)
    rows = ((", ".join(f"`{d.name}`" for d in s.dtypes), s.register, s.memory) for s in STAND_IN)
    return f"""\
## The floor

A port may lack most of the above: what it lacks is built from what it has, within the same bounds. A port
that is driven by a kernel language must have

- {needed}, and {either};
- arithmetic on {computed}, and conditions (bool, as comparisons give);
- loads and stores of unsigned integers as wide as each dtype that it holds, up to 32 bits, and their
  conversion to `int32` and back.

Built where a `Spec` does not claim them:
{built}, and the other one of {either}.
A port whose `Spec` is below the floor is refused when it is opened, with what it lacks.

A dtype that a port holds and does not compute in (`Spec.dtypes` without `Spec.arithmetic`) is stood in for:

{table(("dtype", "in a register", "in memory"), rows)}

`float64` is stood in for by nothing: a port that does not compute in it does not hold it."""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n\n".join([INTRODUCTION.strip(), *(section(g) for g in Group), accuracy(), floor()]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
