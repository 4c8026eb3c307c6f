"""A fixed list of device work: recorded while it is run, then run again as often as wanted.

A ``Recorder`` listens to the engine and numbers the memory that it sees used (``Value``); its ``Tape`` names
memory by number only, so that nothing of the recorded run is ever written again. ``assign_memory`` gives the
values that are used only on the way memory to share, and a ``Player`` is a tape bound to memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Protocol, cast

from . import engine, trace
from .device import Ability, Buffer, Device, Launch, Replays
from .errors import JitError
from .node import GraphOp, Node, toposort
from .record import dataclass

if TYPE_CHECKING:
    from .plan import Step

ROOMY = 4
"""Memory may be shared by values of which one is this many times as large as another."""


@dataclass(frozen=True, slots=True)
class Value:
    """A piece of memory as a tape knows it.

    Attributes:
        device, nbytes: where it is and how large.
        constant: the memory itself, where it only ever holds what it held when it was recorded.
    """

    device: Device
    nbytes: int
    constant: Buffer | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One kernel, copy, compound or dispatched piece, and the numbers of the values that it works on.

    Attributes:
        writes, reads: the values; of a kernel, its arguments in this order.
    """

    step: Step
    writes: tuple[int, ...]
    reads: tuple[int, ...]

    def launch(self, buffers: Sequence[Buffer]) -> Launch:
        """The kernel's launch on this memory."""
        program = self.step.program
        assert program is not None
        return program.launch(tuple(buffers))


@dataclass(slots=True)
class Tape:
    """Actions in order, over numbered values."""

    actions: list[Action] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)

    def written(self) -> set[int]:
        """The values that some action writes."""
        return {v for a in self.actions for v in a.writes}

    def read(self) -> set[int]:
        """The values that some action reads."""
        return {v for a in self.actions for v in a.reads}


class Recorder:
    """Listens to what the engine runs for the thread that made it.

    Args:
        capturing: whether values that leave the device are refused, and those that come from nowhere.
    """

    def __init__(self, capturing: bool) -> None:
        self.capturing = capturing
        self.tape = Tape()
        self.made: list[Buffer] = []
        """Memory that the host filled during the recording, in the order of its first use."""
        self.watched: Callable[[], Collection[Node]] = tuple
        """Gives nodes that somebody wants to know about."""
        self.used: set[Node] = set()
        """Of those, the ones that something was computed from."""
        self._thread = threading.get_ident()
        self._since = next(Buffer.serials)
        self._numbers: dict[Buffer, int] = {}
        self._unknown: dict[Buffer, Node] = {}

    def mine(self) -> bool:
        """Whether the calling thread is the one that is listened to."""
        return threading.get_ident() == self._thread

    def introduce(self, buffer: Buffer) -> int:
        """Numbers memory whose content is another at each replay."""
        return self._add(buffer, Value(buffer.device, buffer.nbytes))

    def number_of(self, node: Node) -> int:
        """The number of a realized node's memory.

        Raises:
            JitError: of memory that is older than the recording and was not introduced.
        """
        assert node.storage is not None
        if self.mine():
            self.running([], [node])
        return self._number(node.storage)

    def running(self, todo: Sequence[Node], leaves: Sequence[Node]) -> None:
        """A plan is about to run: leaves that are older than the recording are remembered."""
        if not self.mine():
            return
        watched = self.watched()
        if watched:
            self.used |= set(watched) & set(toposort(todo, lambda n: n.storage is not None))
        for node in leaves:
            b = node.storage
            assert b is not None
            if b.serial < self._since and b.nbytes and b not in self._numbers and not _is_constant(node):
                self._unknown[b] = node

    def stepped(self, step: Step, buffers: tuple[Buffer, ...]) -> None:
        """A step is about to run."""
        if not self.mine():
            return
        n = len(step.writes)
        reads = tuple([self._number(b) for b in buffers[n:]])
        writes = tuple([self._add(b, Value(b.device, b.nbytes)) for b in buffers[:n]])
        self.tape.actions.append(Action(step, writes, reads))

    def reading(self, node: Node) -> None:
        """A value is about to leave the device.

        Raises:
            JitError: while capturing: what Python makes of it would be frozen.
        """
        if self.capturing and self.mine():
            raise JitError(
                f"a {_describe(node)} was read by Python (numpy, item, tolist, bool or print) while jit "
                "captured: what is made of it would never change. Compute with tensors, or return it and "
                "read it outside"
            )

    def _number(self, buffer: Buffer) -> int:
        found = self._numbers.get(buffer)
        if found is not None:
            return found
        hidden = self._unknown.get(buffer)
        if hidden is not None and self.capturing:
            raise JitError(
                f"jit cannot find the {_describe(hidden)} that the function reads among its arguments, or "
                "in what it names and their attributes, so it would not see it change. Pass it as an argument"
            )
        if hidden is None and buffer.serial >= self._since:
            self.made.append(buffer)
        return self._add(buffer, Value(buffer.device, buffer.nbytes, buffer))

    def _add(self, buffer: Buffer, value: Value) -> int:
        number = self._numbers[buffer] = len(self.tape.values)
        self.tape.values.append(value)
        return number


def _describe(node: Node) -> str:
    return f"{node.dtype} tensor of shape {node.shape}"


def _is_constant(node: Node) -> bool:
    """True of an expression over no memory: its value is the same for ever."""
    return all(n.op is not GraphOp.BUFFER for n in toposort([node]))


# -------------------------------------------------------------------------------------------------- memory


def assign_memory(tape: Tape, lent: Collection[int]) -> dict[int, Buffer]:
    """Memory for the values that are written and not ``lent`` to anybody, shared over time."""
    last = {v: i for i, a in enumerate(tape.actions) for v in (*a.writes, *a.reads)}
    rooms: dict[int, int] = {}  # a value's room, and each room's size
    sizes: list[int] = []
    homes: list[Device] = []
    free: list[int] = []
    for i, action in enumerate(tape.actions):
        for v in action.writes:
            if v in lent:
                continue
            value = tape.values[v]
            fits = [r for r in free if homes[r] is value.device and _near(sizes[r], value.nbytes)]
            if fits:
                room = min(fits, key=lambda r: abs(sizes[r] - value.nbytes))
                free.remove(room)
                sizes[room] = max(sizes[room], value.nbytes)
            else:
                room = len(sizes)
                sizes.append(value.nbytes)
                homes.append(value.device)
            rooms[v] = room
        free += [
            rooms[v] for v in dict.fromkeys((*action.writes, *action.reads)) if v in rooms and last[v] == i
        ]
    made = [Buffer(device, size) for device, size in zip(homes, sizes, strict=True)]
    return {v: made[r] for v, r in rooms.items()}


def _near(a: int, b: int) -> bool:
    return a <= ROOMY * b and b <= ROOMY * a


# ------------------------------------------------------------------------------------------------- playing


class _Part(Protocol):
    """Actions that are run by one call."""

    def run(self) -> None: ...

    def rebind(self, action: int, argument: int, buffer: Buffer) -> None: ...


class _Launches:
    """Kernels of one device in a row."""

    def __init__(self, device: Device, actions: Sequence[Action], buffers: list[list[Buffer]]) -> None:
        self.device, self.actions, self.buffers = device, actions, buffers
        self.replays = cast(Replays, device) if Ability.REPLAY in device.spec.abilities else None
        self.launches = [a.launch(b) for a, b in zip(actions, buffers, strict=True)]
        self.recording = self.replays.record(self.launches) if self.replays else None

    def run(self) -> None:
        if trace.watching:
            for action, buffers in zip(self.actions, self.buffers, strict=True):
                with trace.kernel(action.step.stages, self.device):
                    self.device.launch(action.launch(buffers))
        elif self.replays is not None:
            self.replays.replay(self.recording)
        else:
            for launch in self.launches:
                self.device.launch(launch)

    def quietly(self) -> Callable[[], None]:
        """``run`` for when nobody watches."""
        return self.run if self.replays is None else self.device.player(self.recording)

    def rebind(self, action: int, argument: int, buffer: Buffer) -> None:
        self.buffers[action][argument] = buffer
        if self.replays is not None:
            self.replays.rebind(self.recording, action, argument, buffer)
        else:
            self.launches[action] = self.actions[action].launch(self.buffers[action])


class _Piece:
    """One copy, compound or dispatched piece."""

    def __init__(self, action: Action, buffers: list[Buffer]) -> None:
        self.action, self.buffers = action, buffers

    def run(self) -> None:
        engine.perform(self.action.step, self.buffers)

    def rebind(self, action: int, argument: int, buffer: Buffer) -> None:
        self.buffers[argument] = buffer


@dataclass(frozen=True, slots=True)
class _Place:
    part: _Part
    action: int
    argument: int


class Player:
    """A tape bound to memory, one buffer for each value."""

    def __init__(self, tape: Tape, memory: Mapping[int, Buffer]) -> None:
        self._places: dict[int, list[_Place]] = {}
        self._parts: list[_Part] = []
        row: list[Action] = []
        for action in [*tape.actions, None]:
            kernel = action is not None and action.step.program is not None
            if row and not (kernel and action is not None and action.step.device is row[0].step.device):
                bound = [[memory[v] for v in (*a.writes, *a.reads)] for a in row]
                self._add(_Launches(row[0].step.device, row, bound), row)
                row = []
            if kernel and action is not None:
                row.append(action)
            elif action is not None:
                self._add(_Piece(action, [memory[v] for v in (*action.writes, *action.reads)]), [action])
        self.start: Callable[[], None] = self.play
        """``play``, while nobody listens."""
        if len(self._parts) == 1 and isinstance(self._parts[0], _Launches):
            self.start = self._parts[0].quietly()

    def _add(self, part: _Part, actions: Sequence[Action]) -> None:
        self._parts.append(part)
        for i, action in enumerate(actions):
            for argument, v in enumerate((*action.writes, *action.reads)):
                self._places.setdefault(v, []).append(_Place(part, i, argument))

    def rebind(self, value: int, buffer: Buffer) -> None:
        """Puts a value into other memory from now on."""
        for place in self._places.get(value, ()):
            place.part.rebind(place.action, place.argument, buffer)

    def play(self) -> None:
        """Runs every action in order."""
        for part in self._parts:
            part.run()
