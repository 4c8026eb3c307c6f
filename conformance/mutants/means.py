"""How a fault is put into a device: by its table, its trees, its text, its methods, or its claims.

Each function gives a ``Spoil``: what changes a device that was just opened, and nothing but that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.device import Device, Spec
from ...core.dialect import CLike, Dialect, NamedKernel
from ...core.dtype import DType
from ...core.errors import DeviceError
from ...core.loops import Body, Kernel, Stmt, map_body, values_of, with_values
from ...core.value import Access, Value, ValueOp, make, rewrite
from .mutant import Spoil

WAS = "WAS"
"""In a spelling: what stood there before."""
ValueRule = Callable[[Value, tuple[Value, ...]], Value | None]


@dataclass(frozen=True)
class Misprinting(Dialect):
    """A language that prints another tree than it is given, or another text than that tree's."""

    inner: Dialect
    change: Callable[[Kernel], Kernel] = lambda kernel: kernel
    print_as: Callable[[str], str] = lambda text: text

    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        """The source text of what the trees have become."""
        changed = [replace(k, kernel=self.change(k.kernel)) for k in kernels]
        return self.print_as(self.inner.render(changed, spec))

    def faults(self, spec: Spec) -> list[str]:
        """As the language itself."""
        return self.inner.faults(spec)


def put(device: Device, name: str, value: object) -> None:
    """Gives this device, and no other of its class, another attribute or method."""
    vars(device)[name] = value


def together(*steps: Spoil) -> Spoil:
    """A fault of several parts."""

    def spoil(device: Device) -> None:
        for step in steps:
            step(device)

    return spoil


def table(device: Device) -> CLike:
    """The device's language, which must be one of the C family."""
    if not isinstance(device.dialect, CLike):
        raise DeviceError(f"{device.name} speaks no language of the C family: choose another --base")
    return device.dialect


def language(change: Callable[[CLike], Dialect], vectors: bool = True) -> Spoil:
    """The device speaks another language; ``vectors`` says whether it still has vectors."""

    def spoil(device: Device) -> None:
        put(device, "dialect", change(table(device)))
        if not vectors:
            device.spec = replace(device.spec, vector_bytes=0)

    return spoil


def spelled(op: ValueOp, text: str, *dtypes: DType, vectors: bool = False) -> Spoil:
    """A primitive is spelled otherwise, of these dtypes or of all, by scalars unless ``vectors``.

    Args:
        op: which.
        text: as in ``CLike.scalar``; WAS stands for what was there.
        dtypes: of which results (of comparisons: of which operands); all when none is named.
        vectors: the spelling serves for vectors too.
    """

    def change(c: CLike) -> CLike:
        if dtypes:
            of_some = {(op, d): text.replace(WAS, c.by_dtype.get((op, d)) or c.scalar[op]) for d in dtypes}
            return replace(c, by_dtype={**c.by_dtype, **of_some})
        kept = {key: text.replace(WAS, t) if key[0] is op else t for key, t in c.by_dtype.items()}
        spelling = {**c.scalar, op: text.replace(WAS, c.scalar[op])}
        vector = {k: text.replace(WAS, t) if k is op else t for k, t in c.vector.items()}
        return replace(c, scalar=spelling, by_dtype=kept, vector=vector)

    return language(change, vectors)


def named(op: ValueOp, text: str, *pairs: tuple[DType, DType]) -> Spoil:
    """As ``spelled``, where U in ``text`` is what the language calls the second dtype of a pair."""

    def change(c: CLike) -> CLike:
        spelling = {(op, d): re.sub(r"\bU\b", c.types[u], text) for d, u in pairs}
        return replace(c, by_dtype={**c.by_dtype, **spelling})

    return language(change, vectors=False)


def columns(vectors: bool = True, **changed: Mapping[DType, str] | str) -> Spoil:
    """Other columns of the language's table; of one that is a mapping, only the keys that are given."""

    def change(c: CLike) -> CLike:
        new: dict[str, Any] = {
            k: {**getattr(c, k), **v} if isinstance(v, Mapping) else v for k, v in changed.items()
        }
        return replace(c, **new)

    return language(change, vectors)


def tree(change: Callable[[Kernel], Kernel], vectors: bool = True) -> Spoil:
    """What is printed is another tree, which nobody has verified."""
    return language(lambda c: Misprinting(c, change=change), vectors)


def body(change: Callable[[Body], Body], vectors: bool = True) -> Spoil:
    """As ``tree``, of the outermost statements."""
    return tree(lambda k: replace(k, body=change(k.body)), vectors)


def each(rule: Callable[[Stmt], Body | None], vectors: bool = True) -> Spoil:
    """As ``tree``: each statement becomes others, from the outside in; None keeps it."""
    return body(lambda b: map_body(b, rule), vectors)


def every_body(change: Callable[[Body], Body], vectors: bool = True) -> Spoil:
    """As ``tree``: each list of statements, the inner ones first, becomes another."""
    return body(lambda b: bodies(b, change), vectors)


def bodies(body: Body, change: Callable[[Body], Body]) -> Body:
    """``body`` with each list of statements in it changed, the inner ones first."""
    from ...core.loops import Loop

    return change(tuple(replace(s, body=bodies(s.body, change)) if isinstance(s, Loop) else s for s in body))


def each_value(rule: ValueRule, vectors: bool = False) -> Spoil:
    """As ``tree``: each value becomes another, from the leaves up; None keeps it."""

    def statement(s: Stmt) -> Body | None:
        held = values_of(s)
        return (with_values(s, rewrite(held, rule)),) if held else None

    return each(statement, vectors)


def each_load(change: Callable[[Access], Access], vectors: bool = True) -> Spoil:
    """As ``tree``: each load reads from elsewhere."""

    def rule(v: Value, srcs: tuple[Value, ...]) -> Value | None:
        if not isinstance(v.arg, Access):
            return None
        return make(v.op, v.dtype, srcs, change(v.arg), v.lanes)

    return each_value(rule, vectors)


def text(pattern: str, by: str | Callable[[re.Match[str]], str], vectors: bool = True) -> Spoil:
    """What a regular expression finds in the source is replaced."""
    return language(lambda c: Misprinting(c, print_as=lambda t: re.sub(pattern, by, t)), vectors)


def method(name: str, wrong: Callable[[Device, Callable[..., Any]], Callable[..., Any]]) -> Spoil:
    """One method does otherwise; ``wrong`` is given the device and the method as it was."""
    return lambda device: put(device, name, wrong(device, getattr(device, name)))


def known(thing: Any) -> Hashable:
    """What tells one handle or program from another, whatever a port uses for one."""
    return thing if isinstance(thing, Hashable) else id(thing)


def claims(**changed: Any) -> Spoil:
    """The Spec says what is not so."""

    def spoil(device: Device) -> None:
        device.spec = replace(device.spec, **changed)

    return spoil
