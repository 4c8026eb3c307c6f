"""What elementary functions are written in: operators on nodes, exact bit work, rounding to integers."""

from __future__ import annotations

from functools import lru_cache
from math import copysign

from .. import graph
from ..derivative import define, flat
from ..dtype import DType, Scalar, bool_, float32, float64, int16, int32, int64, uint8, uint16, uint32, uint64
from ..graph import Node, Shape
from ..ops import Op

_BITS: dict[int, DType] = {8: uint8, 16: uint16, 32: uint32, 64: uint64}
_SIGNED: dict[int, DType] = {16: int16, 32: int32, 64: int64}


@lru_cache(maxsize=4096)
def _full(value: Scalar, negative: bool, shape: Shape, dtype: DType) -> Node:
    return graph.full(value, shape, dtype)


def full(value: Scalar, like: Node, dtype: DType | None = None) -> Node:
    """A constant of the shape (and dtype) of ``like``; kept, since the same few come again and again."""
    return _full(value, copysign(1.0, value) < 0, like.shape, dtype or like.dtype)


class Expr:
    """A node with Python's operators, so that a formula reads as one. Numbers take the node's dtype."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def _with(self, op: Op, other: Expr | Scalar) -> Expr:
        x = self.node
        return Expr(graph.elementwise(op, x, other.node if isinstance(other, Expr) else full(other, x)))

    def _after(self, op: Op, other: Scalar) -> Expr:
        return Expr(graph.elementwise(op, full(other, self.node), self.node))

    def __add__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.ADD, other)

    __radd__ = __add__

    def __sub__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.SUB, other)

    def __rsub__(self, other: Scalar) -> Expr:
        return self._after(Op.SUB, other)

    def __mul__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.MUL, other)

    __rmul__ = __mul__

    def __neg__(self) -> Expr:
        return Expr(graph.elementwise(Op.NEG, self.node))

    def __lt__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.CMPLT, other)

    def __gt__(self, other: Expr | Scalar) -> Expr:
        if isinstance(other, Expr):
            return other < self
        return self._after(Op.CMPLT, other)

    def __and__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.AND, other)

    def __or__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.OR, other)

    def __xor__(self, other: Expr | Scalar) -> Expr:
        return self._with(Op.XOR, other)

    def __lshift__(self, other: Scalar) -> Expr:
        return self._with(Op.SHL, other)

    def __rshift__(self, other: Scalar) -> Expr:
        return self._with(Op.SHR, other)

    def ne(self, other: Expr | Scalar) -> Expr:
        """CMPNE."""
        return self._with(Op.CMPNE, other)

    def eq(self, other: Expr | Scalar) -> Expr:
        """Equal: the negation of CMPNE."""
        return ~self.ne(other)

    def __invert__(self) -> Expr:
        return self._with(Op.XOR, True if self.node.dtype is bool_ else -1)

    def max(self, other: Expr | Scalar) -> Expr:
        """MAX."""
        return self._with(Op.MAX, other)

    def recip(self) -> Expr:
        """RECIP."""
        return Expr(graph.elementwise(Op.RECIP, self.node))

    def sqrt(self) -> Expr:
        """SQRT."""
        return Expr(graph.elementwise(Op.SQRT, self.node))

    def exp2(self) -> Expr:
        """EXP2."""
        return Expr(graph.elementwise(Op.EXP2, self.node))

    def log2(self) -> Expr:
        """LOG2."""
        return Expr(graph.elementwise(Op.LOG2, self.node))

    def sin(self) -> Expr:
        """SIN."""
        return Expr(graph.elementwise(Op.SIN, self.node))

    def cast(self, dtype: DType) -> Expr:
        """CAST."""
        return Expr(graph.cast(self.node, dtype))

    def bits(self) -> Expr:
        """The bits of a float as an unsigned integer."""
        return Expr(graph.bitcast(self.node, _BITS[self.node.dtype.bits]))

    def signed_bits(self) -> Expr:
        """The bits of a float as a signed integer: negative when the sign bit is set."""
        return Expr(graph.bitcast(self.node, _SIGNED[self.node.dtype.bits]))

    def as_float(self, dtype: DType) -> Expr:
        """The float that has these bits."""
        return Expr(graph.bitcast(self.node, dtype))

    def abs(self) -> Expr:
        """The value with the sign bit cleared."""
        dtype = self.node.dtype
        return (self.bits() & ((1 << (dtype.bits - 1)) - 1)).as_float(dtype)

    def sign_bit(self) -> Expr:
        """The sign bit alone, as an unsigned integer."""
        return self.bits() & (1 << (self.node.dtype.bits - 1))

    def with_sign(self, sign: Expr) -> Expr:
        """A value whose sign bit is clear, with the bit of ``sign_bit`` set."""
        return (self.bits() | sign).as_float(self.node.dtype)

    def times_plus(self, b: Expr | Scalar, c: Expr | Scalar) -> Expr:
        """self·b + c, rounded once or twice: as the device likes best."""
        other = b.node if isinstance(b, Expr) else full(b, self.node)
        return Expr(graph.free_product(self.node, other)) + c

    @property
    def rounder(self) -> float:
        """Added and taken away it rounds to a whole number, half to even, below 2^(mantissa - 1)."""
        return 1.5 * 2.0**self.node.dtype.mantissa

    def poly(self, coefficients: tuple[float, ...]) -> Expr:
        """c0 + c1·x + c2·x² + …, by Horner's rule."""
        *rest, last = coefficients
        out = full_expr(last, self)
        for c in reversed(rest):
            out = out.times_plus(self, c)
        return out


def where(c: Expr, a: Expr | Scalar, b: Expr | Scalar) -> Expr:
    """WHERE; at least one choice is an Expr."""
    like = a if isinstance(a, Expr) else b
    assert isinstance(like, Expr)
    x = a.node if isinstance(a, Expr) else full(a, like.node)
    y = b.node if isinstance(b, Expr) else full(b, like.node)
    return Expr(graph.elementwise(Op.WHERE, c.node, x, y))


def wide(x: Node) -> Node:
    """``x`` in a dtype that elementary functions are computed in: float32 of the half types."""
    return x if x.dtype is float64 or x.dtype is float32 else graph.cast(x, float32)


def absolute(x: Node) -> Node:
    """|x|. Its derivative is the sign: 0 at 0. The least signed integer stays itself, as it wraps."""
    if not x.dtype.is_float:
        if not x.dtype.is_signed:
            return x
        e = Expr(x)
        return where(e < 0, -e, e).node
    return define(Expr(x).abs().node, (x,), lambda g, y: [graph.elementwise(Op.MUL, g, sign(x))])


def sign(x: Node) -> Node:
    """-1, 0 or 1; 0 of NaN and of -0.0."""
    e = Expr(x)
    if not x.dtype.is_signed:
        return x if x.dtype.is_bool else e.ne(0).cast(x.dtype).node
    return flat(where(e > 0, full_expr(1, e), where(e < 0, full_expr(-1, e), full_expr(0, e))).node, x)


def full_expr(value: Scalar, like: Expr) -> Expr:
    """A constant beside ``like``."""
    return Expr(full(value, like.node))


def _nearest(a: Expr) -> Expr:
    """A value ≥ 0 below 2^mantissa, rounded half to even: adding 2^mantissa leaves no room for a fraction."""
    top = 2.0**a.node.dtype.mantissa
    return (a + top) - top


def _rounding(x: Node, kind: str) -> Node:
    if not x.dtype.is_float:
        return x
    e = Expr(x)
    dtype = x.dtype
    if dtype.bits == 16:
        return graph.cast(_rounding(graph.cast(x, float32), kind), dtype)
    a, s = e.abs(), e.sign_bit()
    near = _nearest(a)
    if kind == "round":
        out = near
    elif kind == "trunc":
        out = where(near > a, near - 1, near)
    else:  # away from zero on one side of zero, toward it on the other
        negative = s.ne(0)
        up = negative if kind == "floor" else ~negative
        out = where(up, where(near < a, near + 1, near), where(near > a, near - 1, near))
    return flat(where(a < 2.0**dtype.mantissa, out.with_sign(s), e).node, x)


def floor(x: Node) -> Node:
    """The greatest integer not above x. Derivative 0."""
    return _rounding(x, "floor")


def ceil(x: Node) -> Node:
    """The least integer not below x. Derivative 0."""
    return _rounding(x, "ceil")


def trunc(x: Node) -> Node:
    """Rounded toward zero. Derivative 0."""
    return _rounding(x, "trunc")


def round_even(x: Node) -> Node:
    """Rounded to the nearest integer, ties to even. Derivative 0."""
    return _rounding(x, "round")


def copysign_(a: Node, b: Node) -> Node:
    """|a| with the sign bit of b."""
    y = Expr(a).abs().with_sign(Expr(b).sign_bit()).node

    def rule(g: Node, y: Node) -> list[Node | None]:
        flipped = (Expr(a).signed_bits() ^ Expr(b).signed_bits()) < 0
        return [where(Expr(a).eq(0), 0.0, where(flipped, -Expr(g), Expr(g))).node, None]

    return define(y, (a, b), rule)
