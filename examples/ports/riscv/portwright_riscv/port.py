"""Riscv, before silicon: a simulator in a process of its own."""

from __future__ import annotations

from pathlib import Path

from portwright.devices.c99_dialect import C99
from portwright.devices.command_compiler import CommandCompiler
from portwright.devices.sim_agent import agent
from portwright.devices.subprocess_simulator import SubprocessSimulator
from portwright.port import ALL_OPS, Op, Spec, named

COMPILER = "riscv64-linux-gnu-gcc"
"""What compiles for the chip: a command."""
KERNELS = (
    "-std=gnu11", "-O2", "-fPIC", "-shared", "-w", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off",
    "-fno-math-errno", "-fno-tree-vectorize",
)  # fmt: skip
"""How: an image that the simulator loads. Nothing here lets a compiler change a result.

GCC 12 makes wrong vectors of narrow signed sums that wrap, so it makes none.
"""
PROGRAM = ("-std=gnu11", "-O2", "-w", "-ldl")
"""How the starter simulator is compiled."""
THROUGH = "qemu-riscv64 -L /usr/riscv64-linux-gnu"
"""What runs the chip's programs here: a command, empty where the host does."""
DTYPES = named(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64",
    "float16 bfloat16 float32 float64",
)


class Riscv(SubprocessSimulator):
    """The chip, by RISC-V International."""

    dialect = C99
    seconds = 120.0  # for one request
    clock_hz = 1e9  # of the chip; seconds are claimed once the simulator counts "cycles"

    def __init__(self) -> None:
        spec = Spec(
            "RISCV",
            dtypes=DTYPES,
            native=ALL_OPS - {Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN},  # which are built from the others
            arithmetic=DTYPES & set(C99.types),  # the rest is held narrow, and computed wider
            threads=1,
            driver={"kernels": " ".join([COMPILER, *KERNELS])},
        )
        super().__init__(spec, CommandCompiler(COMPILER, KERNELS))

    def command(self) -> list[str]:
        """What starts the simulator; once there is a real one, ``return`` its command and arguments."""
        return agent(Path(__file__).with_name("agent.c"), CommandCompiler(COMPILER, PROGRAM), THROUGH)
