"""What a device offers besides primitives, held to what it says that it computes.

Nothing here knows a matmul from an attention: operands are drawn from the examples that a compound gives, and
the wanted result is its decomposition's, evaluated by NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import engine, graph
from ..core.compare import Outline
from ..core.compound import Compound, call_node, decompose, template
from ..core.compound import accepted as takes
from ..core.dtype import DType, float64
from ..core.evaluate import evaluate
from ..core.graph import GraphOp, Node, Shape, toposort
from .case import Case
from .enclosure import Enclosure
from .exact import spacing
from .inputs import Rng
from .judge import Mismatch, require, require_form

Array = np.ndarray[Any, np.dtype[Any]]

DRAWN = 6
"""Shapes beside the examples."""
TRIES = 200
SLACK = 4.0
"""How many times the error of the primitives one after another a compound's may be, by the square root of
the longest fold: it may add in any order."""


@dataclass(frozen=True)
class Trial:
    """A compound on operands of some shapes."""

    compound: Compound
    dtype: DType
    shapes: tuple[Shape, ...]

    def __str__(self) -> str:
        return f"{self.compound.name} of {self.dtype} {' '.join(str(list(s)) for s in self.shapes)}"


def trials(case: Case, accepted: bool = True) -> Iterator[Trial]:
    """Every compound on every dtype: its examples and seeded shapes of their kind, or such as it declines."""
    for compound in case.spec.compounds:
        for dtype in sorted(compound.dtypes, key=lambda d: d.name):
            shapes = dict.fromkeys(compound.examples if accepted else ())
            for _ in range(TRIES):
                if len(shapes) >= DRAWN + accepted * len(compound.examples):
                    break
                example = compound.examples[int(case.rng.integers(len(compound.examples)))]
                new = _varied(example, case.rng)
                means = template(compound, new, dtype, case.name) is not None
                if means and takes(compound, dtype, new, case.name) is accepted:
                    shapes[new] = None
            yield from (Trial(compound, dtype, s) for s in shapes)


def _varied(example: tuple[Shape, ...], rng: Rng) -> tuple[Shape, ...]:
    """Other lengths of the axes; those that are as long as each other in the example are so again."""
    lengths = sorted({n for shape in example for n in shape})
    if rng.random() < 0.5:
        new = {n: int(rng.integers(1, 2 * n + 2)) for n in lengths}
    else:  # what a kernel of tiles may ask for
        new = {n: max(1, int(n * rng.choice([0.5, 1, 2, 3]))) for n in lengths}
    return tuple(tuple(new[n] for n in shape) for shape in example)


def called(case: Case, trial: Trial, operands: Sequence[Node]) -> Node:
    """What the compound itself makes of the operands, whatever else would compute it."""
    made = template(trial.compound, trial.shapes, trial.dtype, case.name)
    assert made is not None
    node = call_node(made, operands, made.call.shape)
    node.device = node.device or case.name
    return node


def meant(case: Case, trial: Trial, operands: Sequence[Node]) -> Node:
    """What its decomposition makes of them."""
    return decompose(trial.compound, operands, case.name)


def whole(case: Case, trial: Trial, root: Node) -> bool:
    """Whether no axis of length one made something simpler of the decomposition, such as a sum of one."""
    usual = template(trial.compound, trial.compound.examples[0], trial.dtype, case.name)
    return usual is not None and Outline(usual).fits(usual.root, root)


def values(root: Node) -> Array:
    """What a graph means, by NumPy in the dtypes that it names."""
    with np.errstate(all="ignore"):
        (out,) = evaluate([root], engine.read)
    return np.ascontiguousarray(out).reshape(root.shape)


def widely(case: Case, trial: Trial, operands: Sequence[Node]) -> Array:
    """What the decomposition means in float64."""
    wide = [graph.cast(x, float64) if x.dtype.is_float else x for x in operands]
    return values(meant(case, trial, wide)).astype(np.float64)


def floats(case: Case, trial: Trial) -> list[Array]:
    """Operands of ordinary size."""
    return [
        case.rng.standard_normal(s).astype(np.float32).astype(trial.dtype.numpy)
        if trial.dtype is not float64
        else case.rng.standard_normal(s)
        for s in trial.shapes
    ]


def integers(case: Case, trial: Trial) -> list[Array]:
    """Operands of whole numbers so small that sums of products of them are exact."""
    low = -1 if trial.dtype.is_signed else 0
    return [case.rng.integers(low, 2, s).astype(trial.dtype.numpy) for s in trial.shapes]


def hold_each(title: str, case: Case, root: Node, got: Array) -> None:
    """Each element lies where the contract's bounds on the decomposition's steps let it lie.

    Raises:
        Mismatch: with the first that does not.
    """
    interval = Enclosure(engine.read, case.spec).of(root)
    wanted = np.broadcast_to(interval.low, root.shape).astype(root.dtype.numpy)
    require_form(title, got, wanted)
    require(title, interval.excludes(got), got, wanted, (), "where the decomposition's lie")


def hold_all(title: str, root: Node, got: Array, exact: Array) -> None:
    """The root mean square of the errors is of the size that the primitives' own has.

    Raises:
        Mismatch: when it is larger.
    """
    own = values(root).astype(np.float64)
    finite = np.isfinite(exact) & np.isfinite(own)
    require(title, finite & ~np.isfinite(got.astype(np.float64)), got, own, (), "finite where they should be")
    if not finite.any():
        return
    dtype = root.dtype
    unit = _size(spacing(dtype, exact[finite]))
    noise = unit if dtype is float64 else max(0.0, _size((own - exact)[finite]) - 0.3 * unit)
    allowed = unit + SLACK * np.sqrt(_longest(root)) * noise
    error = _size((got.astype(np.float64) - exact)[finite])
    if error > allowed:
        raise Mismatch(
            f"{title}: the errors' root mean square is {error:.4g}, allowed {allowed:.4g} (a unit in the "
            f"last place is {unit:.4g}): is something summed or held in too narrow a type?"
        )


def _size(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def _longest(root: Node) -> int:
    """The elements of the longest fold."""
    folds = [n for n in toposort([root], lambda n: n.storage is not None) if n.op is GraphOp.REDUCE]
    return max((n.srcs[0].size // max(1, n.size) for n in folds), default=1)
