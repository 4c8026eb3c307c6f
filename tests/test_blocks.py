"""Devices with blocks of threads: what their kernels mean is what the fresh trees mean, barriers and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from portwright import Tensor
from portwright.core import dtype as dt
from portwright.core import engine, graph, pipeline, registry
from portwright.core import value as val
from portwright.core.device import Device, Extra, Images, Launch, Spec
from portwright.core.errors import DeviceError, KernelError
from portwright.core.index import constant, variable
from portwright.core.interpret import interpret
from portwright.core.loops import Barrier, Bind, Kernel, Loop, Memory, Multiply, Scratch, Store, statements
from portwright.core.ops import ALL_OPS, Op
from portwright.core.plan import KernelInfo
from portwright.core.tile import Layout, Tile
from portwright.core.value import Access
from portwright.core.verify import verify
from portwright.devices.adreno_dialect import ADRENO_C

SPEC = Spec(
    "BLOCKS", dtypes=frozenset(dt.ALL), native=ALL_OPS - {Op.EXP2, Op.LOG2, Op.SIN},
    arithmetic=frozenset(dt.ALL) - {dt.float16, dt.bfloat16} - dt.FLOAT8S,
    extras=frozenset({Extra.FMA, Extra.DIV}),
    vector_bytes=16, threads=512, max_block=256, block=64, warp=32, local_bytes=32 << 10,
)  # fmt: skip


class Blocks(Device):
    """A device whose kernels are only looked at: its buffers are host memory, and it launches nothing."""

    dialect = ADRENO_C

    def __init__(self, spec: Spec = SPEC) -> None:
        self.spec = spec

    def alloc(self, nbytes: int) -> bytearray:
        return bytearray(nbytes)

    def free(self, handle: bytearray, nbytes: int) -> None:
        pass

    def copy_in(self, handle: bytearray, data: memoryview) -> None:
        handle[: data.nbytes] = data

    def copy_out(self, data: memoryview, handle: bytearray) -> None:
        data[:] = handle[: data.nbytes]

    def compile(self, source: str) -> bytes:
        return source.encode()

    def load(self, binary, entries):
        return list(entries)

    def launch(self, launch: Launch) -> None:
        raise AssertionError("nothing is launched here")


@pytest.fixture
def spec():
    return SPEC


@pytest.fixture
def kernels(spec):
    registry.adopt(Blocks(spec))

    def of(tensor: Tensor) -> list[KernelInfo]:
        return engine.kernels([tensor.to("BLOCKS").node], "BLOCKS")

    return of


def tensor(*shape: int, dtype=np.float32) -> Tensor:
    return Tensor(np.zeros(shape, dtype), device="BLOCKS")


def arrays(kernel: Kernel, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        p.name: rng.integers(-4, 5, p.size).astype(p.dtype.numpy) if p.dtype is not dt.float32
        else rng.integers(-4, 5, p.size).astype(np.float32)
        for p in kernel.params
    }  # fmt: skip


def agree(info: KernelInfo) -> None:
    """The fresh tree and the final one give the same, on integers that any order of folding keeps exact."""
    before, after = arrays(info.loops, 0), arrays(info.scheduled, 0)
    interpret(info.loops, before)
    interpret(info.scheduled, after)
    for p in info.loops.params:
        if p.written:
            assert np.allclose(before[p.name], after[p.name], rtol=1e-5, atol=1e-6), p.name


PROGRAMS = {
    "whole": lambda: tensor(1000).sum(),
    "rows": lambda: tensor(7, 300).sum(1),
    "columns": lambda: tensor(300, 7).sum(0),
    "uneven": lambda: tensor(3, 77).amax(1),
    "softmax": lambda: tensor(5, 200).softmax(1),
    "layernorm": lambda: tensor(5, 130).layernorm(),
    "any": lambda: (tensor(9, 99) > 0).any(1),
    "many": lambda: tensor(1024, 8).sum(1),
    "matmul": lambda: tensor(64, 96) @ tensor(96, 128),
    "odd matmul": lambda: (tensor(67, 41) @ tensor(41, 93)).relu() + tensor(93),
    "transposed": lambda: tensor(40, 50).T @ tensor(64, 40).T,
    "batched": lambda: tensor(3, 36, 20) @ tensor(3, 20, 44),
    "few terms": lambda: tensor(64, 9) @ tensor(9, 64),
    "convolution": lambda: tensor(2, 5, 9, 11).conv2d(tensor(33, 5, 3, 3), padding=1),
    "distances": lambda: (tensor(40, 1, 30) - tensor(1, 35, 30)).abs().amax(2),
    "doubles": lambda: tensor(40, 33, dtype=np.float64) @ tensor(33, 35, dtype=np.float64),
    "vectors": lambda: tensor(64, 64) * 2 + 1,
    "odd": lambda: tensor(61, 67).T + 1,
    "padded": lambda: tensor(10, 70).pad(((1, 2), (3, 4))).sum(1),
    "int64": lambda: tensor(4, 500, dtype=np.int64).sum(1),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_schedule_keeps_the_meaning(program, kernels):
    infos = kernels(PROGRAMS[program]())
    assert infos
    for info in infos:
        agree(info)


def test_few_long_reductions_are_shared_by_a_block(kernels):
    (info,) = kernels(tensor(7, 300).sum(1))
    assert info.scheduled.threads is not None
    assert info.scheduled.grid.extent == 7
    assert any(isinstance(s, Barrier) for s in statements(info.scheduled.body))
    assert "__local float" in info.source
    assert info.source.count("barrier(") == info.scheduled.threads.extent.bit_length()


def test_many_short_reductions_are_a_work_item_each(kernels):
    (info,) = kernels(tensor(4096, 8).sum(1))
    assert info.scheduled.threads is None
    assert info.scheduled.grid.extent == 4096


def test_elements_move_in_vectors_where_there_are_enough(kernels):
    (info,) = kernels(tensor(64, 64) * 2)
    assert info.scheduled.grid.extent == 1024
    assert "float4" in info.source
    (small,) = kernels(tensor(8, 8) * 2)
    assert "float4" not in small.source


@pytest.mark.parametrize("spec", [replace(SPEC, max_grid=(5, 1, 1))])
def test_a_grid_too_small_for_the_work_items_has_each_do_several(kernels, spec):
    (info,) = kernels(tensor(1000) + 1)
    agree(info)
    assert -(-info.scheduled.grid.extent // spec.block) <= 5


@pytest.mark.parametrize("spec", [replace(SPEC, max_buffers=4)])
def test_a_kernel_of_too_many_buffers_is_split(kernels, spec):
    total = tensor(64)
    for _ in range(9):
        total = total + tensor(64)
    infos = kernels(total)
    assert max(len(i.loops.params) for i in infos) <= 4


def test_positions_past_two_to_the_31_are_counted_in_long(kernels):
    (info,) = kernels(tensor(1, 1).expand(1 << 16, 1 << 16).contiguous())
    assert "typedef long index_t;" in info.source
    (small,) = kernels(tensor(1, 1).expand(1 << 4, 1 << 4).contiguous())
    assert "typedef int index_t;" in small.source


# ------------------------------------------------------------------------------------------- the tree's rules


def block(*body) -> Kernel:
    shared = Scratch(Memory("s", dt.float32, 4, written=True, shared=True))
    threads = Loop("t", 4, (shared, *body), Bind.THREAD)
    out = Memory("out", dt.float32, 4, written=True)
    return Kernel((out,), (Loop("b", 1, (threads,), Bind.GRID),))


T = variable("t", 4)
PUT = Store("s", T, val.number(1.0, dt.float32))
GET = Store("out", T, val.make(Op.LOAD, dt.float32, (), Access("s", constant(3) - T, ())))


def test_a_load_of_what_others_stored_wants_a_barrier():
    verify(block(PUT, Barrier(), GET))
    with pytest.raises(KernelError, match="no barrier before the load"):
        verify(block(PUT, GET))
    with pytest.raises(KernelError, match="no barrier between the load and the store"):
        verify(block(PUT, Barrier(), GET, PUT))


def test_a_loop_that_comes_round_wants_one_too():
    around = Loop("k", 2, (PUT, Barrier(), GET))
    with pytest.raises(KernelError, match="no barrier"):
        verify(block(around))
    verify(block(Loop("k", 2, (PUT, Barrier(), GET, Barrier()))))


def test_shared_memory_outside_of_a_block_is_refused():
    with pytest.raises(KernelError, match="outside of a block"):
        verify(Kernel((Memory("out", dt.float32, 4, written=True),), (Barrier(),)))


def test_threads_share_one_memory_in_the_interpreter():
    out = np.zeros(4, np.float32)
    mine = Store("s", T, val.cast(val.make(val.Extra.INDEX, dt.int32, (), T), dt.float32))
    interpret(block(mine, Barrier(), GET), {"out": out})
    assert out.tolist() == [3, 2, 1, 0]


# ------------------------------------------------------------------------------------------------- images

PICTURES = replace(SPEC, images=Images(64, 64, 4, frozenset({dt.float32})), vector_lanes=4)


@pytest.mark.parametrize("spec", [PICTURES])
def test_what_is_read_in_whole_pixels_is_read_through_an_image(kernels, spec):
    (info,) = kernels(tensor(64, 64) * 2)
    out, operand = info.scheduled.params
    assert (out.image, operand.image) == (0, 64)
    assert "read_imagef(in0, PIXEL, place(i0_i1_o, 64))" in info.source


@pytest.mark.parametrize("spec", [PICTURES])
def test_what_is_read_element_by_element_is_not(kernels, spec):
    (info,) = kernels(tensor(61, 67).T + 1)
    assert not any(p.image for p in info.scheduled.params)


@pytest.mark.parametrize("spec", [PICTURES])
def test_an_image_is_never_larger_than_the_device_says(kernels, spec):
    (info,) = kernels(tensor(256, 256) * 2)  # 16384 pixels: 256 rows of 64
    assert not any(p.image for p in info.scheduled.params)


# -------------------------------------------------------------------------------------------------- tiles

MMA = Tile(
    "mma", 16, 8, 16, 32,
    Layout(dt.float16, 8, lambda t, e: t // 4 + e // 2 % 2 * 8, lambda t, e: t % 4 * 2 + e % 2 + e // 4 * 8),
    Layout(dt.float16, 4, lambda t, e: t % 4 * 2 + (e % 2 + e // 2 * 8), lambda t, e: t // 4),
    Layout(dt.float32, 4, lambda t, e: t // 4 + e // 2 * 8, lambda t, e: t % 4 * 2 + e % 2),
    "// mma is defined here",
)  # fmt: skip
TENSOR = replace(SPEC, arithmetic=SPEC.arithmetic | {dt.float16}, tiles=(MMA,))


def half(*shape: int) -> Tensor:
    return tensor(*shape, dtype=np.float16)


TILED = {
    "square": lambda: half(32, 48) @ half(48, 64),
    "transposed": lambda: half(32, 48) @ half(64, 48).T,
    "batch": lambda: half(3, 16, 16) @ half(3, 16, 8),
    "epilogue": lambda: (half(32, 32).float() @ half(32, 32).float() + 1).relu() * 2,
    "many": lambda: half(128, 32) @ half(32, 96),
}


@pytest.mark.parametrize("spec", [TENSOR])
@pytest.mark.parametrize("program", TILED)
def test_a_contraction_that_a_tile_divides_is_tensorized(program, kernels):
    infos = kernels(TILED[program]())
    assert any(isinstance(s, Multiply) for s in statements(infos[-1].scheduled.body))
    assert "// mma is defined here" in infos[-1].source
    for info in infos:
        agree(info)


@pytest.mark.parametrize("spec", [TENSOR])
def test_a_contraction_that_no_tile_divides_is_not(kernels):
    for program in (half(33, 48) @ half(48, 64), tensor(32, 32) @ tensor(32, 32)):
        for info in kernels(program):
            assert not any(isinstance(s, Multiply) for s in statements(info.scheduled.body))
            agree(info)


@pytest.mark.parametrize("spec", [replace(SPEC, local_bytes=0), replace(SPEC, local_bytes=100)])
def test_without_room_for_the_parts_nothing_is_shared(kernels, spec):
    (info,) = kernels(tensor(7, 300).sum(1))
    assert info.scheduled.threads is None
    agree(info)


@pytest.mark.parametrize("spec", [replace(SPEC, block=96, max_block=96, warp=96)])
def test_a_block_of_no_power_of_two_still_meets(kernels, spec):
    (info,) = kernels(tensor(7, 300).sum(1))
    agree(info)


class Counting(Blocks):
    """Says over how many work items each kernel is launched."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[int] = []

    def launch(self, launch: Launch) -> None:
        self.items.append(launch.grid[0] * launch.block[0])


def test_what_keeps_its_order_is_one_work_item() -> None:
    device = registry.adopt(Counting())
    x, at = tensor(9, 5), Tensor(np.zeros(8, np.int32), device="BLOCKS")
    engine.realize([graph.scatter(x.node, at.node, tensor(8, 5).node, Op.ADD)], "BLOCKS")
    assert device.items == [1]  # a second would add everything again, in a race


@pytest.mark.parametrize("spec", [replace(SPEC, warp=1, threads=2)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_threads_that_do_not_run_in_step_walk_memory_by_themselves(program, kernels):
    for info in kernels(PROGRAMS[program]()):
        assert info.scheduled.threads is None
        agree(info)


@pytest.mark.parametrize("spec", [replace(SPEC, warp=1, threads=2)])
def test_few_work_items_are_spread_over_the_threads(kernels, spec):
    (info,) = kernels(tensor(64, 512) @ tensor(512, 256))
    items = info.scheduled.grid.extent
    grid, block = pipeline._launched_over(info.scheduled, spec)
    assert grid * block >= items > (grid - 1) * block
    assert grid >= 2 * spec.threads
    assert items < 2 * spec.threads * spec.block  # in whole blocks they would have been fewer


@pytest.mark.parametrize("spec", [replace(TENSOR, max_grid=(2, 1, 1))])
def test_tiles_that_the_grid_has_no_room_for_are_left(kernels, spec):
    for info in kernels(half(128, 32) @ half(32, 96)):
        assert not any(isinstance(s, Multiply) for s in statements(info.scheduled.body))
        agree(info)


@pytest.mark.parametrize("spec", [replace(SPEC, max_buffers=2)])
def test_a_device_of_too_few_buffers_is_told_which_it_is(kernels, spec):
    with pytest.raises(DeviceError, match="BLOCKS takes 2"):
        kernels(tensor(8) + tensor(8))
