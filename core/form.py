"""How a captured function is called: its arguments by name, and the parameters of a function that takes them.

What could be passed by position counts as passed so, whichever way it was: ``f(x, y)``, ``f(x, y=y)`` and
``f(y=y, x=x)`` are one call. So the tensors of two calls that differ in nothing else are met in one order.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from .record import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """What a function calls its parameters, where that is known.

    Attributes:
        positional: what may be passed by position, in order.
        nameless: so many of them can't be passed by name.
    """

    positional: tuple[str, ...]
    nameless: int = 0

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Names:
        """A function's, or those of an object that can be called."""
        if type(function) is partial:
            return cls.of(function.func).without(len(function.args), function.keywords)
        bound = not inspect.isfunction(function)
        written = getattr(function, "__func__", function if not bound else type(function).__call__)
        code = getattr(written, "__code__", None)
        if code is None:
            return cls(())
        return cls(code.co_varnames[: code.co_argcount], code.co_posonlyargcount).without(int(bound))

    def without(self, count: int, names: Collection[str] = ()) -> Names:
        """Of what comes after the first ``count``, which are given already; ``names`` have other defaults."""
        given = [n in names for n in self.positional[count:]]
        end = count + (given.index(True) if any(given) else len(given))  # from there on by name alone
        return Names(self.positional[count:end], max(self.nameless - count, 0))

    def in_place(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """A call's arguments with those by position that can be."""
        end = len(args)
        if not kwargs or end < self.nameless:
            return args, kwargs
        while end < len(self.positional) and self.positional[end] in kwargs:
            end += 1
        moved = self.positional[len(args) : end]
        left = {name: value for name, value in kwargs.items() if name not in moved}
        return (*args, *[kwargs[name] for name in moved]), left


@dataclass(frozen=True, slots=True)
class Form:
    """A captured call's arguments, those by position first.

    Attributes:
        positional: their names; numbers as text for those that have none.
        nameless: so many of them can't be passed by name.
        named: of those that are passed by name, in order.
    """

    positional: tuple[str, ...]
    nameless: int
    named: tuple[str, ...]

    @classmethod
    def of(cls, names: Names, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Form:
        """Of a call whose arguments are ``in_place``."""
        known = names.positional[: len(args)]
        more = tuple(map(str, range(len(known), len(args))))
        nameless = len(args) if more else min(names.nameless, len(args))
        return cls((*known, *more), nameless, tuple(sorted(kwargs)))

    @property
    def variables(self) -> tuple[str, ...]:
        """What the parameters are called in a function's text."""
        return (*[n if n.isidentifier() else f"_argument{n}" for n in self.positional], *self.named)

    def can_be_written(self, taken: Collection[str]) -> bool:
        """Whether these can be parameters in a text that uses the names in ``taken`` for something else."""
        own = self.variables
        return len(set(own)) == len(own) and not any(
            v in taken or not v.isidentifier() or keyword.iskeyword(v) for v in own
        )

    def parameters(self, missing: str, rest: str, others: str) -> str:
        """The parameters, each with the default ``missing``; ``rest`` and ``others`` take whatever else is
        passed."""
        own = [f"{v}={missing}" for v in self.variables]
        count = len(self.positional)
        slash = ["/"] if self.nameless else []
        return ", ".join(
            [
                *own[: self.nameless],
                *slash,
                *own[self.nameless : count],
                f"*{rest}",
                *own[count:],
                f"**{others}",
            ]
        )

    def passed(
        self, missing: object, values: Sequence[Any], rest: Sequence[Any], others: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments again, from what the parameters hold."""
        args: list[Any] = []
        kwargs = dict(others)
        names = (*self.positional, *self.named)
        for i, (name, value) in enumerate(zip(names, values, strict=True)):
            if value is missing:
                continue
            if i == len(args) and i < len(self.positional):
                args.append(value)
            else:
                kwargs[name] = value
        return (*args, *rest), kwargs
