"""The machine itself: an elementwise workload's bytes, copied as quickly as it can."""

from __future__ import annotations

import numpy as np

from .limits import Machine, aligned
from .peers import Task
from .workloads import Array, Inputs, axpb64, chain64, gelu64

EXACT = {"axpb": axpb64, "chain": chain64, "gelu": gelu64}


def prepare(kind: str, inputs: Inputs) -> Task | None:
    """Copies x. The result is computed from the copy when it is asked for, so that the check is one of it."""
    if kind not in EXACT:
        return None
    machine = Machine()
    x = aligned(inputs["x"])
    out = aligned(np.zeros_like(x))

    def result() -> Array:
        return EXACT[kind](inputs, out)

    return Task(lambda: machine.copy(out, x), result)
