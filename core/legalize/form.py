"""How a dtype that a device does not compute in is stood in for by dtypes that it computes in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from ..dtype import DType, Scalar
from ..ops import Op
from ..record import dataclass
from ..value import Access, Value, ref
from .term import Target, Term


@dataclass(frozen=True, slots=True)
class Storage:
    """What memory of a dtype is made of: ``count`` elements of ``dtype`` for each of its own."""

    dtype: DType
    count: int = 1


class Form(ABC):
    """How one dtype is stood in for on one device.

    Attributes:
        target: the device.
        dtype: what is stood in for.
        kin: what its parts are of: dtypes that the device computes in, or that are stood in for in turn.
    """

    kin: tuple[DType, ...]

    def __init__(self, target: Target, dtype: DType) -> None:
        self.target, self.dtype = target, dtype

    @property
    def embeds(self) -> bool:
        """Whether the one part has the very same value: what is cast to elsewhere is that part."""
        return False

    def term(self, *parts: Term) -> Term:
        """The parts as a term of the dtype."""
        return Term(self.target, None, self.dtype, parts)

    @abstractmethod
    def number(self, value: Scalar) -> Term:
        """A constant."""

    def known(self, x: Term) -> int | None:
        """The number that an integer is, if its parts are constants."""
        return None

    @abstractmethod
    def emit(self, op: Op, *xs: Term) -> Term:
        """A primitive of operands of the dtype, as ``Target.emit``."""

    @abstractmethod
    def cast_from(self, x: Term) -> Term:
        """CAST to the dtype, from another one that embeds in none."""

    def cast_to(self, x: Term, dtype: DType) -> Term:
        """CAST to a dtype that the device computes in, from one that embeds in none."""
        raise NotImplementedError

    @abstractmethod
    def bits(self, x: Term) -> Term:
        """BITCAST to the unsigned integer of the same width."""

    @abstractmethod
    def read(self, bits: Term) -> Term:
        """BITCAST from the unsigned integer of the same width, or from what the device computes in."""

    def native(self, x: Term, dtype: DType) -> Term:
        """BITCAST to a dtype that the device computes in, of an unsigned integer."""
        raise NotImplementedError

    def folds(self, op: Op) -> bool:
        """Whether registers that are folded with ``op``, each by itself, hold what is folded."""
        return False

    def register(self, name: str) -> Term:
        """What a Let or an accumulator called ``name`` holds; its registers are called by ``names``."""
        return self.term(
            *(_register(self.target, n, k) for n, k in zip(self.names(name), self.kin, strict=True))
        )

    def names(self, name: str) -> tuple[str, ...]:
        """What each part of a register called ``name`` is called."""
        return (name,) if len(self.kin) == 1 else tuple(f"{name}_{i}" for i in range(len(self.kin)))

    @abstractmethod
    def storage(self) -> Storage:
        """What memory of the dtype is made of."""

    @abstractmethod
    def load(self, words: tuple[Value, ...]) -> Term:
        """What was loaded: an element of the storage dtype for each of ``storage().count``."""

    @abstractmethod
    def store(self, x: Term) -> tuple[Value, ...]:
        """What is to be stored, likewise."""


def _register(target: Target, name: str, dtype: DType) -> Term:
    form = target.form(dtype)
    return Term(target, ref(name, dtype)) if form is None else form.register(name)


def element(access: Access, count: int, which: int) -> Access:
    """Where word ``which`` of the ``count`` of an element is."""
    if count == 1:
        return access
    return replace(access, index=access.index * count + which, stride=access.stride * count)
