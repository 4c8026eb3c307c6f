"""A captured function: its checks, its two players, and what each call gives out.

A captured tensor is an input like an argument, except that nobody passes it; one that the function changed is
a result like those it returns. So nothing is ever written that a tensor still reads: each of two ``Player``s,
which take turns, has memory of its own for what it gives out (``Lease``), and gets other memory when somebody
still holds what it gave out last. In a training loop the parameters go back and forth between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from . import graph, trace
from .device import Buffer
from .errors import JitError
from .form import Form
from .node import Node
from .quick import Call, Long, quick
from .recipe import REMEDY, Given, Recipe, Source
from .record import dataclass
from .structure import put_back
from .tape import Player, assign_memory
from .tensor import Tensor
from .tensor.base import TensorBase, realize_all
from .watch import Gone, same


class Lease:
    """Memory that a player writes and lends to tensors.

    Tensors read it through ``node``, whose buffer is a second name of the memory: so whether a tensor still
    holds it is seen from how many refer to these. A leaf that collects gradients reads it through ``top``.
    What a call returns, ``out``, is made with it, and given out again when nobody has it any more.
    """

    __slots__ = ("free_at", "given", "leaf", "memory", "node", "out", "shown", "top")

    def __init__(self, given: Given, memory: Buffer, leaf: TensorBase | None, is_returned: bool) -> None:
        self.given, self.memory, self.leaf = given, memory, leaf
        self.shown = Buffer(memory.device, memory.nbytes, memory.handle, keep=memory)
        self.node = self.top = graph.buffer(self.shown, given.shape, given.dtype)
        self.out = Tensor._of(self.node, given.device) if is_returned else None
        if leaf is not None:
            before = leaf.node
            leaf._become_leaf(self.node)
            self.top, leaf.node = leaf.node, before
        self.free_at = 0
        """The references that there are while no tensor holds it: those of the players that read it too."""

    def references(self) -> int:
        """How many refer to what tensors read it through."""
        found = getrefcount(self.top) + getrefcount(self.shown)
        if self.node is not self.top:
            found += getrefcount(self.node)
        return found if self.out is None else found + getrefcount(self.out)

    def is_free(self) -> bool:
        """Whether nobody holds what was given out, and ``out`` is as it was made. ``quick`` asks the same."""
        return self.references() == self.free_at and (
            self.out is None
            or (self.out.node is self.node and self.out.grad is None and not getweakrefcount(self.out))
        )


@dataclass(slots=True)
class _Turn:
    """A player, the nodes of the sources that it is bound to, and the memory that it lends, by value.

    Attributes:
        start: runs the player while nobody listens.
        lent: the memory that it lends, in order.
        other: the one that takes turns with it; both share the memory of what is computed on the way.
    """

    player: Player
    nodes: list[Node | None]
    leases: dict[int, Lease]
    start: Callable[[], None] = field(init=False)
    lent: tuple[Lease, ...] = field(init=False)
    other: _Turn = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.start = self.player.start
        self.lent = tuple(self.leases.values())

    def lend(self, value: int, lease: Lease) -> None:
        """Lends other memory from now on."""
        self.leases[value] = lease
        self.lent = tuple(self.leases.values())


class Replay:
    """Replays a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._idle: list[_Turn] = []  # nobody uses these: in single-threaded use, the next turn, or none yet
        self._opened: list[_Turn] = []  # all: what they are bound to counts in what their leases count
        self._lease_of: dict[Node | None, Lease] = {}
        given = [r for r in recipe.results if isinstance(r, Given)]
        given += [a.given for a in recipe.assigned]
        given += [e.given for e in recipe.placed if isinstance(e.given, Given)]
        given += [e.given for e in recipe.graded if e.given is not None]
        written = recipe.tape.written()
        self._lent = {g.value: g for g in reversed(given) if g.value in written}
        leaves = [a for a in recipe.assigned if recipe.sources[a.source].requires_grad]
        inside = [a for a in leaves if a.source >= len(recipe.own)]
        self._leaves = {a.given.value: recipe.captured[a.source - len(recipe.own)] for a in inside}
        self._lent |= {a.given.value: a.given for a in leaves if a.given.value in written}
        self._source_of = {s.value: i for i, s in enumerate(recipe.sources)}
        self._place = {(id(p.found), p.index): i for i, held in enumerate(recipe.holders) for p in held}
        self._placed = {(id(e.place.found), e.place.index): e for e in recipe.placed}
        collects = any(e.place.found is recipe.watch.gradients for e in recipe.placed)
        self._moves_leaves = bool(leaves) or collects
        # what most calls need not look at: one that only computes, of its arguments, a single tensor
        self._holds = recipe.watch.holds
        self._has_effects = bool(recipe.assigned or recipe.placed or recipe.graded)
        self._takes_all = not (recipe.pinned or recipe.captured or self._has_effects)

    def refuse(self, why: str) -> JitError:
        """The error that says why it can't be replayed, and what to do."""
        trace.jitted("refused", self.recipe.name, why)
        return JitError(f"{self.recipe.name} was captured otherwise: {why}. {REMEDY}")

    # ------------------------------------------------------------------------------------------ calling

    def run(self, tensors: Sequence[TensorBase]) -> Any:
        """What the function would return for arguments of the captured structure with these tensors.

        Raises:
            JitError: when it can't be known without running the function.
        """
        if not self._holds():
            self._reconcile()
        sources = tensors if self._takes_all else self._sources(tensors)
        turn = self._take(sources)
        following = turn
        try:
            bound = turn.nodes
            for i, t in enumerate(sources):
                if t.node is not bound[i]:
                    self._bind(turn, i, t)
            for value, lease in turn.leases.items():
                if not lease.is_free():
                    self._lend(turn, value)
            turn.player.play()
            following = turn.other
            return self._results(turn, tensors, sources)
        finally:
            self._idle.append(following)

    def quick(self, form: Form, lock: AbstractContextManager[Any], long: Long) -> Call | None:
        """A call of the captured function that is ``run`` where all is as it was; see ``core/quick.py``."""
        return quick(form, self.recipe, list(self._lent.values()), self._idle, lock, long)

    def _results(self, turn: _Turn, tensors: Sequence[TensorBase], sources: Sequence[TensorBase]) -> Any:
        """What a turn that was played gives out, after its effects."""
        recipe = self.recipe
        if trace.listening:
            trace.jitted("replayed", recipe.name, f"{len(recipe.tape.actions)} kernels")
        results: list[TensorBase] = []
        for r in recipe.results:
            if isinstance(r, int):
                results.append(sources[r])
                continue
            lease = turn.leases.get(r.value)
            # two results of one value are two tensors: who changes one does not mean the other
            out = None if lease is None or lease.given is not r else lease.out
            if out is None or any(t is out for t in results):
                out = Tensor._of(self._node(turn, r), r.device)
            results.append(out)
        if self._has_effects:
            self._take_effect(turn, tensors, sources)
        return put_back(recipe.rest, iter(results))

    def _sources(self, tensors: Sequence[TensorBase]) -> list[TensorBase]:
        """What the tape reads from outside: of the arguments, and what was captured."""
        recipe = self.recipe
        if recipe.pinned or recipe.graded:
            self._check_arguments(tensors)
        own = [tensors[i] for i in recipe.own] if recipe.pinned else tensors
        sources = [*own, *recipe.captured]
        if recipe.assigned and len(set(map(id, sources))) != len(sources):
            raise self.refuse("it changes tensors, and one that was two is met under two names")
        return sources

    def _node(self, turn: _Turn, given: Given) -> Node:
        lease = turn.leases.get(given.value)
        if lease is not None:
            node = lease.node
            if node.shape == given.shape and node.dtype is given.dtype:
                return node
            return graph.buffer(lease.shown, given.shape, given.dtype)
        source = self._source_of.get(given.value)
        bound = None if source is None else turn.nodes[source]
        storage = self.recipe.tape.values[given.value].constant if bound is None else bound.storage
        assert storage is not None
        return graph.buffer(storage, given.shape, given.dtype)

    def _take_effect(self, turn: _Turn, tensors: Sequence[TensorBase], sources: Sequence[TensorBase]) -> None:
        recipe = self.recipe
        # every node first: one tensor's new value may be another's old one
        assigned = [(a, self._node(turn, a.given)) for a in recipe.assigned]
        placed = [
            sources[e.given] if isinstance(e.given, int)
            else None if e.given is None
            else Tensor._of(self._node(turn, e.given), e.given.device)
            for e in recipe.placed
        ]  # fmt: skip
        for a, node in assigned:
            t = sources[a.source]
            lease = turn.leases.get(a.given.value)
            if not t._requires_grad:
                t.node = node
            elif lease is not None and lease.leaf is t:
                t.node = lease.top
            else:
                t._become_leaf(node)
        for e, held in zip(recipe.placed, placed, strict=True):
            found, index = e.place.found, e.place.index
            assert found.put is not None
            found.put(index, held)
            if held is not None and e.before is not None:
                found.kept[index] = held
                source = self._place.get((id(found), index))
                if source is not None:
                    recipe.captured[source] = held
        for g in recipe.graded:
            t = tensors[g.argument]
            t.grad = None if g.given is None else Tensor._of(self._node(turn, g.given), g.given.device)

    # ------------------------------------------------------------------------------------------ binding

    def _take(self, sources: Sequence[TensorBase]) -> _Turn:
        """A turn that nobody uses. There is none at the first replay, and while somebody else has it."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open(sources)

    def _open(self, sources: Sequence[TensorBase]) -> _Turn:
        """Makes two players, at the first replay: by then the captured run's own memory may be free."""
        tape = self.recipe.tape
        for s, t in zip(self.recipe.sources, sources, strict=True):
            self._check(s, t)
        realize_all(sources)
        memory = assign_memory(tape, self._lent)
        memory |= {i: v.constant for i, v in enumerate(tape.values) if v.constant is not None}
        for s, t in zip(self.recipe.sources, sources, strict=True):
            memory[s.value] = _own_memory(t)
        for v in tape.read() - memory.keys() - self._lent.keys():  # pragma: no cover - a fault of capture's
            raise JitError(f"{self.recipe.name}: no memory is known for value {v} of its tape")
        made: list[_Turn] = []
        for _ in range(2):
            leases = {v: self._lease(v) for v in self._lent}
            player = Player(tape, memory | {v: lease.memory for v, lease in leases.items()})
            made.append(_Turn(player, [None] * len(sources), leases))
        first, second = made
        first.other, second.other = second, first
        self._opened += made
        return first

    def _lease(self, value: int) -> Lease:
        v = self.recipe.tape.values[value]
        given = self._lent[value]
        is_returned = any(r is given for r in self.recipe.results)
        lease = Lease(given, Buffer(v.device, v.nbytes), self._leaves.get(value), is_returned)
        self._lease_of[lease.top] = lease
        lease.free_at = lease.references()  # no tensor has met it yet
        return lease

    def _lend(self, turn: _Turn, value: int) -> None:
        """Has a player write a value into other memory, and leaves the old to those who hold it."""
        self._lease_of.pop(turn.leases[value].top)
        lease = self._lease(value)
        turn.lend(value, lease)
        turn.player.rebind(value, lease.memory)

    def _bind(self, turn: _Turn, index: int, t: TensorBase) -> None:
        """Has a player read a source from where its values are now."""
        s = self.recipe.sources[index]
        if t.node.storage is None:
            realize_all((t,))
        self._check(s, t)
        turn.player.rebind(s.value, _own_memory(t))
        # ``free_at`` is never more than what is true: another thread may be asking whether that lease is free
        before, after = self._lease_of.get(turn.nodes[index]), self._lease_of.get(t.node)
        if before is not None:
            before.free_at -= 1
        turn.nodes[index] = t.node
        if after is not None:
            after.free_at += 1

    # ----------------------------------------------------------------------------------------- checking

    def _check(self, s: Source, t: TensorBase) -> None:
        for what, before, after in (
            ("shape", s.shape, t.shape),
            ("dtype", s.dtype, t.dtype),
            ("device", s.device, t.device),
            ("requires_grad", s.requires_grad, t._requires_grad),
        ):
            if before != after:
                raise self.refuse(f"the {what} of {s.label} was {before} and is {after}")
        if t._requires_grad and not t._own_leaf():
            raise self.refuse(f"{s.label} was a leaf and comes from a computation: detach() it")

    def _check_arguments(self, tensors: Sequence[TensorBase]) -> None:
        recipe = self.recipe
        for i, at in recipe.pinned.items():
            if tensors[i] is not recipe.captured[at]:
                label = recipe.sources[len(recipe.own) + at].label
                raise self.refuse(f"tensor {i} of the arguments was {label} itself, and is another one")
        for g in recipe.graded:
            if not g.had_one and tensors[g.argument].grad is not None:
                raise self.refuse(f"tensor {g.argument} of the arguments had no grad and has one")

    def _reconcile(self) -> None:
        """Some place holds another object than it did: takes it over where that is right, or refuses."""
        recipe = self.recipe
        try:
            changes = list(recipe.watch.changes())
        except Gone as e:
            raise self.refuse(str(e)) from None
        moved: dict[int, list[TensorBase]] = {}
        for c in changes:
            place = (id(c.found), c.index)
            effect = self._placed.get(place)
            if isinstance(c.before, TensorBase) and isinstance(c.after, TensorBase):
                if c.before._requires_grad and self._moves_leaves:
                    raise self.refuse(f"{c.label} is another tensor, and requires a gradient")
                if place in self._place:
                    moved.setdefault(self._place[place], []).append(c.after)
                elif effect is None and (c.before.shape, c.before.dtype) != (c.after.shape, c.after.dtype):
                    raise self.refuse(str(c))
            elif effect is not None and effect.unread and c.after is None:
                continue
            elif not same(c.before, c.after):
                raise self.refuse(str(c))
        for i, held in moved.items():
            if len(held) < len(recipe.holders[i]) or any(t is not held[0] for t in held):
                label = recipe.sources[len(recipe.own) + i].label
                raise self.refuse(f"{label} was one tensor in several places")
        # nothing is taken over where anything is refused; the tensors before the places that lead to them
        for i, held in moved.items():
            recipe.captured[i] = held[0]
        for c in changes:
            if c.after is not None:  # a gradient that nobody reads may be gone: that is no other state
                c.found.kept[c.index] = c.after


def _own_memory(t: TensorBase) -> Buffer:
    """The buffer that owns the memory of a realized tensor: beneath every other name of it."""
    buffer = t.node.storage
    assert buffer is not None
    while isinstance(buffer.keep, Buffer):
        buffer = buffer.keep
    return buffer
