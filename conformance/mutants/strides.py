"""Strides, masks and bases that are negative."""

from __future__ import annotations

from dataclasses import replace

from ...core.index import Index
from ...core.loops import Body, Stmt, Store
from ...core.value import Access, Place
from .means import each, each_load, text
from .mutant import Family

FAMILY = Family("strides, masks, negative bases")
add = FAMILY.add
VIEWS = (
    "views::test_single* views::test_composed* views::test_random* views::test_every_dtype* views::* fused::*"
)
PADS = f"primitives::test_load_store[float32] views::test_single[matrix] {VIEWS}"


def every_place(a: Access, change: object) -> Access:
    """The access with each position rewritten."""
    assert callable(change)
    return a.map(change, lambda m: m)


def terms(change: object) -> object:
    """A change of an index's coefficients."""
    assert callable(change)
    return lambda i: Index(i.const, tuple((atom, change(k)) for atom, k in i.terms))


def near_negative(i: Index) -> Index:
    """One place too low where it walks backwards."""
    return i - 1 if any(k < 0 for _, k in i.terms) else i


def near_negative_base(i: Index) -> Index:
    """A negative constant is one off."""
    return i + 1 if i.const < 0 else i


def only_first(a: Access) -> Access:
    """Of several conditions the first is not asked."""
    places = tuple(replace(p, guard=p.guard[1:]) for p in a.places)
    return replace(a, guard=a.guard[1:], places=places)


def shifted(a: Access) -> Access:
    """Conditions hold one place longer."""

    def wider(mask: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(m + 1 for m in mask)

    return a.map(lambda i: i, wider)


def narrower(a: Access) -> Access:
    """Conditions end one place early."""
    return a.map(lambda i: i, lambda mask: tuple(m - 1 for m in mask))


def dense(a: Access) -> Access:
    """Lanes that lie apart are read side by side."""
    return replace(a, stride=1) if a.stride not in (0, 1) else a


def backwards(a: Access) -> Access:
    """Lanes that have places of their own are read in the opposite order."""
    return replace(a, places=tuple(reversed(a.places))) if a.places else a


def first_place(a: Access) -> Access:
    """Of lanes that have places of their own, each but the first is where its neighbour is."""
    if not a.places:
        return a
    return replace(a, places=(a.places[0], *(Place(p.index, p.guard) for p in a.places[:-1])))


def few_terms(i: Index) -> Index:
    """Of more than three strides the last is forgotten."""
    return Index(i.const, i.terms[:3])


def stored(s: Stmt) -> Body | None:
    """Stores into rows of other than a power of two ... lie one stride apart too little."""
    if isinstance(s, Store) and len(s.index.terms) > 1:
        atom, k = s.index.terms[0]
        return (replace(s, index=Index(s.index.const, ((atom, k - 1), *s.index.terms[1:]))),)
    return None


add(
    "no_masks",
    "Guarded loads read whatever is there",
    each_load(lambda a: a.map(lambda i: i, lambda m: ())),
    PADS,
)
add("first_condition_lost", "Of a load's conditions the first is not asked", each_load(only_first), PADS)
add("mask_too_wide", "Conditions of a load hold one place longer", each_load(shifted), PADS)
add("mask_too_narrow", "Conditions of a load end one place early", each_load(narrower), PADS)
add("padding_of_ones", "A guarded load outside gives 1", text(r": 0\.0f\)", ": 1.0f)"), PADS)
add(
    "negative_stride",
    "A load that walks backwards is one place too low",
    each_load(lambda a: every_place(a, near_negative)),
    VIEWS,
)
add(
    "negative_base",
    "A load from a negative base is one place too high",
    each_load(lambda a: every_place(a, near_negative_base)),
    VIEWS,
)
add(
    "strides_of_a_byte",
    "Strides are kept in eight bits",
    each_load(lambda a: every_place(a, terms(lambda k: k % 256 if k > 255 else k))),
    f"views::test_single[tall] reductions::* {VIEWS}",
)
add("dense_lanes", "Lanes that lie apart are read side by side", each_load(dense), f"views::* {VIEWS}")
add(
    "lanes_backwards", "Lanes with places of their own come in the opposite order", each_load(backwards), PADS
)
add(
    "lanes_repeat",
    "Of lanes with places of their own each reads its neighbour's",
    each_load(first_place),
    PADS,
)
add(
    "three_strides",
    "A load has three strides at most",
    each_load(lambda a: every_place(a, few_terms)),
    f"views::test_single[four] views::test_rank* {VIEWS}",
)
add("rows_too_near", "Rows are stored one element too near to each other", each(stored), PADS)
