"""Places that hold objects, and one compiled expression that asks whether each still holds the same.

In: ``Found``, places with what was in them. Out: a function of no arguments. It is Python, written for these
places alone: to read and compare one takes 0.03 µs so, and a call for each holder ten times that. Holders of
many places (lists, dicts) are read by loops in C, all in one term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import call, is_
from typing import Any, Protocol

from .record import dataclass

FEW = 64
"""A holder of up to so many places is read one by one."""
MOST = 1024
"""Places that are read so in all: to compile many thousands would take seconds."""

flat = chain.from_iterable


@dataclass(slots=True)
class Found:
    """Some places of one holder (a dict, a list, an object, a function) and what was found in them.

    Attributes:
        now: gives what is in them now, in order.
        kept: what was there.
        labels: how the user would write each.
        put: sets the place with an index of ``kept``; None where that can't be done.
        holder, reads: the holder and what is written after it to read each place, as ".name" or "['key']";
            nothing where that is not known.
        is_keys: whether the places are a dict's keys, all of them strings: equal ones are the same.
    """

    now: Callable[[], Iterable[Any]]
    kept: list[Any]
    labels: list[str]
    put: Callable[[int, Any], None] | None = None
    holder: Any = None
    reads: Sequence[str] = ()
    is_keys: bool = False


class Contents(Protocol):
    """What is compared by value."""

    def holds(self) -> bool:
        """Whether it is as it was."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A Python expression that is true while everything is as it was.

    Attributes:
        text: the expression. It raises one of ``GONE`` where a name, an attribute or a cell is gone.
        names: what it names.
    """

    text: str
    names: dict[str, Any]

    def compiled(self) -> Callable[[], bool]:
        """A function that says whether it is true; false too where something is gone."""
        names = {**self.names, "GONE": GONE}
        exec(_TEXT.format(self.text), names)
        made: Callable[[], bool] = names["guard"]
        return made


def guard(found: Sequence[Found], sized: Sequence[Any] = (), contents: Sequence[Contents] = ()) -> Condition:
    """Whether every place holds the very object that is in its ``kept``, ``sized`` are as long as they are
    now, and ``contents`` hold."""
    names: dict[str, Any] = {
        "_map": map, "_len": len, "_call": call, "_is": is_, "_flat": flat, "_all": all,
    }  # fmt: skip
    terms: list[str] = []
    loops: list[Found] = []
    # lengths first: an element beyond the end is not asked for
    if len(sized) <= MOST:
        for i, s in enumerate(sized):
            names[f"_s{i}"] = s
            terms.append(f"_len(_s{i}) == {len(s)}")
    else:
        names["_sized"], names["_lengths"] = list(sized), [len(s) for s in sized]
        terms.append("[*_map(_len, _sized)] == _lengths")
    for f in found:
        if not f.kept:
            continue
        if not (f.reads or f.is_keys) or len(f.reads) > FEW or len(terms) >= MOST:
            loops.append(f)
            continue
        i = len(names)
        names[f"_h{i}"], names[f"_k{i}"] = f.holder, f.kept
        if f.is_keys:
            terms.append(f"[*_h{i}] == _k{i}")
        else:
            terms += [f"_h{i}{read} is _k{i}[{j}]" for j, read in enumerate(f.reads)]
    if loops:
        names["_nows"], names["_kepts"] = [f.now for f in loops], [f.kept for f in loops]
        terms.append("_all(_map(_is, _flat(_map(_call, _nows)), _flat(_kepts)))")
    if contents:
        names["_holds"] = [c.holds for c in contents]
        terms.append("_all(_map(_call, _holds))")
    return Condition(" and ".join(terms) or "True", names)


GONE = (KeyError, IndexError, AttributeError, ValueError)
"""What is raised where a name, an element, an attribute or a cell is gone."""
_TEXT = """
def guard():
    try:
        return {}
    except GONE:
        return False
"""
