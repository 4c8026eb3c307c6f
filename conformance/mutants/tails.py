"""Loop tails: what is left when a size is no multiple of a vector, a tile or a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...core.device import Device, Launch
from ...core.loops import Body, Loop, Stmt, Store, Update, map_body
from ...core.value import Extra
from .means import each, every_body, method, text
from .mutant import Base, Family

FAMILY = Family("loop tails")
add = FAMILY.add
SIZES = "primitives::test_sizes[float32] primitives::test_sizes[int32]"
SINGLE = "views::test_single[matrix] views::test_every_dtype[float32] primitives::test_load_store[float32]"
SUMS = "reductions::test_sum_of_integers[float32] reductions::test_sum[float32] reductions::test_max[float32]"
MATMUL = "reductions::test_matmul_of_integers[float32] reductions::test_matmul[float32]"


def is_narrow(s: Stmt) -> bool:
    """A store of fewer lanes than a register has."""
    return isinstance(s, Store) and 1 < s.value.lanes < 8


def is_last(s: Stmt) -> bool:
    """A vector for what is left after others: it begins earlier, in the middle of one of them."""
    return isinstance(s, Store) and s.value.lanes > 1 and s.index.const % s.value.lanes > 0 and not s.guard


def last_vector(change: Callable[[Store], Body]) -> Callable[[Stmt], Body | None]:
    """What is left after whole vectors is stored otherwise."""
    return lambda s: change(s) if isinstance(s, Store) and is_last(s) else None


def is_fold(s: Stmt) -> bool:
    """The lanes of a vector are folded into an accumulator."""
    return isinstance(s, Update) and s.value.op is Extra.FOLD


def folded_tail(change: Callable[[Stmt], Body]) -> Callable[[Body], Body]:
    """What is folded element by element after the vectors of the same accumulator."""

    def changed(body: Body) -> Body:
        names = {s.name for s in body if isinstance(s, Update) and is_fold(s)}

        def rule(s: Stmt) -> Body | None:
            return change(s) if isinstance(s, Update) and s.name in names and not is_fold(s) else None

        return map_body(body, rule) if names else body

    return changed


def over(change: Callable[[int], int]) -> Callable[[Device, Callable[..., Any]], Callable[..., Any]]:
    """Kernels are launched over another number of work items."""

    def wrong(device: Device, launch: Callable[..., Any]) -> Callable[..., Any]:
        def launched(launch_: Launch) -> None:
            n, y, z = launch_.grid
            launch(replace(launch_, grid=(change(n), y, z)))

        def other(launch: Launch) -> None:
            launched(launch)

        return other

    return wrong


def shorter(s: Stmt) -> Body | None:
    """Loops of an odd number of steps stop one early."""
    if isinstance(s, Loop) and s.extent > 2 and s.extent % 2:
        inner = map_body(s.body, shorter)
        return (replace(s, extent=s.extent - 1, body=inner),)
    return None


add(
    "odd_loops_stop_early",
    "A loop of an odd number of steps leaves out the last",
    each(shorter),
    SIZES + " " + SUMS,
)
add(
    "narrow_vectors_lost",
    "Vectors of fewer lanes than a register are not stored",
    each(lambda s: () if is_narrow(s) else None),
    f"{SIZES} {SINGLE}",
)
add(
    "last_vector_lost",
    "The vector for what is left after others, which begins earlier, is not stored",
    each(last_vector(lambda s: ())),
    f"{SIZES} {SINGLE} views::test_single*",
)
add(
    "last_vector_early",
    "The vector for what is left after others begins one element too early",
    each(last_vector(lambda s: (replace(s, index=s.index - 1),))),
    f"{SIZES} views::test_single* {SINGLE}",
)
add(
    "last_vector_late",
    "The vector for what is left after others begins one element too late",
    each(last_vector(lambda s: (replace(s, index=s.index + 1),))),
    f"{SIZES} {SINGLE} views::test_single*",
)
add(
    "fold_without_tail",
    "What is left after whole vectors is not folded",
    every_body(folded_tail(lambda s: ())),
    SUMS,
)
add(
    "fold_tail_twice",
    "What is left after whole vectors is folded twice",
    every_body(folded_tail(lambda s: (s, s))),
    "reductions::test_sum_of_integers[float32] reductions::test_sum[float32] "
    "reductions::test_integers_wrap[int32-ADD]",
)
add(
    "last_work_item_lost",
    "Of several work items the last is not run",
    method("launch", over(lambda n: n - 1 if n > 1 else n)),
    f"{MATMUL} fused::test_named* primitives::test_binary[ADD-int8]",
)
add(
    "work_items_in_fours",
    "Work items are run by fours, and the rest is not",
    method("launch", over(lambda n: n // 4 * 4 if n > 4 else n)),
    f"{MATMUL} fused::test_named* primitives::test_binary[ADD-int8]",
)
add(
    "second_half_lost",
    "The second half of the work items is not run",
    method("launch", over(lambda n: -(-n // 2))),
    f"{MATMUL} fused::* reductions::* primitives::test_sizes*",
)
add(
    "block_without_tail",
    "The last element that a block of threads has is left out",
    text(r"if \((\w+) < (\d+)\) \{", lambda m: f"if ({m[1]} < {int(m[2]) - 1}) {{"),
    "primitives::test_sizes[int8] views::test_single[vector]",
    base=Base.BLOCKS,
)
