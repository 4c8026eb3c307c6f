"""A dtype's facts: its bits, its range, what it meets, who computes in it."""

from __future__ import annotations

from rich.text import Text

from ..core import dtype as dtypes
from ..core.dialect import CLike
from ..core.dtype import DType, promote, wide
from ..core.errors import DeviceError, DTypeError
from ..core.legalize import FLOOR_DTYPES, STAND_IN
from ..core.offers import offers
from ..core.ops import PRIMITIVES, is_supported
from ..core.registry import port_of
from .screen import console, write_json
from .words import names, plain_words


def explain(dtype: DType, as_json: bool) -> int:
    """Prints what is known of a dtype."""
    facts = _facts(dtype)
    if as_json:
        write_json({"name": dtype.name, **facts})
        return 0
    out = console()
    out.print(Text.assemble((dtype.name, "bold"), f"  {facts.pop('what')}"))
    out.print()
    out.print(names([(name, Text(text)) for name, text in facts.items() if text]))
    return 0


def _facts(d: DType) -> dict[str, str]:
    lacking = [p.name for p in PRIMITIVES.values() if not is_supported(p.op, d)]
    facts = {
        "what": _what(d),
        "in memory": f"{d.itemsize} byte{'s' * (d.itemsize != 1)}; NumPy's {d.numpy.name}"
        + ("" if d.is_in_numpy else ", from ml_dtypes"),
        "range": f"{d.min} to {d.max}",
    }
    if d.is_float:
        ends = "infinities and NaN" if d.has_infinity else "NaN and no infinity: what is beyond becomes NaN"
        facts["range"] = f"±{float(d.finite_max):.8g}; {ends}"
        facts["smallest"] = f"normal {d.smallest_normal:.8g}, subnormal {d.smallest_normal * d.eps:.8g}"
        facts["precision"] = (
            f"{d.eps:.8g} from 1 to the next; integers to {2 ** (d.mantissa + 1):,} are exact"
        )
    facts |= {
        "promotes": _promotions(d),
        "sums": f"folded in {wide(d)}, rounded once" if wide(d) is not d else f"folded in {d}",
        "primitives": f"all {len(PRIMITIVES)}" if not lacking else f"all but {', '.join(lacking)}",
        "not computed in": _stand_in(d),
        "dialects": _spelled(d),
    }
    return facts


def _what(d: DType) -> str:
    if d.is_bool:
        return "true or false, a byte: 1 or 0"
    if d.is_int:
        return f"{'signed' if d.is_signed else 'unsigned'} integer of {d.bits} bits, two's complement"[
            : None if d.is_signed else -len(", two's complement")
        ]
    return f"float of {d.bits} bits: sign, {d.exponent} of exponent, {d.mantissa} of significand"


def _promotions(d: DType) -> str:
    """With which other dtype it gives which: grouped by what comes."""
    found: dict[str, list[str]] = {}
    for other in dtypes.ALL:
        if other is not d:
            try:
                result = promote(d, other).name
            except DTypeError:
                result = "an error"
            found.setdefault(result, []).append(other.name)
    return "; ".join(f"with {', '.join(who)}: {result}" for result, who in found.items())


def _stand_in(d: DType) -> str:
    """What becomes of it on a device whose language does not compute in it."""
    if d in FLOOR_DTYPES:
        return "every port with a kernel language must compute in it"
    row = next((s for s in STAND_IN if d in s.dtypes), None)
    if row is None:
        return "stored as its bits, computed wide" if d in dtypes.FLOAT8S else "nothing stands in for it"
    return f"a device that only holds it: in a register {plain(row.register)}, in memory {plain(row.memory)}"


def plain(text: str) -> str:
    """Words without marks."""
    return plain_words(text).replace("`", "")


def _spelled(d: DType) -> str:
    """What the shipped dialects call it."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(o.name for o in offers() if o.is_ours):
        try:
            dialect = port_of(name).dialect
        except DeviceError:  # ``portwright devices`` says what is wrong with it
            continue
        if isinstance(dialect, CLike):
            found.setdefault(dialect.types.get(d, "no name"), []).append(name)
    return "; ".join(f"{', '.join(who)}: {called}" for called, who in found.items())
