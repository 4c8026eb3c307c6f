"""jit: a function whose launches are captured at its second call and replayed at the later ones."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from . import engine, trace
from .capture import ONE_AT_A_TIME, Capture, Warm, warm_up
from .errors import JitError
from .form import Form, Names
from .quick import Call
from .replay import Replay
from .structure import HERE, arguments_difference, plain_values, take_arguments
from .tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")


class Jit(Generic[P, R]):
    """A function that is captured. Made by ``jit``.

    Attributes:
        function: as it was written.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_is_bound", "_key", "_lock", "_name", "_names", "_plain", "_replay",
        "_warm", "function",
    )  # fmt: skip

    def __init__(self, function: Callable[P, R]) -> None:
        if not callable(function):
            raise JitError(f"jit of {function!r}: it takes a function")
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise JitError(f"jit of {function.__name__}: it cannot capture a generator or a coroutine")
        functools.update_wrapper(self, function)
        self.function = function
        self._name = getattr(function, "__qualname__", type(function).__name__).rpartition("<locals>.")[2]
        self._names = Names.of(function)
        self._lock = threading.RLock()
        self._warm: Warm | None = None
        self._replay: Replay | None = None
        self._plain = -1  # how many are passed where all are tensors, and by position
        self._key = ""
        self._is_bound = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns.

        Raises:
            JitError: when the function can't be captured, or was captured otherwise than it is called.
        """
        return self._run(args, kwargs)  # once captured: only where what ``quick`` made gives up

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        outer = engine.recorder
        if outer is not None and outer.mine():  # inside another one: a part of that
            return self.function(*args, **kwargs)
        args, kwargs = self._names.in_place(args, kwargs)
        with self._lock:
            replay = self._replay
            if replay is None:
                return self._learn(args, kwargs)
            if len(args) == self._plain and not kwargs and all(type(t) is Tensor for t in args):
                return replay.run(args)  # type: ignore[no-any-return]
            taken = take_arguments(self._names.positional, args, kwargs)
            differs = arguments_difference(replay.recipe.arguments, taken.rest)
            if differs is not None:
                raise replay.refuse(differs)
            return replay.run(taken.tensors)  # type: ignore[no-any-return]

    @property
    def is_captured(self) -> bool:
        """Whether the next call is a replay."""
        return self._replay is not None

    def reset(self) -> None:
        """Forgets what was captured: the next call runs the function, and the one after captures it anew."""
        with self._lock:
            self._warm = self._replay = None
            self.__class__ = Jit

    def _learn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R:
        taken = take_arguments(self._names.positional, args, kwargs)
        for label, rest in taken.rest.items():
            if any(isinstance(v, np.ndarray) for v in plain_values(rest)):
                raise JitError(f"{self._name}: {label} holds a NumPy array. Pass a Tensor: Tensor(array)")
        with ONE_AT_A_TIME:
            if self._warm is None or not self._warm.resembles(taken):
                result, self._warm = warm_up(self.function, args, kwargs, taken)
                trace.jitted("warmed up", self._name)
            else:
                result, recipe = Capture(
                    self._name, self.function, args, kwargs, taken, self._names.positional, self._warm
                ).run()
                if recipe is not None:
                    trace.jitted("captured", self._name, f"{len(recipe.tape.actions)} kernels")
                    is_plain = not kwargs and all(r is HERE for r in recipe.arguments.values())
                    self._plain = len(args) if is_plain else -1
                    self._replay = Replay(recipe)
                    call = self._replay.quick(Form.of(self._names, args, kwargs), self._lock, Jit._run)
                    if call is not None:
                        self.__class__ = _class_with(call)
        return result  # type: ignore[no-any-return]

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"{owner.__qualname__}.{name}"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: each object has a captured function of its own, in its ``__dict__``."""
        if instance is None:
            return self
        held = getattr(instance, "__dict__", None)
        if held is None:
            raise JitError(f"{self._name}: a {type(instance).__name__} has no __dict__ to keep it in")
        found = held.get(self._key)
        if found is None:
            # all at once: one that came later would be a change of what the others were captured with
            for cls in type(instance).__mro__:
                for method in vars(cls).values():
                    if isinstance(method, Jit) and held.get(method._key) is None:
                        held[method._key] = method._bind(instance)
            found = held[self._key]
        return found

    def _bind(self, instance: Any) -> Jit[..., R]:
        method: Jit[..., R] = Jit(functools.partial(self.function, instance))
        method._name, method._names, method._is_bound = self._name, self._names.without(1), True
        return method

    def __reduce__(self) -> Any:
        """A function is pickled by its name; a copy of an object makes its methods anew."""
        return (_nothing, ()) if self._is_bound else self.__dict__["__qualname__"]


def _class_with(call: Call) -> type[Jit[Any, Any]]:
    """A class for one captured function: what Python calls is looked up in the class of what is called."""
    return type(Jit.__name__, (Jit,), {"__slots__": (), "__module__": __name__, "__call__": call})


def _nothing() -> None:
    """What a captured method becomes in a copy of its object."""


def jit(function: Callable[P, R]) -> Jit[P, R]:
    """Captures what a function launches at its second call, and replays it at the later ones.

    The first call runs the function as it is. The second, with arguments of the same shapes, runs it while
    its launches are recorded. Later calls only run the launches, on the tensors that they are passed; no
    Python code of the function runs any more. A function may be called with tensors, also nested in tuples,
    lists and dicts, and return such; those that it returns are computed and carry no gradients' history, so
    ``backward`` belongs inside. Tensors that it finds by itself (the parameters of a model) are read where
    they are at each call, and what it changes (by ``assign``, an optimizer's step, an attribute set to
    another tensor, the random numbers' state) is changed by a replay too.

    Everything else is frozen as captured, and compared at each call: plain arguments, and what the function
    sees through its closure, defaults and globals, in the objects there and their attributes. When something
    differs, there is a JitError. To compare takes about 0.03 µs for each attribute and element: keep data
    sets out of the objects that a captured function uses. Not seen: what installed packages keep, NumPy
    arrays above 64 KiB that are written in place, and anything from outside Python (time, files, random
    numbers of other packages).

    Two copies of what is given out are kept, and used in turn; a tensor that is still in use is never
    written: its memory is left to it. A gradient that is in ``grad`` when the function returns is given out
    too, unless it was only used by an optimizer: then ``grad`` is None afterwards. Realize or return it to
    see it.

    Raises:
        JitError: at the second call when the function can't be captured (it reads a tensor's values, changes
            Python values, returns other objects, reads a tensor that is found nowhere, makes tensors of other
            host data each time); later when it is called otherwise than captured.
    """
    return Jit(function)


__all__ = ["Jit", "jit"]
