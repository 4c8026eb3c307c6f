"""A chip that is reached by dispatch, for tests: a vendor's library of calls, over NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from portwright.core import dtype as dt
from portwright.core.device import Ability, Evidence, Spec
from portwright.core.dtype import DType
from portwright.core.errors import OutOfMemoryError
from portwright.core.ops import PRIMITIVES, Op
from portwright.devices.dispatch import Dispatch, Native, Strided

Array = np.ndarray[Any, np.dtype[Any]]
Call = Callable[..., None]


def view(x: Strided) -> Array:
    """What a library sees through a pointer, a shape and strides."""
    device = x.buffer.device
    return x.array(device.blocks[x.handle] if isinstance(device, Apart) else x.handle)


def primitive(op: Op) -> Call:
    meaning = PRIMITIVES[op].reference
    assert meaning is not None

    def call(out: Strided, *operands: Strided) -> None:
        with np.errstate(all="ignore"):
            view(out)[...] = meaning(out.dtype, *map(view, operands))

    return call


def fill(out: Strided, value: float) -> None:
    view(out)[...] = value


def copy(out: Strided, a: Strided) -> None:
    view(out)[...] = view(a)


MEMORY = {Op.CONST: Native(fill), Op.LOAD: Native(copy), Op.STORE: Native(copy)}
FULL: Mapping[Op, Native] = {
    **{op: Native(primitive(op)) for op, row in PRIMITIVES.items() if row.reference is not None},
    **MEMORY,
}


def port(
    table: Mapping[Any, Any], dtypes: frozenset[DType] = frozenset(dt.ALL), **claims: Any
) -> type[Dispatch]:
    """A port with this table, called ACME."""
    rows = table

    class Acme(Dispatch):
        table = rows

        def __init__(self) -> None:
            super().__init__(
                Spec(
                    "ACME", dtypes=dtypes, evidence=Evidence.EMULATED,
                    abilities=frozenset({Ability.HOST_VIEW}), driver={"library": "NumPy's"}, **claims,
                )
            )  # fmt: skip

    return Acme


class Apart(Dispatch):
    """Memory that the host does not see, behind numbers; what is given back is no more to be used."""

    table = FULL

    def __init__(self) -> None:
        super().__init__(Spec("ACME", dtypes=frozenset(dt.ALL), driver={"library": "NumPy's"}))
        self.blocks: dict[int, Array] = {}
        self.next = 0

    def alloc(self, nbytes: int) -> int:
        self.next += 1
        try:
            self.blocks[self.next] = np.full(nbytes, 0xEE, np.uint8)
        except MemoryError as e:
            raise OutOfMemoryError(f"{self.name} has no room for {nbytes:,} bytes") from e
        return self.next

    def free(self, handle: int, nbytes: int) -> None:
        del self.blocks[handle]

    def copy_in(self, handle: int, data: memoryview) -> None:
        self.blocks[handle][: data.nbytes] = np.frombuffer(data, np.uint8)

    def copy_out(self, data: memoryview, handle: int) -> None:
        np.frombuffer(data, np.uint8)[:] = self.blocks[handle][: data.nbytes]
