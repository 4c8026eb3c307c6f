"""What capturing a function finds out: its tape, what it reads, what it gives out and what it changes."""

from __future__ import annotations

from typing import Any

from .dtype import DType
from .guard import Found
from .node import Shape
from .record import dataclass
from .tape import Tape
from .tensor.base import TensorBase
from .watch import Watch

REMEDY = "Use another jit function for that, or call reset() to capture this one anew"


@dataclass(frozen=True, slots=True)
class Source:
    """A tensor that a replay reads.

    Attributes:
        label: how the user would write it.
        value: its number on the tape.
        shape, dtype, device: as captured; they must stay.
        requires_grad: whether it was a leaf that collects a gradient.
    """

    label: str
    value: int
    shape: Shape
    dtype: DType
    device: str
    requires_grad: bool


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor that a replay makes: the value that it holds, and under which shape."""

    value: int
    shape: Shape
    dtype: DType
    device: str


@dataclass(frozen=True, slots=True)
class Place:
    """Something that holds a tensor, and where in it."""

    found: Found
    index: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """An effect: a tensor object got another value.

    Attributes:
        source: which of the recipe's sources.
        given: its value afterwards.
    """

    source: int
    given: Given


@dataclass(frozen=True, slots=True)
class Placed:
    """An effect: a place (an attribute, an element, a variable) holds another tensor, or none any more.

    Attributes:
        place: which.
        given: the tensor, or which of the recipe's sources it is; None of none.
        before: what was there when the function was captured.
        unread: whether no kernel reads what was there, and it is a gradient: None will do as well.
    """

    place: Place
    given: Given | int | None
    before: Any
    unread: bool


@dataclass(frozen=True, slots=True)
class Graded:
    """An effect: an argument that requires a gradient got one."""

    argument: int
    given: Given | None
    had_one: bool


@dataclass(slots=True)
class Recipe:
    """What capturing found out about a function.

    Attributes:
        name: the function's.
        tape: its launches.
        watch: what it can see besides its arguments.
        arguments: what the arguments are besides tensors (see ``take_arguments``).
        own: the positions, among the arguments' tensors, of those that are sources; others are pinned.
        pinned: which of ``captured`` an argument must be, by position.
        sources: of the arguments in ``own``, then of ``captured``.
        captured: the other sources' tensors.
        holders: where each tensor of ``captured`` is held.
        assigned, placed, graded: its effects.
        results: the tensors that it returns: made anew, or the very object of one of ``sources``.
        rest: what it returns besides tensors.
    """

    name: str
    tape: Tape
    watch: Watch
    arguments: Any
    own: list[int]
    pinned: dict[int, int]
    sources: list[Source]
    captured: list[TensorBase]
    holders: list[list[Place]]
    assigned: list[Assigned]
    placed: list[Placed]
    graded: list[Graded]
    results: list[Given | int]
    rest: Any
