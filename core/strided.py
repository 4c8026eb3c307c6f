"""Vectors of each other element, or of elements in backward order, from whole vectors and a shuffle.

In: an expanded tree. Out: the same tree, in which a load whose lanes are two elements apart is two loads of
neighbours and one shuffle, and one that runs backwards is a load and a shuffle: three instructions, where an
element at a time takes one or two for each lane. Nothing is read that lies before the first lane's element or
behind the last's.
"""

from __future__ import annotations

from dataclasses import replace

from . import value as val
from .device import Spec
from .loops import Body, Kernel, Loop, Stmt, Store, map_body, values_of, with_values
from .ops import Op
from .transpose import LEAST, MOST
from .value import Access, Extra, Value


def shuffled(kernel: Kernel, spec: Spec) -> Kernel:
    """The kernel with such loads from whole vectors, of dtypes that the device computes in.

    Memory that the kernel stores to keeps its loads: what lies between may be another work item's.
    """
    memo: dict[Value, Value] = {}
    written = {p.name for p in kernel.params if p.written or kernel.aliases}

    def neighbours(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        access = v.arg
        if v.op is not Op.LOAD or not isinstance(access, Access) or v.dtype not in spec.arithmetic:
            return None
        return None if access.memory in written else _neighbours(v, access)

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Loop) or not values_of(s):
            return None
        if isinstance(s, Store) and s.guard:
            return None
        return (with_values(s, val.rewrite(values_of(s), neighbours, memo)),)

    return kernel.with_body(map_body(kernel.body, rule))


def _neighbours(v: Value, access: Access) -> Value | None:
    n = v.lanes
    if access.guard or access.places or not LEAST <= n <= MOST or n & (n - 1) or v.dtype.is_bool:
        return None
    if access.stride == -1:
        row = _row(v, access, 1 - n)
        return val.make(Extra.SHUFFLE, v.dtype, (row, row), tuple(reversed(range(n))), n)
    if access.stride == 2:
        # the second begins one element before the first's end, so that it ends with the last lane's
        pair = _row(v, access, 0), _row(v, access, n - 1)
        lanes = (*range(0, n, 2), *range(n + 1, 2 * n, 2))
        return val.make(Extra.SHUFFLE, v.dtype, pair, lanes, n)
    return None


def _row(v: Value, access: Access, away: int) -> Value:
    """As many neighbours, that begin so far from its first element."""
    return val.make(Op.LOAD, v.dtype, (), replace(access, index=access.index + away, stride=1), v.lanes)
