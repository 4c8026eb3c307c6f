"""Values that several kernels need: computed in each of them, or once, into memory.

Both ways are counted in bytes that are moved, arithmetic as the bytes that could move meanwhile. To compute a
value in each kernel is to read what it is made of, unless the kernel reads that anyhow, and to do its
arithmetic there. To store it is to do so once, to write it, and to read it in each kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from .cuts import Cuts, operations
from .graph import GraphOp, Node
from .lower import Lowered

BALANCE = 4
"""Operations that are done while a byte moves, about."""
LAUNCH = 1 << 15
"""Bytes that move while a kernel is launched, about."""


def is_worth_storing(node: Node, kernels: Sequence[Lowered], cuts: Cuts) -> bool:
    """Whether memory serves a value better than computing it in each of ``kernels``, which all need it.

    What it is made of is followed only until that is clear. A reduction that several kernels run is put
    into memory in any case.
    """
    walks = [k for k in kernels if not k.reductions]  # these will be one kernel, where their sizes agree
    apart = [k for k in kernels if k.reductions] + walks[:1]
    if len(apart) < 2:
        return False
    saved = -float((len(apart) + 1) * node.nbytes + LAUNCH)
    inside = {node}
    ahead = [(-cuts.rank[node], node)]  # users before operands
    while ahead and saved <= 0:
        _, n = heappop(ahead)
        if not cuts.reads(n) and n.op is not GraphOp.REDUCE:
            saved += (len(apart) - 1) * n.size * operations(n, cuts.spec) / BALANCE
            for s in n.srcs:
                if s not in inside:
                    inside.add(s)
                    heappush(ahead, (-cuts.rank[s], s))
            continue
        else_read = sum(any(u in k.nodes and u not in inside for u in cuts.users[n]) for k in apart)
        touched = min(n.nbytes, sum(u.size for u in cuts.users[n] if u in inside) * n.dtype.itemsize)
        saved += (len(apart) - else_read - 1) * touched
    return saved > 0
