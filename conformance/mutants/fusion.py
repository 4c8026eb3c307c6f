"""The order of what is fused, and memory that two things share."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ...core.device import Device, Launch
from ...core.dtype import float32
from ...core.graph import GraphOp
from ...core.loops import Body, Kernel, Let, Scratch, Stmt, Store, map_body, statements, values
from ...core.ops import Op
from ...core.value import primitive, toposort
from .means import body, every_body, method, put, tree
from .mutant import Base, Family
from .walk import whole

FAMILY = Family("fusion order and aliasing")
add = FAMILY.add
NAMED = (
    "fused::test_named[softmax* fused::test_named[layernorm* fused::test_many_outputs "
    "fused::test_realized_between fused::test_named* gradients::* fused::*"
)


def last_output_lost(k: Kernel) -> Kernel:
    """Of several outputs the last is not stored."""
    outputs = [p.name for p in k.params if p.written]
    if len(outputs) < 2:
        return k
    lost = outputs[-1]
    return replace(
        k, body=map_body(k.body, lambda s: () if isinstance(s, Store) and s.memory == lost else None)
    )


def outputs_alike(k: Kernel) -> Kernel:
    """Of several outputs of one dtype and size the second is what the first is."""
    outputs = [p for p in k.params if p.written]
    if len(outputs) < 2 or (outputs[0].dtype, outputs[0].size) != (outputs[1].dtype, outputs[1].size):
        return k
    stored = {
        (s.index, s.stride): s.value
        for s in statements(k.body)
        if isinstance(s, Store) and s.memory == outputs[0].name
    }

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Store) and s.memory == outputs[1].name and (s.index, s.stride) in stored:
            return (replace(s, value=stored[s.index, s.stride]),)
        return None

    return replace(k, body=map_body(k.body, rule))


def rows_of_one(b: Body) -> Body:
    """Rows that are kept between loops hold one vector or element: each overwrites the one before."""
    names = {s.memory.name for s in statements(b) if isinstance(s, Scratch) and not s.memory.shared}

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Store) and s.memory in names:
            return (replace(s, index=s.index * 0),)
        return None

    return map_body(b, rule)


def long_programs(k: Kernel) -> Kernel:
    """A kernel of more than a dozen sums and products stores float32 with another sign."""
    work = {v for v in toposort(values(k.body)) if v.op in (Op.ADD, Op.MUL, Op.SUB) and v.dtype.is_float}
    outputs = {p.name for p in k.params if p.written}

    def rule(s: Stmt) -> Body | None:
        if isinstance(s, Store) and s.memory in outputs and s.value.dtype is float32:
            return (replace(s, value=primitive(Op.NEG, s.value)),)
        return None

    return replace(k, body=map_body(k.body, rule)) if len(work) > 12 else k


def names_swapped(b: Body) -> Body:
    """Of two values of one type the names are exchanged."""
    lets = [s for s in b if isinstance(s, Let)]
    for first, second in pairwise(lets):
        if (first.value.dtype, first.value.lanes) == (second.value.dtype, second.value.lanes):
            independent = not any(str(v.arg) == first.name for v in toposort([second.value]))
            if independent and first.value is not second.value:
                exchanged = {first.name: second.value, second.name: first.value}
                return tuple(
                    replace(s, value=exchanged[s.name]) if isinstance(s, Let) and s.name in exchanged else s
                    for s in b
                )
    return b


def uses_its_operand(device: Device, launch: Any) -> Any:
    """The last operand is used as memory for what is between."""

    def other(given: Launch) -> None:
        launch(given)
        last = given.buffers[-1]
        if len(given.buffers) > 1 and last.nbytes:
            device.copy_in(last.handle, memoryview(np.full(min(last.nbytes, 4), 1, np.uint8)))

    return lambda launch: other(launch)


def one_late(device: Device) -> None:
    """A launch is made when the next one comes, and copy_out does not wait for it."""
    launch, held = device.launch, list[Launch]()

    def later(launch_: Launch) -> None:
        held.append(launch_)
        if len(held) > 1:
            launch(held.pop(0))

    put(device, "launch", lambda launch: later(launch))


def pairs_swapped(device: Device) -> None:
    """Of two launches the second is made first; what is left is made when it is read."""
    launch, copy_out, held = device.launch, device.copy_out, list[Launch]()

    def flush() -> None:
        for one in reversed(held):
            launch(one)
        held.clear()

    def later(launch_: Launch) -> None:
        held.append(launch_)
        if len(held) == 2:
            flush()

    def wrong_out(data: memoryview, handle: Any) -> None:
        flush()
        copy_out(data, handle)

    put(device, "launch", lambda launch: later(launch))
    put(device, "copy_out", wrong_out)


def writes_pass_launches(device: Device) -> None:
    """copy_in does not wait for the last launch, which still reads."""
    launch, copy_out, held = device.launch, device.copy_out, list[Launch]()

    def later(launch_: Launch) -> None:
        held.append(launch_)
        if len(held) > 1:
            launch(held.pop(0))

    def wrong_out(data: memoryview, handle: Any) -> None:
        while held:
            launch(held.pop(0))
        copy_out(data, handle)

    put(device, "launch", lambda launch: later(launch))
    put(device, "copy_out", wrong_out)


def last_is_lost(root: Any, order: Any, value: Any) -> Any:
    """Long programs lose their last element."""
    work = [n for n in order if n.op in (Op.ADD, Op.MUL, Op.SUB)]
    if len(work) > 3 and value.size > 2 and root.dtype is float32:
        value = value.copy()
        value.flat[-1] = value.flat[0] + 1
    return value


def used_too_early(root: Any, order: Any, value: Any) -> Any:
    """What is on both sides of a fold is taken from before it."""
    folds = [n for n in order if n.op is GraphOp.REDUCE]
    return value * np.float32(1.001) if len(folds) > 1 and root.dtype is float32 else value


add(
    "last_output_lost",
    "Of several outputs of a kernel the last is not stored",
    tree(last_output_lost),
    f"fused::test_many_outputs {NAMED}",
)
add(
    "outputs_alike",
    "Of two outputs of a kernel the second is the first",
    tree(outputs_alike),
    f"fused::test_many_outputs fused::test_random* {NAMED}",
)
add("rows_of_one", "Rows that are kept between loops overwrite themselves", body(rows_of_one), NAMED)
add(
    "long_programs_negated",
    "A program of more than a dozen sums and products has another sign",
    tree(long_programs),
    f"fused::test_named[chain* {NAMED}",
)
add(
    "names_swapped",
    "Two values of one type have exchanged their names",
    every_body(names_swapped),
    f"reductions::test_matmul_of_integers[float32] {NAMED}",
)
add(
    "operand_is_scratch",
    "The last operand is used as memory for what is between",
    method("launch", uses_its_operand),
    "primitives::test_binary[ADD-float32] primitives::test_unary[NEG-float32] views::test_single[vector]",
)
add(
    "one_launch_late",
    "Reading does not wait for the last launch",
    one_late,
    f"primitives::test_unary[NEG-float32] primitives::test_binary[ADD-float32] {NAMED}",
)
add(
    "launches_swapped",
    "Of two launches the second is made first",
    pairs_swapped,
    f"fused::test_named[running_sum* {NAMED}",
)
add(
    "writes_pass_launches",
    "Writing does not wait for the last launch",
    writes_pass_launches,
    "fused::test_written_after primitives::test_written_again",
)
add(
    "long_programs_lose_the_last",
    "The last element of a long program is lost",
    whole(last_is_lost),
    NAMED,
    base=Base.DISPATCH,
)
add(
    "used_too_early",
    "What is on both sides of a fold is taken from before it",
    whole(used_too_early),
    NAMED,
    base=Base.DISPATCH,
)
