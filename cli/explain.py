"""``portwright explain``: what a primitive means, to the letter; or a dtype."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import click
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ..core import dtype as dtypes
from ..core.dtype import DType, as_dtype
from ..core.errors import ArgumentError, DTypeError
from ..core.example import find_function
from ..core.ops import CONTRACT_VERSION, PRIMITIVES, Group, Op, Primitive, Tier
from . import explain_dtype
from .edges import ANYTHING, EITHER_ZERO, NEVER_SENT, Grid, grids, legend
from .screen import console, plain, write_json
from .spelling import Spelling, spellings
from .words import heading, names, source


@click.command()
@click.argument("name", required=False)
@click.option("--dtype", "of", metavar="DTYPE", help="Compute the table of special values on this dtype.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def explain(name: str | None, of: str | None, as_json: bool) -> int:
    """Explain NAME: a primitive of the contract ("MAX") or a dtype ("float16").

    Its exact meaning, what comes at the edges, the accuracy that is asked for, the NumPy function that
    defines it, and how each shipped dialect spells it. Without a name: all primitives, a line each.
    """
    if name is None:
        return _list(as_json)
    op = Op.__members__.get(name.upper())
    if op is None:
        return explain_dtype.explain(_dtype(name), as_json)
    dtype = None if of is None else as_dtype(of)
    p = PRIMITIVES[op]
    if dtype is not None and not p.operands.accepts(dtype):
        raise ArgumentError(f"{op.name} takes {p.operands.value}, not {dtype}")
    if as_json:
        write_json(_record(p, dtype))
    else:
        _show(p, dtype)
    return 0


def _dtype(name: str) -> DType:
    """A dtype by its name.

    Raises:
        ArgumentError: when it is none, nor a primitive: with what was meant.
    """
    try:
        return as_dtype(name.lower())
    except DTypeError as e:
        from ..core.tensor import Tensor

        if name.lower() in dir(Tensor) and name[0] != "_":
            raise ArgumentError(
                f"{name} is no primitive: it is made of them. portwright kernel '{name.lower()}(x)' shows how"
            ) from e
        known = [*Op.__members__, *(d.name for d in dtypes.ALL)]
        close = get_close_matches(name.upper(), known, n=3) or get_close_matches(name.lower(), known, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "portwright explain lists the primitives"
        raise ArgumentError(f"no primitive or dtype {name!r}. {hint}") from e


def _list(as_json: bool) -> int:
    if as_json:
        write_json([_row(p) for p in PRIMITIVES.values()])
        return 0
    out = console()
    out.print(f"The {len(PRIMITIVES)} primitives of the contract, version {CONTRACT_VERSION}.")
    for group in Group:
        heading(out, group.value)
        out.print(names([(p.name, Text(p.meaning)) for p in PRIMITIVES.values() if p.group is group]))
    out.print("\n→ portwright explain MAX", style="cyan")
    return 0


# ------------------------------------------------------------------------------------------- one primitive


def _row(p: Primitive) -> dict[str, Any]:
    """What the contract's table says, for programs."""
    return {
        "name": p.name, "group": p.group.value, "arity": p.arity, "operands": p.operands.value,
        "result": p.result.value, "meaning": p.meaning, "special": p.special, "never_sent": p.core_guards,
    }  # fmt: skip


def _record(p: Primitive, dtype: DType | None) -> dict[str, Any]:
    reference = None if p.reference is None else find_function(p.reference)
    return {
        **_row(p),
        "accuracy": [
            {"dtype": d.name, "tier": t.value, "bound": str(p.bound(d, t))}
            for d in dtypes.FLOATS if _is_judged(p, d) for t in Tier
        ],
        "edges": [plain(g) for g in grids(p, dtype)],
        "reference": None if reference is None else {"file": reference.file, "line": reference.line,
                                                     "source": reference.source},
        "dialects": [plain(s) for s in spellings(p.op)],
    }  # fmt: skip


def _show(p: Primitive, dtype: DType | None) -> None:
    out = console()
    count = {0: "no operand", 1: "1 operand"}.get(p.arity, f"{p.arity} operands")
    out.print(Text.assemble((p.name, "bold"), f"  {p.group.value}, {count}"))
    out.print()
    facts = [("takes", Text(p.operands.value)), ("gives", Text(p.result.value)), ("means", Text(p.meaning))]
    facts += [("at the edges", Text(p.special))] if p.special else []
    facts += [("never sent", Text(p.core_guards))] if p.core_guards else []
    facts += [("accuracy", Text(line)) for line in _accuracy(p)][:1]
    out.print(names(facts))
    if p.bounds:
        out.print(_bounds(p))
    _show_edges(p, dtype)
    if p.reference is not None and (reference := find_function(p.reference)).source:
        heading(out, "Meaning in NumPy", reference.place)
        source(out, reference.source)
    heading(out, "How dialects spell it", "{0} {1} {2}: operands; {T}, {V}: the result's type, as a vector")
    for spelled in spellings(p.op):
        _show_spelling(spelled)
    out.print(f"\n→ portwright certify DEVICE --rung {_rung(p)} -k {p.name}", style="cyan")


def _rung(p: Primitive) -> str:
    """Where the suite tests it."""
    return "casts" if p.group is Group.CONVERT else "primitives"


def _is_judged(p: Primitive, d: DType) -> bool:
    return p.operands.accepts(d) and p.group not in (Group.MEMORY, Group.COMPARE, Group.BITS)


def _accuracy(p: Primitive) -> Iterator[str]:
    """In words: how near a result must be."""
    if p.bounds:
        yield "units in the last place (ulp) of the correctly rounded result, by tier:"
        return
    judged = {str(p.bound(d, t)) for d in dtypes.FLOATS if _is_judged(p, d) for t in Tier}
    rounded = judged - {"0 ulp"}
    yield f"correctly rounded ({', '.join(sorted(rounded))}) on floats" if rounded else "exact"


def _bounds(p: Primitive) -> Padding:
    table = Table.grid(padding=(0, 2))
    table.add_row("", *(t.value for t in Tier), style="dim")
    for d in dtypes.FLOATS:
        if (Tier.FULL, d.name) in p.bounds:
            table.add_row(Text(d.name, style="green"), *(str(p.bound(d, t)) for t in Tier))
    return Padding(table, (0, 0, 0, 2), expand=False)


def _show_edges(p: Primitive, dtype: DType | None) -> None:
    out = console()
    shown = list(grids(p, dtype))
    for grid in shown:
        heading(out, grid.title)
        out.print(_table(grid))
    if shown:
        told = {d for g in shown for d in _dtypes_of(g)}
        words = [legend([d for d in dtypes.ALL if d in told])]
        cells = {c for g in shown for _, row in g.rows for c in row}
        words += [f"{NEVER_SENT}: never sent"] if NEVER_SENT in cells else []
        words += [f"{ANYTHING}: whatever comes, without a trap"] if ANYTHING in cells else []
        words += [f"{EITHER_ZERO}: either zero"] if EITHER_ZERO in cells else []
        out.print(Padding(Text("; ".join(w for w in words if w), style="dim"), (0, 0, 0, 2), expand=False))


def _dtypes_of(grid: Grid) -> list[DType]:
    """The dtypes that a table's title and heads name."""
    words = {*grid.columns, *grid.title.split()}
    return [d for d in dtypes.ALL if d.name in words]


def _table(grid: Grid) -> Padding:
    table = Table.grid(padding=(0, 2))
    for _ in range(len(grid.columns) + 1):
        table.add_column(justify="right", no_wrap=True)
    table.add_row(Text(grid.corner, style="dim"), *(Text(c, style="green") for c in grid.columns))
    for head, cells in grid.rows:
        table.add_row(Text(head, style="green"), *cells)
    return Padding(table, (0, 0, 0, 2), expand=False)


def _show_spelling(spelled: Spelling) -> None:
    out = console()
    out.print(Text(f"  {', '.join(spelled.ports)}", style="bold"))
    if spelled.built:
        out.print(Padding(Text(spelled.built), (0, 0, 0, 4), expand=False))
    else:
        out.print(Padding(names([(r.where, Text(r.text)) for r in spelled.rows]), (0, 0, 0, 2), expand=False))
    for needed in spelled.needs:
        text = "\n".join(f"      {line}" for line in needed.splitlines())
        if out.is_terminal and not out.no_color:
            code = Syntax(needed, "c++", theme="ansi_dark", background_color="default", word_wrap=True)
            out.print(Padding(code, (0, 0, 0, 6)))
        else:
            out.print(Text(text), soft_wrap=True)
