"""Tensors nested in tuples, lists and dicts: taken out in order, and put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .record import dataclass
from .tensor.base import TensorBase
from .watch import brief, same


class _Here:
    """Where a tensor was."""

    def __repr__(self) -> str:
        return "a tensor"


HERE = _Here()


@dataclass(frozen=True, slots=True)
class Branch:
    """A tuple, list or dict: its type, a dict's keys, and what is inside."""

    kind: type
    keys: tuple[Any, ...]
    children: tuple[Any, ...]


@dataclass(slots=True)
class Taken:
    """The tensors of a nested value, where each was, and the rest: HERE, a Branch, or a plain value."""

    tensors: list[TensorBase]
    labels: list[str]
    rest: Any


def take(value: Any, label: str) -> Taken:
    """Takes the tensors out of ``value``; messages call it ``label``."""
    taken = Taken([], [], None)
    taken.rest = _take(value, label, taken)
    return taken


def _take(value: Any, label: str, into: Taken) -> Any:
    if isinstance(value, TensorBase):
        into.tensors.append(value)
        into.labels.append(label)
        return HERE
    if isinstance(value, dict):
        inside = [_take(v, f"{label}[{k!r}]", into) for k, v in value.items()]
        return Branch(type(value), tuple(value), tuple(inside))
    if isinstance(value, (tuple, list)):
        return Branch(type(value), (), tuple([_take(v, f"{label}[{i}]", into) for i, v in enumerate(value)]))
    return value


def put_back(rest: Any, tensors: Iterator[TensorBase]) -> Any:
    """The value again, with these tensors."""
    if rest is HERE:
        return next(tensors)
    if not isinstance(rest, Branch):
        return rest
    inside = [put_back(c, tensors) for c in rest.children]
    if issubclass(rest.kind, dict):
        return dict(zip(rest.keys, inside, strict=True))
    if rest.kind in (tuple, list):
        return rest.kind(inside)
    return rest.kind(*inside)  # a named tuple


def plain_values(rest: Any) -> Iterator[Any]:
    """What is neither a tensor nor a branch."""
    todo = [rest]
    while todo:
        r = todo.pop()
        if isinstance(r, Branch):
            todo += r.children
        elif r is not HERE:
            yield r


def difference(before: Any, after: Any, label: str) -> str | None:
    """In what two rests differ, in words; None when they are interchangeable."""
    if isinstance(before, Branch) and isinstance(after, Branch):
        if before.kind is not after.kind or before.keys != after.keys:
            return f"{label} was {_outline(before)} and is {_outline(after)}"
        if len(before.children) != len(after.children):
            return f"{label} had {len(before.children)} elements and has {len(after.children)}"
        names: Sequence[Any] = before.keys or range(len(before.children))
        for name, a, b in zip(names, before.children, after.children, strict=True):
            found = difference(a, b, f"{label}[{name!r}]")
            if found is not None:
                return found
        return None
    if before is after or (not isinstance(before, Branch) and same(before, after)):
        return None
    a, b = _outline(before), _outline(after)
    return f"{label} was {a} and is {b if a != b else 'another one'}"


def _outline(rest: Any) -> str:
    if isinstance(rest, Branch):
        keys = f" of {', '.join(map(repr, rest.keys))}" if rest.keys else ""
        return f"a {rest.kind.__name__}{keys}"
    return repr(rest) if rest is HERE else brief(rest)


def take_arguments(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Taken:
    """Takes the tensors out of a call's arguments; ``rest`` maps each one's label to what is left of it."""
    taken = Taken([], [], {})
    for i, value in enumerate(args):
        label = f"argument {names[i]}" if i < len(names) else f"argument {i}"
        taken.rest[label] = _take(value, label, taken)
    for name in sorted(kwargs):
        label = f"argument {name}"
        if label in taken.rest:  # def f(x, /, **others) may be called f(1, x=2)
            label += ", by name"
        taken.rest[label] = _take(kwargs[name], label, taken)
    return taken


def arguments_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """As ``difference``, of two calls' arguments."""
    if before.keys() != after.keys():
        return f"the arguments were {', '.join(before) or 'none'} and are {', '.join(after) or 'none'}"
    found = (difference(before[label], after[label], label) for label in before)
    return next((f for f in found if f is not None), None)
