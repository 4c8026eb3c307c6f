"""``core/record.py`` beside the standard library's dataclasses: the same objects by either."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field, replace
from typing import Any, ClassVar

import pytest

from portwright.core.record import dataclass

OPTIONS: list[dict[str, bool]] = [
    {},
    {"slots": True},
    {"eq": False, "slots": True},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where: at the top of a module, as pickle wants it."""

    row: int
    column: int


def declared(how: Callable[..., Any], options: dict[str, bool]) -> Any:
    """A class with each kind of field, and one that adds to it."""

    @how(**options)
    class Base:
        """What the fields mean."""

        KINDS: ClassVar[int] = 3
        first: int
        second: str = "two"
        made: list[int] = field(default_factory=list)
        unseen: int = field(default=0, repr=False, compare=False)
        later: int = field(init=False)
        fixed: int = field(init=False, default=7)

        def __post_init__(self) -> None:
            object.__setattr__(self, "later", self.first + 1)

    @how(**options)
    class Derived(Base):  # type: ignore[misc, valid-type]
        """One more field."""

        third: float = 3.0

        def __repr__(self) -> str:
            return f"<{self.third}>"

    return Base, Derived


def seen(options: dict[str, bool], how: Callable[..., Any]) -> list[object]:
    """What can be told of objects of both classes."""
    found: list[object] = []
    for cls in declared(how, options):
        one, same, other = cls(first=1), cls(first=1, unseen=2), cls(first=1, second="b", made=[5])
        found += [repr(v) for v in (one, other, replace(other, first=9))]
        found += [
            one == same,
            one == other,
            one != same,
            one == 1,
            one.later,
            one.fixed,
            one.made is same.made,
        ]
        found += [dataclasses.asdict(other), cls.__match_args__, cls.KINDS, cls.__name__, cls.__doc__]
        found += [copy.copy(other).second, copy.deepcopy(other).made]
        for act in (
            lambda: cls(),  # noqa: B023 - called at once
            lambda: cls(1),  # noqa: B023
            lambda: cls(1, "b", [], 2, 3, 4, 5),  # noqa: B023
            lambda: hash(cls(first=1, made=())) == hash(cls(first=1, made=(), unseen=2)),  # noqa: B023
            lambda: setattr(one, "first", 2),  # noqa: B023
            lambda: delattr(one, "first"),  # noqa: B023
            lambda: setattr(one, "unknown", 2),  # noqa: B023
        ):
            try:
                found.append(bool(act()))  # type: ignore[no-untyped-call]
            except (TypeError, AttributeError) as e:
                found.append(FrozenInstanceError if isinstance(e, FrozenInstanceError) else type(e))
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_they_are_the_standard_librarys(options: dict[str, bool]) -> None:
    ours, theirs = seen(options, dataclass), seen(options, dataclasses.dataclass)
    if options.get("frozen") and options.get("slots"):
        # the standard library's error about an unknown name is an accident of slots (bpo-46414)
        ours = [AttributeError if x is FrozenInstanceError else x for x in ours]
        theirs = [AttributeError if x in (FrozenInstanceError, TypeError) else x for x in theirs]
        ours = [AttributeError if x is TypeError else x for x in ours]
    assert ours == theirs


def test_one_is_pickled_and_matched() -> None:
    place = Place(3, 4)
    assert pickle.loads(pickle.dumps(place)) == place
    match place:
        case Place(row, column):
            assert (row, column) == (3, 4)


def test_it_is_called_with_its_fields_before_and_after_the_first_is_made() -> None:
    @dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 3

    class Named(Point):
        def __init__(self, name: str) -> None:
            super().__init__(1)

    for _ in range(2):
        assert str(inspect.signature(Point)) == "(x, y=3)"
        assert str(inspect.signature(Named)) == "(name: 'str')"
        assert Point(1) == Point(1, 3)
