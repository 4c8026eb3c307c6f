"""A graph as a Python program of its own, for a report that can be run anywhere."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.graph import (
    AxesArg,
    ConstArg,
    GraphOp,
    Node,
    ReduceArg,
    SpanArg,
    WindowArg,
    toposort,
)
from ..core.ops import Op

Array = np.ndarray[Any, np.dtype[Any]]

_HEAD = """\
import base64

import numpy as np

from portwright.conformance.case import place
from portwright.core import engine, graph
from portwright.core.dtype import as_dtype
from portwright.core.evaluate import evaluate
from portwright.core.ops import Op


def leaf(text, dtype, *shape):
    return place(np.frombuffer(base64.b64decode(text), as_dtype(dtype).numpy).reshape(shape), "{device}")


"""

_TAIL = """
(wanted,) = evaluate([{root}], engine.read)
engine.realize([{root}], "{device}")
print("got", engine.read({root}), "wanted", wanted, sep="\\n")
"""


def script(root: Node, device: str, read: Callable[[Node], Array]) -> str:
    """Python text that computes ``root`` on ``device`` and prints it beside what the graph means.

    Args:
        root: the value.
        device: where to run.
        read: the array of a node that has storage: those are written into the text.
    """
    names: dict[Node, str] = {}
    lines = []
    for node in toposort([root], stop=lambda n: n.storage is not None):
        names[node] = f"n{len(names)}"
        made = _leaf(node, read(node)) if node.storage is not None else _made(node, names)
        lines.append(f"{names[node]} = {made}")
    return _HEAD.format(device=device) + "\n".join(lines) + _TAIL.format(root=names[root], device=device)


def _leaf(node: Node, value: Array) -> str:
    text = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    pieces = "\n".join(f'    "{line}"' for line in textwrap.wrap(text, 96)) or '    ""'
    sizes = "".join(f", {n}" for n in node.shape)
    return f'leaf(\n{pieces},\n    "{node.dtype}"{sizes}\n)'


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
    if node.op is GraphOp.IOTA:
        return f'graph.iota({node.shape[0]}, as_dtype("{node.dtype}"))'
    return f"graph.{node.op.value.lower()}({xs})"
