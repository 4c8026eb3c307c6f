"""One kernel under many schedules: what it means, and the kernel that a device plans."""

from __future__ import annotations

import numpy as np
import support as t

from portwright.core import engine
from portwright.core.device import Spec
from portwright.core.expand import expand
from portwright.core.fuse import fuse
from portwright.core.interpret import interpret
from portwright.core.loops import Kernel
from portwright.core.pipeline import Stages, fresh_kernel
from portwright.core.verify import verify


class Program:
    """An expression that is one kernel, and what it gives."""

    def __init__(self, root: t.Node, spec: Spec) -> None:
        (group,) = fuse([root], spec)[1]
        self.fresh = fresh_kernel(group)
        self.right = t.meaning(root)[0].reshape(-1)
        self.inputs = {f"in{i}": engine.fetch(read).reshape(-1) for i, read in enumerate(group.reads)}

    def check(self, kernel: Kernel) -> None:
        """That a schedule of it means the same, before its lanes and copies are explicit and after."""
        for made in (kernel, expand(kernel)):
            verify(made)
            out = np.full(self.right.shape, -1, self.right.dtype)
            interpret(made, {"out0": out, **self.inputs})
            assert np.array_equal(out, self.right), kernel.trail


def planned(root: t.Node) -> Stages:
    """The kernel of a root as the CPU plans it now."""
    device = t.device()
    engine.forget(device)
    engine.kernels([root], "CPU")
    (found,) = [s for d, s in engine.planned() if d is device]
    return found
