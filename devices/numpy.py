"""NUMPY: the reference port. The contract's NumPy meanings, one primitive at a time, with no compiler.

It is the executable specification and the first port driven by dispatch: core hands it a piece of the graph,
and it computes the primitives in it one after another.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..core import dtype as dtypes
from ..core.device import Ability, Device, Evidence, Reach, Spec
from ..core.errors import OutOfMemoryError
from ..core.evaluate import NUMPY_PRIMITIVES, evaluate
from ..core.graph import Node
from ..core.ops import Tier

Array = np.ndarray[Any, np.dtype[Any]]


class NumPy(Device):
    """The host's NumPy, one primitive at a time."""

    default_rank: ClassVar[int] = 2
    primitives = NUMPY_PRIMITIVES

    def __init__(self) -> None:
        self.spec = Spec(
            "NUMPY",
            dtypes=frozenset(dtypes.ALL),
            arithmetic=frozenset(dtypes.ALL),
            reach=Reach.DISPATCH,
            evidence=Evidence.MEASURED,
            tier=Tier.FULL,
            abilities=frozenset({Ability.HOST_VIEW}),
            unified_memory=True,
            driver={"numpy": np.__version__, "python": platform.python_version()},
        )

    def alloc(self, nbytes: int) -> Array:
        """Host memory."""
        try:
            room = np.empty(nbytes + self.spec.alignment, np.uint8)
        except MemoryError as e:
            raise OutOfMemoryError(
                f"NUMPY has no room for {nbytes:,} bytes: free some tensors or use smaller ones"
            ) from e
        first = -room.ctypes.data % self.spec.alignment
        return room[first : first + nbytes]

    def free(self, handle: Array, nbytes: int) -> None:
        """NumPy frees it with the last reference."""

    def copy_in(self, handle: Array, data: memoryview) -> None:
        """Host to host."""
        handle[: data.nbytes] = np.frombuffer(data, np.uint8)

    def copy_out(self, data: memoryview, handle: Array) -> None:
        """Host to host."""
        np.frombuffer(data, np.uint8)[:] = handle[: data.nbytes]

    def host_view(self, handle: Array, nbytes: int) -> memoryview:
        """The memory itself."""
        return memoryview(handle)[:nbytes]

    def compute(self, node: Node, inputs: Mapping[Node, Array]) -> Array:
        """The node's value, one primitive at a time."""
        try:
            return evaluate([node], inputs.__getitem__, self.primitives, inputs.__contains__)[0]
        except MemoryError as e:
            raise OutOfMemoryError(
                f"NUMPY has no room for a step of {node.op.name} {node.shape}: {e}. "
                "Use smaller tensors, or a device with a kernel language"
            ) from e
