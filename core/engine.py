"""realize(): from graph nodes to memory that holds their values.

In: nodes, and the device that computes those that belong to none. Out: every node has storage. A graph of a
shape that was seen before is not scheduled again: its ``Plan`` is found by structure and run on other leaves.
``plan`` makes one without running it; ``kernels`` describes it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import node as nodes
from . import trace
from .compiler import Program, compile_all
from .device import Buffer, Device, Launch, Reach
from .fuse import Group, fuse
from .graph import GraphOp, Node, toposort
from .loops import Kernel
from .pipeline import Piece, Stages, build
from .registry import open_device

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True)
class Step:
    """One kernel (or copy, or dispatched piece) of a plan.

    Attributes:
        group: of a dispatched piece, the nodes themselves; None otherwise, so that no buffer is kept alive.
        writes: the slots that it fills, in the order of the kernel's parameters, and their bytes.
        reads: the slots that it reads.
        device: where it runs.
        program: the compiled kernel; None of a copy and of a dispatched piece.
        last: slots that nobody needs after this step.
    """

    group: Group | None
    stages: Stages | None
    writes: tuple[int, ...]
    nbytes: tuple[int, ...]
    reads: tuple[int, ...]
    device: Device
    program: Program | None = None
    last: tuple[int, ...] = ()


@dataclass(slots=True)
class Plan:
    """Steps over numbered slots. Slots of leaves come first, in the order in which a walk meets them.

    Attributes:
        steps: in order.
        leaves: how many leaves there are.
        results: the slot that holds each root; -1 of a root without elements.
    """

    steps: list[Step]
    leaves: int
    results: tuple[int, ...]
    keeps_nodes: bool = False


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
        made_at: the user's source line that asked for it, while debugging.
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
    made_at: str | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.device}: {self.nbytes:,} bytes, {self.flops:,} operations\n{self.loops}"


_plans: dict[Hashable, Plan] = {}
PLANS_KEPT = 4096


class Recorder(Protocol):
    """Sees what is run while ``jit`` captures, from every thread."""

    def mine(self) -> bool:
        """Whether it is the calling thread that is captured."""

    def running(self, todo: Sequence[Node], leaves: Sequence[Node]) -> None:
        """A plan is about to compute these nodes from these leaves."""

    def stepped(self, step: Step, buffers: tuple[Buffer, ...]) -> None:
        """A step is about to run on these buffers, those that it writes first."""

    def reading(self, node: Node) -> None:
        """A value is about to leave the device for the host."""


recorder: Recorder | None = None


# --------------------------------------------------------------------------------------------------- public


def realize(nodes: Sequence[Node], device: str) -> None:
    """Computes ``nodes`` (those without storage) and gives each its storage.

    Args:
        nodes: what to compute; nodes that have storage are left as they are.
        device: where nodes that name no device (constants) are computed.
    """
    todo = [n for n in dict.fromkeys(nodes) if n.storage is None]
    if not todo:
        return
    plan, leaves = _planned(todo, device)
    _compile(plan)
    run(todo, plan, leaves, device)


def kernels(nodes: Sequence[Node], device: str) -> list[KernelInfo]:
    """The kernels that realizing ``nodes`` would run, in order, without running or compiling them."""
    todo = [n for n in dict.fromkeys(nodes) if n.storage is None]
    out = []
    for step in _planned(todo, device)[0].steps if todo else ():
        s = step.stages
        if s is not None:
            out.append(
                KernelInfo(
                    s.name, step.device.name, s.fresh, s.final, s.scheduled.trail, s.source,
                    s.fresh.nbytes, s.fresh.flops, s.shape, s.made_at,
                )
            )  # fmt: skip
    return out


def read(node: Node) -> Array:
    """The array of a node that has storage: a copy on the host."""
    if recorder is not None:
        recorder.reading(node)
    return fetch(node)


def fetch(node: Node) -> Array:
    """``read``, for the engine itself: no value leaves it."""
    assert node.storage is not None
    out = np.empty(node.size, node.dtype.numpy)
    if node.size:
        node.storage.read(memoryview(out.view(np.uint8)))
    return out.reshape(node.shape)


def write(array: Array, node_bytes: int, device: Device) -> Buffer:
    """A new buffer on ``device`` with an array's bytes."""
    storage = Buffer(device, node_bytes)
    storage.write(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))
    return storage


# -------------------------------------------------------------------------------------------------- planning


def _planned(todo: list[Node], device: str) -> tuple[Plan, list[Node]]:
    order = toposort(todo, stop=lambda n: n.storage is not None)
    leaves = [n for n in order if n.storage is not None]
    key = _structure(order, todo, device)
    plan = _plans.get(key)
    if plan is None:
        plan = make_plan(todo, leaves, open_device(device))
        if not plan.keeps_nodes:
            if len(_plans) >= PLANS_KEPT:
                _plans.pop(next(iter(_plans)))
            _plans[key] = plan
    return plan, leaves


def _structure(order: list[Node], roots: list[Node], device: str) -> Hashable:
    """Equal for graphs that differ only in which buffers they read."""
    number = {n: i for i, n in enumerate(order)}
    rows: list[Hashable] = [device, tuple(number[r] for r in roots)]
    for n in order:
        if n.storage is not None:
            rows.append((n.storage.device.name, n.dtype, n.shape))
        elif n.op is GraphOp.PARAMETER:
            rows.append((n.op, number[n.srcs[0]]))
        else:
            rows.append((n.op, n.dtype, n.shape, n.arg, n.device, tuple([number[s] for s in n.srcs])))
    if nodes.locate is not None:  # a plan tells where its kernels were made
        rows.append(tuple([n.made_at for n in order]))
    return tuple(rows)


def make_plan(todo: list[Node], leaves: list[Node], device: Device) -> Plan:
    """Fuses and lowers; nothing is compiled yet."""
    with trace.planning(len(todo)):
        roots, groups = fuse(todo, device.spec)
        slot: dict[Hashable, int] = {n: i for i, n in enumerate(leaves)}
        steps: list[Step] = []
        dispatched = False
        for g in groups:
            where = (
                device if g.roots[0].device in (None, device.name) else open_device(str(g.roots[0].device))
            )
            copies = g.roots[0].op is GraphOp.COPY
            by_hand = where.spec.reach is Reach.DISPATCH and not copies
            dispatched |= by_hand
            sizes = tuple(r.nbytes for r in g.roots)
            pieces = [Piece(None, g.roots, g.reads, sizes)] if copies else build(g, where)
            for piece in pieces:
                for key in piece.writes:
                    slot[_slot_key(key, g)] = len(slot)
                steps.append(
                    Step(
                        g if by_hand else None, piece.stages,
                        tuple(slot[_slot_key(k, g)] for k in piece.writes), piece.nbytes,
                        tuple(slot[_slot_key(k, g)] for k in piece.reads), where,
                    )
                )  # fmt: skip
                trace.planned(g, piece.stages, where)
        results = tuple(slot[r] if r.size else -1 for r in roots)
    last: dict[int, int] = {}
    for i, step in enumerate(steps):
        for s in (*step.reads, *step.writes):
            last[s] = i
    for s, i in last.items():
        if s >= len(leaves) and s not in results:
            steps[i].last = (*steps[i].last, s)
    return Plan(steps, len(leaves), results, dispatched)


def _slot_key(key: Node | str, group: Group) -> Hashable:
    return key if isinstance(key, Node) else (key, group.roots[0])


def _compile(plan: Plan) -> None:
    missing = [s for s in plan.steps if s.program is None and s.stages is not None and s.stages.source]
    if missing:
        by_device: dict[Device, list[Step]] = {}
        for s in missing:
            by_device.setdefault(s.device, []).append(s)
        for device, steps in by_device.items():
            programs = compile_all(device, [s.stages for s in steps if s.stages])
            for s, p in zip(steps, programs, strict=True):
                s.program = p


# --------------------------------------------------------------------------------------------------- running


def run(todo: Sequence[Node], plan: Plan, leaves: Sequence[Node], device: str) -> None:
    """Runs a plan on these leaves and gives each of ``todo`` its storage."""
    if recorder is not None:
        recorder.running(todo, leaves)
    held: dict[int, Buffer] = {i: n.storage for i, n in enumerate(leaves) if n.storage is not None}
    for step in plan.steps:
        for slot, nbytes in zip(step.writes, step.nbytes, strict=True):
            held[slot] = Buffer(step.device, nbytes)
        buffers = tuple([held[s] for s in (*step.writes, *step.reads)])
        if recorder is not None:
            recorder.stepped(step, buffers)
        if step.program is not None:
            _launch(step, Launch(step.program.handle, (step.program.grid, 1, 1), (1, 1, 1), buffers))
        elif step.stages is None:
            copy(buffers[1], buffers[0])
        elif trace.watching:
            with trace.kernel(step.stages, step.device):
                _dispatch(step, buffers)
        else:
            _dispatch(step, buffers)
        for s in step.last:
            del held[s]
    opened = None
    for node, slot in zip(todo, plan.results, strict=True):
        if slot < 0:
            opened = opened or open_device(node.device or device)
            node.storage = Buffer(opened, 0)
        else:
            node.storage = held[slot]


def _launch(step: Step, launch: Launch) -> None:
    if trace.watching:
        with trace.kernel(step.stages, step.device):
            step.device.launch(launch)
    else:
        step.device.launch(launch)


def copy(source: Buffer, target: Buffer) -> None:
    """Bytes from one buffer to another, of any devices, by way of the host."""
    host = bytearray(source.nbytes)
    source.read(memoryview(host))
    target.write(memoryview(host))


def _dispatch(step: Step, buffers: Sequence[Buffer]) -> None:
    assert step.group is not None
    unread = {n: fetch(n) for n in met_unread(step.group)}
    compute(step.device, step.group, unread, buffers)


def met_unread(group: Group) -> list[Node]:
    """The nodes with storage that computing a group meets without using an element of them."""
    order = toposort(group.roots, stop=lambda n: n in group.reads or n.storage is not None)
    return [n for n in order if n.storage is not None and n not in group.reads]


def compute(device: Device, group: Group, known: Mapping[Node, Array], buffers: Sequence[Buffer]) -> None:
    """Has a device compute a dispatched group into a buffer for each root, from the rest and ``known``."""
    inputs = dict(known)
    written = len(group.roots)
    for node, buffer in zip(group.reads, buffers[written:], strict=True):
        host = np.empty(node.size, node.dtype.numpy)
        buffer.read(memoryview(host.view(np.uint8)))
        inputs[node] = host.reshape(node.shape)
    for root, buffer in zip(group.roots, buffers, strict=False):
        value = device.compute(root, inputs)  # type: ignore[attr-defined]
        buffer.write(memoryview(np.ascontiguousarray(value).reshape(-1).view(np.uint8)))
