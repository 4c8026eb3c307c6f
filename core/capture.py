"""Running a function while what it launches is recorded.

While it runs, every tensor that it can reach stands on memory under a name of its own, so that the tape tells
them apart even where two share memory. What stands otherwise afterwards is an effect of the call.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import is_
from typing import Any

from . import engine, graph, trace
from .device import Buffer
from .errors import JitError
from .node import Node
from .recipe import Assigned, Given, Graded, Place, Placed, Recipe, Source
from .record import dataclass
from .structure import Taken, arguments_difference, plain_values, put_back, take, take_arguments
from .tape import Recorder
from .tensor import Tensor, random
from .tensor.base import TensorBase, realize_all, realize_deferred
from .watch import ATOMS, Change, Gone, Watch, brief, same

NO_PYTHON = "a replay runs no Python code. Keep it in a tensor, or change it outside"
ONE_AT_A_TIME = threading.RLock()
"""Held while a function is warmed up or captured: the engine has one recorder."""


@contextmanager
def _listening(capturing: bool) -> Iterator[Recorder]:
    recorder = Recorder(capturing)
    with ONE_AT_A_TIME:
        before, engine.recorder = engine.recorder, recorder
        try:
            yield recorder
        finally:
            engine.recorder = before


@dataclass(frozen=True, slots=True)
class Warm:
    """What a call that was only run tells about the next one.

    Attributes:
        rest: what its arguments were besides tensors; ``shapes`` of those.
        made: digests of what the host put into memory.
    """

    rest: Mapping[str, Any]
    shapes: tuple[Any, ...]
    made: tuple[str, ...]

    def resembles(self, taken: Taken) -> bool:
        """Whether arguments are such as these were."""
        return arguments_difference(self.rest, taken.rest) is None and self.shapes == _shapes(taken)


def warm_up(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], taken: Taken
) -> tuple[Any, Warm]:
    """Runs a function as it is, and computes what it returns."""
    with _listening(False) as recorder:
        results = take(function(*args, **kwargs), "its result")
        realize_all(results.tensors)
        for t in results.tensors:
            recorder.number_of(t.node)
    warm = Warm(taken.rest, _shapes(taken), tuple(map(_digest, recorder.made)))
    return put_back(results.rest, map(_without_history, results.tensors)), warm


def _shapes(taken: Taken) -> tuple[Any, ...]:
    return tuple([(t.shape, t.dtype, t.device) for t in taken.tensors])


def _digest(buffer: Buffer) -> str:
    host = bytearray(buffer.nbytes)
    buffer.read(memoryview(host))
    return hashlib.sha256(host).hexdigest()


def _without_history(t: TensorBase) -> TensorBase:
    """``t`` itself, unless gradients pass through it to somewhere else."""
    return t if not t._requires_grad or t._own_leaf() else t.detach()


@dataclass(slots=True)
class _Stand:
    """A tensor while the function is run: its node before, the one that stands in, and its number."""

    tensor: TensorBase
    label: str
    before: Node
    leaf: bool
    requires_grad: bool
    placed: Node
    number: int
    grad: TensorBase | None

    @property
    def moved(self) -> bool:
        """Whether the function gave the tensor another value."""
        return self.tensor.node is not self.placed

    def source(self) -> Source:
        """What a replay must know of it."""
        t = self.tensor
        return Source(self.label, self.number, self.placed.shape, self.placed.dtype, t.device, self.leaf)

    def restore(self) -> None:
        """Ends the stand of a tensor that kept its value."""
        if not self.moved:
            self.tensor.node, self.tensor._requires_grad = self.before, self.requires_grad


def _stand(t: TensorBase, label: str, recorder: Recorder) -> _Stand:
    storage = t.node.storage
    assert storage is not None
    name = Buffer(storage.device, storage.nbytes, storage.handle, keep=storage)
    before, requires_grad, leaf = t.node, t._requires_grad, t._own_leaf()
    node = graph.buffer(name, t.shape, t.dtype)
    if leaf:
        t._become_leaf(node)
    else:
        t.node, t._requires_grad = node, False
    return _Stand(t, label, before, leaf, requires_grad, t.node, recorder.introduce(name), t.grad)


class Capture:
    """One captured call."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        taken: Taken,
        names: Sequence[str],
        warm: Warm,
    ) -> None:
        self.name, self.function, self.taken, self.warm = name, function, taken, warm
        self.names, self.args, self.kwargs = names, args, kwargs
        others = [(label, v) for label, rest in taken.rest.items() for v in plain_values(rest)]
        self.watch = Watch(function, others)
        for state in random.states.values():
            self.watch.tensors.setdefault(state, "the state of the random numbers")
        self.recorder: Recorder
        self.arguments: list[TensorBase] = []
        self.own: list[int] = []
        self.pinned: dict[int, TensorBase] = {}
        self.twice: set[TensorBase] = set()
        self.stands: dict[TensorBase, _Stand] = {}
        self.changes: list[Change] = []
        self.moved: list[_Stand] = []
        self.graded: list[_Stand] = []

    def refuse(self, why: str) -> JitError:
        """The error that says why the function can't be captured."""
        trace.jitted("refused", self.name, why)
        return JitError(f"jit cannot capture {self.name}: {why}")

    def run(self) -> tuple[Any, Recipe | None]:
        """Runs the function; its result, and the recipe, or None when it should be warmed up once more."""
        self._name_arguments()
        realize_deferred()
        realize_all([*self.arguments, *self.watch.tensors])
        with _listening(True) as self.recorder:
            try:
                for t, label in zip(self.arguments, self.taken.labels, strict=True):
                    if t not in self.watch.tensors:
                        self.stands[t] = _stand(t, label, self.recorder)
                for t, label in self.watch.tensors.items():
                    self.stands[t] = _stand(t, label, self.recorder)
                self.recorder.watched = self._gradients
                args, kwargs = self._passed()
                results = take(self.function(*args, **kwargs), "its result")
                self._check_passed(args, kwargs)
                self._check_results(results)
                self._compute(results)
                # a first draw of random numbers made their state, which this run took for a constant
                seen = all(state in self.stands for state in random.states.values())
                recipe = self._recipe(results) if seen else None
            finally:
                for s in self.stands.values():
                    s.restore()
        return put_back(results.rest, map(_without_history, results.tensors)), recipe

    # -------------------------------------------------------------------------------------- before

    def _name_arguments(self) -> None:
        """The arguments' tensors; one that is passed twice is passed under two names."""
        for i, (t, label) in enumerate(zip(self.taken.tensors, self.taken.labels, strict=True)):
            if t._requires_grad and not t._own_leaf():
                raise self.refuse(f"{label} comes from a computation that has gradients: detach() it")
            passed = t
            if t in self.watch.tensors:
                self.pinned[i] = t
            else:
                self.own.append(i)
                if any(t is o for o in self.arguments):
                    if t._requires_grad:
                        raise self.refuse(f"{label} requires a gradient and is passed twice")
                    passed = Tensor._of(t.node, t.device)
                    self.twice |= {t, passed}
            self.arguments.append(passed)

    def _passed(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if not self.twice:
            return self.args, self.kwargs
        tensors = iter(self.arguments)
        values = [put_back(r, tensors) for r in self.taken.rest.values()]
        count = len(self.args)
        return values[:count], dict(zip(sorted(self.kwargs), values[count:], strict=True))

    # --------------------------------------------------------------------------------------- after

    def _check_passed(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        after = take_arguments(self.names, args, kwargs)
        same_tensors = len(after.tensors) == len(self.arguments) and all(
            map(is_, after.tensors, self.arguments)
        )
        if arguments_difference(self.taken.rest, after.rest) or not same_tensors:
            raise self.refuse(f"it changes a collection that it is passed; {NO_PYTHON}")

    def _check_results(self, results: Taken) -> None:
        for v in plain_values(results.rest):
            if not isinstance(v, ATOMS):
                raise self.refuse(
                    f"it returns {brief(v)}: return tensors, in tuples, lists and dicts, and plain values"
                )

    def _gradients(self) -> list[Node]:
        """What has been collected in ``grad`` so far and is not computed."""
        grads = [s.tensor.grad for s in self.stands.values() if s.leaf]
        return [g.node for g in grads if g is not None and g.node.storage is None]

    def _drop_gradients(self) -> None:
        """Forgets the gradients that something was computed from and that are not computed themselves.

        An optimizer has used them. To keep them would cost the backward pass once more.
        """
        for s in self.stands.values():
            grad = s.tensor.grad
            if grad is not None and grad.node.storage is None and grad.node in self.recorder.used:
                s.tensor.grad = None

    def _compute(self, results: Taken) -> None:
        """Finds the effects, and computes everything that the call gives out."""
        self._drop_gradients()
        self.changes = self._find_changes()
        self.moved = [s for s in self.stands.values() if s.moved]
        self.graded = [
            s
            for s in self.stands.values()
            if s.leaf and s.tensor not in self.watch.tensors and s.tensor.grad is not s.grad
        ]
        for s in self.moved:
            if s.tensor in self.twice:
                raise self.refuse(f"it changes {s.label}, which is passed twice")
            if s.tensor._requires_grad and not s.tensor._own_leaf():
                raise self.refuse(f"{s.label} is given values that carry gradients: detach() them")
        placed = [c.after for c in self.changes if c.after is not None]
        grads = [s.tensor.grad for s in self.graded if s.tensor.grad is not None]
        realize_all([*results.tensors, *[s.tensor for s in self.moved], *placed, *grads])

    def _find_changes(self) -> list[Change]:
        """The places that hold another tensor than before the call."""
        try:
            changes = list(self.watch.changes())
        except Gone as e:
            raise self.refuse(f"{e} after the call; {NO_PYTHON}") from None
        kinds = (TensorBase, type(None))
        out = []
        for c in changes:
            if isinstance(c.before, kinds) and isinstance(c.after, kinds) and c.found.put is not None:
                out.append(c)
            elif same(c.before, c.after):
                c.found.kept[c.index] = c.after
            else:
                raise self.refuse(f"{c} after the call; {NO_PYTHON}")
        return out

    def _given(self, t: TensorBase) -> Given:
        return Given(self.recorder.number_of(t.node), t.shape, t.dtype, t.device)

    def _recipe(self, results: Taken) -> Recipe:
        outputs = [self._given(t) for t in results.tensors]
        graded = self._graded()
        placed = [c.after for c in self.changes if c.after is not None]
        given = [*outputs, *map(self._given, placed), *[self._given(s.tensor) for s in self.moved]]
        given += [g.given for g in graded if g.given is not None]
        self._check_made()
        needed = self.recorder.tape.read() | {g.value for g in given}
        objects = [t for t in (*placed, *self.pinned.values()) if t in self.stands]
        needed |= {s.number for s in (*self.moved, *[self.stands[t] for t in objects])}
        inside = [s for t, s in self.stands.items() if t in self.watch.tensors and s.number in needed]
        stands = [*(self.stands[self.arguments[i]] for i in self.own), *inside]
        for s in inside:
            if s.requires_grad and not s.leaf:
                raise self.refuse(f"{s.label} comes from a computation that has gradients: detach() it")
        position = {s.tensor: i for i, s in enumerate(stands)}
        holders, captured = self._holders(inside)
        return Recipe(
            self.name,
            self.recorder.tape,
            self.watch,
            self.taken.rest,
            self.own,
            {i: position[t] - len(self.own) for i, t in self.pinned.items()},
            [s.source() for s in stands],
            captured,
            holders,
            [Assigned(position[s.tensor], self._given(s.tensor)) for s in self.moved],
            self._placed(position),
            graded,
            [position.get(t, g) for t, g in zip(results.tensors, outputs, strict=True)],
            results.rest,
        )

    def _argument(self, t: TensorBase) -> int:
        return next((i for i, a in enumerate(self.arguments) if a is t and i in self.own), -1)

    def _placed(self, position: Mapping[TensorBase, int]) -> list[Placed]:
        read = self.recorder.tape.read()
        out = []
        for c in self.changes:
            unread = (
                c.before is not None
                and c.found is self.watch.gradients
                and self.stands[c.before].number not in read
            )
            given = None if c.after is None else position.get(c.after, self._given(c.after))
            out.append(Placed(Place(c.found, c.index), given, c.before, unread))
        return out

    def _graded(self) -> list[Graded]:
        out = []
        for s in self.graded:
            grad = s.tensor.grad
            given = None if grad is None else self._given(grad)
            out.append(Graded(self._argument(s.tensor), given, s.grad is not None))
        return out

    def _check_made(self) -> None:
        """What the host puts into memory is a constant of the tape: it must be the first call's too."""
        strange = [b for b in self.recorder.made if _digest(b) not in self.warm.made]
        if strange:
            raise self.refuse(
                f"it made {len(strange)} tensors from host data that it did not make at its first call, and "
                "that would never change: pass them as arguments, or draw random numbers with Tensor.rand"
            )

    def _holders(self, inside: Sequence[_Stand]) -> tuple[list[list[Place]], list[TensorBase]]:
        """Where each captured tensor is held, and the tensor that is there now."""
        index = {s.tensor: i for i, s in enumerate(inside)}
        holders: list[list[Place]] = [[] for _ in inside]
        captured: list[TensorBase] = [s.tensor for s in inside]
        for found, i, t in self.watch.places():
            if t in index:
                holders[index[t]].append(Place(found, i))
        for c in self.changes:
            if c.before is not None and c.after is not None:
                c.found.kept[c.index] = c.after
        for i, held in enumerate(holders):
            if held:
                captured[i] = held[0].found.kept[held[0].index]
        for s, t, held in zip(inside, captured, holders, strict=True):
            if any(p.found.kept[p.index] is not t for p in held):
                raise self.refuse(f"{s.label} is held in several places, and it changes one of them")
        return holders, captured
