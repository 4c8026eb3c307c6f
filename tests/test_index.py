"""The div/mod simplifier against brute force."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from portwright.core import index as ix

EXTENTS = {"a": 3, "b": 4, "c": 5}


def value(index: ix.Index, env: dict[str, int]) -> int:
    total = index.const
    for atom, k in index.terms:
        if atom.inner is None:
            v = env[atom.key]
        else:
            inner = value(atom.inner, env)
            v = inner // atom.by if atom.is_div else inner % atom.by
        assert atom.lo <= v <= atom.hi
        total += k * v
    return total


def envs():
    for values in itertools.product(*(range(n) for n in EXTENTS.values())):
        yield dict(zip(EXTENTS, values, strict=True))


linear = st.tuples(st.integers(-20, 20), *(st.integers(-9, 9) for _ in EXTENTS))
steps = st.lists(st.tuples(st.sampled_from("/%+*"), st.integers(1, 13), linear), max_size=4)


def build(coefficients):
    out = ix.constant(coefficients[0])
    for k, (name, n) in zip(coefficients[1:], EXTENTS.items(), strict=True):
        out = out + ix.variable(name, n) * k
    return out


@settings(max_examples=400, deadline=None)
@given(linear, steps)
def test_simplified_expressions_have_the_same_values(start, ops):
    expression = build(start)
    plain = {
        tuple(e.values()): start[0] + sum(k * v for k, v in zip(start[1:], e.values(), strict=True))
        for e in envs()
    }
    for op, d, extra in ops:
        if op == "/":
            expression = expression // d
        elif op == "%":
            expression = expression % d
        elif op == "*":
            expression = expression * d
        else:
            expression = expression + build(extra)
        for e in envs():
            k = tuple(e.values())
            if op == "/":
                plain[k] //= d
            elif op == "%":
                plain[k] %= d
            elif op == "*":
                plain[k] *= d
            else:
                plain[k] += extra[0] + sum(c * v for c, v in zip(extra[1:], k, strict=True))
    for e in envs():
        got = value(expression, e)
        assert got == plain[tuple(e.values())]
        assert expression.lo <= got <= expression.hi


def test_reshape_there_and_back_vanishes():
    i, j = ix.variable("i", 6), ix.variable("j", 8)
    flat = ix.flatten((i, j), (6, 8))
    for shape in [(48,), (4, 12), (2, 3, 8), (3, 2, 2, 4), (16, 3)]:
        again = ix.flatten(ix.unflatten(flat, shape), shape)
        assert again == flat, (shape, again)


def test_one_variable_splits_and_recombines():
    f = ix.variable("f", 24)
    assert ix.flatten(ix.unflatten(f, (4, 6)), (4, 6)) == f
    assert ix.flatten(ix.unflatten(f, (2, 3, 4)), (2, 3, 4)) == f
    assert (f // 2) // 3 == f // 6
    assert (f % 6) // 2 == (f // 2) % 3
    assert (f % 12) % 4 == f % 4


def test_masks_drop_what_always_holds():
    i = ix.variable("i", 5)
    assert ix.both((i,), (i + 1,)) == ix.ALWAYS
    assert ix.both((i - 5,)) == ix.NEVER
    assert ix.both((i - 1,), (i - 1,)) == (i - 1,)


def test_tail_of_the_repeat_trick_is_linear():
    """The windows that others build by repeating and reshaping come out linear as well."""
    k, o = ix.variable("k", 3), ix.variable("o", 6)
    flat = k * 9 + o
    assert flat % 8 == k + o
