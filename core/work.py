"""How much a kernel does: operations and iterations, counted on its tree."""

from __future__ import annotations

from .loops import Body, Kernel, Let, Loop, Store, Update
from .ops import Op
from .value import Extra, toposort

_FREE = frozenset({
    Op.CONST, Op.LOAD, Op.CAST, Op.BITCAST,
    Extra.REF, Extra.INDEX, Extra.LANES, Extra.SPLAT, Extra.LANE, Extra.SHUFFLE,
})  # fmt: skip


def flops_of(kernel: Kernel) -> int:
    """Arithmetic operations of one run of a fresh kernel: one for each primitive and fold of each element."""
    return _flops(kernel.body, 1)


def _flops(body: Body, times: int) -> int:
    total = 0
    for s in body:
        if isinstance(s, Loop):
            total += _flops(s.body, times * s.extent)
        elif isinstance(s, Let | Store | Update):
            ops = sum(1 for v in toposort([s.value]) if v.op not in _FREE)
            total += times * (ops + isinstance(s, Update))
    return total


def iterations(loop: Loop) -> int:
    """How often the innermost statements of a loop are run, all its loops together."""
    inner = [iterations(s) for s in loop.body if isinstance(s, Loop)]
    return loop.extent * max(1, sum(inner))


def weight(kernel: Kernel) -> int:
    """How much one run costs, about: its operations and a quarter of its bytes, whichever weigh more."""
    return max(kernel.flops, kernel.nbytes // 4)
