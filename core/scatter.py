"""The kernel of a SCATTER: a copy of its base, and then the updates in order.

Every work item owns some columns and walks all updates of them in order, so that the result is the same on
every device and in every run, also where positions repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from . import value as val
from .errors import KernelError
from .graph import ConstArg, Node, ScatterArg
from .index import Index, both, computed, variable
from .loops import Kernel, Let, Loop, Memory, Store
from .ops import Op
from .value import Access, Value


def lower_scatter(node: Node, reads: Callable[[Node], bool]) -> Kernel:
    """The kernel of one SCATTER whose operands are in memory, or constant."""
    arg = node.arg
    assert isinstance(arg, ScatterArg)
    base, index, values = node.srcs
    rows, width, updates = node.shape[0], prod(node.shape[1:]), index.size
    operands = [n for n in dict.fromkeys((base, index, values)) if reads(n)]
    names = {n: f"in{i}" for i, n in enumerate(operands)}

    def read(n: Node, at: Index) -> Value:
        if n in names:
            return val.make(Op.LOAD, n.dtype, (), Access(names[n], at, ()))
        while n.op is not Op.CONST:
            if not n.srcs:
                raise KernelError(f"SCATTER reads {n!r}, which is not in memory")
            n = n.srcs[0]
        assert isinstance(n.arg, ConstArg)
        return val.number(n.arg.value, n.dtype)

    column = variable("c", width)
    row, update = variable("r", rows), variable("u", updates)
    where = row * width + column
    copy = Loop("r", rows, (Store("out0", where, read(base, where)),))
    position = computed("g0", -(2**62), 2**62)
    new = read(values, update * width + column)
    target = position * width + column
    guard = both((position, position * -1 + (rows - 1)))
    if arg.op is not None:
        old = val.make(Op.LOAD, node.dtype, (), Access("out0", target, guard))
        new = val.primitive(arg.op, old, new)
    change = Loop("u", updates, (Let("g0", read(index, update)), Store("out0", target, new, guard)))
    body = (copy, change) if updates else (copy,)
    params = (
        Memory("out0", node.dtype, node.size, written=True),
        *(Memory(names[n], n.dtype, n.size) for n in operands),
    )
    return Kernel(params, body if width == 1 else (Loop("c", width, body),))
