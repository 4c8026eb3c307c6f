"""Values by themselves: computed on a device and held against what their graph means.

What a case wanted of a value is known to the case alone. ``check`` asks what the contract says of any value:
movement to the bit, a primitive by its row, a program by intervals, and nothing else written. So a failure is
shown by a script of its own where a value is wrong by that rule too, and else by running the case again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..core import engine
from ..core.dtype import as_dtype
from ..core.errors import CompileError, KernelError, NotRunError, PortwrightError
from ..core.evaluate import evaluate
from ..core.graph import MOVEMENT, GraphOp, Node, bitcast, cast, elementwise, toposort
from ..core.ops import Op
from ..core.registry import open_device
from .case import Array, Case, place
from .enclosure import Enclosure
from .judge import Mismatch, judge, require_bits, require_unchanged
from .script import script
from .watch import Watch

MOST_BYTES = 1 << 15
"""Of operands that a script holds."""
WINDOWS = (1, 8, 64, 512)
"""Elements that are kept of operands, ending with the first bad one."""


def check(nodes: Sequence[Node], device: str, watch: Watch | None) -> None:
    """Nothing when values that are realized together are right, and nothing else was written.

    Args:
        nodes: the values.
        device: where.
        watch: of the device's buffers; None where something else watches them.

    Raises:
        Mismatch: when one is not what its graph means, an operand changed, or a buffer's end was passed.
        PortwrightError: what the device raises.
    """
    rules = [_rule(node, device) for node in nodes]
    leaves = [n for n in toposort(nodes, stop=_is_leaf) if _is_leaf(n)]
    before = [engine.read(n).copy() for n in leaves]
    engine.realize(list(nodes), device)
    arrays = [engine.read(node) for node in nodes]
    for rule, got in zip(rules, arrays, strict=True):
        rule(got)
    for leaf, was in zip(leaves, before, strict=True):
        require_unchanged(engine.read(leaf), was)
    for said in watch.look() if watch is not None else ():
        raise Mismatch(said)


def show(nodes: Sequence[Node], device: str) -> int:
    """Prints what the values are, and what they must be: 1 when they differ, 0 when they do not.

    This is what a script ends in, and its exit status.
    """
    wanted = evaluate(nodes, engine.read)
    said, status = "right: nothing differs by more than the contract allows", 0
    opened = open_device(device)
    try:
        with Watch(opened).installed() as watch:
            watch.active = opened.spec.checker is None
            check(nodes, device, watch)
    except (Mismatch, PortwrightError) as error:
        said, status = str(error), 1
        if isinstance(error, CompileError) and error.log.strip() not in said:
            said = f"{said}\n{error.log}"
    for node, right in zip(nodes, wanted, strict=True):
        if node.storage is not None:
            print("got", engine.read(node), sep="\n")
        print("wanted", right.reshape(node.shape), sep="\n")
    print(said)
    return status


def run_again(device: str, case: str, seed: int) -> int:
    """Runs a case and prints what is wrong: 1 when something is, 0 when nothing is."""
    from .ladder import rung_of
    from .runner import run
    from .selection import Selection
    from .tiers import SuiteTier

    selection = Selection((rung_of(case),), tier=SuiteTier.FULL, seed=seed, only=frozenset({case}))
    outcome = run(device, selection)
    for result in outcome.results:
        print(f"{result.outcome.upper()} {result.id}\n{result.message}".rstrip())
    return 1 if outcome.failures else 0


def shown(case: Case) -> str:
    """A script that shows the failure of a case; "" where nothing short does.

    What the case realized last is tried alone, cut down where that is possible. The case then shows the
    first that is wrong by itself, or all together.
    """
    ran = [n for n in case.ran if n.op is not GraphOp.BUFFER]
    until = time.monotonic() + case.patience
    for nodes in (*([node] for node in ran), *([ran] if len(ran) > 1 else [])):
        if time.monotonic() >= until:
            break
        _forget(nodes)
        if _operand_bytes(nodes) > MOST_BYTES and len(nodes) > 1:
            continue
        error = fault(nodes, case)
        if error is None:
            continue
        for smaller in (*_cut(nodes, error, case.name), nodes):
            if smaller is nodes or fault(smaller, case) is not None:
                _forget(smaller)
                case.shows(smaller)
                fits = _operand_bytes(smaller) <= MOST_BYTES
                return script(smaller, case.name, engine.read) if fits else ""
    _forget(ran)
    return ""


def fault(nodes: Sequence[Node], case: Case) -> Exception | None:
    """What is wrong with values that are realized together; None when nothing is, or nothing was run."""
    if case.watch is not None:
        case.watch.look()  # what others wrote is not the fault of these
    try:
        check(nodes, case.name, case.watch)
    except NotRunError:
        return None
    except (Mismatch, PortwrightError) as error:
        return error
    return None


def _rule(node: Node, device: str) -> Callable[[Array], object]:
    """What raises when an array is not that of a value; to be made before the value is realized."""
    spec = open_device(device).spec
    inner = [n for n in toposort([node], stop=_is_leaf) if not _is_leaf(n)]
    root = next((n for n in reversed(inner) if n.op is not GraphOp.CONTIGUOUS), node)
    rest = [n for n in inner if n is not root]
    if all(_moves(n) for n in inner):
        (right,) = evaluate([node], engine.read)
        wanted = np.ascontiguousarray(right).reshape(node.shape)
        return lambda got: require_bits("movement", got, wanted)
    if isinstance(root.op, Op) and root.op is not Op.CONST and all(_moves(n) for n in rest):
        op, operands = root.op, [np.ascontiguousarray(x) for x in evaluate(root.srcs, engine.read)]
        dtype = node.dtype if op in (Op.CAST, Op.BITCAST) else as_dtype(operands[-1].dtype)
        operands = [np.broadcast_to(x, node.shape) for x in operands]
        return lambda got: judge(op, dtype, got, operands, spec)
    enclosure = Enclosure(engine.read, spec)
    try:
        enclosure.of(node)
    except KernelError:  # no interval is known of it: nothing is said
        return lambda got: None
    return lambda got: enclosure.hold(node, got)


def _moves(node: Node) -> bool:
    return node.op in MOVEMENT or node.op in (GraphOp.CONTIGUOUS, GraphOp.GATHER)


def _is_leaf(node: Node) -> bool:
    return node.storage is not None


def _cut(nodes: Sequence[Node], error: Exception, device: str) -> Iterator[list[Node]]:
    """A primitive of operands of its own shape, on fewer and fewer of their elements; the fewest first."""
    (root, *more) = nodes
    at = error.at if isinstance(error, Mismatch) else None
    if more or at is None or not isinstance(root.op, Op) or not all(map(_is_leaf, root.srcs)):
        return
    operands = [engine.read(n).reshape(-1) for n in root.srcs]
    last = int(np.ravel_multi_index(at, root.shape)) + 1 if at else 1
    for size in WINDOWS:
        if size < root.size:
            few = [place(x[max(0, last - size) : last], device) for x in operands]
            converts = {Op.CAST: cast, Op.BITCAST: bitcast}.get(root.op)
            yield [converts(few[0], root.dtype) if converts else elementwise(root.op, *few)]


def _forget(nodes: Sequence[Node]) -> None:
    for node in toposort(nodes):
        if node.op is not GraphOp.BUFFER:
            node.storage = None


def _operand_bytes(nodes: Sequence[Node]) -> int:
    leaves = toposort(nodes, stop=_is_leaf)
    return sum(n.storage.nbytes for n in leaves if n.storage is not None)
