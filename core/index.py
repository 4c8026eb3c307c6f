"""Integer expressions with bounds: what movement becomes, and the simplifier that keeps it cheap.

An ``Index`` is a constant plus a sum of atoms with integer coefficients. An atom is a loop variable, a floor
division or remainder by a constant of what could not be split further, or an integer computed by the kernel
(an index that was loaded). Division rounds down and the remainder is never negative, for every sign; dialects
use C's truncating forms only where the bounds show that both agree.

A ``Mask`` is a conjunction of indices that must not be negative: what PAD becomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import gcd


class Atom:
    """Something that an index counts in. ``key`` tells atoms apart and orders them the same in each process.

    A loop variable and a computed integer (a Let of the kernel) go by their name; ``inner`` and ``by`` are of
    divisions and remainders.
    """

    __slots__ = ("by", "hi", "inner", "key", "lo")

    def __init__(self, key: str, lo: int, hi: int, inner: Index | None = None, by: int = 0) -> None:
        self.key, self.lo, self.hi, self.inner, self.by = key, lo, hi, inner, by

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Atom)
            and self.key == other.key
            and self.hi == other.hi
            and self.lo == other.lo
            and self.inner == other.inner
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.key

    @property
    def is_div(self) -> bool:
        """True of a floor division by ``by``."""
        return self.inner is not None and self.key[0] == "("

    @property
    def is_mod(self) -> bool:
        """True of a remainder by ``by``."""
        return self.inner is not None and self.key[0] == "["


class Index:
    """``const + Σ coefficient · atom``, with the least and greatest value that it can take."""

    __slots__ = ("_hash", "_names", "const", "hi", "lo", "terms")

    def __init__(self, const: int, terms: tuple[tuple[Atom, int], ...]) -> None:
        self.const, self.terms = const, terms
        lo = hi = const
        for atom, k in terms:
            if k > 0:
                lo, hi = lo + k * atom.lo, hi + k * atom.hi
            else:
                lo, hi = lo + k * atom.hi, hi + k * atom.lo
        self.lo, self.hi = lo, hi
        self._hash = hash((const, terms))
        self._names: frozenset[str] | None = None

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Index)
            and self._hash == other._hash
            and self.const == other.const
            and self.terms == other.terms
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        parts = [a.key if k == 1 else f"{k}*{a.key}" for a, k in self.terms]
        if self.const or not parts:
            parts.append(str(self.const))
        return " + ".join(parts).replace("+ -", "- ")

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return self if other == 0 else Index(self.const + other, self.terms)
        if not other.terms:
            return self + other.const
        if not self.terms:
            return other + self.const
        return _sum(self.const + other.const, (*self.terms, *other.terms))

    def __mul__(self, k: int) -> Index:
        if k == 1:
            return self
        return Index(self.const * k, tuple((a, c * k) for a, c in self.terms)) if k else ZERO

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __floordiv__(self, by: int) -> Index:
        return _floordiv(self, by)

    def __mod__(self, by: int) -> Index:
        return _mod(self, by)

    @property
    def is_const(self) -> bool:
        """True when it has one value."""
        return not self.terms

    def atoms(self) -> Iterator[Atom]:
        """Every atom, those inside divisions and remainders too."""
        for atom, _ in self.terms:
            yield atom
            if atom.inner is not None:
                yield from atom.inner.atoms()

    def names(self) -> frozenset[str]:
        """The loop variables and computed integers that it depends on."""
        if self._names is None:
            self._names = frozenset(a.key for a in self.atoms() if a.inner is None)
        return self._names

    def coefficient(self, name: str) -> int | None:
        """How far it moves when the variable ``name`` grows by one; None when that is not constant."""
        found = 0
        for atom, k in self.terms:
            if atom.key == name:
                found = k
            elif atom.inner is not None and name in atom.inner.names():
                return None
        return found

    def substitute(self, with_: Mapping[str, Index]) -> Index:
        """Names replaced by expressions, and everything simplified again."""
        if self.names().isdisjoint(with_):
            return self
        kept: list[tuple[Atom, int]] = []
        moved: list[Index] = []
        for atom, k in self.terms:
            new = None
            if atom.inner is None:
                new = with_.get(atom.key)
            else:
                inner = atom.inner.substitute(with_)
                if inner is not atom.inner:
                    new = inner // atom.by if atom.is_div else inner % atom.by
            if new is None:
                kept.append((atom, k))
            else:
                moved.append(new * k)
        if not moved:
            return self
        out = Index(self.const, tuple(kept))
        for index in moved:
            out = out + index
        return out


ZERO = Index(0, ())
Mask = tuple[Index, ...]
"""All of these must be at least 0."""
ALWAYS: Mask = ()
NEVER: Mask = (Index(-1, ()),)


def variable(name: str, extent: int) -> Index:
    """A loop variable: 0 … extent-1."""
    return Index(0, ((Atom(name, 0, max(extent - 1, 0)), 1),)) if extent != 1 else ZERO


def constant(value: int) -> Index:
    """A number."""
    return Index(value, ())


def computed(name: str, lo: int, hi: int) -> Index:
    """An integer that the kernel computes under this name, known to lie in ``[lo, hi]``."""
    return Index(0, ((Atom(name, lo, hi), 1),))


def _sum(const: int, terms: Iterable[tuple[Atom, int]]) -> Index:
    total: dict[Atom, int] = {}
    for atom, k in terms:
        total[atom] = total.get(atom, 0) + k
    if any(a.is_mod for a in total):
        again = _recombine(const, total)
        if again is not None:
            return again
    kept = [(a, k) for a, k in total.items() if k]
    kept.sort(key=lambda t: t[0].key)
    return Index(const, tuple(kept))


def _recombine(const: int, total: dict[Atom, int]) -> Index | None:
    """x mod d + d·(x div d) is x; x mod d + d·((x div d) mod e) is x mod d·e."""
    for atom, k in total.items():
        if not atom.is_mod or not k:
            continue
        assert atom.inner is not None
        x, d = atom.inner, atom.by
        quotient = x // d
        if quotient.const == 0 and len(quotient.terms) == 1:
            upper, c = quotient.terms[0]
            if c == 1 and total.get(upper) == k * d:
                rest = [(a, n) for a, n in total.items() if a is not atom and a != upper]
                return _sum(const, rest) + x * k
        elif quotient.terms and all(total.get(a) == k * d * c for a, c in quotient.terms):
            rest = [
                (a, n) for a, n in total.items() if a is not atom and all(a != b for b, _ in quotient.terms)
            ]
            return _sum(const - k * d * quotient.const, rest) + x * k
        for other, n in total.items():
            if other.is_div and other.by == d and n == k * d and other.inner is not None:
                off = other.inner - x  # the remainder's inside may have lost multiples of d
                if off.const % d == 0 and all(c % d == 0 for _, c in off.terms):
                    rest = [(a, m) for a, m in total.items() if a is not atom and a is not other]
                    return _sum(const, rest) + other.inner * k
            if other.is_mod and n == k * d and other.inner == quotient:
                rest = [(a, m) for a, m in total.items() if a is not atom and a is not other]
                return _sum(const, rest) + (x % (d * other.by)) * k
    return None


@lru_cache(maxsize=1 << 16)
def _floordiv(x: Index, by: int) -> Index:
    if by < 1:
        raise ValueError(f"division of an index by {by}")
    if by == 1:
        return x
    if x.lo // by == x.hi // by:
        return constant(x.lo // by)
    whole, rest = _split(x, by)
    quotient = rest.lo // by
    if quotient == rest.hi // by:
        return whole + quotient
    # only what is divisible leaves: splitting the others would add terms without making the rest simpler
    out = Index(x.const // by, tuple((a, k // by) for a, k in x.terms if k % by == 0))
    rest = Index(x.const % by, tuple((a, k) for a, k in x.terms if k % by))
    coarse = _coarse(rest, by)
    if coarse is not None:
        g, high, _ = coarse
        return out + high // (by // g)
    if len(rest.terms) == 1 and rest.terms[0][1] == 1:
        atom = rest.terms[0][0]
        if atom.is_div and atom.inner is not None:
            return out + (atom.inner + rest.const * atom.by) // (atom.by * by)
        if atom.is_mod and atom.inner is not None and rest.const == 0 and atom.by % by == 0:
            return out + (atom.inner // by) % (atom.by // by)
    return out + Index(0, ((Atom(f"({rest})//{by}", rest.lo // by, rest.hi // by, rest, by), 1),))


@lru_cache(maxsize=1 << 16)
def _mod(x: Index, by: int) -> Index:
    if by < 1:
        raise ValueError(f"remainder of an index by {by}")
    if by == 1:
        return ZERO
    if x.lo // by == x.hi // by:
        return x - x.lo // by * by
    _, rest = _split(x, by)
    if rest.lo // by == rest.hi // by:
        return rest - rest.lo // by * by
    coarse = _coarse(rest, by)
    if coarse is not None:
        g, high, low = coarse
        return high % (by // g) * g + low
    if len(rest.terms) == 1 and rest.const == 0 and rest.terms[0][1] == 1:
        atom = rest.terms[0][0]
        if atom.is_mod and atom.inner is not None and atom.by % by == 0:
            return atom.inner % by
    return Index(0, ((Atom(f"[{rest}]%{by}", 0, by - 1, rest, by), 1),))


def _coarse(x: Index, by: int) -> tuple[int, Index, Index] | None:
    """``(g, high, low)`` with x = g·high + low, g a divisor of ``by`` and low in [0, g); None without one."""
    for g in sorted({gcd(by, k) for _, k in x.terms}, reverse=True):
        if g == 1:
            break
        low = Index(x.const % g, tuple((a, k) for a, k in x.terms if k % g))
        if low.lo >= 0 and low.hi < g:
            return g, Index(x.const // g, tuple((a, k // g) for a, k in x.terms if k % g == 0)), low
    return None


def _split(x: Index, by: int) -> tuple[Index, Index]:
    """``(whole, rest)`` with x = whole·by + rest, and the coefficients of rest as near 0 as can be."""
    whole: list[tuple[Atom, int]] = []
    rest: list[tuple[Atom, int]] = []
    for atom, k in x.terms:
        q, r = divmod(k, by)
        if 2 * r > by and atom.lo >= 0 and k < 0:
            q, r = q + 1, r - by
        if q:
            whole.append((atom, q))
        if r:
            rest.append((atom, r))
    q, r = divmod(x.const, by)
    return Index(q, tuple(whole)), Index(r, tuple(rest))


# ------------------------------------------------------------------------------------------------- shapes


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    out: list[int] = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def flatten(position: Iterable[Index], shape: tuple[int, ...]) -> Index:
    """The row-major position of one element."""
    out = ZERO
    for i, s in zip(position, strides(shape), strict=True):
        out = out + i * s
    return out


def unflatten(position: Index, shape: tuple[int, ...]) -> tuple[Index, ...]:
    """The inverse of ``flatten``."""
    out: list[Index] = []
    for n, s in zip(shape, strides(shape), strict=True):
        out.append((position // s) % n if n > 1 else ZERO)
    return tuple(out)


def both(*masks: Mask) -> Mask:
    """The conjunction, without what is always so; NEVER when it can't hold."""
    kept: dict[Index, None] = {}
    for mask in masks:
        for index in mask:
            if index.hi < 0:
                return NEVER
            if index.lo < 0:
                kept[index] = None
    return tuple(sorted(kept, key=repr))
