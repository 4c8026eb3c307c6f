"""Which kernels of a plan become chains: what one hands on to the next is never in memory as a whole.

In: groups in running order, and what is asked for. Out: fewer, in running order. A kernel is taken into the
only one that reads it where that pays (``cut_for``), and so on, from the first to the last: scores, their
softmax and its product with the values become one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import replace

from .chain import cut_for
from .device import Device, Spec
from .fuse import BY_ITSELF
from .graph import Node
from .loops import Kernel
from .online import online_cut_for
from .pipeline import links, structure
from .siblings import Cut, Group

LEAST = 1 << 15
"""Bytes below which it does not matter where they are."""
OTHERS = 2
"""Times as much as what is handed on may its reader read besides: of more, each block would read some."""
KEPT = 4096
"""Decisions that are remembered."""
_decided: dict[tuple[Device, Hashable], Cut | None] = {}


def chained(groups: Sequence[Group], asked: Collection[Node], device: Device) -> list[Group]:
    """The groups with those made one that had better hand on a block at a time.

    Args:
        groups: of any device; only those of ``device`` are looked at.
        asked: what must be in memory afterwards.
    """
    spec = device.spec
    if device.dialect is None or not spec.near_bytes:
        return list(groups)
    readers = Counter(n for g in groups for n in g.reads)
    out: dict[Node, Group] = {}  # by first root

    def handed_on(n: Node, to: Group) -> Group | None:
        """Who computes a node, where only this group reads it, and that may be a block at a time."""
        first = out.get(n)
        if first is None or readers[n] > 1 or n in asked or n.nbytes < LEAST:
            return None
        if sum(m.nbytes for m in to.reads if m is not n) > OTHERS * n.nbytes:
            return None
        return first if all(_may_be_linked(x, device) for x in (first, to)) else None

    def before(n: Node, g: Group) -> Iterator[tuple[tuple[Node, ...], Group]]:
        """What may be one with a group that reads a node: groups of ``out``, by their nodes, as one."""
        first = handed_on(n, g)
        if first is None:
            return
        yield (n,), first
        for m in first.reads:  # three may be one where two are not: a softmax's rows are never whole then
            group = handed_on(m, first)
            if group is not None:
                yield (m, n), joined(group, first)

    for g in groups:
        for n in g.reads:
            for taken, first in before(n, g):
                both = joined(first, g)
                cut = _cut(both, device) if len(both.reads) < spec.max_buffers else None
                if cut is not None:
                    g = replace(both, cut=cut)
                    for t in taken:
                        del out[t]
                    break
        out[g.roots[0]] = g
    return list(out.values())


def forget(device: Device) -> None:
    """What was decided for a device is decided anew."""
    for key in [k for k in _decided if k[0] is device]:
        del _decided[key]


def _may_be_linked(group: Group, device: Device) -> bool:
    (root, *others) = group.roots
    return not others and root.op not in BY_ITSELF and root.device in (None, device.name)


def joined(first: Group, second: Group) -> Group:
    """The chain of a group and one that reads its root."""
    inside = (*first.inside, *first.roots, *second.inside)
    reads = dict.fromkeys(n for n in (*first.reads, *second.reads) if n not in inside)
    return Group(second.roots, tuple(reads), inside)


def _best(kernels: Sequence[Kernel], spec: Spec) -> Cut | None:
    """With all of a row's terms at once where that fits, and with some at a time where many see but some."""
    whole = cut_for(kernels, spec)
    return online_cut_for(kernels, spec, masked=whole is not None) or whole


def _cut(group: Group, device: Device) -> Cut | None:
    """How a chain is cut, None where its kernels stay apart; remembered by structure."""
    key = (device, structure(group))
    if key not in _decided:
        if len(_decided) >= KEPT:
            _decided.pop(next(iter(_decided)), None)
        _decided[key] = _best(links(group), device.spec)
    return _decided[key]
