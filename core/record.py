"""Dataclasses that cost little to declare: half of the time to a first result went into declaring them.

The standard library writes and compiles up to nine methods of each class when it is declared, though most of
them are never called. Here, comparing, hashing and showing are functions that all classes share, and
``__init__`` is compiled when the first object is made. Fields, ``replace``, ``asdict``, ``match`` and what
type checkers know are the standard library's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, slots=False, kw_only=False):
        """``dataclasses.dataclass``, of which the methods wait until they are used."""
        declare = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)

        def declared(cls):
            return _complete(declare(cls), frozen, eq, slots)

        return declared if cls is None else declared(cls)


def _complete(cls: Any, frozen: bool, eq: bool, slots: bool) -> Any:
    """Gives a class whose fields are declared what it does not define itself."""
    own = cls.__dict__
    every: tuple[Field[Any], ...] = dataclasses.fields(cls)
    methods: dict[str, Any] = {"__init__": _made_when_called(cls, frozen), "__signature__": _Signature()}
    methods["__repr__"] = _showing([f.name for f in every if f.repr])
    if eq:
        values = _values([f.name for f in every if f.compare])
        methods["__eq__"] = _comparing(values)
        if frozen:
            methods["__hash__"] = _hashing(values)
        elif "__hash__" not in own:
            cls.__hash__ = None
    if frozen:
        methods["__setattr__"], methods["__delattr__"] = _refuse_to_set, _refuse_to_delete
    if frozen and slots:  # copying and pickling set what nobody else may
        methods["__getstate__"], methods["__setstate__"] = _state, _set_state
    for name, method in methods.items():
        if (
            own.get(name) is None
        ):  # None: Python's mark of a class that defines ``__eq__`` and no ``__hash__``
            setattr(cls, name, method)
    return cls


def _values(names: list[str]) -> Callable[[Any], Any]:
    """What is compared of an object: a tuple, in which what is the same object is equal (NaN, too)."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


def _comparing(values: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    def __eq__(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hashing(values: Callable[[Any], Any]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _showing(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({fields})"

    return __repr__


def _refuse_to_set(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, f.name) for f in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


def _made_when_called(cls: Any, frozen: bool) -> Callable[..., None]:
    """The ``__init__`` that puts the compiled one in its own place."""

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = made = _compiled(cls, frozen)
        _waiting.pop(__init__, None)
        made(self, *args, **kwargs)

    _waiting[__init__] = lambda: _compiled(cls, frozen)
    return __init__


_waiting: dict[Callable[..., None], Callable[[], Callable[..., None]]] = {}
"""What makes the compiled ``__init__`` that another stands for, by that one."""


class _Signature:
    """What ``inspect`` and ``help`` say that a class is called with."""

    def __get__(self, instance: object, cls: Any) -> Any:
        import inspect  # slow, and nobody asks while a first result is on its way

        made = _waiting.get(cls.__init__)
        whole = inspect.signature(cls.__init__ if made is None else made())
        return whole.replace(parameters=list(whole.parameters.values())[1:], return_annotation=whole.empty)


def _compiled(cls: Any, frozen: bool) -> Callable[..., None]:
    """``__init__``, written out: it takes the fields in order, those by keyword alone last."""
    scope: dict[str, Any] = {"_missing": MISSING}
    given: dict[bool, list[str]] = {False: ["self"], True: []}
    body: list[str] = []
    for f in dataclasses.fields(cls):
        name, default = f.name, ""
        value = name
        if f.default_factory is not MISSING:
            scope[f"_make_{name}"] = f.default_factory
            default = "=_missing"
            value = f"_make_{name}() if {name} is _missing else {name}" if f.init else f"_make_{name}()"
        elif f.default is not MISSING:
            scope[f"_default_{name}"] = f.default
            default = f"=_default_{name}"
            value = name if f.init else f"_default_{name}"
        elif not f.init:
            continue  # ``__post_init__`` sets it
        if f.init:
            given[bool(f.kw_only)].append(f"{name}{default}")
        if not frozen:
            body.append(f"self.{name} = {value}")
        elif isinstance(slot := getattr(cls, name, None), MemberDescriptorType):
            scope[f"_set_{name}"] = slot.__set__  # quicker than ``object.__setattr__``, which looks it up
            body.append(f"_set_{name}(self, {value})")
        else:
            scope["_set"] = object.__setattr__
            body.append(f"_set(self, {name!r}, {value})")
    if getattr(cls, "__post_init__", None):
        body.append("self.__post_init__()")
    parameters = ", ".join([*given[False], *(["*", *given[True]] if given[True] else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made
