"""einops patterns: what reshape, permute and reshape a ``rearrange`` is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ..errors import ArgumentError, ShapeError
from ..graph import Shape
from ..record import dataclass

_TOKEN = re.compile(r"\.\.\.|[A-Za-z_]\w*|\d+|[()]")


@dataclass(frozen=True)
class Plan:
    """A rearrangement: reshape to ``split``, permute by ``order``, reshape to ``joined``."""

    split: Shape
    order: tuple[int, ...]
    joined: Shape


def _side(text: str, pattern: str) -> list[list[str]]:
    """The axes of one side, each as the names that it joins."""
    if _TOKEN.sub("", text).strip():
        raise ArgumentError(f"rearrange {pattern!r}: {_TOKEN.sub('', text).strip()!r} is no axis name")
    axes: list[list[str]] = []
    inside: list[str] | None = None
    for token in _TOKEN.findall(text):
        if token == "(" and inside is None:
            inside = []
        elif token == ")" and inside is not None:
            axes.append(inside)
            inside = None
        elif token in "()":
            raise ArgumentError(f"rearrange {pattern!r}: its parentheses don't match")
        elif inside is not None:
            inside.append(token)
        else:
            axes.append([token] if token != "1" else [])
    if inside is not None:
        raise ArgumentError(f"rearrange {pattern!r}: its parentheses don't match")
    return axes


def _ellipsis(axes: list[list[str]], names: list[str]) -> list[list[str]]:
    out: list[list[str]] = []
    for group in axes:
        if group == ["..."]:
            out.extend([n] for n in names)
        else:
            out.append([n for g in group for n in (names if g == "..." else [g])])
    return out


def plan(pattern: str, shape: Shape, sizes: Mapping[str, int]) -> Plan:
    """The plan of ``pattern`` for a tensor of ``shape``, with the sizes of axes that it can't infer.

    Raises:
        ArgumentError: for a pattern that can't be read, or names that don't occur on both sides.
        ShapeError: when the shape doesn't fit.
    """
    if pattern.count("->") != 1:
        raise ArgumentError(f"rearrange {pattern!r}: it must read 'axes -> axes'")
    left, right = (_side(t, pattern) for t in pattern.split("->"))
    extra = len(shape) - sum(g != ["..."] for g in left)
    names = [f"...{i}" for i in range(extra)] if ["..."] in left else []
    left, right = _ellipsis(left, names), _ellipsis(right, names)
    flat_left, flat_right = [n for g in left for n in g], [n for g in right for n in g]
    if sorted(flat_left) != sorted(flat_right) or len(set(flat_left)) != len(flat_left):
        raise ArgumentError(f"rearrange {pattern!r}: each name must occur once on both sides")
    if len(left) != len(shape):
        raise ShapeError(f"rearrange {pattern!r} of shape {shape}: it names {len(left)} axes")
    unknown = set(sizes) - set(flat_left)
    if unknown:
        raise ArgumentError(f"rearrange {pattern!r}: no axis is called {', '.join(sorted(unknown))}")
    size = dict(sizes)
    for group, n in zip(left, shape, strict=True):
        open_ = [g for g in group if g not in size]
        known = math.prod(size[g] for g in group if g in size)
        if len(open_) == 1 and known and n % known == 0:
            size[open_[0]] = n // known
        elif open_ or known != n:
            raise ShapeError(
                f"rearrange {pattern!r} of shape {shape}: ({' '.join(group)}) doesn't come to {n}"
                + (f"; give the size of {open_[0]}" if len(open_) > 1 else "")
            )
    return Plan(
        tuple(size[n] for n in flat_left),
        tuple(flat_left.index(n) for n in flat_right),
        tuple(math.prod(size[n] for n in g) for g in right),
    )
