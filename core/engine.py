"""realize(): from graph nodes to memory that holds their values.

In: nodes, and the device that computes those that belong to none. Out: every node has storage. A graph of a
shape that was seen before is not scheduled again: its ``Plan`` is found by structure and run on other leaves.
All that makes plans is imported with the first one.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from . import trace
from .device import Buffer, Computes, Device
from .graph import Node
from .registry import open_device
from .signature import signature

if TYPE_CHECKING:
    from .pipeline import Stages
    from .plan import KernelInfo, Plan, Step

Array = np.ndarray[Any, np.dtype[Any]]


_plans: dict[Hashable, Plan] = {}
PLANS_KEPT = 4096
storing = threading.RLock()
"""Held while a graph is walked by what has storage, and while a node of it gets some."""


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
    with storing:
        todo = [n for n in dict.fromkeys(nodes) if n.storage is None]
        if not todo:
            return
        plan, leaves = _planned(todo, device)
    plan.compile()
    run(todo, plan, leaves, device)


def kernels(nodes: Sequence[Node], device: str) -> list[KernelInfo]:
    """The kernels that realizing ``nodes`` would run, in order, without running or compiling them."""
    with storing:
        todo = [n for n in dict.fromkeys(nodes) if n.storage is None]
        return _planned(todo, device)[0].describe() if todo else []


def planned() -> list[tuple[Device, Stages]]:
    """Every kernel of the plans that are remembered, once, and its device."""
    with storing:
        steps = [s for plan in _plans.values() for s in plan.steps]
    found = {(s.device, s.stages.name): s.stages for s in steps if s.stages is not None and s.stages.source}
    return [(device, stages) for (device, _), stages in found.items()]


def forget(device: Device) -> None:
    """What is realized on a device next is planned anew."""
    from . import chaining, pipeline

    with storing:
        pipeline.forget(device)
        chaining.forget(device)
        for key in [k for k, plan in _plans.items() if plan.uses(device)]:
            del _plans[key]


def read(node: Node) -> Array:
    """The array of a node that has storage: a copy on the host."""
    if recorder is not None:
        recorder.reading(node)
    return fetch(node)


def read_one(node: Node) -> bytearray:
    """The bytes of the only element of a node that has storage, which ``read`` makes an array of first."""
    if recorder is not None:
        recorder.reading(node)
    assert node.storage is not None
    out = bytearray(node.dtype.itemsize)
    node.storage.read(memoryview(out))
    return out


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
    """A plan for ``todo``, and the leaves to run it on. Called while ``storing`` is held."""
    structure, leaves = signature(todo, lambda n: n.storage is not None)
    port = open_device(device)  # another may have been adopted under the name
    key = (port, structure)
    plan = _plans.get(key)
    if plan is None:
        from .plan import make_plan

        plan = make_plan(todo, leaves, port)
        if not plan.keeps_nodes:
            if len(_plans) >= PLANS_KEPT:
                _plans.pop(next(iter(_plans)))
            _plans[key] = plan
    return plan, leaves


# --------------------------------------------------------------------------------------------------- running


def run(todo: Sequence[Node], plan: Plan, leaves: Sequence[Node], device: str) -> None:
    """Runs a plan on these leaves and gives each of ``todo`` its storage."""
    if recorder is not None:
        recorder.running(todo, leaves)
    held: list[Any] = [n.storage for n in leaves]  # each a buffer
    held += plan.inner
    for step in plan.steps:
        on = step.device
        for slot, nbytes in step.makes:
            held[slot] = Buffer(on, nbytes)
        buffers: tuple[Buffer, ...] = tuple([held[s] for s in step.slots])
        if recorder is not None:
            recorder.stepped(step, buffers)
        if step.program is None:
            perform(step, buffers)
        elif trace.watching:
            with trace.kernel(step.stages, on):
                on.launch(step.program.launch(buffers))
        else:
            on.launch(step.program.launch(buffers))
        for s in step.last:
            held[s] = None
    if trace.watching:
        ran = [step.stages for step in plan.steps if step.stages is not None]
        trace.moved(ran, sum(n.nbytes for n in {*leaves, *todo}))
    with storing:
        for node, slot in zip(todo, plan.results, strict=True):
            node.storage = Buffer(open_device(node.device or device), 0) if slot < 0 else held[slot]


def copy(source: Buffer, target: Buffer) -> None:
    """Bytes from one buffer to another, of any devices, by way of the host."""
    host = bytearray(source.nbytes)
    source.read(memoryview(host))
    target.write(memoryview(host))


def perform(step: Step, buffers: Sequence[Buffer]) -> None:
    """Does a step that is no kernel of ours: a copy, a compound, or a dispatched piece."""
    if step.stages is None:
        copy(buffers[1], buffers[0])
        return
    with trace.kernel(step.stages, step.device) if trace.watching else nullcontext():
        if step.stages.compound is not None:
            step.stages.compound.run(step.device, buffers)
        else:
            compute(step, buffers)


def compute(step: Step, buffers: Sequence[Buffer]) -> None:
    """Has a device compute a dispatched piece into a buffer for each of its roots, from the other buffers."""
    assert step.group is not None
    written = len(step.group.roots)
    inputs = {**step.unread, **dict(zip(step.group.reads, buffers[written:], strict=True))}
    cast(Computes, step.device).compute(step.group.roots, inputs, buffers[:written])
