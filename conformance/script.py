"""A failure as a Python program of its own, for a report that can be run anywhere.

``script`` is of a graph, with its operands; ``script_of_case`` runs a case again, whose operands come from
its name and seed.
"""

from __future__ import annotations

import base64
import math
import textwrap
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.dtype import as_dtype
from ..core.graph import (
    AxesArg,
    ConstArg,
    GraphOp,
    Node,
    ReduceArg,
    ScatterArg,
    SpanArg,
    WindowArg,
    toposort,
)
from ..core.ops import Op
from ..core.tuned import SCHEDULES, drawn_by
from .case import place
from .inputs import to_bits

Array = np.ndarray[Any, np.dtype[Any]]

_HEAD = """\
import sys

from portwright.conformance.alone import show
from portwright.conformance.script import leaf
from portwright.core import graph
from portwright.core.dtype import as_dtype
from portwright.core.ops import Op

DEVICE = {device!r}

"""
_TAIL = """
sys.exit(show([{roots}], DEVICE))
"""
_AGAIN = """\
import sys

from portwright.conformance.alone import run_again

sys.exit(run_again({device!r}, {case!r}, seed={seed}))
"""
MOST_ACROSS = 96
"""Letters of a line of operands."""
MOST_LITERAL = 64
"""Elements that are written as numbers."""


def script(roots: Sequence[Node], device: str, read: Callable[[Node], Array]) -> str:
    """Python text that computes values on ``device`` and holds them against what the graph means.

    Its exit status is 1 while they differ, and 0 when they do not.

    Args:
        roots: the values, realized together.
        device: where to run.
        read: the array of a node that has storage: those are written into the text.
    """
    names: dict[Node, str] = {}
    lines = []
    for node in toposort(roots, stop=lambda n: n.storage is not None):
        names[node] = f"n{len(names)}"
        made = _leaf(node, read(node)) if node.storage is not None else _made(node, names)
        lines.append(f"{names[node]} = {made}")
    last = _TAIL.format(roots=", ".join(names[root] for root in roots))
    return _environment() + _HEAD.format(device=device) + "\n".join(lines) + last


def script_of_case(device: str, case: str, seed: int) -> str:
    """Python text that runs a case; its exit status is 1 while it fails, and 0 when it does not."""
    return _environment() + _AGAIN.format(device=device, case=case, seed=seed)


def _environment() -> str:
    """The lines that have schedules drawn as they are here; none where they are not drawn."""
    seed = drawn_by()
    return "" if seed is None else f'import os\n\nos.environ["{SCHEDULES}"] = "{seed}"\n\n'


def leaf(device: str, dtype: str, shape: tuple[int, ...], held: str | Sequence[float]) -> Node:
    """An array in the memory of a device: its elements in order, or their bytes in base 64, compressed."""
    kind = as_dtype(dtype).numpy
    if isinstance(held, str):
        return place(np.frombuffer(zlib.decompress(base64.b64decode(held)), kind).reshape(shape), device)
    return place(_array(held, kind).reshape(shape), device)


def _array(held: Sequence[float], kind: np.dtype[Any]) -> Array:
    exact = np.array(held, object if kind.kind in "iu" else np.float64)
    with np.errstate(all="ignore"):
        return exact.astype(kind)


def _leaf(node: Node, value: Array) -> str:
    """Numbers where they are few and give the same bits again."""
    value = np.ascontiguousarray(value).reshape(-1)
    if value.size <= MOST_LITERAL:
        numbers = [x.item() if value.dtype.kind in "biuf" else float(x) for x in value]
        numbers = [math.nan if x != x else x for x in numbers]  # without what else a NaN may hold
        if np.array_equal(to_bits(_array(numbers, value.dtype)), to_bits(value)):
            text = ", ".join(map(_number, numbers))
            if len(text) > MOST_ACROSS:
                lines = textwrap.wrap(text, MOST_ACROSS, break_long_words=False, break_on_hyphens=False)
                text = "\n    " + "\n    ".join(lines) + "\n"
            return f'leaf(DEVICE, "{node.dtype}", {node.shape}, [{text}])'
    packed = base64.b64encode(zlib.compress(value.tobytes(), 9)).decode()
    pieces = "\n".join(f'    "{line}"' for line in textwrap.wrap(packed, MOST_ACROSS))
    return f'leaf(DEVICE, "{node.dtype}", {node.shape},\n{pieces},\n)'


def _number(x: float) -> str:
    return f'float("{x}")' if isinstance(x, float) and not math.isfinite(x) else repr(x)


def _made(node: Node, names: dict[Node, str]) -> str:
    xs = ", ".join(names[s] for s in node.srcs)
    arg = node.arg
    if isinstance(arg, ConstArg):
        value = f'float("{arg.value}")' if isinstance(arg.value, float) else repr(arg.value)
        return f'graph.const({value}, as_dtype("{node.dtype}"))'
    if node.op in (Op.CAST, Op.BITCAST):
        assert isinstance(node.op, Op)
        return f'graph.{node.op.name.lower()}({xs}, as_dtype("{node.dtype}"))'
    if isinstance(node.op, Op):
        return f"graph.elementwise(Op.{node.op.name}, {xs})"
    if isinstance(arg, ReduceArg):
        return f"graph.reduce(Op.{arg.op.name}, {xs}, {arg.axes})"
    if isinstance(arg, AxesArg):
        return f"graph.{node.op.value.lower()}({xs}, {arg.axes})"
    if isinstance(arg, SpanArg):
        return f"graph.{node.op.value.lower()}({xs}, {arg.spans})"
    if isinstance(arg, WindowArg):
        return f"graph.window({xs}, {arg.axis}, {arg.size}, {arg.stride}, {arg.dilation})"
    if node.op in (GraphOp.RESHAPE, GraphOp.EXPAND):
        return f"graph.{node.op.value.lower()}({xs}, {node.shape})"
    if isinstance(arg, ScatterArg):
        return f"graph.scatter({xs}, {f'Op.{arg.op.name}' if arg.op is not None else None})"
    if node.op is GraphOp.COPY:
        return f"graph.copy({xs}, {node.device!r})"
    if node.op is GraphOp.IOTA:
        return f'graph.iota({node.shape[0]}, as_dtype("{node.dtype}"))'
    return f"graph.{node.op.value.lower()}({xs})"
