"""Accesses one element, or a little more, outside of a buffer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core.device import Device, Launch
from ...core.loops import Body, Loop, Stmt, Store, Update, statements
from ...core.value import Extra, make
from .means import each, method, text
from .mutant import Base, Family

FAMILY = Family("out of bounds by one")
add = FAMILY.add
SIZES = (
    "primitives::test_sizes[float32] primitives::test_load_store[float32] "
    "views::test_single[vector] views::test_single[matrix] views::*"
)
SUMS = (
    "reductions::test_sum_of_integers[float32] reductions::test_axes[last-ADD] "
    "reductions::test_max[float32] reductions::test_sum[float32]"
)


def one_more_store(s: Stmt) -> Body | None:
    """Loops that store run a step too many."""
    if isinstance(s, Loop) and s.extent > 1 and all(isinstance(t, Store) for t in statements(s.body)):
        return (replace(s, extent=s.extent + 1),)
    return None


def one_more_fold(s: Stmt) -> Body | None:
    """Loops that fold run a step too many."""
    if isinstance(s, Loop) and s.extent > 1 and all(isinstance(t, Update) for t in statements(s.body)):
        return (replace(s, extent=s.extent + 1),)
    return None


def one_further(s: Stmt) -> Body | None:
    """What is stored is one element further on."""
    return (replace(s, index=s.index + 1),) if isinstance(s, Store) and s.memory.startswith("out") else None


def one_before(s: Stmt) -> Body | None:
    """What is stored at a constant place is one element before."""
    if isinstance(s, Store) and s.memory.startswith("out") and s.index.const > 0:
        return (replace(s, index=s.index - 1),)
    return None


def whole_vector(s: Stmt) -> Body | None:
    """A single element after vectors is written as a vector of four."""
    if isinstance(s, Store) and s.value.lanes == 1 and not s.value.dtype.is_bool and not s.guard:
        wide = make(Extra.SPLAT, s.value.dtype, (s.value,), None, 4)
        return (replace(s, value=wide, stride=1),)
    return None


def unguarded(s: Stmt) -> Body | None:
    """Stores do not ask whether they may."""
    return (replace(s, guard=()),) if isinstance(s, Store) and s.guard else None


def beyond(device: Device, launch: Any) -> Any:
    """A kernel of several work items is run over one more."""

    def other(given: Launch) -> None:
        n, y, z = given.grid
        launch(replace(given, grid=(n + 1 if n > 1 else n, y, z)))

    return lambda launch: other(launch)


add("stores_once_more", "Loops that store run a step too many", each(one_more_store), SIZES)
add("folds_once_more", "Loops that fold run a step too many", each(one_more_fold), SUMS)
add("stores_one_further", "Stores are one element further on", each(one_further), SIZES)
add("stores_one_before", "Stores at a constant distance are one element before", each(one_before), SIZES)
add("stores_whole_vectors", "Single elements are stored as vectors of four", each(whole_vector), SIZES)
add(
    "one_work_item_more",
    "Kernels are run over one work item too many",
    method("launch", beyond),
    "reductions::test_matmul_of_integers[float32] reductions::test_sum_of_many* "
    "fused::test_named* reductions::* fused::*",
)
add(
    "threads_unguarded",
    "Threads beyond the last element work too",
    text(r"if \((\w+) < (\d+)\) \{", "if (1) {"),
    "primitives::test_sizes[int8] views::test_single[vector] primitives::test_load_store[int8]",
    base=Base.BLOCKS,
)
add(
    "one_thread_more",
    "One thread beyond the last element works too",
    text(r"if \((\w+) < (\d+)\) \{", lambda m: f"if ({m[1]} <= {m[2]}) {{"),
    "primitives::test_sizes[int8] views::test_single[vector] primitives::test_load_store[int8]",
    base=Base.BLOCKS,
)
add(
    "stores_unguarded",
    "Stores of a block do not ask whether they may",
    each(unguarded),
    "reductions::test_axes[last-ADD] reductions::test_integers_wrap[int32-ADD] reductions::*",
    base=Base.BLOCKS,
)
