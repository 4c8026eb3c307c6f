"""Checks that a loop tree keeps its rules. It is called after every pass."""

from __future__ import annotations

from collections.abc import Iterator

from .errors import KernelError
from .index import Index, Mask
from .loops import (
    Acc,
    Barrier,
    Bind,
    Body,
    Kernel,
    Let,
    Loop,
    Memory,
    Multiply,
    Prefetch,
    Scratch,
    Store,
    Update,
    statements,
    values_of,
)
from .ops import Op
from .value import Access, Extra, Value, indices, toposort


def verify(kernel: Kernel) -> None:
    """Checks that the tree keeps its rules.

    Every name is declared before it is used and once only in its scope; every access lies inside its memory
    or under a guard; dtypes agree; an accumulator is updated with its own operation; the grid loop is
    outermost and alone, and a loop over threads is all of its body.

    Raises:
        KernelError: with the rule that is broken and where.
    """
    memories = {p.name: p for p in kernel.params}
    if len(memories) != len(kernel.params):
        raise KernelError("two parameters of a kernel have one name")
    grids = [s for s in statements(kernel.body) if isinstance(s, Loop) and s.bind is Bind.GRID]
    outer = kernel.grid
    if len(grids) > 1 or (grids and outer is not grids[0]):
        raise KernelError("the grid loop must be alone, and outermost")
    if outer is not None:
        before = kernel.body[: kernel.body.index(outer)]
        if any(isinstance(s, Store) and s.memory in memories for s in statements(before)):
            raise KernelError("a statement before the grid loop stores to a parameter")
        own = {s.name for s in statements(outer.body) if isinstance(s, Acc)}
        for s in statements(outer.body):
            if isinstance(s, Update) and s.name not in own:
                raise KernelError(f"the grid loop updates {s.name}, which its iterations share")
    _verify_threads(kernel)
    _verify(kernel.body, {}, {}, memories)


def _verify_threads(kernel: Kernel) -> None:
    """Threads are the whole of a block's body, and where they share memory a barrier stands between
    a store and a load of what others stored, in the order of the text (and around loops)."""
    threads = kernel.threads
    inside = statements(threads.body) if threads else ()
    if threads is None:
        if any(isinstance(s, Barrier | Multiply) or (isinstance(s, Loop) and s.bind is Bind.THREAD)
               or (isinstance(s, Scratch) and s.memory.shared) for s in statements(kernel.body)):  # fmt: skip
            raise KernelError("a barrier, shared memory or a loop over threads outside of a block")
        return
    grid = kernel.grid
    assert grid is not None
    if len(grid.body) != 1 or len(kernel.body) != 1:
        raise KernelError("a block is more than its threads")
    for s in inside:
        if isinstance(s, Loop) and s.bind is Bind.THREAD:
            raise KernelError("a loop over threads inside another")
        if isinstance(s, Multiply) and s.tile.threads != threads.extent:
            raise KernelError(f"{s.tile.name} is computed by {s.tile.threads} threads, not {threads.extent}")
    _Phases(frozenset(_shared_names(threads.body))).body(threads.body)


def _shared_names(body: Body) -> Iterator[str]:
    for s in statements(body):
        if isinstance(s, Scratch) and s.memory.shared:
            yield s.memory.name


class _Phases:
    """Which shared memories have been stored to, and loaded from, since the last barrier."""

    def __init__(self, shared: frozenset[str]) -> None:
        self.shared = shared
        self.stored: set[str] = set()
        self.loaded: set[str] = set()

    def body(self, body: Body) -> None:
        for s in body:
            if isinstance(s, Barrier):
                self.stored.clear()
                self.loaded.clear()
            elif isinstance(s, Loop):
                self.body(s.body)
                if any(isinstance(x, Barrier) for x in statements(s.body)):
                    self.body(s.body)  # what one iteration leaves open, the next must not meet
            elif isinstance(s, Let | Update | Store):
                loads = {v.arg.memory for v in toposort([s.value]) if isinstance(v.arg, Access)} & self.shared
                if not loads.isdisjoint(self.stored):
                    raise KernelError(f"{', '.join(sorted(loads & self.stored))}: no barrier before the load")
                self.loaded |= loads
                if isinstance(s, Store) and s.memory in self.shared:
                    if s.memory in self.loaded - loads:
                        raise KernelError(f"{s.memory}: no barrier between the load and the store after it")
                    self.stored.add(s.memory)


def _verify(
    body: Body, extents: dict[str, int], names: dict[str, Value | Acc], memories: dict[str, Memory]
) -> None:
    extents, names, memories = dict(extents), dict(names), dict(memories)
    for s in body:
        if isinstance(s, Loop):
            if s.var in extents or s.extent < 0:
                raise KernelError(f"loop variable {s.var} is taken, or its extent {s.extent} is negative")
            for atom in s.until.atoms() if s.until is not None else ():
                if atom.inner is None and atom.key not in extents:
                    raise KernelError(f"loop {s.var} ends at {s.until}, which uses {atom.key}")
            if s.extent:
                _verify(s.body, {**extents, s.var: s.extent}, names, memories)
        elif isinstance(s, Barrier):
            continue
        elif isinstance(s, Prefetch):
            _verify_access(s.memory, s.index, (s.index,), 1, 0, extents, names, memories)
        elif isinstance(s, Multiply):
            for v in values_of(s):
                _verify_value(v, extents, names, memories)
            _verify_multiply(s, names)
        elif isinstance(s, Scratch):
            if s.memory.name in memories:
                raise KernelError(f"the name {s.memory.name} is taken")
            memories[s.memory.name] = s.memory
        elif isinstance(s, Acc):
            _fresh(s.name, names)
            names[s.name] = s
        elif isinstance(s, Let):
            _verify_value(s.value, extents, names, memories)
            _fresh(s.name, names)
            names[s.name] = s.value
        elif isinstance(s, Update):
            _verify_value(s.value, extents, names, memories)
            acc = names.get(s.name)
            if not isinstance(acc, Acc) or acc.op is not s.op or acc.dtype is not s.value.dtype:
                raise KernelError(f"update of {s.name} with {s.op!r} of {s.value.dtype}: no such accumulator")
            if s.value.lanes not in (1, acc.lanes):
                raise KernelError(f"update of {s.name} ({acc.lanes} lanes) with {s.value.lanes} lanes")
        else:
            _verify_value(s.value, extents, names, memories)
            _verify_access(s.memory, s.index, s.guard, s.value.lanes, s.stride, extents, names, memories)
            if memories[s.memory].dtype is not s.value.dtype:
                raise KernelError(f"store of {s.value.dtype} to {s.memory} of {memories[s.memory].dtype}")
            if not memories[s.memory].written:
                raise KernelError(f"store to {s.memory}, which is only read")


def _verify_multiply(s: Multiply, names: dict[str, Value | Acc]) -> None:
    for layout, of in ((s.tile.a, s.a), (s.tile.b, s.b)):
        if len(of) != layout.elements or any(v.dtype is not layout.dtype or v.lanes > 1 for v in of):
            raise KernelError(f"{s.tile.name} wants {layout.elements} elements of {layout.dtype} of a thread")
    accs = [names.get(c) for c in s.c]
    if len(accs) != s.tile.c.elements or not all(
        isinstance(a, Acc) and a.op is Op.ADD and a.dtype is s.tile.c.dtype for a in accs
    ):
        raise KernelError(f"{s.tile.name} wants {s.tile.c.elements} sums of {s.tile.c.dtype} of a thread")


def _fresh(name: str, names: dict[str, Value | Acc]) -> None:
    if name in names:
        raise KernelError(f"the name {name} is taken")


def _verify_access(
    memory: str, index: Index, guard: Mask, lanes: int, stride: int,
    extents: dict[str, int], names: dict[str, Value | Acc], memories: dict[str, Memory],
) -> None:  # fmt: skip
    where = memories.get(memory)
    if where is None:
        raise KernelError(f"access to {memory}, which is not declared")
    for i in (index, *guard):
        for atom in i.atoms():
            if atom.inner is None and atom.key not in extents and atom.key.split("[")[0] not in names:
                raise KernelError(f"{memory}[{index}] uses {atom.key}, which is not in scope")
    reach = (lanes - 1) * stride
    if not guard and (index.lo + min(reach, 0) < 0 or index.hi + max(reach, 0) >= where.size):
        raise KernelError(
            f"{memory}[{index}] reaches {index.lo} … {index.hi + reach}, outside 0 … {where.size - 1}"
        )


def _verify_value(
    value: Value, extents: dict[str, int], names: dict[str, Value | Acc], memories: dict[str, Memory]
) -> None:
    for v in toposort([value]):
        if v.op is Extra.REF:
            found = names.get(str(v.arg))
            if found is None or found.dtype is not v.dtype or found.lanes != v.lanes:
                raise KernelError(f"{v.arg} is used as {v.dtype} of {v.lanes} lanes, which it is not")
        elif v.op is Op.LOAD:
            access = v.arg
            assert isinstance(access, Access)
            lanes = 1 if access.places else v.lanes
            for p in access.places or (access,):
                _verify_access(
                    access.memory, p.index, p.guard, lanes, access.stride, extents, names, memories
                )
            if memories[access.memory].dtype is not v.dtype:
                raise KernelError(
                    f"load of {v.dtype} from {access.memory} of {memories[access.memory].dtype}"
                )
        elif v.op is Extra.INDEX:
            for atom in (a for i in indices(v) for a in i.atoms()):
                if atom.inner is None and atom.key not in extents and atom.key.split("[")[0] not in names:
                    raise KernelError(f"index {v.arg} uses {atom.key}, which is not in scope")
        for s in v.srcs:
            if s.lanes not in (1, v.lanes) and v.op not in (Extra.FOLD, Extra.LANE):
                raise KernelError(f"{v.op!r} of {v.lanes} lanes has an operand of {s.lanes}")
