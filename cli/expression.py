"""An expression over tensors, as it is typed after ``portwright kernel``: parsed, checked, made into a graph.

What it may hold is listed here: calls of Tensor's functions, by name or as methods, operators, subscripts,
numbers and tuples. Nothing else of Python can be reached from it, and nothing is computed.
"""

from __future__ import annotations

import ast
import inspect
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..core import dtype as dtypes
from ..core import engine, graph
from ..core.device import Buffer, Device
from ..core.dtype import DType
from ..core.errors import ArgumentError, PortwrightError
from ..core.graph import Node
from ..core.tensor import Tensor

CONSTANTS: Mapping[str, object] = {
    "inf": math.inf, "nan": math.nan, "pi": math.pi, **{d.name: d for d in dtypes.ALL},
}  # fmt: skip
PROPERTIES = frozenset({"T", "mT", "shape", "ndim", "dtype"})
_RUNNING = frozenset(
    {"assign", "backward", "cpu", "from_numpy", "item", "kernels", "manual_seed", "numpy", "realize",
     "requires_grad_", "to", "tolist", "train"}
)  # fmt: skip
"""What looks at values, or changes something: not part of an expression."""
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.MatMult: operator.matmul, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
}  # fmt: skip
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """An expression.

    Attributes:
        text: as it was typed.
        tree: of Python's.
        inputs: the names that stand for tensors, in the order in which they are met.
    """

    text: str
    tree: ast.expr
    inputs: tuple[str, ...]


def functions() -> dict[str, Callable[..., Any]]:
    """What may be called, by name: every function of Tensor that only says what to compute."""
    names = (n for n in dir(Tensor) if n[0] != "_" and n not in _RUNNING | PROPERTIES)
    return {n: f for n in names if callable(f := getattr(Tensor, n))}


def parse(text: str) -> Parsed:
    """An expression's tree and inputs.

    Raises:
        ArgumentError: when it is no expression over tensors: what is wrong, and where.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as e:
        raise ArgumentError(f"{e.msg}, at {_pointer(text.strip(), (e.offset or 1) - 1)}") from e
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called]
    names.sort(key=lambda n: n.col_offset)
    inputs = dict.fromkeys(n.id for n in names if n.id not in CONSTANTS)
    return Parsed(text.strip(), tree, tuple(inputs))


def _pointer(text: str, column: int) -> str:
    """The expression with a mark where something is wrong."""
    return f"column {column + 1}:\n  {text}\n  {' ' * column}^"


@contextmanager
def _unseen() -> Iterator[None]:
    """Inside, the engine refuses to run anything: there are no values yet."""
    before, engine.recorder = engine.recorder, _Refuses()
    try:
        yield
    finally:
        engine.recorder = before


class _Refuses:
    """Stands where ``jit`` listens, and lets nothing run."""

    def mine(self) -> bool:
        """True: whatever this thread would run."""
        return True

    def running(self, todo: object, leaves: object) -> None:
        """Refuses."""
        raise ArgumentError("it looks at values while it is made: here nothing runs, so there are none")

    def stepped(self, step: object, buffers: object) -> None:
        """Refuses."""
        raise ArgumentError("it runs a kernel while it is made: here nothing runs")

    def reading(self, node: object) -> None:
        """Refuses."""
        raise ArgumentError("it looks at values while it is made: here nothing runs, so there are none")


def leaf(device: Device, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """A tensor that stands for memory of this shape: there is none behind it, and nothing may read it."""
    nbytes = math.prod(shape) * dtype.itemsize
    nothing = object()
    node = graph.buffer(Buffer(device, nbytes, nothing, keep=nothing), shape, dtype)
    return Tensor._of(node, device.name)


def evaluate(parsed: Parsed, inputs: Mapping[str, Tensor], device: Device) -> list[Tensor]:
    """The tensors that an expression means.

    Raises:
        ArgumentError: what is not known or not understood, with its place; what gives no tensor.
        PortwrightError: as Tensor's own functions raise them, with the place of the call.
    """
    with _unseen():
        value = _Evaluator(parsed, inputs, device).value(parsed.tree)
    found = list(value) if isinstance(value, tuple | list) else [value]
    if not found or not all(isinstance(t, Tensor) for t in found):
        raise ArgumentError(f"{parsed.text!r} is {value!r}, which is no tensor: there is nothing to compute")
    return found


@dataclass(frozen=True)
class _Evaluator:
    parsed: Parsed
    inputs: Mapping[str, Tensor]
    device: Device

    def value(self, node: ast.expr) -> Any:
        """What a part of the expression means."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
            return node.value
        if isinstance(node, ast.Constant) and node.value is ...:
            return ...
        if isinstance(node, ast.Name):
            return CONSTANTS[node.id] if node.id in CONSTANTS else self.inputs[node.id]
        if isinstance(node, ast.Tuple | ast.List):
            items = [self.value(n) for n in node.elts]
            return tuple(items) if isinstance(node, ast.Tuple) else items
        if isinstance(node, ast.BinOp):
            return self._apply(node, _BINARY[type(node.op)], self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            return self._apply(node, _UNARY[type(node.op)], self.value(node.operand))
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            right = self.value(node.comparators[0])
            return self._apply(node, _COMPARE[type(node.ops[0])], self.value(node.left), right)
        if isinstance(node, ast.Subscript):
            return self._apply(node, operator.getitem, self.value(node.value), self.value(node.slice))
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if e is None else self.value(e) for e in ends))
        if isinstance(node, ast.Attribute):
            if node.attr in PROPERTIES and isinstance(of := self.value(node.value), Tensor):
                return getattr(of, node.attr)
            raise self._error(node, f"no property {node.attr!r}. There are {', '.join(sorted(PROPERTIES))}")
        if isinstance(node, ast.Call):
            return self._call(node)
        what = {"IfExp": "a choice: write where(c, a, b)", "BoolOp": "and/or: write & and | on tensors",
                "Compare": "a chain of comparisons: write (a < b) & (b < c)"}  # fmt: skip
        told = what.get(type(node).__name__, f"{type(node).__name__}: an expression over tensors has none")
        raise self._error(node, told)

    def _call(self, node: ast.Call) -> Any:
        known = functions()
        if isinstance(node.func, ast.Name):
            name, given = node.func.id, []
        elif isinstance(node.func, ast.Attribute):
            name, given = node.func.attr, [self.value(node.func.value)]
        else:
            raise self._error(node.func, "a call of something that is no name")
        if name not in known:
            close = get_close_matches(name, known, n=3)
            if name in _RUNNING:
                hint = f"{name} looks at values or changes something: here nothing runs"
            else:
                hint = f"no function {name!r}"
                hint += f". Did you mean {' or '.join(close)}?" if close else ": there are those of Tensor"
            raise self._error(node.func, hint)
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise self._error(node, "* in a call: write the arguments")
        given += [self.value(a) for a in node.args]
        named = {str(k.arg): self.value(k.value) for k in node.keywords}
        if isinstance(inspect.getattr_static(Tensor, name), classmethod):
            named.setdefault("device", self.device.name)
        else:
            given = self._tensor_first(node, name, given)
        return self._apply(node, known[name], *given, **named)

    def _tensor_first(self, node: ast.Call, name: str, given: list[Any]) -> list[Any]:
        """The arguments of a method: a tensor first; of several in a list, one after another."""
        first = given[0] if given else None
        if isinstance(first, list | tuple) and first and all(isinstance(t, Tensor) for t in first):
            return [*first, *given[1:]]
        if isinstance(first, int | float):
            return [Tensor(first, device=self.device.name), *given[1:]]
        if isinstance(first, str) and len(given) > 1:  # einsum("ij,jk->ik", a, b)
            return [given[1], first, *given[2:]]
        if not isinstance(first, Tensor):
            raise self._error(node, f"{name} takes a tensor first")
        return given

    def _apply(self, node: ast.expr, f: Callable[..., Any], *given: Any, **named: Any) -> Any:
        try:
            return f(*given, **named)
        except PortwrightError as e:
            raise type(e)(f"{e}, at {self._place(node)}") from e
        except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as e:
            raise self._error(node, f"{type(e).__name__}: {e}") from e

    def _place(self, node: ast.expr) -> str:
        before = self.parsed.text.encode()[: node.col_offset].decode()  # Python counts in bytes
        return _pointer(self.parsed.text, len(before))

    def _error(self, node: ast.expr, what: str) -> ArgumentError:
        return ArgumentError(f"{what}, at {self._place(node)}")


def nodes_of(tensors: list[Tensor]) -> list[Node]:
    """What is to be computed for them."""
    return [t._value() for t in tensors]
