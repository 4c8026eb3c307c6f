"""Tiles declared as data: who holds which element, the compiler's word on the text, the simulators' sums."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import simulating
import support as t

from portwright.core import dtype as dt
from portwright.core import engine, graph
from portwright.core.errors import DeviceError, PortError
from portwright.core.loops import Multiply, statements
from portwright.core.port_check import check_port
from portwright.core.registry import open_device
from portwright.core.tile import Layout, Tile
from portwright.devices import cuda_nvrtc, cuda_tiles, metal_tiles
from portwright.devices.cuda_dialect import CUDA_C
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.cuda_spec import PUBLISHED, Facts, cuda_spec
from portwright.devices.metal_dialect import METAL_SL
from portwright.devices.metal_sim import MetalSim
from portwright.devices.metal_spec import Facts as MetalFacts
from portwright.devices.metal_spec import metal_spec

CUDA = (*cuda_tiles.TILES, cuda_tiles.TF32)
METAL = metal_tiles.TILES
NUMPY = {dt.float16: np.float16, dt.bfloat16: ml_dtypes.bfloat16, dt.float32: np.float32}


def by_name(*tiles):
    return pytest.mark.parametrize("tile", tiles, ids=lambda t: t.name)


# ------------------------------------------------------------------------------------------- layouts


@by_name(*CUDA, *METAL)
def test_each_element_is_held_once(tile):
    for layout, shape in ((tile.a, (tile.m, tile.k)), (tile.b, (tile.k, tile.n)), (tile.c, (tile.m, tile.n))):
        held = [layout.place(lane, e) for lane in range(tile.threads) for e in range(layout.elements)]
        assert sorted(held) == [(row, column) for row in range(shape[0]) for column in range(shape[1])]


@by_name(*CUDA)
def test_the_layouts_are_those_of_the_ptx_isa(tile):
    """The formulas of the PTX ISA, as it writes them."""
    narrow = tile.k == 16
    for lane in range(32):
        group, place = lane >> 2, lane % 4
        for i in range(tile.a.elements):
            if narrow:
                row = group if i < 2 or 4 <= i < 6 else group + 8
                column = place * 2 + (i & 1) + (0 if i < 4 else 8)
            else:
                row, column = (group if i in (0, 2) else group + 8), (place if i in (0, 1) else place + 4)
            assert tile.a.place(lane, i) == (row, column)
        for i in range(tile.b.elements):
            row = place * 2 + (i & 1) + (0 if i < 2 else 8) if narrow else place + 4 * i
            assert tile.b.place(lane, i) == (row, group)
        for i in range(4):
            assert tile.c.place(lane, i) == (group + (8 if i >= 2 else 0), place * 2 + (i & 1))


def test_tiles_are_offered_where_they_are():
    assert cuda_spec("CUDA", PUBLISHED["sm_90"]).tiles == cuda_tiles.TILES
    assert cuda_spec("CUDA", Facts((7, 5), processors=40)).tiles == ()
    assert metal_spec("METAL", MetalFacts()).tiles == METAL
    assert metal_spec("METAL", replace(MetalFacts(), matrices=False)).tiles == ()


def test_a_product_of_float32_is_not_made_of_fewer_digits():
    """TF32 is declared, and no port offers it."""
    assert not any(tile.a.dtype is dt.float32 for tile in cuda_tiles.TILES)


ONE = Layout(dt.float32, 1, lambda t, e: t // 4, lambda t, e: t % 4)
QUAD = Tile("quad", 4, 4, 4, 16, ONE, ONE, ONE, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"a": replace(ONE, row=lambda t, e: t // 8)}, r"of whose 4x4 a no thread holds \(2, 0\)"),
        ({"b": replace(ONE, column=lambda t, e: t % 5)}, r"of whose 4x4 b a thread holds \(1, 4\)"),
        ({"c": replace(ONE, elements=2)}, r"of whose 4x4 c \(0, 0\) is held twice"),
        ({"threads": 4096}, "by 4096 threads, and a block has 1024 at most"),
        ({"a": replace(ONE, dtype=dt.float16)}, "of float16 times float32: they must be equal"),
    ],
    ids=["missing", "outside", "twice", "threads", "dtypes"],
)
def test_a_tile_that_contradicts_itself_does_not_open(changes, said):
    sim = CUDASim()
    check_port(CUDASim, replace(sim.spec, tiles=(QUAD,)))
    with pytest.raises(PortError, match=said):
        check_port(CUDASim, replace(sim.spec, tiles=(replace(QUAD, **changes),)))


def test_an_operand_may_be_held_twice():
    """As some chips want it: only who holds a result must be one."""
    check_port(CUDASim, replace(CUDASim().spec, tiles=(replace(QUAD, a=replace(ONE, elements=2)),)))


# ------------------------------------------------------------------------------------------- text


def each(layout: Layout, threads: int, columns: int, line: str) -> str:
    """A line for each of a lane's elements: number {e}, at {at}, looked up in a table by the lane."""
    out = []
    for e in range(layout.elements):
        places = (layout.place(lane, e) for lane in range(threads))
        table = ", ".join(str(row * columns + column) for row, column in places)
        out.append(f"  const int at{e}[] = {{{table}}}; {line.format(e=e, at=f'at{e}[lane]')}")
    return "{\n" + "\n".join(out) + "\n  }"


def steps(tile: Tile, types) -> str:
    """A kernel's body: this lane's elements, the product, and the results where they belong."""
    a, b, c = (o.elements for o in (tile.a, tile.b, tile.c))
    given = [*(f"c[{e}]" for e in range(c)), *(f"a[{e}]" for e in range(a)), *(f"b[{e}]" for e in range(b))]
    return f"""
  {types[tile.a.dtype]} a[{a}], b[{b}]; {types[tile.c.dtype]} c[{c}];
  {each(tile.a, tile.threads, tile.k, "a[{e}] = A[{at}];")}
  {each(tile.b, tile.threads, tile.n, "b[{e}] = B[{at}];")}
  {each(tile.c, tile.threads, tile.n, "c[{e}] = C[{at}];")}
  {tile.name}({", ".join(given)});
  {each(tile.c, tile.threads, tile.n, "D[{at}] = c[{e}];")}
}}"""


def cuda_text(tile: Tile) -> str:
    a, c = CUDA_C.types[tile.a.dtype], CUDA_C.types[tile.c.dtype]
    return f"""typedef int index_t;
{CUDA_C.prelude}
{tile.definition}
extern "C" __global__ void k({c} *D, const {a} *A, const {a} *B, const {c} *C) {{
  const int lane = threadIdx.x;{steps(tile, CUDA_C.types)}"""


def metal_text(tile: Tile) -> str:
    kind = METAL_SL.types[tile.c.dtype]
    return f"""typedef int index_t;
{METAL_SL.prelude}
{tile.definition}
kernel void k(device {kind} *D [[buffer(0)]], device const {kind} *A [[buffer(1)]],
              device const {kind} *B [[buffer(2)]], device const {kind} *C [[buffer(3)]],
              uint lane [[thread_index_in_simdgroup]]) {{{steps(tile, METAL_SL.types)}"""


def needs_compiler():
    try:
        cuda_nvrtc.find_compiler()
    except DeviceError as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@by_name(*CUDA)
def test_the_compiler_takes_the_instruction(tile, architecture):
    needs_compiler()
    assert cuda_nvrtc.compile_for(architecture, cuda_text(tile)).startswith(b"\x7fELF")


@by_name(*CUDA, *METAL)
def test_the_simulators_compute_the_product(tile):
    sim, text = (MetalSim(), metal_text(tile)) if tile in METAL else (CUDASim(), cuda_text(tile))
    rng = np.random.default_rng(0)
    given, summed = NUMPY[tile.a.dtype], NUMPY[tile.c.dtype]
    for make in (lambda *s: rng.integers(-4, 5, s), lambda *s: rng.standard_normal(s)):
        a, b = make(tile.m, tile.k).astype(given), make(tile.k, tile.n).astype(given)
        c = make(tile.m, tile.n).astype(summed)
        if tile is cuda_tiles.TF32:
            a, b = (shortened(x, 11) for x in (a, b))
        d, *_ = simulating.run(sim, text, np.zeros_like(c), a, b, c)
        wide = a.astype(np.float64) @ b.astype(np.float64) + c
        assert np.array_equal(d, wide.astype(summed))


def product(device, dtype):
    rng = np.random.default_rng(0)
    a, b = (t.place(rng.integers(-4, 5, s), device, dtype) for s in ((32, 48), (48, 40)))
    if dtype is dt.float32:
        return t.matmul(a, b)
    return t.matmul(graph.cast(a, dt.float32), graph.cast(b, dt.float32))


@pytest.mark.parametrize(
    ("device", "dtype"),
    [("CUDA:sim", dt.float16), ("CUDA:sim", dt.bfloat16), ("METAL:sim", dt.float32)],
    ids=str,
)
def test_a_matrix_product_is_made_of_tiles(device, dtype):
    root = product(device, dtype)
    info = engine.kernels([root], device)[-1]
    used = [s.tile for s in statements(info.scheduled.body) if isinstance(s, Multiply)]
    assert used
    assert used[0] in open_device(device).spec.tiles
    (want,) = t.meaning(root)
    (got,) = t.realized(root)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16], ids=str)
def test_the_compiler_takes_a_matrix_product_of_tiles(dtype):
    needs_compiler()
    info = engine.kernels([product("CUDA:sm_80", dtype)], "CUDA:sm_80")[-1]
    assert "mma.sync" in info.source
    for architecture in ("sm_80", "sm_90"):
        assert cuda_nvrtc.compile_for(architecture, info.source)


def shortened(x, digits):
    """Floats of so many binary digits, cut off."""
    bits = x.view(np.uint32) & np.uint32(0xFFFFFFFF << (24 - digits) & 0xFFFFFFFF)
    return bits.view(np.float32)
