"""Who is measured. A peer is a module with one function, ``prepare``, and the environment that it runs in."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .workloads import Array, Inputs


@dataclass(frozen=True, slots=True)
class Task:
    """A workload made ready by a peer.

    Attributes:
        run: computes it once, to completion.
        result: what the last run computed (of a training loop: the first losses), as an array.
        warm_up: runs before the result is looked at and times are taken.
    """

    run: Callable[[], object]
    result: Callable[[], Array]
    warm_up: int = 2


Prepare = Callable[..., Task | None]


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who computes workloads.

    Attributes:
        name: what it is called in tables.
        module: of this package, which holds ``prepare(kind, inputs, **options)``; None from it: not offered.
        needs: Python modules and, with a slash before them, programs that must be installed.
        options: passed to ``prepare``.
        environment: set in its process.
        only: the kinds that it is asked for; empty: all.
        says: what one should know of it.
    """

    name: str
    module: str
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    says: str = ""

    def missing(self) -> str:
        """Why it cannot take part, or ""."""
        absent = [
            name.removeprefix("/")
            for name in self.needs
            if (shutil.which(name[1:]) if name[0] == "/" else importlib.util.find_spec(name)) is None
        ]
        return f"{' and '.join(absent)} not installed" if absent else ""

    def prepare(self, kind: str, inputs: Inputs) -> Task | None:
        """Makes a workload ready, in this process."""
        function: Prepare = importlib.import_module(f".{self.module}", __package__).prepare
        return function(kind, inputs, **self.options)


KEEP_PAGES = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184"
    ":glibc.malloc.trim_threshold=34359738368",
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""glibc's allocator told to keep large blocks and to ask for large pages."""

PORTWRIGHT, COPY, HAND = "portwright", "copy", "hand"
OPENCL, HAND_OPENCL = "opencl", "hand-opencl"
YARDSTICKS = frozenset({COPY, HAND, OPENCL, HAND_OPENCL})
"""Who shows how fast it could be, and is nobody's choice."""
PEERS = {
    p.name: p
    for p in (
        Peer(PORTWRIGHT, "with_portwright", says="the default device"),
        Peer(
            COPY, "with_copy", only=frozenset({"axpb", "chain", "gelu"}),
            says="what the machine can do: as many bytes, copied by every core with streaming stores",
        ),
        Peer(HAND, "with_hand", says="C written by hand, of sizes that suit it, where it is at hand"),
        Peer(
            OPENCL, "with_portwright", ("pyopencl",), environment={"PORTWRIGHT_DEVICE": "OPENCL"},
            says="Portwright on the first OpenCL device",
        ),
        Peer(
            HAND_OPENCL, "with_hand_opencl", ("pyopencl",),
            says="OpenCL written by hand, of some sizes, where it is at hand",
        ),
        Peer("numpy", "with_numpy"),
        Peer("torch", "with_torch", ("torch",), says="PyTorch, eager"),
        Peer("compiled", "with_torch", ("torch",), {"compiled": True}, says="PyTorch, torch.compile"),
        Peer(
            "compiled+pages", "with_torch", ("torch",), {"compiled": True}, KEEP_PAGES,
            frozenset({"chain", "axpb", "gelu", "softmax", "layernorm", "transadd", "gather"}),
            says="the same with an allocator told to keep pages, as Portwright's does",
        ),
        Peer(
            "tinygrad", "with_tinygrad", ("tinygrad", "/clang"), environment={"DEV": "CPU"},
            says="its CPU backend",
        ),
        Peer("jax", "with_jax", ("jax",), environment={"JAX_PLATFORMS": "cpu"}),
    )
}  # fmt: skip


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cores(count: int) -> None:
    """Keeps this process, and those that it starts, to so many cores.

    Raises:
        SystemExit: when there are fewer, or the system has no such thing.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("--cores: this system cannot keep a process to some cores")
    if not 1 <= count <= cores():
        raise SystemExit(f"--cores {count}: there are {cores()}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Latest:
    """A run that keeps what it computed until the next has."""

    def __init__(self, compute: Callable[[], Any], fetch: Callable[[Any], Array]) -> None:
        self.compute, self.fetch = compute, fetch
        self.value: Any = None

    def run(self) -> None:
        self.value = self.compute()

    def result(self) -> Array:
        return self.fetch(self.value)


class Losses:
    """A training loop that keeps its first losses, which are what is checked."""

    def __init__(self, step: Callable[[], Any], count: int) -> None:
        self.step, self.count = step, count
        self.first: list[float] = []

    def run(self) -> None:
        loss = self.step()
        if len(self.first) < self.count:
            self.first.append(float(loss))
