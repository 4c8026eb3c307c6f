"""Legalization of a whole kernel: values by ``legalize``, and what holds them in matching dtypes."""

from __future__ import annotations

from dataclasses import replace

from .device import Spec
from .legalize import legalize, register_dtype, storage_dtype, to_storage
from .loops import Acc, Body, Kernel, Let, Loop, Memory, Scratch, Stmt, Store, Update
from .value import Value


def legalize_kernel(kernel: Kernel, spec: Spec) -> Kernel:
    """The kernel in the primitives and dtypes of ``spec``: memory keeps its bits, registers may be wider."""
    memo: dict[Value, Value] = {}

    def memory(m: Memory) -> Memory:
        return replace(m, dtype=storage_dtype(m.dtype, spec))

    def legal(body: Body) -> Body:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Loop):
                out.append(replace(s, body=legal(s.body)))
            elif isinstance(s, Scratch):
                out.append(Scratch(memory(s.memory)))
            elif isinstance(s, Acc):
                out.append(replace(s, dtype=register_dtype(s.dtype, spec)))
            elif isinstance(s, Store):
                out.append(replace(s, value=legalize([to_storage(s.value, spec)], spec, memo)[0]))
            elif isinstance(s, Let | Update):
                out.append(replace(s, value=legalize([s.value], spec, memo)[0]))
            else:
                out.append(s)
        return tuple(out)

    return replace(kernel, params=tuple(memory(p) for p in kernel.params), body=legal(kernel.body))
