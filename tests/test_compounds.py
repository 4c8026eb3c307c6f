"""What a device offers besides primitives: found however it is spelled, run where it is, right everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import compounding as c
import numpy as np
import pytest
from jitting import default

from portwright import Tensor, debug, jit
from portwright.core import dtype as dt
from portwright.core import registry
from portwright.core.compound import Compound
from portwright.core.errors import PortError
from portwright.core.port_check import check_port
from portwright.core.trace import KernelRun, Planned


@pytest.fixture(params=[c.Library, c.Table], ids=["kernels", "dispatch"])
def port(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    registry.adopt(made)
    with default(made.name):
        yield made


@pytest.fixture
def library() -> Iterator[c.Library]:
    made = c.Library()
    registry.adopt(made)
    with default(made.name):
        yield made


def offers_only(*compounds: Compound) -> c.Library:
    made = c.Library(*compounds)
    registry.adopt(made)
    return made


def ints(*shape: int, dtype: str = "float32", **named: Any) -> Tensor:
    """Whole numbers, so that sums of products are exact in any order."""
    values = np.random.default_rng(sum(shape)).integers(-3, 4, shape)
    return Tensor(values.astype(dtype), **named)


def used(*tensors: Tensor) -> list[str]:
    """The compounds among the kernels that realizing would run."""
    return [k.compound for t in tensors for k in t.kernels() if k.compound]


def elsewhere(t: Tensor) -> Tensor:
    """The same values where nothing is offered."""
    return Tensor(t.numpy(), device="NUMPY")


# ------------------------------------------------------------------------------------------ recognition


SPELLED = {
    "matmul": (lambda a, b: a @ b, (4, 5), (5, 6), "matmul"),
    "one after a reshape": (lambda a, b: a.reshape(6, 4) @ b, (2, 3, 4), (4, 5), "matmul"),
    "a row of it": (lambda a, b: a[1:3] @ b, (4, 5), (5, 6), "matmul"),
    "of work before": (lambda a, b: (a + 1).relu() @ b.exp2(), (4, 5), (5, 6), "matmul"),
    "by a transpose": (lambda a, b: a @ b.T, (4, 5), (6, 5), "linear"),
    "a layer": (lambda x, w: x.linear(w), (4, 5), (6, 5), "linear"),
    "a layer over more axes": (lambda x, w: x.linear(w), (2, 3, 4, 5), (6, 5), "linear"),
    "more axes": (lambda a, b: a @ b, (2, 3, 4, 5), (5, 6), "matmul"),
    "einsum": (lambda a, b: Tensor.einsum("ij,jk->ik", a, b), (4, 5), (5, 6), "matmul"),
    "einsum, turned": (lambda a, b: Tensor.einsum("ij,kj->ki", a, b), (4, 5), (6, 5), "linear"),
    "einsum over two": (
        lambda a, b: Tensor.einsum("bij,bik->jk", a, b),
        (2, 3, 4),
        (2, 3, 5),
        "of_rows",
    ),
    "of the transposed": (lambda a, b: a.T @ b, (5, 4), (5, 6), "of_rows"),
    "by hand": (lambda a, b: (a.unsqueeze(1) * b.unsqueeze(0)).sum(2), (4, 5), (6, 5), "linear"),
    "a batch": (lambda a, b: a @ b, (3, 4, 5), (3, 5, 6), "batched"),
    "a batch of more axes": (lambda a, b: a @ b, (2, 3, 4, 5), (2, 3, 5, 6), "batched"),
    "a matrix by a vector": (lambda a, b: a @ b, (4, 5), (5,), "linear"),
}


@pytest.mark.parametrize("spelling", SPELLED, ids=lambda s: s.replace(" ", "_"))
def test_a_product_is_one_however_it_is_spelled(port: Any, spelling: str) -> None:
    f, *shapes, name = SPELLED[spelling]
    a, b = (ints(*s) for s in shapes)
    y = f(a, b)
    assert used(y) == [name]
    got = y.numpy()
    assert port.ran == 1
    np.testing.assert_array_equal(got, f(elsewhere(a), elsewhere(b)).numpy())


def test_operands_in_memory_are_not_moved(library: c.Library) -> None:
    for y in (ints(4, 5) @ ints(5, 6), ints(4, 5).linear(ints(6, 5)), ints(5, 4).T @ ints(5, 6)):
        assert [k.compound != "" for k in y.kernels()] == [True]


def test_what_must_be_laid_out_anew_is_as_little_as_can_be() -> None:
    with default(offers_only(c.MATMUL).name):
        copy, product = ints(4, 5).linear(ints(6, 5)).kernels()
        assert (copy.compound, product.compound) == ("", "matmul")
        turned = (ints(4, 5) @ ints(5, 6)).T.kernels()
        assert [k.compound for k in turned] == ["matmul", ""]  # 24 elements, and not both operands


def test_an_epilogue_is_an_ordinary_kernel(port: Any) -> None:
    x, w, b = ints(4, 5), ints(6, 5), ints(6)

    def f(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return (x.linear(w, b).relu() * 2).sum(1)

    y = f(x, w, b)
    assert used(y) == ["linear"]
    assert len(y.kernels()) == 2
    np.testing.assert_array_equal(y.numpy(), f(*map(elsewhere, (x, w, b))).numpy())


def test_a_larger_part_goes_before_a_smaller_one(port: Any) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (
        Tensor(rng.standard_normal(s).astype(np.float32)) for s in ((2, 3, 8, 4), (2, 3, 9, 4), (2, 3, 9, 5))
    )
    y = q.scaled_dot_product_attention(k, v)
    assert used(y) == ["attention"]
    want = elsewhere(q).scaled_dot_product_attention(elsewhere(k), elsewhere(v)).numpy()
    np.testing.assert_allclose(y.numpy(), want, 1e-5, 1e-6)
    scaled = q.scaled_dot_product_attention(k, v, scale=0.3)  # another function, of two products
    assert used(scaled) == ["batched", "batched"]
    want = elsewhere(q).scaled_dot_product_attention(elsewhere(k), elsewhere(v), scale=0.3).numpy()
    np.testing.assert_allclose(scaled.numpy(), want, 1e-5, 1e-6)


def test_convolutions_are_told_apart_by_their_padding(port: Any) -> None:
    x, w = ints(2, 3, 8, 9), ints(4, 3, 3, 3)
    for padding, names in ((1, ["convolution"]), (0, []), (2, [])):
        y = x.conv2d(w, padding=padding)
        assert used(y) == names
        np.testing.assert_array_equal(y.numpy(), elsewhere(x).conv2d(elsewhere(w), padding=padding).numpy())
    assert used(x.conv2d(ints(4, 3, 5, 5), padding=1)) == ["convolution"]
    assert used(x.conv2d(w, padding=1, stride=2)) == []


def test_what_is_something_else_is_left_alone(port: Any) -> None:
    a, b = ints(4, 5), ints(5, 6)
    others = [
        a.unsqueeze(2).maximum(b.unsqueeze(0)).sum(1),  # another primitive
        (a.unsqueeze(2) * b.unsqueeze(0)).amax(1),  # another fold
        (a.unsqueeze(2) * b.unsqueeze(0)).prod(1),
        (a.unsqueeze(2) * b.unsqueeze(0) + 1).sum(1),
        a.cast("int8") @ b.cast("int8"),  # a dtype that is not offered
        a.cast("bfloat16") @ b.cast("bfloat16"),
        ints(4, 1) @ ints(1, 6),  # a sum of one: no sum
        ints(4, 0) @ ints(0, 6),
        ints(0, 5) @ b,
    ]
    assert used(*others) == []
    for y in others:
        y.realize()
    assert port.ran == 0


def test_a_diagonal_is_no_operand(port: Any) -> None:
    """Where memory is not read in order, what is read is put into memory first: as right, one copy more."""
    a, b = ints(5, 5), ints(5, 6)
    for y, want in (
        (a.flip(0) @ b, a.numpy()[::-1] @ b.numpy()),
        (Tensor.einsum("ii,ij->ij", a, b), np.diag(a.numpy())[:, None] * b.numpy()),
        (a[:, ::2] @ b[::2], a.numpy()[:, ::2] @ b.numpy()[::2]),
        (a.expand(3, 5, 5) @ b, np.broadcast_to(a.numpy(), (3, 5, 5)) @ b.numpy()),
    ):
        np.testing.assert_array_equal(y.numpy(), want)


def test_an_operand_may_be_both(port: Any) -> None:
    a = ints(5, 5)
    assert used(a @ a) == ["matmul"]
    np.testing.assert_array_equal((a @ a).numpy(), a.numpy() @ a.numpy())
    np.testing.assert_array_equal((a @ a.T).numpy(), a.numpy() @ a.numpy().T)
    np.testing.assert_array_equal((a.T @ a).numpy(), a.numpy().T @ a.numpy())


def test_a_constant_operand_is_put_into_memory(port: Any) -> None:
    a = ints(4, 5)
    y = a @ Tensor.full((5, 6), 2.0)
    assert used(y) == ["linear"]  # whose operand is as constant
    np.testing.assert_array_equal(y.numpy(), a.numpy() @ np.full((5, 6), 2.0, np.float32))


def test_a_chain_of_products(port: Any) -> None:
    a, b, d = ints(4, 5), ints(5, 6), ints(6, 7)
    y = (a @ b) @ d
    assert used(y) == ["matmul", "matmul"]
    np.testing.assert_array_equal(y.numpy(), a.numpy() @ b.numpy() @ d.numpy())


def test_a_result_that_is_wanted_twice_is_computed_once(port: Any) -> None:
    a, b, d = ints(4, 5), ints(5, 6), ints(4, 3)
    y = a @ b
    z = y.T @ d
    Tensor.realize(y, z)
    assert port.ran == 2
    np.testing.assert_array_equal(z.numpy(), (a.numpy() @ b.numpy()).T @ d.numpy())


def test_other_dtypes_are_of_other_calls(port: Any) -> None:
    for dtype in ("float64", "float16", "int32"):
        a, b = ints(4, 5, dtype=dtype), ints(5, 6, dtype=dtype)
        assert used(a @ b) == ["matmul"]
        got = (a @ b).numpy()
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, a.numpy().astype("int64") @ b.numpy().astype("int64"))


def test_what_it_declines_goes_to_the_primitives() -> None:
    tiled = replace(c.MATMUL, accepts=lambda dtype, a, b: a[0] % 8 == 0, examples=(((8, 5), (5, 7)),))
    port = offers_only(tiled)
    with default(port.name):
        for rows, names in ((16, ["matmul"]), (12, [])):
            y = ints(rows, 5) @ ints(5, 6)
            assert used(y) == names
            np.testing.assert_array_equal(y.numpy(), ints(rows, 5).numpy() @ ints(5, 6).numpy())
    assert port.ran == 1


def test_another_device_s_part_is_not_its() -> None:
    port = offers_only(c.MATMUL)
    with default(port.name):
        there = (ints(4, 5, device="CPU") @ ints(5, 6, device="CPU")).to(port.name)
        y = there @ ints(6, 3)
        assert [k.device for k in y.kernels() if k.compound] == [port.name]
        np.testing.assert_array_equal(y.numpy(), ints(4, 5).numpy() @ ints(5, 6).numpy() @ ints(6, 3).numpy())
        back = (ints(4, 5) @ ints(5, 6)).to("CPU") + 1  # planned for the CPU, computed here
        with default("CPU"):
            assert used(back) == ["matmul"]
            np.testing.assert_array_equal(back.numpy(), ints(4, 5).numpy() @ ints(5, 6).numpy() + 1)


MOVES: list[Callable[[Tensor, int, int], Tensor]] = [
    lambda x, m, n: x.T,
    lambda x, m, n: x.reshape(n, m),
    lambda x, m, n: x.flip(0),
    lambda x, m, n: x.flip(1),
    lambda x, m, n: x.reshape(1, m, n).permute(0, 2, 1).reshape(n, m),
    lambda x, m, n: x.pad((1, 0, 0, 1)),
    lambda x, m, n: x[: max(1, m - 1)],
    lambda x, m, n: x.unsqueeze(0).expand(2, m, n).reshape(2 * m, n),
    lambda x, m, n: (x + 1).T,
]
PRODUCTS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a.T @ b,
    lambda a, b: b.T.linear(a.T),
    lambda a, b: (a.unsqueeze(2) * b.unsqueeze(1)).sum(0),
    lambda a, b: Tensor.einsum("ij,ik->kj", a, b),
]


def moved(x: Tensor, rng: np.random.Generator) -> Tensor:
    """A matrix after a few random movements: often what it was, seldom in the same order."""
    for _ in range(int(rng.integers(0, 4))):
        x = MOVES[int(rng.integers(len(MOVES)))](x, *x.shape)
    return x


@pytest.mark.parametrize("seed", range(40))
def test_movement_around_products_changes_nothing(seed: int) -> None:
    """What is recognized wrongly would be another product: whole numbers show it."""
    table = c.Table(c.LINEAR, c.MATMUL, c.OUTER)
    registry.adopt(table)
    rng = np.random.default_rng(seed)
    values = [rng.integers(-9, 10, rng.integers(2, 6, 2)).astype(np.float32) for _ in range(2)]

    def product(device: str) -> tuple[Tensor, int]:
        again = np.random.default_rng(seed)
        a, b = (moved(Tensor(v, device=device), again) for v in values)
        rows = min(a.shape[0], b.shape[0])
        return PRODUCTS[seed % len(PRODUCTS)](a[:rows], b[:rows]), rows

    mine, rows = product("TABLE")
    np.testing.assert_array_equal(mine.numpy(), product("NUMPY")[0].numpy())
    assert table.ran == (rows > 1)  # a sum of one is no sum


# ---------------------------------------------------------------------------------------- the engine


def test_listings_and_traces_say_so(library: c.Library, capsys: pytest.CaptureFixture[str]) -> None:
    y = (ints(4, 5) @ ints(5, 6)) + 1
    info = y.kernels()[0]
    assert (info.compound, info.name, info.source) == ("matmul", "compound:matmul_4x5_5x6", "")
    assert info.flops == 2 * 4 * 5 * 6
    assert info.nbytes == 4 * (4 * 5 + 5 * 6 + 4 * 6)
    assert "the device's own matmul" in str(info)
    with debug.record() as events:
        y.realize()
    runs = [e for e in events if isinstance(e, KernelRun)]
    assert [e.kernel.startswith("compound:matmul") for e in runs] == [True, False]
    with debug(3):
        (ints(4, 5) @ ints(5, 6)).realize()
    said = capsys.readouterr().err
    assert "compound:matmul_4x5_5x6" in said
    assert "the device's own" in said


def test_a_plan_serves_every_graph_of_its_structure(library: c.Library) -> None:
    def planned(rows: int) -> int:
        with debug.record() as events:
            (ints(rows, 5) @ ints(5, 6)).relu().realize()
        return sum(isinstance(e, Planned) for e in events)

    assert [planned(31), planned(31), planned(32)] == [1, 0, 1]
    assert library.ran == 3


def test_gradients_are_products_too(port: Any) -> None:
    x, w = ints(2, 3, 5, requires_grad=True), ints(6, 5, requires_grad=True)
    there = [elsewhere(t).requires_grad_() for t in (x, w)]
    for a, b in ((x, w), there):
        (a.linear(b) ** 2).sum().backward()
    assert "of_rows" in used(w.grad)
    assert used(x.grad) == ["linear", "matmul"]
    for mine, other in zip((x, w), there, strict=True):
        np.testing.assert_array_equal(mine.grad.numpy(), other.grad.numpy())


def test_a_captured_function_replays_them(port: Any) -> None:
    @jit
    def f(x: Tensor, w: Tensor) -> Tensor:
        return (x @ w).relu() @ w.T

    for i in range(6):
        x, w = ints(4, 5) + i, ints(5, 6) - i
        want = np.maximum(x.numpy() @ w.numpy(), 0) @ w.numpy().T
        np.testing.assert_array_equal(f(x, w).numpy(), want)
    assert f.is_captured
    assert port.ran == 12


def test_a_captured_training_step_learns_as_it_does_elsewhere(port: Any) -> None:
    def train(device: str) -> list[float]:
        rng = np.random.default_rng(0)
        x, y = (Tensor(rng.standard_normal(s).astype(np.float32), device=device) for s in ((16, 5), (16, 3)))
        w = Tensor(rng.standard_normal((3, 5)).astype(np.float32), device=device, requires_grad=True)

        @jit
        def step(x: Tensor, y: Tensor) -> Tensor:
            loss = ((x.linear(w) - y) ** 2).mean()
            loss.backward()
            w.assign((w - w.grad * 0.1).detach())
            w.grad = None
            return loss.detach()

        return [step(x, y).item() for _ in range(6)]

    with default(port.name):
        mine = train(port.name)
    with default("NUMPY"):
        np.testing.assert_allclose(mine, train("NUMPY"), 1e-5)
    assert port.ran >= 12


def test_an_error_of_the_library_reaches_the_user() -> None:
    def fails(device: Any, out: Any, a: Any, b: Any) -> None:
        raise PortError("the library gave 7")

    with default(offers_only(replace(c.MATMUL, run=fails)).name):
        with pytest.raises(PortError, match="gave 7"):
            (ints(4, 5) @ ints(5, 6)).realize()
        np.testing.assert_array_equal((ints(4) + 1).numpy(), ints(4).numpy() + 1)


# -------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("compounds", "said"),
    [
        ((c.MATMUL, replace(c.LINEAR, name="matmul")), "offers two compounds called matmul"),
        ((replace(c.MATMUL, name="mat mul"),), "called 'mat mul', which is no identifier"),
        ((replace(c.MATMUL, dtypes=frozenset()),), "offers matmul of no dtype"),
        ((replace(c.MATMUL, examples=()),), "offers matmul without examples"),
        ((replace(c.MATMUL, examples=(((3, 5), (5, 7)), ((3, 5), (5,)))),), "examples of different ranks"),
        (
            (replace(c.MATMUL, accepts=lambda dtype, a, b: False),),
            r"declines its own example \(\(3, 5\), \(5, 7\)\)",
        ),
        ((replace(c.MATMUL, accepts=lambda a, b: True),), "whose accepts fails on its example"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_port_that_contradicts_itself_does_not_open(compounds: tuple[Compound, ...], said: str) -> None:
    with pytest.raises(PortError, match=said):
        check_port(c.Library, replace(c.Library().spec, compounds=compounds))


def test_a_dtype_that_the_port_does_not_hold() -> None:
    spec = c.Library(c.MATMUL).spec
    with pytest.raises(PortError, match="offers matmul of float16, which it does not claim to hold"):
        check_port(c.Library, replace(spec, dtypes=spec.dtypes - {dt.float16}))


@pytest.mark.parametrize(
    ("decomposition", "said"),
    [(lambda a, b: 1.5, "gives float, not a tensor"), (lambda a, b: a.gone(b), "AttributeError")],
    ids=["no tensor", "an error"],
)
def test_a_decomposition_that_is_none(decomposition: Any, said: str) -> None:
    port = offers_only(replace(c.MATMUL, decomposition=decomposition))
    with default(port.name), pytest.raises(PortError, match=said):
        (ints(4, 5) @ ints(5, 6)).realize()
