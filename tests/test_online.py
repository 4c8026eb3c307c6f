"""Softmax whose rows are never whole: the same numbers, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import support as t

from portwright import Device, Tensor
from portwright.core.chain import chain
from portwright.core.chaining import joined
from portwright.core.fuse import fuse
from portwright.core.loops import Kernel, Scratch, statements
from portwright.core.online import TERMS_AT_ONCE, online, online_cut_for
from portwright.core.pipeline import links
from portwright.core.siblings import Cut, Group
from portwright.core.verify import verify

Array = np.ndarray


def operands(heads: int, length: int, width: int, keys: int) -> list[Array]:
    random = np.random.default_rng(3)
    shapes = (heads, length, width), (heads, keys, width), (heads, keys, width)
    return [random.standard_normal(s).astype(np.float32) for s in shapes]


def reference(q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    s = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        s = np.where(mask, s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) @ v


def group_of(y: Tensor, spec: t.Spec) -> Group:
    """Its three kernels, as one group."""
    _, (first, second, third) = fuse([y.node], spec)
    return joined(joined(first, second), third)


SPEC = t.spec(16, cache_bytes=(1 << 12, 1 << 16), threads=2)


@pytest.mark.parametrize("terms", [4, 16, 24])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_every_stage_of_attention_some_keys_at_a_time(terms: int, causal: bool) -> None:
    q, k, v = operands(2, 36, 20, 41)
    mask = np.tri(36, 41, dtype=bool) if causal else None
    y = Tensor(q).scaled_dot_product_attention(Tensor(k), Tensor(v), is_causal=causal)
    group = replace(group_of(y, SPEC), cut=Cut(6, terms))
    wanted = reference(q, k, v, mask)
    values = {n: t.engine.read(n) for n in group.reads}
    for stage in t.stages(group, SPEC):
        held = [s.memory for s in statements(stage.kernel.body) if isinstance(s, Scratch)]
        assert max(m.size for m in held) < 12 * 41, "no row is whole"
        (got,) = t.run_tree(stage, group, values)
        assert np.abs(got.reshape(wanted.shape) - wanted).max() < 2e-6, stage.name


Weights = Callable[[Tensor], Tensor]


def chain_of(weights: Weights) -> Kernel:
    """Scores, what is made of them, and sums that these weigh, four blocks of 16 rows and 48 terms."""
    q, k, v = map(Tensor, operands(1, 64, 8, 48))
    scores = (q @ k.transpose(-1, -2)).contiguous()
    made = chain(links(group_of(weights(scores).contiguous() @ v, SPEC)), 4)
    assert made is not None
    return made


def shifted(s: Tensor) -> Tensor:
    return s - s.max(-1, keepdim=True)


def share(x: Tensor) -> Tensor:
    return 1 / x.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "weights",
    [lambda s: s.softmax(-1), lambda s: shifted(s).exp() * share(shifted(s).exp())],
    ids=["softmax", "written out"],
)
def test_a_softmax_is_known_however_it_is_written(weights: Weights) -> None:
    made = chain_of(weights)
    found = online(made, 16)
    assert found is not None
    verify(found)
    assert online(made, 48) is None, "all of a row at a time is the chain as it was"


@pytest.mark.parametrize(
    "weights",
    [
        lambda s: shifted(s).exp2() * share(shifted(s).exp2()),
        lambda s: (s - s.min(-1, keepdim=True)).exp() * share(shifted(s).exp()),
        lambda s: shifted(s).sigmoid() * share(shifted(s).sigmoid()),
        lambda s: s.softmax(-1) + 1,
        lambda s: s.softmax(-1) * s,
        lambda s: s.log_softmax(-1),
    ],
    ids=["base two", "least", "no power", "more", "twice", "logarithm"],
)
def test_what_is_no_softmax_stays_whole(weights: Weights) -> None:
    assert online(chain_of(weights), 16) is None


def test_long_attention_is_one_kernel_whose_memory_stays_near() -> None:
    device = Device("CPU")
    near = device.spec.near_bytes
    length = near // (2 * 4 * 16)  # of so few rows that scores of all keys would fit
    q, k, v = operands(1, length, 8, length)
    y = Tensor(q).scaled_dot_product_attention(Tensor(k), Tensor(v))
    (kernel,) = y.kernels()
    assert kernel.nbytes == 4 * 4 * length * 8
    held = [s.memory for s in statements(kernel.loops.body) if isinstance(s, Scratch)]
    assert sum(m.nbytes for m in held) <= near
    at = slice(0, length, 97)
    assert np.abs(y.numpy()[:, at] - reference(q[:, at], k, v)).max() < 1e-5


def test_rows_that_see_no_key_of_a_block_or_none_at_all() -> None:
    q, k, v = operands(1, 24, 8, 40)
    mask = np.ones((24, 40), bool)
    mask[3, :30] = False  # blocks without any
    mask[5, 8:] = False
    mask[7] = False
    y = Tensor(q).scaled_dot_product_attention(Tensor(k), Tensor(v), attn_mask=Tensor(mask))
    group = replace(group_of(y, SPEC), cut=Cut(2, 8))
    (got,) = t.run_tree(t.stages(group, SPEC)[-1], group, {n: t.engine.read(n) for n in group.reads})
    with np.errstate(invalid="ignore"):
        wanted = reference(q, k, v, mask)
    got = got.reshape(wanted.shape)
    seen = np.arange(24) != 7
    assert np.abs(got - wanted)[:, seen].max() < 2e-6
    assert np.isnan(got[:, 7]).all()  # as a softmax of nothing is


def test_as_many_rows_share_a_block_as_half_of_a_near_cache_holds() -> None:
    q, k, v = map(Tensor, operands(4, 256, 16, 2 * TERMS_AT_ONCE))
    y = q.scaled_dot_product_attention(k, v)

    def cut(near: int) -> Cut | None:
        spec = t.spec(16, cache_bytes=(1 << 12, near), threads=2)
        return online_cut_for(links(group_of(y, spec)), spec)

    row = (TERMS_AT_ONCE + 16) * 4
    assert cut(2 * 256 * row) == Cut(4, TERMS_AT_ONCE)
    assert cut(2 * 256 * row - 1) == Cut(8, TERMS_AT_ONCE)
    assert cut(2 * 64 * row) == Cut(16, TERMS_AT_ONCE)
    assert cut(2 * 64 * row - 1) is None, "too few rows to repay what is packed"
