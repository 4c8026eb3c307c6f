"""How many kernels an expression becomes, and what they touch: fusion does not regress silently."""

from __future__ import annotations

import numpy as np
import pytest
import support as t

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import engine, graph, lower, plan
from portwright.core.graph import Node
from portwright.core.loops import Loop, statements
from portwright.core.ops import Op


def kernels(*roots: Node) -> list[plan.KernelInfo]:
    return engine.kernels(roots, "CPU")


def count(*roots: Node) -> int:
    return len(kernels(*roots))


def test_the_seed_is_one_kernel_without_the_cube():
    n = 64
    a, b = t.integers((n, n)), t.integers((n, n), seed=1)
    wide = graph.reshape(a, (n, 1, n))
    tall = graph.reshape(graph.permute(b, (1, 0)), (1, n, n))
    seed = graph.reshape(t.total(t.mul(wide, tall), 2), (n, n))
    (kernel,) = kernels(seed)
    assert kernel.nbytes == 3 * n * n * 4
    assert kernel.flops == 2 * n**3


ROWS = pytest.mark.parametrize("shape", [(4, 8), (1, 7), (64, 1000), (3, 5, 33), (1024,), (2, 1)])


@ROWS
@pytest.mark.parametrize("row", [t.softmax, t.layernorm])
def test_a_function_of_rows_is_one_kernel(row, shape):
    x = t.integers(shape)
    (kernel,) = kernels(row(x))
    assert kernel.nbytes == 2 * x.nbytes


@ROWS
def test_log_softmax_is_one_kernel(shape):
    x = t.integers(shape)
    shifted = t.sub(x, t.total(x, -1, Op.MAX))
    log = t.mul(t.op(Op.LOG2, t.total(t.exp(shifted), -1)), 0.6931471805599453)
    assert count(t.sub(shifted, log)) == 1


@pytest.mark.parametrize("n", [1, 10, 1000, 10_000])
def test_an_elementwise_chain_is_one_kernel(n):
    x = t.integers((64,))
    y = x
    for i in range(n):
        y = t.add(y, float(i % 3)) if i % 2 else t.mul(y, 1.5)
    assert count(y) == 1


def test_an_epilogue_belongs_to_its_reduction():
    a, b, bias = t.integers((32, 48)), t.integers((48, 40), seed=1), t.integers((40,))
    y = t.op(Op.MAX, t.add(t.matmul(a, b), graph.reshape(bias, (1, 40))), 0.0)
    (kernel,) = kernels(y)
    assert kernel.nbytes == 4 * (32 * 48 + 48 * 40 + 40 + 32 * 40)


def test_mean_and_variance_of_rows_are_one_kernel_each():
    x = t.integers((32, 100))
    centred = t.sub(x, t.mean(x, 1))
    assert count(t.mean(x, 1)) == 1
    assert count(centred) == 1
    assert count(t.mean(t.mul(centred, centred), 1)) == 1


def test_statistics_of_a_batch():
    """Per channel over batch and space: few results, so each is a kernel of its own; the rest is one more."""
    x = t.integers((8, 16, 6, 6))
    axes = (0, 2, 3)
    n = 8 * 36
    mean = t.mul(graph.reduce(Op.ADD, x, axes), 1 / n)
    centred = t.sub(x, mean)
    variance = t.mul(graph.reduce(Op.ADD, t.mul(centred, centred), axes), 1 / n)
    assert count(mean) == 1
    assert count(t.mul(centred, t.op(Op.RECIP, t.op(Op.SQRT, t.add(variance, 1e-5))))) <= 3


def test_two_matmuls_are_two_kernels():
    a, b, c = t.integers((64, 64)), t.integers((64, 64), seed=1), t.integers((64, 64), seed=2)
    first, second = kernels(t.matmul(t.matmul(a, b), c))
    assert first.flops == second.flops == 2 * 64**3


def test_a_matmul_followed_by_softmax_is_two_kernels():
    a, b = t.integers((64, 64)), t.integers((64, 64), seed=1)
    assert count(t.softmax(t.matmul(a, b))) <= 2


def test_cross_entropy_of_one_hot_rows():
    x = t.integers((32, 10))
    labels = t.place(np.arange(32) % 10, dtype=dt.int32)
    classes = graph.broadcast_to(graph.reshape(graph.iota(10), (1, 10)), (32, 10))
    same = t.op(Op.CMPNE, graph.broadcast_to(graph.reshape(labels, (32, 1)), (32, 10)), classes)
    shifted = t.sub(x, t.total(x, -1, Op.MAX))
    log = t.sub(shifted, t.mul(t.op(Op.LOG2, t.total(t.exp(shifted), -1)), 0.6931471805599453))
    chosen = t.op(Op.WHERE, same, t.full(0.0, log), log)
    assert count(graph.reduce(Op.ADD, chosen, (0, 1))) <= 2


def test_a_convolution_is_one_kernel_of_the_sizes_of_its_operands():
    x, w = t.integers((2, 3, 10, 12)), t.integers((5, 3, 3, 3), seed=1)
    windows = graph.window(graph.window(x, 2, 3), 3, 3)  # n c oh ow kh kw
    wide = graph.reshape(windows, (2, 1, 3, 8, 10, 3, 3))
    kernel = graph.reshape(w, (1, 5, 3, 1, 1, 3, 3))
    y = graph.reduce(Op.ADD, t.mul(wide, kernel), (2, 5, 6))
    (made,) = kernels(graph.reshape(y, (2, 5, 8, 10)))
    assert made.nbytes == x.nbytes + w.nbytes + 2 * 5 * 8 * 10 * 4


@pytest.mark.parametrize(
    "moved",
    [
        lambda x: graph.permute(x, (1, 0)),
        lambda x: graph.pad(x, [(1, 2), (0, 3)]),
        lambda x: graph.flip(x, (0,)),
        lambda x: graph.expand(graph.reshape(x, (1, 6, 8)), (4, 6, 8)),
        lambda x: graph.reshape(graph.permute(graph.reshape(x, (2, 3, 8)), (1, 0, 2)), (6, 8)),
        lambda x: graph.window(x, 1, 3),
    ],
)
def test_movement_costs_at_most_the_kernel_that_stores_it(moved):
    x = t.integers((6, 8))
    assert count(moved(x)) == 1
    assert count(t.add(moved(x), 1.0)) == 1
    assert count(graph.reduce(Op.ADD, moved(x), (0, 1))) == 1


def test_what_is_in_memory_needs_no_kernel():
    x = t.integers((6, 8))
    assert count(x) == 0
    assert count(graph.contiguous(x)) == 0


def test_a_gather_is_fused_with_what_is_around_it():
    table, at = t.integers((100, 16)), t.place(np.arange(20) % 7, dtype=dt.int64)
    (kernel,) = kernels(t.total(t.mul(graph.gather(t.add(table, 1.0), at), 2.0), 1))
    assert not any(p.size == 100 * 16 and p.written for p in kernel.loops.params)


def test_a_cheap_value_that_two_kernels_use_is_computed_in_both():
    x = t.integers((64, 64))
    y = t.mul(t.add(x, 1.0), 3.0)
    assert count(t.total(y, 0), t.total(y, 1)) == 2


def test_a_reduction_that_two_kernels_use_is_computed_once():
    a, b = t.integers((64, 64)), t.integers((64, 64), seed=1)
    y = t.matmul(a, b)
    one, two, three = kernels(t.total(y, 0), t.total(y, 1))
    assert one.flops == 2 * 64**3
    assert max(two.flops, three.flops) < 64**3


def test_a_costly_value_that_is_read_again_and_again_is_put_into_memory():
    a, b = t.integers((256, 64)), t.integers((64, 256), seed=1)
    costly = a
    for _ in range(3):
        costly = t.op(Op.SIN, costly)
    first, _ = kernels(t.matmul(costly, b))
    assert first.flops == 3 * a.size


def test_a_cheap_value_that_is_read_again_and_again_is_not():
    a, b = t.integers((64, 64)), t.integers((64, 64), seed=1)
    assert count(t.matmul(t.op(Op.NEG, a), b)) == 1


def test_a_long_reduction_is_folded_in_pieces_by_all_threads():
    x = graph.expand(graph.reshape(t.integers((1 << 10,)), (1, 1 << 10)), (1 << 10, 1 << 10))
    first, second = kernels(graph.reduce(Op.ADD, x, (0, 1)))
    assert first.loops.params[0].size > 1
    assert second.loops.params[0].size == 1


def test_no_kernel_holds_a_buffer_of_a_product_before_it_is_folded():
    """Attention: every buffer is as large as an operand, since the scores are handed on by heads."""
    heads, n, d = 4, 64, 16
    q, k, v = (t.integers((heads, n, d), seed=i) for i in range(3))

    def product(a: Node, b: Node) -> Node:  # h n d, h m d -> h n m
        wide = graph.reshape(a, (heads, a.shape[1], 1, a.shape[2]))
        tall = graph.reshape(b, (heads, 1, b.shape[1], b.shape[2]))
        return graph.reshape(t.total(t.mul(wide, tall), 3), (heads, a.shape[1], b.shape[1]))

    scores = t.softmax(t.mul(product(q, k), 0.25))
    made = kernels(product(scores, graph.permute(v, (0, 2, 1))))
    assert len(made) == 1
    assert max(p.size for m in made for p in m.loops.params) == heads * n * d


def test_values_that_share_a_loop_are_computed_once_in_it():
    """Softmax's row sum stands beside its row: one accumulator each for the maximum and the sum."""
    (kernel,) = kernels(t.softmax(t.integers((16, 32))))
    loops = [s for s in statements(kernel.loops.body) if isinstance(s, Loop)]
    assert [s.extent for s in loops] == [16, 32, 32, 32]


def test_a_kernel_stores_nothing_that_nobody_reads():
    x = t.integers((64,))
    first = graph.contiguous(t.add(x, 1.0))
    second = graph.contiguous(t.mul(first, 2.0))
    (kernel,) = kernels(t.sub(second, 3.0))
    assert kernel.nbytes == 2 * x.nbytes
    (both,) = kernels(first, t.sub(second, 3.0))
    assert both.nbytes == 3 * x.nbytes


def residual(layers: int, rows: int = 128, width: int = 128) -> list[plan.KernelInfo]:
    """The kernels of a residual network whose branches end with an activation."""
    x = Tensor(np.ones((rows, width), np.float32)).realize()
    weights = [Tensor(np.full((width, width), i, np.float32)).realize() for i in range(layers)]
    for w in weights:
        x = x + (x.layernorm((width,)) @ w).gelu()
    return engine.kernels([x.sum(0).node], "CPU")


def test_what_a_residual_branch_adds_is_stored_once_and_not_computed_again_from_the_first_layer_on():
    few, many = (sum(k.nbytes for k in residual(n)) for n in (4, 16))
    assert many < 4.2 * few
    assert max(k.nbytes for k in residual(16)) <= 5 * 128 * 128 * 4


@pytest.mark.parametrize(
    ("parts", "stored"), [(1, False), (2, False), (4, True), (8, True)], ids=["1", "2", "4", "8"]
)
def test_a_value_that_two_kernels_need_is_stored_where_that_moves_fewer_bytes(parts: int, stored: bool):
    """A sum of so many arrays, by rows and by columns: 2 · parts reads, or parts, one store and 2 reads."""
    value = t.integers((512, 512))
    for i in range(1, parts):
        value = t.add(value, t.integers((512, 512), seed=i))
    found = kernels(t.total(value, 0), t.total(value, 1))
    assert (len(found) == 3) == stored


def demanded(layers: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the fuser looks at a node while it fuses a residual network and its gradients."""
    looks = 0
    spread = lower._Lowering.spread

    def counting(self: lower._Lowering) -> None:
        nonlocal looks
        spread(self)
        looks += len(self.demands)

    with monkeypatch.context() as m:
        m.setattr(lower._Lowering, "spread", counting)
        x = Tensor(np.ones((32, 64), np.float32)).realize()
        weights = [Tensor(np.full((64, 64), i, np.float32), requires_grad=True) for i in range(layers)]
        for w in weights:
            x = x + (x.layernorm((64,)) @ w).gelu()
        x.sum().backward()
        engine.kernels([w.grad.node for w in weights if w.grad is not None], "CPU")
    return looks


def test_the_work_of_fusing_grows_with_the_graph_and_not_with_its_square(monkeypatch):
    few, many = demanded(4, monkeypatch), demanded(16, monkeypatch)
    assert many < 5 * few
