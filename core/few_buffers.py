"""A kernel that would read more buffers than a device takes is cut: part of it goes by way of memory.

In: the root of a kernel, what it evaluates, what is in memory. Out: the node to put into memory, which is
computed from as many of the buffers as one kernel can read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .device import Spec
from .errors import DeviceError
from .graph import Node, toposort


def crowded_part(
    root: Node, inside: Iterable[Node], is_read: Callable[[Node], bool], spec: Spec
) -> Node | None:
    """The part of the kernel of ``root`` that reads most buffers and still fits; None when all of it does.

    Args:
        root: what the kernel computes.
        inside: the nodes that it evaluates or reads.
        is_read: whether a node is in memory.
        spec: of the device: the buffers that a kernel may take, the one that it writes among them.

    Raises:
        DeviceError: when no part that reads two buffers or more fits.
    """
    known, most = set(inside), spec.max_buffers
    needs: dict[Node, frozenset[Node]] = {}
    for n in toposort([root], lambda n: n is not root and is_read(n)):
        if n is not root and is_read(n):
            needs[n] = frozenset((n,)) if n in known else frozenset()
        else:
            needs[n] = frozenset().union(*(needs[s] for s in n.srcs))
    if len(needs[root]) < most:
        return None
    parts = [n for n in needs if n in known and n is not root and 1 < len(needs[n]) < most]
    if not parts:
        raise DeviceError(
            f"a kernel would read {len(needs[root])} buffers, and {spec.name} takes {most} with the one that "
            "is written: an operation of two operands needs 3, WHERE needs 4"
        )
    return max(parts, key=lambda n: len(needs[n]))
