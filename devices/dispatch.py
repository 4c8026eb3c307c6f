"""Dispatch: the base of ports to chips that have no kernel compiler, but a library of ready-made functions.

A port gives a table, {primitive: call}, over the device's memory; ``dispatch_walk`` walks the graph with it.
What the table lacks, or has on other dtypes only, the host computes by the contract's own meaning, and it is
counted. With an empty table everything runs on the host: a port is right from its first minute, and each row
moves work to the chip.

A port may leave memory to this class, which holds it on the host, until it overrides ``alloc``, ``free``,
``copy_in`` and ``copy_out`` with the chip's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from ..core.device import Ability, Buffer, Calls, Reach, Spec
from ..core.dtype import ALL, DType
from ..core.graph import Node
from ..core.ops import PRIMITIVES, Group, Op, is_supported
from ..core.record import dataclass
from .numpy_memory import HostMemory
from .strided import Strided

__all__ = ["Dispatch", "Native", "Strided"]


@dataclass(frozen=True)
class Native:
    """One row of a port's table: how the chip computes a primitive.

    The call is ``call(out, *operands)`` over ``Strided`` views, returns None, and raises when the chip fails.
    What holds of them:

    - ``out`` begins at the start of a buffer, its elements in a row (STORE's alone is strided), and shares
      none with an operand. All of it is to be written, and no byte beside it.
    - The operands have the shape of ``out``: what is broadcast has strides of 0, what is flipped strides
      below 0, and ``offset`` says where each begins. They must not be written.
    - Axes that everything walks as one are merged: over whole tensors there is one axis, of stride 1. There
      is always an axis, and each has an element at least.
    - The dtypes are those that the contract gives the primitive. A bool is a byte, 0 or 1.

    Three calls are special: CONST is ``call(out, value)``, which fills ``out`` with a Python number; LOAD is
    ``call(out, a)``, which copies strided elements into a row; STORE is ``call(out, a)``, which copies a row
    into strided elements of ``out``, and leaves those between them as they are.

    Attributes:
        call: what computes it.
        dtypes: those that it takes and gives, less the bool of a comparison and of WHERE's condition; empty:
            all that the port claims. On others the host computes.
        contiguous: whether the call wants operands whose elements lie in a row too: then what is broadcast or
            moved is copied first, by LOAD, and there is always one axis of stride 1.
    """

    call: Callable[..., None]
    dtypes: frozenset[DType] = frozenset()
    contiguous: bool = False

    def takes(self, op: Op, out: DType, operands: Sequence[DType]) -> bool:
        """Whether the call computes ``op`` of these dtypes."""
        if op in (Op.CMPLT, Op.CMPNE):
            judged = set(operands)
        elif op is Op.WHERE:
            judged = set(operands[1:])
        else:
            judged = {out, *operands}
        return not self.dtypes or judged <= self.dtypes


class Dispatch(HostMemory):
    """A chip that is reached through its vendor's library.

    Args:
        spec: the port's claims; how it is driven, and what is native, are filled in from ``table``.

    Attributes:
        table: what the chip computes by itself.
        calls: how often it did, and how often the host did instead, by primitive. GATHER and the copies of
            elements that strides cannot reach count as LOAD, SCATTER and PAD as STORE, IOTA as CONST, a
            reduction by its primitive: once for each step on the chip, once as a whole on the host.
    """

    table: ClassVar[Mapping[Op, Native]] = {}

    def __init__(self, spec: Spec) -> None:
        rows = {op: row for op, row in self.table.items() if isinstance(op, Op) and isinstance(row, Native)}
        held = {op: row.dtypes or _meant(op, spec) for op, row in rows.items()}
        computed = [d for op, d in held.items() if PRIMITIVES[op].group is not Group.MEMORY]
        self.spec = replace(
            spec,
            reach=Reach.DISPATCH,
            native=frozenset(rows),
            native_on={op: dtypes for op, dtypes in held.items() if not dtypes >= _meant(op, spec)},
            arithmetic=frozenset[DType]().union(*computed) & spec.dtypes,
            abilities=spec.abilities | {Ability.CALLS},
        )
        self.calls = Calls()

    @classmethod
    def faults(cls, spec: Spec) -> Sequence[str]:
        """Rows of the table that name no primitive, call nothing, or take what the port does not claim."""
        out: list[str] = []
        for op, row in cls.table.items():
            if not isinstance(op, Op):
                out.append(f"its table names {op!r}, which is no primitive")
            elif not isinstance(row, Native):
                out.append(f"its table has {row!r} for {op.name}, not Native(call)")
            else:
                if not callable(row.call):
                    out.append(f"its table has {row.call!r} for {op.name}, which cannot be called")
                unclaimed = row.dtypes - spec.dtypes
                meaningless = {d for d in row.dtypes if not is_supported(op, d)}
                if unclaimed:
                    out.append(f"its {op.name} takes {_names(unclaimed)}, which it does not claim")
                if meaningless:
                    out.append(f"its {op.name} takes {_names(meaningless)}, which it has no meaning on")
        return out

    def compute(
        self, roots: Sequence[Node], inputs: Mapping[Node, Buffer], outputs: Sequence[Buffer]
    ) -> None:
        """The nodes' values, one primitive after another: by the table, or on the host.

        Raises:
            DeviceError: when a call fails: the primitive, shapes and dtypes, and what the call raised.
        """
        from .dispatch_walk import Walk

        Walk(self, inputs).run(roots, outputs)

    def row(self, op: Op, out: DType, operands: Sequence[DType]) -> Native | None:
        """The call for a primitive of these dtypes; None: it runs on the host."""
        found = self.table.get(op)
        return found if found is not None and found.takes(op, out, operands) else None


def _meant(op: Op, spec: Spec) -> frozenset[DType]:
    """The dtypes of a port that a primitive has a meaning on."""
    return frozenset(d for d in spec.dtypes if is_supported(op, d))


def _names(dtypes: Collection[DType]) -> str:
    return ", ".join(d.name for d in ALL if d in dtypes)
