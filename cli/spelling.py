"""How the shipped dialects spell a primitive: the rows of their tables, and what these rows call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..core import dtype as dt
from ..core import value as val
from ..core.device import Device, Spec
from ..core.device import Extra as Offer
from ..core.dialect import OPERATORS, CLike
from ..core.dtype import DType
from ..core.errors import DeviceError
from ..core.legalize import BUILT, legalize
from ..core.offers import offers
from ..core.ops import PRIMITIVES, Op
from ..core.print_value import ON_BOOL
from ..core.registry import port_of
from ..core.value import Extra, ValueOp, toposort

_PRINTED = frozenset({Op.CONST, Op.LOAD, Op.STORE})


@dataclass(frozen=True)
class Row:
    """A column of a dialect's table, and what it says."""

    where: str
    text: str


@dataclass(frozen=True)
class Spelling:
    """How ports spell a primitive.

    Attributes:
        ports: those that spell it so.
        rows: from their table; empty where the language has no such thing.
        built: what core builds it of, where it has not.
        needs: the definitions in the prelude, and the functions, that the rows call.
    """

    ports: tuple[str, ...]
    rows: tuple[Row, ...]
    built: str
    needs: tuple[str, ...]


def spellings(op: Op) -> list[Spelling]:
    """Of each shipped port that is driven by a kernel language or by a table, those alike together."""
    found: dict[tuple[tuple[Row, ...], str, tuple[str, ...]], list[str]] = {}
    for name in dict.fromkeys(o.name for o in offers() if o.is_ours):
        try:
            port = port_of(name)
        except DeviceError:  # ``portwright devices`` says what is wrong with it
            continue
        if isinstance(port.dialect, CLike):
            spelled = _in_dialect(op, port.dialect)
        elif (table := dispatch_table(port)) is not None:
            spelled = _in_table(op, table)
        else:
            continue
        found.setdefault(spelled, []).append(name)
    return [Spelling(tuple(ports), *spelled) for spelled, ports in found.items()]


def dispatch_table(port: type[Device]) -> Mapping[Op, object] | None:
    """What a port driven by dispatch calls for each primitive: its attribute whose keys are primitives."""
    for owner in port.__mro__:
        for value in vars(owner).values():
            if isinstance(value, Mapping) and value and all(isinstance(k, Op) for k in value):
                return value
    return None


def _in_table(op: Op, table: Mapping[Op, object]) -> tuple[tuple[Row, ...], str, tuple[str, ...]]:
    called = table.get(op)
    if called is None:
        return (
            (),
            "not in its table of calls"
            if op not in _PRINTED
            else "not called: core reads and writes memory itself",
            (),
        )
    module, name = getattr(called, "__module__", ""), getattr(called, "__qualname__", repr(called))
    return (Row("calls", f"{module}.{name}(dtype, {', '.join('abc'[: PRIMITIVES[op].arity])})"),), "", ()


def _in_dialect(op: Op, t: CLike) -> tuple[tuple[Row, ...], str, tuple[str, ...]]:
    rows = tuple(_memory(op, t) if op in _PRINTED else _rows(op, t))
    return rows, "" if rows else _built(op, t), tuple(_needs(t, rows)) if op not in _PRINTED else ()


def _rows(op: Op, t: CLike) -> Iterator[Row]:
    usual = t.scalar.get(op)
    if usual is None:
        return
    alike = t.vector.get(op, usual) == usual
    yield Row("scalar, vector" if alike else "scalar", usual)
    special: dict[str, list[DType]] = {}
    for d in dt.ALL:
        if (op, d) in t.by_dtype:
            special.setdefault(t.by_dtype[(op, d)], []).append(d)
    for text, dtypes in special.items():
        yield Row(_names(dtypes), text)
    if not alike:
        yield Row("vector", t.vector[op])
    if op in ON_BOOL:
        other = ON_BOOL[op]
        assert isinstance(other, Op)
        yield Row("bool", f"as {other.name}")
    if op is Op.CAST:
        yield Row("to bool", "as CMPNE with 0")


def _names(dtypes: list[DType]) -> str:
    """Dtypes in few words."""
    if set(dtypes) == set(dt.INTS):
        return "integers"
    return ", ".join(d.name for d in dtypes)


def _memory(op: Op, t: CLike) -> Iterator[Row]:
    """What core prints by itself, and the columns that it prints it by."""
    if op is Op.CONST:
        for title, column in (("number", t.number), ("infinity", t.infinity), ("nan", t.nan)):
            same: dict[str, list[DType]] = {}
            for d in dt.ALL:
                if d in column:
                    same.setdefault(column[d], []).append(d)
            yield from (Row(f"{title} of {_names(ds)}", text) for text, ds in same.items())
        yield Row("vector", t.literal)
        return
    yield Row("scalar", "{name}[{index}]" if op is Op.LOAD else "{name}[{index}] = {value};")
    load = op is Op.LOAD
    columns = [("vector", t.vector_load if load else t.vector_store),
               ("aligned vector", t.aligned_load if load else t.aligned_store)]  # fmt: skip
    yield from (Row(title, text) for title, text in columns if text)
    if load:
        yield from (Row(f"pixel of {d}", text) for d, text in t.image_load.items())
    elif t.stream:
        yield Row("streamed", t.stream)


def _needs(t: CLike, rows: tuple[Row, ...]) -> Iterator[str]:
    """The definitions that spellings call: functions of the table, lines of the prelude and their macros."""
    text = "\n".join(r.text for r in rows if r.text not in OPERATORS.values())
    for kind, body in t.functions.items():
        if f"{{V}}_{kind}(" in text or (kind == "bits" and "{name}(" in text):
            yield body.replace("{{", "{").replace("}}", "}")
    lines = _logical_lines(t.prelude)
    wanted = set(re.findall(r"\b([A-Za-z_]\w*)(?:<[^<>()]*>)?\(", text)) - {"sizeof"}
    defined = [line for line in lines if any(_defines(line, word) for word in wanted)]
    macros = {m for line in defined for m in re.findall(r"\b([A-Z][A-Z_]+)\(", line)}
    for line in lines:
        head = re.match(r"#define (\w+)\(", line)
        if line in defined or (head and head[1] in macros):
            yield line


def _defines(line: str, name: str) -> bool:
    """Whether a line of a prelude defines a function: by itself, or by a macro that is given the name."""
    return bool(re.search(rf"[\w>*]\s+{name}\([^()]*\)\s*\{{|\b[A-Z][A-Z_]+\({name}\b", line))


def _logical_lines(text: str) -> list[str]:
    """A C text's lines, those that end in a backslash with what follows; a template with its body."""
    out: list[str] = []
    for line in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).splitlines():
        open_ = bool(out) and (out[-1].endswith("\\") or out[-1].count("{") > out[-1].count("}"))
        if open_:
            out[-1] += f"\n{line}"
        else:
            out.append(line)
    return out


def _built(op: Op, t: CLike) -> str:
    """What core builds a primitive of that a language lacks."""
    if op not in BUILT:
        return "not spelled"
    offers_ = {o for o, e in ((Offer.FMA, Extra.FMA), (Offer.DIV, Extra.DIV)) if e in t.scalar}
    native = frozenset(o for o in Op if o in t.scalar) | _PRINTED
    dtypes = frozenset(t.types)
    spec = Spec("", dtypes=dtypes, native=native, arithmetic=dtypes, extras=frozenset(offers_))
    row = PRIMITIVES[op]
    dtype = dt.float32 if row.operands.accepts(dt.float32) else dt.int32
    operands = [val.ref(name, dtype) for name in "abc"[: row.arity]]
    (made,) = legalize([val.primitive(op, *operands)], spec)
    count: dict[ValueOp, int] = {}
    for v in toposort([made]):
        if v.op not in (Op.CONST, Extra.REF):
            count[v.op] = count.get(v.op, 0) + 1
    parts = ", ".join(f"{n} {o.name}" for o, n in sorted(count.items(), key=lambda kv: -kv[1]))
    return f"not spelled: built by core, on {dtype} of {sum(count.values())} operations: {parts}"
