"""Nests: loops with nothing between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..loops import Body, Loop, Scratch, Store, statements


def perfect(loop: Loop) -> list[Loop]:
    """The loops from ``loop`` inwards that have nothing between them."""
    out = [loop]
    while len(out[-1].body) == 1 and isinstance(out[-1].body[0], Loop):
        out.append(out[-1].body[0])
    return out


def wrap(nest: Sequence[Loop], inner: Body) -> Loop:
    """The loops of ``nest`` around ``inner``; there is at least one."""
    body = inner
    for loop in reversed(nest):
        body = (replace(loop, body=body),)
    out = body[0]
    assert isinstance(out, Loop)
    return out


def keeps_order(loop: Loop) -> bool:
    """Whether iterations store to one place: an accumulator in memory, as legalization makes them."""
    own = {s.memory.name for s in statements(loop.body) if isinstance(s, Scratch)}
    stores = [s for s in statements(loop.body) if isinstance(s, Store) and s.memory not in own]
    return any(loop.var not in s.index.names() for s in stores)
