"""What a function can see besides its arguments: found once, compared at every call.

``Watch`` walks from a function through its closure, its defaults, the globals that it names, the functions
and objects that those hold, and their attributes and elements. It keeps what it found in flat lists, so that
asking whether anything changed is a few loops in C. Functions of Python's own modules, of installed packages
and of Portwright are taken to stay as they are; objects of any class are looked into, Python's own excepted.
"""

from __future__ import annotations

import enum
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter, itemgetter
from types import CellType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from . import registry
from .device import Buffer, Device
from .dtype import DType
from .guard import Found, guard
from .node import Node
from .record import dataclass
from .registry import default_device
from .tensor import Tensor
from .tensor.base import TensorBase

_ENGINE = __name__.rpartition(".")[0]
_PACKAGE = __name__.partition(".")[0]
ATOMS = (
    type(None), bool, int, float, complex, str, bytes, range, slice, type(...), enum.Enum, DType, np.dtype,
    np.generic, frozenset,
)  # fmt: skip
LARGE_ARRAY = 1 << 16
"""Bytes up to which a captured NumPy array is compared by content; a larger one only by being the same."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is compared by value: an array's bytes, a set's elements."""

    label: str
    now: Callable[[], Any]
    kept: Any

    def holds(self) -> bool:
        """Whether it is as it was."""
        return bool(self.now() == self.kept)


@dataclass(frozen=True, slots=True)
class Change:
    """A place that holds another object than it did."""

    found: Found
    index: int
    before: Any
    after: Any

    @property
    def label(self) -> str:
        """How the user would write the place."""
        return self.found.labels[self.index]

    def __str__(self) -> str:
        return f"{self.label} was {brief(self.before)} and is {brief(self.after)}"


class Gone(Exception):
    """Places were added or removed; says where."""


class Watch:
    """Everything that a walk found.

    Args:
        function: where to start.
        others: more to start from, each with the name that messages give it.

    Attributes:
        tensors: each tensor that was met, once, and the first label that leads to it.
        gradients: where the ``grad`` of those that require one is held.
    """

    def __init__(self, function: Callable[..., Any], others: Iterable[tuple[str, Any]] = ()) -> None:
        self.tensors: dict[TensorBase, str] = {}
        self._found: list[Found] = []
        self._sized: list[Any] = []
        self._sized_labels: list[str] = []
        self._contents: list[Contents] = []
        self._met: dict[int, Any] = {}
        self._modules: set[tuple[int, tuple[str, ...]]] = set()
        self._todo: deque[tuple[str, Any]] = deque([("", function), *others])
        self._add(lambda: (Tensor.training,), ["Tensor.training"], None, Tensor, [".training"])
        self._add(lambda: (default_device(),), ["the default device"], None, registry, ["._default"])
        self._walk()
        leaves = [t for t in self.tensors if t._requires_grad]
        self.gradients: Found | None = None
        if leaves:
            labels = [f"{self.tensors[t]}.grad" for t in leaves]
            self._add(
                partial(map, attrgetter("grad"), leaves), labels, lambda i, v: setattr(leaves[i], "grad", v),
                leaves, [f"[{i}].grad" for i in range(len(leaves))],
            )  # fmt: skip
            self.gradients = self._found[-1]
            self._walk()
        self._lengths = [len(s) for s in self._sized]
        self.condition = guard(self._found, self._sized, self._contents)
        self.holds = self.condition.compiled()
        """Whether every place holds the very object that it held."""

    # ------------------------------------------------------------------------------------------ asking

    def changes(self) -> Iterator[Change]:
        """The places that hold another object than they did.

        Raises:
            Gone: when there are other places than there were, or an array's elements changed.
        """
        for sized, length, label in zip(self._sized, self._lengths, self._sized_labels, strict=True):
            if len(sized) != length:
                raise Gone(f"{label} had {length} elements and has {len(sized)}")
        for c in self._contents:
            if not c.holds():
                raise Gone(f"{c.label} has other elements than it had")
        for found in self._found:
            try:
                values = list(found.now())
            except (KeyError, AttributeError, ValueError) as e:
                raise Gone(f"{', '.join(found.labels)}: one was there and is not ({e})") from e
            for i, (after, before) in enumerate(zip(values, found.kept, strict=True)):
                if after is not before:
                    yield Change(found, i, before, after)

    # ----------------------------------------------------------------------------------------- walking

    def places(self) -> Iterator[tuple[Found, int, TensorBase]]:
        """Every place that held a tensor."""
        for found in self._found:
            for i, value in enumerate(found.kept):
                if isinstance(value, TensorBase):
                    yield found, i, value

    def _walk(self) -> None:
        while self._todo:
            label, value = self._todo.popleft()
            if id(value) not in self._met and not isinstance(value, ATOMS):
                self._met[id(value)] = value
                self._visit(label, value)

    def _add(
        self,
        now: Callable[[], Iterable[Any]],
        labels: list[str],
        put: Callable[[int, Any], None] | None = None,
        holder: Any = None,
        reads: Sequence[str] = (),
    ) -> None:
        kept = list(now())
        self._found.append(Found(now, kept, labels, put, holder, reads))
        self._todo.extend(zip(labels, kept, strict=True))

    def _visit(self, label: str, value: Any) -> None:
        if isinstance(value, TensorBase):
            self.tensors[value] = label
        elif isinstance(value, FunctionType):
            self._function(label, value)
        elif isinstance(value, MethodType):
            self._todo.append((_self_label(label), value.__self__))
            self._todo.append((label, value.__func__))
        elif isinstance(value, partial):
            parts = (value.func, *value.args, *value.keywords.values())
            self._todo.extend((label, p) for p in parts)
        elif isinstance(value, (staticmethod, classmethod)):
            self._todo.append((label, value.__func__))
        elif isinstance(value, property):
            self._todo.extend((label, f) for f in (value.fget,) if f is not None)
        elif isinstance(value, tuple):
            self._todo.extend((f"{label}[{i}]", v) for i, v in enumerate(value))
        elif isinstance(value, (list, deque)):
            self._size(label, value)
            labels = [f"{label}[{i}]" for i in range(len(value))]
            reads = [f"[{i}]" for i in range(len(value))] if type(value) is list else ()
            self._add(partial(iter, value), labels, value.__setitem__, value, reads)
        elif isinstance(value, dict):
            self._mapping(label, value, [f"{label}[{k!r}]" for k in value])
            self._instance(label, value)
        elif isinstance(value, set):
            self._contents.append(Contents(label, partial(frozenset, value), frozenset(value)))
            self._todo.extend((f"an element of {label}", v) for v in value)
        elif isinstance(value, np.ndarray):
            if value.nbytes <= LARGE_ARRAY:
                self._contents.append(Contents(label, value.tobytes, value.tobytes()))
        elif isinstance(value, type):
            self._class(label, value)
        elif not isinstance(value, (ModuleType, Device, Buffer, Node, CodeType)):
            self._instance(label, value)

    def _size(self, label: str, sized: Any) -> None:
        self._sized.append(sized)
        self._sized_labels.append(label)

    def _mapping(self, label: str, mapping: dict[Any, Any], labels: list[str]) -> None:
        keys, values = list(mapping), mapping.values()
        self._size(label, mapping)
        # any other kind of dict may do something else when it is asked for a key
        is_plain = type(mapping) is dict and all(type(k) is str for k in keys)
        self._found.append(Found(partial(iter, mapping), keys, labels, None, mapping, (), is_plain))
        reads = [f"[{k!r}]" for k in keys] if is_plain else ()
        self._add(partial(iter, values), labels, lambda i, v: mapping.__setitem__(keys[i], v), mapping, reads)

    def _named(
        self, mapping: Mapping[str, Any], names: Sequence[str], labels: list[str], put: Any = None
    ) -> None:
        reads = [f"[{n!r}]" for n in names]
        if len(names) == 1:
            name = names[0]
            self._add(lambda: (mapping[name],), labels, put, mapping, reads)
        elif names:
            self._add(partial(itemgetter(*names), mapping), labels, put, mapping, reads)

    def _function(self, label: str, f: FunctionType) -> None:
        if is_library(f.__module__):
            return
        dot = f"{label}: " if label else ""
        code = f.__code__
        # where its code has no parameters for defaults, they are nothing that it sees
        parts = {"__code__": f"{dot}its code"}
        parts |= {"__defaults__": f"{dot}its defaults"} if code.co_argcount else {}
        parts |= {"__kwdefaults__": f"{dot}its defaults"} if code.co_kwonlyargcount else {}
        get = attrgetter(*parts)
        read = partial(get, f) if len(parts) > 1 else lambda: (get(f),)
        self._add(read, list(parts.values()), holder=f, reads=[f".{n}" for n in parts])
        cells = [(n, c) for n, c in zip(code.co_freevars, f.__closure__ or (), strict=True) if _is_set(c)]
        if cells:
            kept = [c for _, c in cells]
            contents = partial(map, attrgetter("cell_contents"), kept)
            self._add(
                contents, [n for n, _ in cells], lambda i, v: setattr(kept[i], "cell_contents", v), kept,
                [f"[{i}].cell_contents" for i in range(len(kept))],
            )  # fmt: skip
        names, attributes = names_of(code)
        present = [n for n in names if n in f.__globals__]
        namespace = f.__globals__
        self._named(namespace, present, present, lambda i, v: namespace.__setitem__(present[i], v))
        for n in present:
            self._module(n, namespace[n], attributes)

    def _module(self, label: str, module: Any, attributes: tuple[str, ...]) -> None:
        if not isinstance(module, ModuleType) or is_library(module.__name__):
            return
        if (id(module), attributes) in self._modules:
            return
        self._modules.add((id(module), attributes))
        present = [n for n in attributes if n in vars(module)]
        for n in present:
            self._module(f"{label}.{n}", vars(module)[n], attributes)
        self._named(
            vars(module), present, [f"{label}.{n}" for n in present],
            lambda i, v: setattr(module, present[i], v),
        )  # fmt: skip

    def _class(self, label: str, cls: type) -> None:
        for c in cls.__mro__:
            if not is_library(c.__module__):
                names = [n for n in vars(c) if not n.startswith("__") or n in ("__call__", "__getattr__")]
                self._named(
                    vars(c), names, [f"{label}.{n}" for n in names], partial(_set_attribute, c, names)
                )

    def _instance(self, label: str, value: Any) -> None:
        cls = type(value)
        label = label or cls.__name__
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            self._todo.append((label, wrapped))
        top = cls.__module__.partition(".")[0]
        inside = cls.__module__ == _ENGINE or cls.__module__.startswith(f"{_ENGINE}.")
        if inside or top == "numpy" or (top in _STANDARD and cls is not SimpleNamespace):
            return
        self._todo.append((cls.__name__, cls))
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self._mapping(label, attributes, [f"{label}.{k}" for k in attributes])
        slots = [
            n for c in cls.__mro__ for n in _slots_of(c) if not n.startswith("__") and _has_slot(value, n)
        ]
        if slots:
            get = attrgetter(*slots)
            read = (lambda: (get(value),)) if len(slots) == 1 else partial(get, value)
            labels = [f"{label}.{n}" for n in slots]
            reads = [f".{n}" for n in slots]
            self._add(read, labels, partial(_set_attribute, value, slots), value, reads)


# ------------------------------------------------------------------------------------------------- helpers

_STANDARD = sys.stdlib_module_names - {"__main__"} | {"builtins"}


def _set_attribute(holder: Any, names: Sequence[str], index: int, value: Any) -> None:
    setattr(holder, names[index], value)


def _self_label(label: str) -> str:
    return label.rpartition(".")[0] or "self"


def _is_set(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading is the question
    except ValueError:
        return False
    return True


def _slots_of(cls: type) -> Sequence[str]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _has_slot(value: Any, name: str) -> bool:
    return getattr(value, name, _has_slot) is not _has_slot


@lru_cache(maxsize=1024)
def is_library(module: str | None) -> bool:
    """Whether a module's functions are taken to stay as they are: Python's, Portwright's, or installed."""
    top = (module or "builtins").partition(".")[0]
    if top in _STANDARD or top == _PACKAGE:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    installed = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return file is not None and file.startswith(installed)


@lru_cache(maxsize=1024)
def names_of(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The globals that code names, and the attributes, those of the functions inside it too."""
    import dis

    names: dict[str, None] = {}
    attributes: dict[str, None] = {}
    todo = [code]
    while todo:
        c = todo.pop()
        todo += [k for k in c.co_consts if isinstance(k, CodeType)]
        for i in dis.get_instructions(c):
            if i.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                names[i.argval] = None
            elif i.opname in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
                attributes[i.argval] = None
    return tuple(names), tuple(attributes)


def same(a: Any, b: Any) -> bool:
    """Whether two plain Python values are interchangeable: of one type and equal, 0.0 and -0.0 apart."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (float, complex)):
        return repr(a) == repr(b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype) and a.tobytes() == b.tobytes()
    equal: bool = isinstance(a, ATOMS) and bool(a == b)
    return equal


def brief(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, TensorBase):
        return f"a {value.dtype} tensor of shape {value.shape}"
    if isinstance(value, tuple):
        text = f"({', '.join(map(brief, value))}{',' if len(value) == 1 else ''})"
    else:
        text = repr(value) if isinstance(value, ATOMS) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"
