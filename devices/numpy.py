"""NUMPY: the reference port. The contract's NumPy meanings, one primitive at a time, with no compiler.

It is the executable specification, driven by dispatch: core hands it a piece of the graph and the memory that
it reads and fills, and it computes the primitives in it one after another.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core import dtype as dtypes
from ..core.device import Ability, Buffer, Evidence, Reach, Spec
from ..core.errors import OutOfMemoryError
from ..core.evaluate import NUMPY_PRIMITIVES, evaluate
from ..core.graph import Node
from ..core.ops import Tier
from .numpy_memory import HostMemory

Array = np.ndarray[Any, np.dtype[Any]]


class NumPy(HostMemory):
    """The host's NumPy, one primitive at a time."""

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

    def compute(
        self, roots: Sequence[Node], inputs: Mapping[Node, Buffer], outputs: Sequence[Buffer]
    ) -> None:
        """The nodes' values, one primitive at a time."""
        arrays = {n: _array(n, b) for n, b in inputs.items()}
        try:
            values = self.values(roots, arrays)
        except MemoryError as e:
            raise OutOfMemoryError(
                f"NUMPY has no room for a step of {roots[0].op.name} {roots[0].shape}: {e}. "
                "Use smaller tensors, or a device with a kernel language"
            ) from e
        for root, value, buffer in zip(roots, values, outputs, strict=True):
            _array(root, buffer)[...] = value

    def values(self, roots: Sequence[Node], inputs: Mapping[Node, Array]) -> list[Array]:
        """The nodes' values as arrays, from those of the leaves."""
        return evaluate(roots, inputs.__getitem__, self.primitives, inputs.__contains__)


def _array(node: Node, buffer: Buffer) -> Array:
    """A buffer's memory, as the values of a node that it holds or will hold."""
    held: Array = buffer.handle[: node.nbytes]
    return held.view(node.dtype.numpy).reshape(node.shape)
