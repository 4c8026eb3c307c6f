"""What realizing runs: a plan of steps over numbered slots, made by fusing and lowering a graph.

In: nodes to compute, the leaves that they read, the device. Out: kernels and copies in running order. A plan
holds no memory, so that it serves every graph of the same structure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import field

from . import trace
from .chaining import chained
from .compiler import Program, compile_all
from .device import Buffer, Device, Reach
from .evaluate import PrimitiveCall, primitive_calls
from .fuse import fuse
from .graph import GraphOp, Node, toposort
from .loops import Kernel
from .pipeline import Stages, build
from .recognize import with_compounds
from .record import dataclass
from .registry import open_device
from .siblings import Group


@dataclass(slots=True)
class Step:
    """One kernel (or copy, compound, or dispatched piece) of a plan.

    Attributes:
        group: of a dispatched piece, the nodes themselves; None otherwise, so that no buffer is kept alive.
        writes: the slots that it fills, in the order of the kernel's parameters, and their bytes.
        reads: the slots that it reads.
        device: where it runs.
        program: the compiled kernel; None of everything else.
        last: slots that nobody needs after this step.
        unread: of a dispatched piece, the memory of nodes that computing it meets without using an element.
    """

    group: Group | None
    stages: Stages | None
    writes: tuple[int, ...]
    nbytes: tuple[int, ...]
    reads: tuple[int, ...]
    device: Device
    program: Program | None = None
    last: tuple[int, ...] = ()
    unread: Mapping[Node, Buffer] = field(default_factory=dict)
    slots: tuple[int, ...] = field(init=False)
    """What it works on: ``writes``, then ``reads``."""
    makes: tuple[tuple[int, int], ...] = field(init=False)
    """Each slot that it fills, and its bytes."""

    def __post_init__(self) -> None:
        self.slots = (*self.writes, *self.reads)
        self.makes = tuple(zip(self.writes, self.nbytes, strict=True))

    def calls(self) -> tuple[PrimitiveCall, ...]:
        """The primitives that a dispatched piece has computed; none of a kernel."""
        if self.group is None:
            return ()
        reads = self.group.reads
        return tuple(primitive_calls(self.group.roots, lambda n: n in reads or n.storage is not None))


@dataclass(slots=True)
class Plan:
    """Steps over numbered slots. Slots of leaves come first, in the order in which a walk meets them.

    Attributes:
        steps: in order.
        leaves: how many leaves there are.
        results: the slot that holds each root; -1 of a root without elements.
        keeps_nodes: whether a step holds nodes themselves, so that the plan serves no other graph.
    """

    steps: list[Step]
    leaves: int
    results: tuple[int, ...]
    keeps_nodes: bool = False
    compiled: bool = False
    inner: tuple[None, ...] = field(init=False)
    """Nothing, for each slot that is no leaf's."""

    def __post_init__(self) -> None:
        self.inner = (None,) * sum(len(s.writes) for s in self.steps)

    def compile(self) -> None:
        """Gives each step its program, those of one device side by side."""
        if self.compiled:
            return
        by_device: dict[Device, list[tuple[Step, Stages]]] = {}
        for s in self.steps:
            if s.program is None and s.stages is not None and s.stages.source:
                by_device.setdefault(s.device, []).append((s, s.stages))
        for device, missing in by_device.items():
            programs = compile_all(device, [stages for _, stages in missing])
            for (step, _), program in zip(missing, programs, strict=True):
                step.program = program
        self.compiled = True

    def uses(self, device: Device) -> bool:
        """Whether a step runs on the device."""
        return any(step.device is device for step in self.steps)

    def describe(self) -> list[KernelInfo]:
        """Its kernels, in order."""
        return [
            KernelInfo(
                s.name, step.device.name, s.fresh, s.final, s.scheduled.trail, s.source,
                s.fresh.nbytes, s.fresh.flops, s.shape, s.grid, s.block, step.slots,
                step.calls(), s.made_at, s.compound.compound.name if s.compound else "",
            )
            for step in self.steps
            if (s := step.stages) is not None
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """One kernel that realizing would run.

    Attributes:
        name: what it is launched by.
        device: where.
        loops: the tree as lowered from the graph.
        scheduled: the tree as it will be printed.
        schedule: the transforms between the two, in order.
        source: the text that is compiled; "" where no kernel language is spoken.
        nbytes: bytes of the buffers that it reads and writes, each counted once.
        flops: arithmetic operations, as the graph counts them.
        shape: of what it computes.
        grid: how many blocks it is launched over; work items, on a device without blocks.
        block: threads of a block.
        slots: the plan's slots of its parameters, in their order: leaves first, as a walk meets them.
        calls: the primitives that are computed one after another, on a device driven by dispatch.
        made_at: the user's source line that asked for it, while debugging.
        compound: the name of the compound that it is; "" of a kernel. A compound has no loops and no source.
    """

    name: str
    device: str
    loops: Kernel
    scheduled: Kernel
    schedule: tuple[str, ...]
    source: str
    nbytes: int
    flops: int
    shape: tuple[int, ...]
    grid: int
    block: int
    slots: tuple[int, ...]
    calls: tuple[PrimitiveCall, ...]
    made_at: str | None = None
    compound: str = ""

    def __str__(self) -> str:
        own = f", the device's own {self.compound}" if self.compound else ""
        head = f"{self.name} on {self.device}: {self.nbytes:,} bytes, {self.flops:,} operations{own}"
        return f"{head}\n{self.loops}"


_WHOLE = frozenset({GraphOp.COPY, GraphOp.COMPOUND})
"""What is done with whole buffers on any device."""


def make_plan(todo: list[Node], leaves: list[Node], device: Device) -> Plan:
    """Fuses and lowers; nothing is compiled yet."""
    with trace.planning(len(todo)):
        roots, groups = fuse(with_compounds(todo, device), device.spec)
        groups = chained(groups, frozenset(roots), device)
        slot: dict[Hashable, int] = {n: i for i, n in enumerate(leaves)}
        steps: list[Step] = []
        dispatched = False
        for g in groups:
            where = (
                device if g.roots[0].device in (None, device.name) else open_device(str(g.roots[0].device))
            )
            by_hand = where.spec.reach is Reach.DISPATCH and g.roots[0].op not in _WHOLE
            dispatched |= by_hand
            for piece in build(g, where):
                for key in piece.writes:
                    slot[_slot_key(key, g)] = len(slot)
                steps.append(
                    Step(
                        g if by_hand else None, piece.stages,
                        tuple(slot[_slot_key(k, g)] for k in piece.writes), piece.nbytes,
                        tuple(slot[_slot_key(k, g)] for k in piece.reads), where,
                        unread=_met_unread(g) if by_hand else {},
                    )
                )  # fmt: skip
                trace.planned(g, piece.stages, where)
        results = tuple(slot[r] if r.size else -1 for r in roots)
    last: dict[int, int] = {}
    for i, step in enumerate(steps):
        for s in step.slots:
            last[s] = i
    for s, i in last.items():
        if s >= len(leaves) and s not in results:
            steps[i].last = (*steps[i].last, s)
    return Plan(steps, len(leaves), results, dispatched)


def _met_unread(group: Group) -> dict[Node, Buffer]:
    """The nodes with storage that computing a group meets without using an element of them."""
    order = toposort(group.roots, stop=lambda n: n in group.reads or n.storage is not None)
    return {n: n.storage for n in order if n.storage is not None and n not in group.reads}


def _slot_key(key: int | str, group: Group) -> Hashable:
    """A node of the group by its place, or its own memory, which is no other group's, by name."""
    return (*group.roots, *group.reads)[key] if isinstance(key, int) else (key, group.roots[0])
