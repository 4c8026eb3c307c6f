"""Rung 4: one primitive at a time, on every dtype that the contract gives it a meaning on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ...core import graph
from ...core.dtype import ALL, DType, as_dtype, bool_, float16, float32, float64, int32
from ...core.errors import CompileError
from ...core.graph import Node
from ...core.ops import PRIMITIVES, Op, is_supported
from ..case import Case
from ..inputs import SLICES, Array, binary, from_bits, guarded, samples, slice_of, specials, sweep, unary
from ..judge import Accuracy, judge, require_bits
from ..sizes import widths

SIZES = (0, 1, 3, 7, 9, 16, 17, 31, 33, 65, 1023)


def rows(arity: int, dtypes: Sequence[DType] = ALL) -> list[object]:
    """Each primitive of so many operands with each of the dtypes that it takes."""
    return [
        pytest.param(op, dtype, id=f"{op.name}-{dtype}")
        for op, row in PRIMITIVES.items()
        if row.arity == arity and row.reference is not None and op not in (Op.CAST, Op.BITCAST)
        for dtype in dtypes
        if is_supported(op, dtype)
    ]


@pytest.mark.parametrize(("op", "dtype"), rows(1))
def test_unary(case: Case, op: Op, dtype: DType) -> None:
    """All operands of a dtype of 16 bits or fewer; special values and samples of a wider one."""
    case.claims(dtype)
    case.primitive(op, unary(op, dtype, case.rng))


def tried(case: Case, op: Op, x: Array) -> Accuracy | None:
    """A unary primitive of some operands, judged."""
    (got,) = case.run(graph.elementwise(op, case.place(x)))
    return judge(op, as_dtype(x.dtype), got, (x,), case.spec)


@pytest.mark.parametrize("high", range(SLICES), ids="{:02x}".format)
@pytest.mark.parametrize(("op", "dtype"), rows(1, [float32]))
def test_sweep(case: Case, op: Op, dtype: DType, high: int) -> None:
    """Every float32, in slices by the highest byte: "SIN-float32-3f" is all from 0x3f000000 to 0x3fffffff."""
    case.claims(dtype)
    case.sweep(slice_of(dtype, high), lambda x: tried(case, op, x))


@pytest.mark.parametrize(("op", "dtype"), rows(2))
def test_binary(case: Case, op: Op, dtype: DType) -> None:
    """Every pair of an 8-bit dtype; special × special and samples of a wider one."""
    case.claims(dtype)
    case.primitive(op, *binary(op, dtype, case.rng))


@pytest.mark.parametrize(("op", "dtype"), rows(2))
def test_one_operand_is_constant(case: Case, op: Op, dtype: DType) -> None:
    """The second operand known when the kernel is made: a compiler may replace it by cheaper work."""
    case.claims(dtype)
    a = specials(dtype)
    replaced = op in (Op.IDIV, Op.MOD, Op.SHL, Op.SHR, Op.MUL)
    chosen = case.rng.permutation(specials(dtype))[: 4 if replaced else 1]
    if replaced and dtype.is_int:  # a power of two, and a sum of two: what shifts stand in for
        chosen = np.concatenate([chosen, np.array([8, 10], dtype.numpy)])
    elif not dtype.is_bool:  # the greatest integer; the zero that changes no sum
        chosen = np.append(chosen, dtype.numpy.type(-0.0 if dtype.is_float else dtype.max))
    nodes, operands = [], []
    for value in chosen:
        x, y = binary_guard(op, dtype, a, np.full(a.shape, value))
        constant = graph.full(float(y[0]) if dtype.is_float else y[0].item(), a.shape, dtype)
        y = np.full(a.shape, y[0])
        nodes.append(graph.elementwise(op, case.place(x), constant))
        operands.append((x, y))
    for got, xy in zip(case.run(*nodes), operands, strict=True):
        judge(op, dtype, got, xy, case.spec)


def binary_guard(op: Op, dtype: DType, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Operands that core may send, with ``b`` the same everywhere."""
    if op in (Op.IDIV, Op.MOD):
        if b[0] == 0:
            b = np.full_like(b, 7)
        if dtype.is_signed and b[0] == -1:
            a = np.where(a == dtype.min, dtype.numpy.type(1), a)
    if op in (Op.SHL, Op.SHR):
        b = np.full_like(b, int(b[0]) % dtype.bits)
    return a, b


SMALL = [
    pytest.param(op, dtype, id=f"{op.name}-{dtype}")
    for op in (Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.MAX, Op.RECIP, Op.SQRT, Op.EXP2, Op.CMPLT, Op.CMPNE)
    for dtype in (float16, float32, float64)
]


@pytest.mark.parametrize(("op", "dtype"), SMALL)
def test_subnormals(case: Case, op: Op, dtype: DType) -> None:
    """Operands and results around the least normal number: kept or, where the Spec says so, zeros."""
    case.claims(dtype)
    least = float(dtype.smallest_normal)
    shares = np.concatenate([case.rng.uniform(0, 2.5, 65), [1, 0.5, 0.25, 0.75, 2, 0]])
    small = (shares * case.rng.choice([-1.0, 1.0], shares.size) * least).astype(dtype.numpy)
    other = case.rng.permutation(small)
    if op is Op.MUL:
        other = case.rng.uniform(0.01, 1.5, shares.size).astype(dtype.numpy)
    if op is Op.RECIP:  # of great numbers, whose reciprocals are small
        small = (case.rng.uniform(1.05, 3.9, shares.size) / least).astype(dtype.numpy)
    if op is Op.SQRT:
        small = np.abs(small)
    if op is Op.EXP2:  # of exponents around and below the least
        small = (np.log2(least) + case.rng.uniform(-0.9 * dtype.mantissa, 1, shares.size)).astype(dtype.numpy)
    case.primitive(op, *(small, other)[: PRIMITIVES[op].arity])


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_where(case: Case, dtype: DType) -> None:
    """Bits are kept, and what is not chosen leaves no trace."""
    case.claims(dtype, bool_)
    a, b = (x.ravel() for x in np.meshgrid(specials(dtype), specials(dtype), indexing="ij"))
    more = samples(dtype, case.rng, 999)
    a, b = np.concatenate([a, a, more]), np.concatenate([b, b, more[::-1]])
    chosen = np.arange(a.size) % 3 != 1
    case.primitive(Op.WHERE, chosen, a, b)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_const(case: Case, dtype: DType) -> None:
    """Every special value as a constant of a kernel, each chosen for one element."""
    case.claims(dtype, int32, bool_)
    values = [x for x in specials(dtype) if x == x]
    at = graph.iota(len(values))
    row = graph.full(as_scalar(values[0]), at.shape, dtype)
    for i, value in enumerate(values):
        elsewhere = graph.elementwise(Op.CMPNE, at, graph.full(i, at.shape, int32))
        row = graph.elementwise(Op.WHERE, elsewhere, row, graph.full(as_scalar(value), at.shape, dtype))
    (got,) = case.run(graph.contiguous(row))
    require_bits(f"CONST {dtype}", got, np.array(values, dtype.numpy))


def as_scalar(x: np.generic) -> bool | int | float:
    """The Python number of one element."""
    dtype = as_dtype(x.dtype)
    return float(x) if dtype.is_float else bool(x) if dtype.is_bool else int(x)


@pytest.mark.parametrize("dtype", [d for d in ALL if d.is_float], ids=str)
def test_const_nan(case: Case, dtype: DType) -> None:
    """NaN as a constant of a kernel is NaN."""
    case.claims(dtype)
    (got,) = case.run(graph.contiguous(graph.full(float("nan"), (5,), dtype)))
    assert np.isnan(got).all(), f"CONST {dtype} NaN gives {got}"


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_load_store(case: Case, dtype: DType) -> None:
    """A kernel that only moves keeps every bit; a guarded load outside gives 0."""
    case.claims(dtype)
    values = (
        sweep(dtype)
        if dtype.bits <= 16
        else from_bits(case.rng.integers(0, 1 << 63, 4097).astype(np.uint64), dtype)
    )
    x = case.place(values)
    flipped, padded = case.run(
        graph.contiguous(graph.flip(x, (0,))), graph.contiguous(graph.pad(x, ((3, 2),)))
    )
    require_bits(f"LOAD and STORE of {dtype}", flipped, values[::-1])
    zero = np.zeros(1, dtype.numpy)
    require_bits(f"guarded LOAD of {dtype}", padded, np.concatenate([zero, zero, zero, values, zero, zero]))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_sizes(case: Case, dtype: DType) -> None:
    """The last elements of sizes around every vector and block: all are computed, none beyond."""
    case.claims(dtype)
    op = Op.XOR if dtype.is_int or dtype.is_bool else Op.ADD
    many = 2 * case.spec.lanes(dtype) * case.spec.threads  # as each thread needs to get a vector, or two
    sizes = (*SIZES, many) if case.spec.max_block > 1 else SIZES
    operands = [(samples(dtype, case.rng, n), samples(dtype, case.rng, n)) for n in sizes]
    nodes = [graph.elementwise(op, *(case.place(x) for x in xy)) for xy in operands]
    for got, xy in zip(case.run(*nodes), operands, strict=True):
        judge(op, dtype, got, xy, case.spec)


TURNS = 6


@pytest.mark.parametrize(("op", "dtype"), [*rows(1), *rows(2), *rows(3)])
def test_widths(case: Case, op: Op, dtype: DType) -> None:
    """One kernel that computes by vectors in a row, by one, by each narrower one and one by one."""
    case.claims(dtype, *([bool_] if op is Op.WHERE else []))
    n = widths(case.spec, dtype)
    values = np.concatenate([specials(dtype), samples(dtype, case.rng, n)])

    def turn() -> tuple[Array, ...]:
        a, b = (np.resize(case.rng.permutation(values), n) for _ in range(2))
        a, b = guarded(op, dtype, a, b)
        return (case.rng.random(n) < 0.5, a, b) if op is Op.WHERE else (a, b)[: PRIMITIVES[op].arity]

    def judged(operands: tuple[Array, ...]) -> Accuracy | None:
        (got,) = case.run(graph.elementwise(op, *map(case.place, operands)))
        return judge(op, dtype, got, operands, case.spec)

    case.sweep([turn() for _ in range(TURNS)], judged)


def test_written_again(case: Case) -> None:
    """One buffer that a kernel writes, is read, and is written again."""
    case.claims(int32)
    first = case.rng.integers(-99, 99, 37).astype(np.int32)
    arrays = [first, first[::-1].copy(), case.rng.integers(-99, 99, 37).astype(np.int32)]
    node = graph.elementwise(Op.NEG, case.place(arrays[0]))
    for x, got in zip(arrays, case.run_each(node, arrays), strict=True):
        require_bits("NEG int32, into a buffer that was read before", got, -x, (x,))


# ------------------------------------------------------------------------- what is compiled is what runs


def doubled(case: Case, x: np.ndarray, factor: float) -> Node:
    """``x`` times a number that stands in the kernel."""
    return graph.elementwise(Op.MUL, case.place(x), graph.full(factor, x.shape, float32))


def test_refuses_nonsense(case: Case) -> None:
    """What is no kernel is a CompileError, which says what the compiler said; the next kernel compiles."""
    source = case.kernel(doubled(case, np.arange(5, dtype=np.float32), 3.25)).source
    with pytest.raises(CompileError) as refused:
        case.device.compile(f"{source}\nthis is no kernel;\n")
    assert refused.value.log or str(refused.value), "the error does not say what the compiler said"
    assert case.device.compile(source), "after a kernel that was refused, a good one does not compile"


def test_unknown_kernel(case: Case) -> None:
    """A kernel that a binary does not hold is an error, not another kernel."""
    source = case.kernel(doubled(case, np.arange(5, dtype=np.float32), 3.25)).source
    binary = case.device.compile(source)
    if case.compiles_only:
        return
    with pytest.raises(Exception, match=r"."):  # whatever a driver calls it, in some words
        case.device.load(binary, ["no_such_kernel"])


def test_refuses_half_a_kernel(case: Case) -> None:
    """A text that ends in the middle of a kernel is refused."""
    source = case.kernel(doubled(case, np.arange(5, dtype=np.float32), 3.25)).source
    with pytest.raises(CompileError):
        case.device.compile(source[: source.rindex("3.25")])


def test_unknown_beside_known(case: Case) -> None:
    """One kernel that a binary holds and one that it does not are an error too."""
    made = case.kernel(doubled(case, np.arange(5, dtype=np.float32), 3.25))
    binary = case.device.compile(made.source)
    if case.compiles_only:
        return
    with pytest.raises(Exception, match=r"."):
        case.device.load(binary, [made.name, "no_such_kernel"])


def test_runs_its_source(case: Case) -> None:
    """What is launched is what was compiled: another number in the text gives another result."""
    x = np.array([1, 2, -3, 0.5, 8], np.float32)
    got = case.run_edited(doubled(case, x, 3.25), "3.25", "7.25", x)
    require_bits("x · 7.25, from the edited source of x · 3.25", got, x * np.float32(7.25))
