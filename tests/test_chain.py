"""Chains: what is handed on a block at a time means what it meant, and only what pays becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import support as t
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portwright import Device, Tensor
from portwright.core import engine, graph
from portwright.core.chain import BLOCK, chain, cut_for
from portwright.core.chaining import chained, joined
from portwright.core.fuse import fuse
from portwright.core.graph import GraphOp, Node
from portwright.core.loops import Loop, Scratch, statements
from portwright.core.pipeline import fresh_kernel, links
from portwright.core.siblings import Cut, Group
from portwright.core.verify import verify

ALONE = (GraphOp.COPY, GraphOp.SCATTER, GraphOp.COMPOUND)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots=t.programs(), blocks=st.integers(1, 8))
def test_a_chain_means_what_its_kernels_mean(roots: Sequence[Node], blocks: int) -> None:
    _, groups = fuse(roots, t.spec(16))
    known: dict[Node, t.Array] = {}
    made: dict[Node, Group] = {}
    for group in groups:
        known.update({n: engine.read(n) for n in group.reads if n not in known})
        known.update(zip(group.roots, _run(group, known), strict=True))
        for n in group.reads:
            first = made.get(n)
            if first is None or len(group.roots) > 1 or group.roots[0].op in ALONE:
                continue
            both = replace(joined(first, group), cut=Cut(blocks))
            if chain(links(both), blocks) is not None:
                assert np.array_equal(_run(both, known)[0], known[group.roots[0]], equal_nan=True)
        if len(group.roots) == 1 and group.roots[0].op not in ALONE:
            made[group.roots[0]] = group


def _run(group: Group, known: dict[Node, t.Array]) -> list[t.Array]:
    kernel = fresh_kernel(group)
    verify(kernel)
    return t.run_tree(t.Stage("fresh", kernel), group, known)


def _pair(x: Node, y: Node) -> Group:
    """The chain of the kernels of two contiguous nodes."""
    _, groups = fuse([y], t.spec(16))
    first, second = groups
    assert first.roots == (x,)
    return joined(first, second)


def test_rows_are_handed_on_by_blocks() -> None:
    a, b = t.integers((12, 5)), t.integers((5, 7))
    x = graph.contiguous(t.matmul(a, b))
    group = _pair(x, t.softmax(x))
    kernel = chain(links(group), 4)
    assert kernel is not None
    (loop,) = kernel.body
    assert isinstance(loop, Loop)
    assert (loop.var, loop.extent) == (BLOCK, 4)
    assert [s.memory.size for s in statements(kernel.body) if isinstance(s, Scratch)] == [3 * 7]
    assert sum(p.size for p in kernel.params) == 12 * 7 + 12 * 5 + 5 * 7
    assert chain(links(group), 5) is None  # 12 rows make no 5 blocks


def test_columns_need_every_row() -> None:
    x = graph.contiguous(t.matmul(t.integers((12, 5)), t.integers((5, 8))))
    group = _pair(x, t.total(x, 0))
    assert chain(links(group), 4) is None


def test_neighbours_of_a_block_are_another_block() -> None:
    x = graph.contiguous(t.mul(t.integers((8, 6)), 2.0))
    shifted = graph.shrink(graph.pad(x, [(1, 0), (0, 0)]), [(0, 8), (0, 6)])
    assert chain(links(_pair(x, t.total(t.add(shifted, x), 1))), 4) is None
    within = graph.shrink(graph.pad(x, [(0, 0), (1, 0)]), [(0, 8), (0, 6)])
    assert chain(links(_pair(x, t.total(t.add(within, x), 1))), 4) is not None


def attention(heads: int, length: int, width: int) -> tuple[Tensor, np.ndarray]:
    r = np.random.default_rng(3)
    q, k, v = (r.standard_normal((heads, length, width)).astype(np.float32) for _ in range(3))
    s = q.astype(np.float64) @ k.astype(np.float64).swapaxes(1, 2) / np.sqrt(width)
    p = np.exp(s - s.max(-1, keepdims=True))
    wanted = p / p.sum(-1, keepdims=True) @ v
    return Tensor(q).scaled_dot_product_attention(Tensor(k), Tensor(v)), wanted


@pytest.mark.parametrize(("heads", "length", "width"), [(4, 64, 16), (16, 100, 24), (32, 56, 9)])
def test_attention_is_one_kernel_and_has_no_scores_in_memory(heads: int, length: int, width: int) -> None:
    threads = Device("CPU").spec.threads
    heads *= threads
    y, wanted = attention(heads, length, width)
    (kernel,) = y.kernels()
    assert kernel.nbytes == 4 * 4 * heads * length * width
    assert np.abs(y.numpy() - wanted).max() < 1e-5


def test_one_head_is_too_few_for_the_threads() -> None:
    y, wanted = attention(1, 90, 8)
    assert len(y.kernels()) == 3
    assert np.abs(y.numpy() - wanted).max() < 1e-5


def test_rows_of_one_head_are_blocks_where_there_are_many() -> None:
    device = Device("CPU")
    length = 64 * 8 * device.spec.threads
    y, wanted = attention(1, length, 16)
    (kernel,) = y.kernels()
    assert kernel.loops.body[0].extent >= 2 * device.spec.threads  # type: ignore[union-attr]
    held = [s.memory for s in statements(kernel.loops.body) if isinstance(s, Scratch)]
    assert sum(m.nbytes for m in held) <= device.spec.cache_bytes[1]
    assert np.abs(y.numpy() - wanted).max() < 1e-5


def test_weights_are_not_read_anew_for_each_block() -> None:
    r = np.random.default_rng(1)
    x, w, u = (Tensor(r.standard_normal(s).astype(np.float32)) for s in ((256, 300), (300, 64), (64, 300)))
    assert len(((x @ w).relu() @ u).kernels()) == 2


def test_what_is_asked_for_or_read_twice_is_in_memory() -> None:
    x = graph.contiguous(t.matmul(t.integers((512, 5)), t.integers((5, 64))))
    device = Device("CPU")

    def kernels(*roots: Node) -> int:
        made, groups = fuse(roots, device.spec)
        return len(chained(groups, frozenset(made), device))

    assert kernels(t.softmax(x)) == 1
    assert kernels(t.softmax(x), x) == 2
    assert kernels(t.softmax(x), t.total(x, 0)) == 3


def test_a_device_without_caches_hands_nothing_on() -> None:
    x = graph.contiguous(t.matmul(t.integers((512, 5)), t.integers((5, 64))))
    spec = Device("CPU").spec
    group = _pair(x, t.softmax(x))
    cut = cut_for(links(group), spec)
    assert cut is not None
    assert cut.blocks > 1
    assert cut_for(links(group), replace(spec, cache_bytes=(1 << 10,))) is None
    assert cut_for(links(group), replace(spec, threads=1024)) is None
