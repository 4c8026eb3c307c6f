"""What the heuristic knows of a kernel and its device, and how it ends what it has chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from ..decisions import Decisions
from ..device import Spec
from ..knobs import TRIED
from ..loops import Acc, Bind, Body, Loop, Memory, Store, Update, statements, values
from ..ops import Op
from ..record import dataclass
from ..value import Access, toposort
from ..work import iterations
from .nest import wrap
from .transforms import fuse_loops


@dataclass(frozen=True, slots=True)
class Strides:
    """How the loads of some statements move with one loop: how many not at all, by one element, otherwise."""

    shared: int
    unit: int
    other: int

    def cost(self, lanes: int) -> float:
        """In vector loads, roughly."""
        return 0.1 * self.shared + self.unit + self.other * lanes


@dataclass(frozen=True, slots=True)
class Room:
    """Scratch memory of a work item that stays near, in bytes.

    Attributes:
        panel: for one of several packed panels.
        alone: for the one panel of a kernel that reads nothing else again.
        unpacked: of an operand that needs no packing, since it stays in the nearest cache whole.
    """

    panel: int
    alone: int
    unpacked: int


@dataclass(slots=True)
class Scheduling:
    """A kernel being scheduled.

    Attributes:
        spec: the device's.
        memories: the kernel's parameters by name, where none may be the memory of another.
        decisions: where there is more than one right answer.
        twice: whether what stores may be run twice, since nothing that it reads is written.
        trail: the steps so far, in words.
    """

    spec: Spec
    memories: Mapping[str, Memory]
    decisions: Decisions
    twice: bool = False
    trail: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """One more step, told once."""
        if text not in self.trail:
            self.trail.append(text)

    def knob(self, name: str, where: str) -> int:
        """One of the device's knobs, which may be answered otherwise for this kernel and this place."""
        return self.decisions.knob(name, where, getattr(self.spec.knobs, name), TRIED)

    def room(self) -> Room:
        """For packed panels, of this kernel."""
        return room(self.spec, self.knob("panel", "the kernel") if self.spec.near_bytes else 0)

    # ------------------------------------------------------------------ what loads do

    def lanes(self, body: Body) -> int:
        """How many lanes of the widest dtype that is computed with, or stored, fill a vector."""
        size = max((s.value.dtype.itemsize for s in statements(body) if isinstance(s, Store)), default=1)
        for v in toposort(values(body)):
            if v.op is not Op.CONST and not v.dtype.is_bool:
                size = max(size, v.dtype.itemsize)
        return self.spec.lanes_of(size)

    def strides(self, var: str, body: Body, stores: bool = False) -> Strides:
        """How accesses in ``body`` move with ``var``; stores count too when asked."""
        shared = unit = other = 0
        for access in loads(body):
            step = access.index.coefficient(var)
            guarded = any(var in m.names() for m in access.guard)
            if guarded or step is None:
                other += 1
            elif step == 0:
                shared += 1
            elif step == 1:
                unit += 1
            else:
                other += 1
        if stores:
            for s in statements(body):
                if isinstance(s, Store):
                    step = s.index.coefficient(var)
                    unit, other = (unit + 2, other) if step == 1 else (unit, other + 2)
        return Strides(shared, unit, other)

    def again(self, inner: Body) -> bool:
        """Whether iterations of loops around ``inner`` may be run twice: they store, and add to nothing."""
        own = {s.name for s in statements(inner) if isinstance(s, Acc)}
        stored = {s.memory for s in statements(inner) if isinstance(s, Store)}
        adds = any(isinstance(s, Update) and s.name not in own for s in statements(inner))
        return self.twice and not adds and all(a.memory not in stored for a in loads(inner))

    # ------------------------------------------------------------------ how it ends

    def finish(self, around: Sequence[Loop], body: Body, outermost: bool) -> Body:
        """What was made of some loops, inside those around it; the outermost is shared out among threads."""
        if around:
            return self.rows(around, body, outermost)
        first = body[0]
        if outermost and isinstance(first, Loop) and first.bind is Bind.SERIAL and first.extent > 1:
            self.note(f"grid {first.var} of {first.extent}")
            return (replace(first, bind=Bind.GRID), *body[1:])
        return body

    def rows(self, nest: Sequence[Loop], inner: Body, outermost: bool) -> Body:
        """Loops around what is scheduled by itself."""
        rebuilt = wrap(nest, inner)
        if not outermost:
            return (rebuilt,)
        return (self.grid(rebuilt),)

    def grid(self, loop: Loop) -> Loop:
        """The outermost loop shared out among threads; short ones are fused with the next first."""
        wanted = self.knob("pieces", loop.var) * self.spec.threads
        while loop.extent < wanted and len(loop.body) == 1 and isinstance(loop.body[0], Loop):
            if loop.body[0].bind is not Bind.SERIAL:
                break
            loop = fuse_loops(loop)
        self.note(f"grid {loop.var} of {loop.extent}")
        return replace(loop, bind=Bind.GRID)


def room(spec: Spec, part: int) -> Room:
    """For packed panels that may fill one part in so many of what is near; 0: nothing is packed."""
    if not spec.near_bytes or not part:
        return Room(0, 0, 0)
    return Room(spec.near_bytes // part, spec.near_bytes * 3 // 4, spec.cache_bytes[0] // 2)


def heavy(inner: Body) -> list[Loop]:
    """The loops that most of the work is in."""
    loops = [s for s in inner if isinstance(s, Loop)]
    most = max(map(iterations, loops), default=0)
    return [s for s in loops if 4 * iterations(s) >= most]


def unrolled(nest: Sequence[Loop], inner: Body) -> Loop:
    """The nest with every loop unrolled."""
    return wrap([replace(n, bind=Bind.UNROLL) for n in nest], inner)


def loads(body: Body) -> list[Access]:
    """What some statements load, each access once."""
    return [v.arg for v in toposort(values(body)) if v.op is Op.LOAD and isinstance(v.arg, Access)]


def stores_in(loop: Loop) -> bool:
    """Whether a loop stores something."""
    return any(isinstance(s, Store) for s in statements((loop,)))
