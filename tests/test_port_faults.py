"""A device that fails in mid-run: a clear error with the name of the port, and the next call works."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tensors import on

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import registry
from portwright.core.device import Launch, Spec
from portwright.core.dialect import CLike
from portwright.core.errors import CompileError, DeviceError, OutOfMemoryError, PortError
from portwright.core.ops import Op
from portwright.devices.c_dialect import C
from portwright.devices.cpu import CPU


class Frail(CPU):
    """The CPU port, which fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="FRAIL", abilities=frozenset())
        self.fails: dict[str, Exception] = {}
        self.room: int | None = None

    def _perhaps(self, call: str) -> None:
        fault = self.fails.pop(call, None)
        if fault is not None:
            raise fault

    def alloc(self, nbytes: int) -> int:
        self._perhaps("alloc")
        if self.room is not None and nbytes > self.room:
            raise OutOfMemoryError(f"FRAIL has no room for {nbytes:,} bytes")
        return super().alloc(nbytes)

    def compile(self, source: str) -> bytes:
        self._perhaps("compile")
        return super().compile(source)

    def load(self, binary, entries):
        self._perhaps("load")
        return super().load(binary, entries)

    def launch(self, launch: Launch) -> None:
        self._perhaps("launch")
        super().launch(launch)

    def copy_out(self, data: memoryview, handle: int) -> None:
        self._perhaps("copy_out")
        super().copy_out(data, handle)


@pytest.fixture
def frail():
    device = Frail()
    registry.adopt(device)
    with on("FRAIL"):
        yield device


FAULTS = {
    "alloc": OutOfMemoryError("FRAIL has no room"),
    "compile": CompileError("FRAIL: its compiler refuses the kernel", log="no", source="no"),
    "load": DeviceError("FRAIL: its driver refuses the kernel"),
    "launch": DeviceError("FRAIL: the device is gone"),
    "copy_out": DeviceError("FRAIL: the device is gone"),
}


@pytest.mark.parametrize("call", FAULTS)
def test_one_failed_call_is_one_error(frail: Frail, call: str) -> None:
    size = 100 + len(call)  # a kernel of its own, not yet compiled
    x = Tensor(np.arange(size, dtype=np.float32)).realize()
    y = (x * 3 + len(call)).sum()
    frail.fails[call] = FAULTS[call]
    with pytest.raises(type(FAULTS[call]), match="FRAIL"):
        y.item()
    assert y.item() == 3 * size * (size - 1) / 2 + len(call) * size


def test_memory_that_runs_out_in_mid_run_comes_back(frail: Frail) -> None:
    x = Tensor(np.ones(5000, np.float32)).realize()
    frail.room = 5000 * 4 - 1
    with pytest.raises(OutOfMemoryError, match="no room for 20,000 bytes"):
        (x + 1).realize()
    assert x.sum().item() == 5000  # which needs less
    frail.room = None
    assert (x + 1).sum().item() == 10000


# ------------------------------------------------------------------------- a Spec that contradicts itself


def port_with(spec: Spec, table: CLike = C) -> None:
    class Odd(CPU):
        dialect = table

        def __init__(self) -> None:
            super().__init__()
            self.spec = spec

    registry.adopt(Odd())


CONTRADICTIONS = {
    "claims blocks of 64 threads but its dialect names none": {"max_block": 64},
    "claims 1024 bytes of local memory but its dialect declares none": {"local_bytes": 1024},
    "claims EXP2 but its dialect does not spell them": {"native": frozenset(Op)},
    "claims bfloat16 but its dialect names no such type": {"arithmetic": frozenset(dt.INTS) | {
        dt.float32, dt.float64, dt.bool_, dt.bfloat16}},
}  # fmt: skip


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_a_spec_that_its_dialect_cannot_keep_is_refused(fault: str) -> None:
    spec = replace(CPU().spec, name="ODD", **CONTRADICTIONS[fault])
    with pytest.raises(PortError, match="ODD: ") as e:
        port_with(spec)
    for word in fault.split(" but ")[1].split():
        assert word in str(e.value)


def test_a_dtype_that_the_device_does_not_hold_is_refused_by_name() -> None:
    held = frozenset(dt.ALL) - {dt.float64}
    spec = CPU().spec
    port_with(replace(spec, name="ODD", dtypes=held, arithmetic=spec.arithmetic & held))
    with on("ODD"):
        with pytest.raises(DeviceError, match=r"ODD.*float64|float64.*ODD"):
            (Tensor(np.ones(3)) + 1).realize()
        assert (Tensor(np.ones(3, np.float32)) + 1).sum().item() == 6
