"""The last rung: what the device can do, and what typical kernels make of it. Reported, and never judged.

A case passes when its results are right, whatever its times. They run alone, after all others, so that
nothing of ours disturbs them. That half of the digits are right suffices: the rungs below look at the last.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ...core import engine, graph
from ...core.device import Buffer, Reach
from ...core.dtype import DType, as_dtype, float16, float32, float64, int32
from ...core.errors import OutOfMemoryError
from ...core.graph import Node
from ...core.registry import open_device
from ...core.tensor import Tensor
from ..case import Case, place
from ..inputs import Array, Rng
from ..judge import require, require_form
from ..speed import (
    COPY,
    COPY_IN,
    COPY_OUT,
    LAUNCH,
    MULTIPLY_ADD,
    READ,
    Timing,
    Work,
    call_seconds,
    kernel_seconds,
    over_and_over,
    scaled,
    work_of,
)

LARGE = 16 << 20
"""Elements of four bytes of what kernels stream through: more than most caches hold."""
PERIOD = 1 << 18
"""Elements of it that are drawn; they repeat, so that the host has less to do."""
CHAINS, LINKS = 16, 8
"""Of multiply-adds: as many chains, which do not wait for each other, of so many links."""
HEAVY = 256 << 20
"""Bytes of what stands between two primitives that a device without kernels is not asked to hold."""
PATIENCE = 3.0
"""Seconds that a run may be expected to take."""


@dataclass(frozen=True)
class Job:
    """Something to compute: of which arrays, how, and what it must give, integers to the bit."""

    operands: tuple[Array, ...]
    compute: Callable[..., Tensor]
    wanted: Array


Make = Callable[[Rng], Job]
"""A job with operands drawn."""


@pytest.fixture(autouse=True)
def _measured(case: Case) -> None:
    """Only of a chip that is there."""
    case.claims_speed()


@contextmanager
def room(case: Case) -> Iterator[None]:
    """Where the device's memory does not suffice, nothing is measured."""
    try:
        yield
    except OutOfMemoryError as e:
        pytest.skip(f"{case.name} has no room for it: {e}")


def built(job: Job, device: str, put: Callable[[Array], Node]) -> Node:
    """What is to be computed, of operands that ``put`` has brought to the device."""
    return job.compute(*(Tensor._of(put(x), device) for x in job.operands)).node


def check(case: Case, node: Node, wanted: Array) -> None:
    """What the last run gave is right, in half of its digits."""
    got = engine.read(node)
    dtype, wanted = as_dtype(got.dtype), wanted.astype(got.dtype, copy=False)
    require_form(case.id, got, wanted)
    if not dtype.is_float:
        require(case.id, got != wanted, got, wanted, (), "equal")
        return
    most = 2.0 ** -(dtype.mantissa // 2) * float(np.abs(wanted).max())
    require(case.id, ~(np.abs(got - wanted) <= most), got, wanted, (), f"within {most:.2g}")


def timed(case: Case, job: Job) -> Timing | str:
    """A job's times, its results checked; or why it is not done here."""
    node = built(job, case.name, case.place)
    work = work_of(node)
    why = too_much(case, node, work)
    if why:
        return why
    found = over_and_over(lambda: kernel_seconds(node, case.device), work)
    check(case, node, job.wanted)
    return found


def too_much(case: Case, node: Node, work: Work) -> str:
    """Why a device is not asked for this: it would hold too much between two primitives, or take too long."""
    calls = [c for kernel in engine.kernels([node], case.name) for c in kernel.calls]
    most = max((math.prod(c.takes) * c.dtype.itemsize for c in calls), default=0)
    if most > HEAVY:
        return f"one primitive at a time, {case.name} would hold {scaled(most, 'B')} between two"
    seconds = operations(work) / pace(case.name)
    return f"it would take {case.name} about {seconds:.0f} s" if seconds > PATIENCE else ""


def operations(work: Work | Timing) -> float:
    """Work as one number: each element that moves counts as much as an operation."""
    return work.flops + work.bytes / 4


@functools.cache
def pace(name: str) -> float:
    """Operations in a second, about: of a small product of matrices."""
    job, device = product(np.float32, 128)(np.random.default_rng(0)), open_device(name)
    node = built(job, name, lambda x: place(x, name))
    kernel_seconds(node, device)
    return operations(work_of(node)) / max(kernel_seconds(node, device)[0], 1e-9)


def fastest(case: Case, *forms: Make) -> Timing | str:
    """Of jobs that bound the same, that which did most in a second; why not, where none is done here."""
    found = [timed(case, form(case.rng)) for form in forms]
    timings = [f for f in found if isinstance(f, Timing)]
    return max(timings, key=lambda t: operations(t) / t.best_seconds) if timings else found[0]


def keep(case: Case, found: Timing | str) -> None:
    """The times go into the certificate."""
    if isinstance(found, str):
        pytest.skip(found)
    case.timing = found


# ------------------------------------------------------------------------------------------------- the limits


def whole(rng: Rng, *shape: int, dtype: Any = np.float32) -> Array:
    """Small whole numbers: sums and products of them are exact."""
    return rng.integers(-4, 5, shape).astype(dtype)


def large(x: Array) -> Array:
    """As often as it takes, along the first axis, and in float32."""
    return np.tile(x.astype(np.float32), (LARGE // x.size, *[1] * (x.ndim - 1)))


def negated(rng: Rng, n: int) -> Job:
    """Every sign turned: a copy that nobody can do beside the kernel."""
    x = np.resize(whole(rng, min(n, PERIOD)), n)
    return Job((x,), lambda t: -t, -x)


def total(rng: Rng) -> Job:
    """The sum of all: every partial sum is exact."""
    x = large(whole(rng, PERIOD))
    return Job((x,), Tensor.sum, x.sum(dtype=np.float64))


def row_sums(rng: Rng) -> Job:
    """The sums of 4096 rows."""
    x = large(whole(rng, PERIOD)).reshape(4096, -1)
    return Job((x,), lambda t: t.sum(1), x.sum(1, np.float64))


def chains(x: Any) -> Any:
    """Multiply-adds of nothing but ``x`` and constants, which stay in registers."""
    ends = []
    for i in range(1, CHAINS + 1):
        a = x * i + i
        for _ in range(LINKS - 1):
            a = a * x + i
        ends.append(a)
    while len(ends) > 1:
        ends = [a * x + b for a, b in zip(ends[::2], ends[1::2], strict=True)]
    return ends[0]


def chained(dtype: Any) -> Make:
    """Chains of a million elements; they repeat, so that NumPy has less to do."""

    def make(rng: Rng) -> Job:
        numbers = rng.uniform(-0.5, 0.5, 4096) if np.dtype(dtype).kind == "f" else rng.integers(-9, 9, 4096)
        x = numbers.astype(dtype)
        exact = x.astype(np.float64) if x.dtype.kind == "f" else x
        return Job((np.tile(x, 256),), chains, np.tile(chains(exact), 256))

    return make


def product(dtype: Any, n: int) -> Make:
    """A product of matrices of ``n`` rows and columns."""

    def make(rng: Rng) -> Job:
        a, b = whole(rng, n, n, dtype=dtype), whole(rng, n, n, dtype=dtype)
        return Job((a, b), Tensor.matmul, a.astype(np.float64) @ b.astype(np.float64))

    return make


def copy(case: Case) -> Timing | str:
    """By a kernel, from the device's memory to itself."""
    return timed(case, negated(case.rng, LARGE))


def read(case: Case) -> Timing | str:
    """By a kernel that gives next to nothing."""
    return fastest(case, total, row_sums)


def launch(case: Case) -> Timing | str:
    """A kernel of one element, one at a time."""
    job = negated(case.rng, 1)
    if case.spec.reach is not Reach.KERNELS:
        return timed(case, job)
    node = built(job, case.name, case.place)
    work = work_of(node)
    one = case.launch_of(node, job.operands[0])
    found = over_and_over(lambda: call_seconds(lambda: case.device.launch(one), case.device), work)
    node.storage = one.buffers[0]
    check(case, node, job.wanted)
    return found


def copy_in(case: Case) -> Timing | str:
    """From the host's memory to the device's."""
    x, into = large(whole(case.rng, PERIOD)).view(np.uint8), Buffer(case.device, 4 * LARGE)
    found = over_and_over(
        lambda: call_seconds(lambda: into.write(memoryview(x)), case.device), Work(x.size, 0)
    )
    check(case, graph.buffer(into, x.shape, as_dtype(x.dtype)), x)
    return found


def copy_out(case: Case) -> Timing | str:
    """From the device's memory to the host's."""
    x, out = large(whole(case.rng, PERIOD)).view(np.uint8), np.zeros(4 * LARGE, np.uint8)
    source = Buffer(case.device, x.size)
    source.write(memoryview(x))
    found = over_and_over(
        lambda: call_seconds(lambda: source.read(memoryview(out)), case.device), Work(x.size, 0)
    )
    require(case.id, out != x, out, x, (), "equal")
    return found


def multiply_add(dtype: DType, case: Case) -> Timing | str:
    """The most that chains of them reach, or a product of matrices: a small one, or one for many cores."""
    case.claims(dtype)
    if dtype not in case.spec.arithmetic:
        return f"{case.name} computes {dtype} in another dtype"
    return fastest(case, chained(dtype.numpy), product(dtype.numpy, 256), product(dtype.numpy, 1024))


LIMITS: dict[str, Callable[[Case], Timing | str]] = {
    COPY: copy,
    READ: read,
    LAUNCH: launch,
    COPY_IN: copy_in,
    COPY_OUT: copy_out,
    **{f"{MULTIPLY_ADD}-{d}": functools.partial(multiply_add, d) for d in (float32, float64, float16, int32)},
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=list(LIMITS))
def test_limit(case: Case, limit: Callable[[Case], Timing | str]) -> None:
    """What the device can do: copies by a kernel and with the host, a launch, multiply-adds by dtype."""
    case.claims(float32)
    with room(case):
        keep(case, limit(case))


# ------------------------------------------------------------------------------------------------ the kernels


def silu(rng: Rng) -> Job:
    """x·sigmoid(x) of 16 Mi elements."""
    x = rng.standard_normal(PERIOD, np.float32)
    return Job((large(x),), lambda t: t * t.sigmoid(), large(x / (1 + np.exp(-x.astype(np.float64)))))


def column_sums(rng: Rng) -> Job:
    """Of 8192 rows of 2048."""
    x = large(whole(rng, PERIOD)).reshape(-1, 2048)
    return Job((x,), lambda t: t.sum(0), x.sum(0, np.float64))


def matvec(rng: Rng) -> Job:
    """A matrix of 4096 rows and columns, and a vector."""
    a, x = large(whole(rng, PERIOD)).reshape(-1, 4096), whole(rng, 4096)
    return Job((a, x), Tensor.matmul, (a @ x).astype(np.float64))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def softmax(rng: Rng) -> Job:
    """Of 16384 rows of 1024."""
    x = rng.standard_normal((PERIOD // 1024, 1024), np.float32)
    return Job((large(x),), lambda t: t.softmax(1), large(_softmax(x.astype(np.float64))))


def layernorm(rng: Rng) -> Job:
    """Of 16384 rows of 1024, with weight and bias."""
    x, w, b = (rng.standard_normal(shape, np.float32) for shape in ((PERIOD // 1024, 1024), 1024, 1024))
    mean, deviation = x.mean(1, np.float64, keepdims=True), x.std(1, np.float64, keepdims=True)
    wanted = (x - mean) / np.sqrt(deviation**2 + 1e-5) * w + b
    return Job((large(x), w, b), lambda t, weight, bias: t.layernorm(1024, weight, bias), large(wanted))


def transpose_add(rng: Rng) -> Job:
    """The transpose of a matrix of 4096 rows and columns, plus another."""
    x, y = (large(whole(rng, PERIOD)).reshape(4096, -1) for _ in range(2))
    return Job((x, y), lambda t, u: t.T + u, x.T + y)


def gather(rng: Rng) -> Job:
    """All rows of a table of 131072, of 128 elements each, in another order."""
    table = large(whole(rng, PERIOD)).reshape(-1, 128)
    rows = rng.permutation(len(table)).astype(np.int32)

    def take(t: Tensor, i: Tensor) -> Tensor:
        return Tensor._of(graph.gather(t.node, i.node), t.device)

    return Job((table, rows), take, table[rows])


def conv2d(rng: Rng) -> Job:
    """8 images of 32 channels, 32 by 32, with 64 kernels of 3 by 3."""
    x, w = whole(rng, 8, 32, 32, 32), whole(rng, 64, 32, 3, 3)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    wanted = np.tensordot(windows, w.astype(np.float64), ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return Job((x, w), lambda t, u: t.conv2d(u, padding=1), wanted)


def attention(rng: Rng) -> Job:
    """8 heads, 256 by 64."""
    q, k, v = (rng.standard_normal((8, 256, 64), np.float32) for _ in range(3))
    wanted = _softmax(q.astype(np.float64) @ k.swapaxes(1, 2) / 8) @ v
    return Job((q, k, v), Tensor.scaled_dot_product_attention, wanted)


KERNELS: dict[str, Make] = {
    "silu": silu,
    "column_sums": column_sums,
    "matvec": matvec,
    "softmax": softmax,
    "layernorm": layernorm,
    "transpose_add": transpose_add,
    "gather": gather,
    "matmul_256": product(np.float32, 256),
    "matmul_512": product(np.float32, 512),
    "matmul_1024": product(np.float32, 1024),
    "conv2d": conv2d,
    "attention": attention,
}


@pytest.mark.parametrize("make", KERNELS.values(), ids=list(KERNELS))
def test_kernel(case: Case, make: Make) -> None:
    """What typical kernels on float32 make of it; each is also right."""
    case.claims(float32, *([int32] if make is gather else []))
    with room(case):
        keep(case, timed(case, make(case.rng)))
