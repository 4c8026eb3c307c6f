"""Simulators in processes of their own, for tests: the starter that a port begins with, and a faulty one."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from portwright.core import dtype as dt
from portwright.core.device import ALL_OPS, Buffer, Launch, Spec
from portwright.core.ops import Op
from portwright.devices.c99_dialect import C99
from portwright.devices.command_compiler import CommandCompiler
from portwright.devices.sim_agent import agent
from portwright.devices.subprocess_simulator import SubprocessSimulator
from portwright.templates.render import render

ANSWERS = {
    "name": "acme", "NAME": "ACME", "Class": "Acme", "package": "portwright_acme",
    "project": "portwright-acme", "vendor": "Acme Silicon", "family": "simulator",
    "integers": "bool int32 uint8", "floats": "float32", "through": "", "licence": "MIT", "year": "2025",
}  # fmt: skip
KERNELS = ("-O2", "-fPIC", "-shared", "-w", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off")
PROGRAM = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-ldl")
PROTOTYPES = "extern int printf(const char *, ...);\n"
FAULTY = Path(__file__).with_name("faulty_simulator.py")
DTYPES = frozenset({dt.bool_, dt.int32, dt.uint8, dt.float32})


@cache
def folder() -> Path:
    """For the texts of this process's simulators."""
    made = tempfile.TemporaryDirectory(prefix="portwright-tests-")
    _folders.append(made)
    return Path(made.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []


class Starter(SubprocessSimulator):
    """The starter simulator, on the host."""

    dialect = C99
    counts = "work items"
    through: Sequence[str] = ()

    def __init__(self, name: str = "ACME") -> None:
        spec = Spec(
            name, dtypes=DTYPES, native=ALL_OPS - {Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN}, arithmetic=DTYPES
        )
        super().__init__(spec, CommandCompiler("cc", KERNELS))

    def command(self) -> list[str]:
        text = render("simulator", ANSWERS)["agent.c"]
        path = folder() / f"{self.counts.replace(' ', '_')}.c"
        path.write_text(text.replace("work items", self.counts))
        return [*self.through, *agent(path, CommandCompiler("cc", PROGRAM))]


class Faulty(Starter):
    """The simulator with a fault when it is asked for a verb."""

    clock_hz = 1e6

    def __init__(self, fault: str = "none", verb: int = 0) -> None:
        self.fault, self.verb = fault, verb
        super().__init__("FAULTY")

    def command(self) -> list[str]:
        return [sys.executable, "-I", "-S", str(FAULTY), self.fault, str(self.verb)]


def place(device: SubprocessSimulator, array: np.ndarray) -> Buffer:
    """A buffer that holds an array."""
    buffer = Buffer(device, array.nbytes)
    buffer.write(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return buffer


def held(buffer: Buffer) -> np.ndarray:
    """The bytes of a buffer."""
    out = np.zeros(buffer.nbytes, np.uint8)
    buffer.read(memoryview(out))
    return out


def launch(device: SubprocessSimulator, body: str, *buffers: Buffer, items: int = 1) -> None:
    """Runs a kernel in C: ``a`` are its buffers, ``first`` and ``last`` its work items."""
    source = f"{PROTOTYPES}void k(void *const *a, long first, long last) {{ {body} }}\n"
    (kernel,) = device.load(device.compile(source), ["k"])
    device.launch(Launch(kernel, (items, 1, 1), (1, 1, 1), tuple(buffers)))
