"""CUDA's tensor-core tiles, as data.

Shapes, dtypes and layouts are those of the PTX ISA 8.5, "Matrix multiply-accumulate operation using mma
instruction": of .f16 and .bf16 with .m16n8k16 ("Matrix Fragments for mma.m16n8k16 with floating point type"),
of .tf32 with .m16n8k8 ("Matrix Fragments for mma.m16n8k8"). Lane t is number t % 4 of group t // 4. Registers
have 32 bits; of two 16-bit elements the one of the lower number is in the lower half.
"""

from __future__ import annotations

from ..core import dtype as dt
from ..core.dtype import DType
from ..core.tile import Layout, Tile

_TYPES = {dt.float16: "__half", dt.bfloat16: "__nv_bfloat16", dt.float32: "float"}
_KINDS = {dt.float16: "f16", dt.bfloat16: "bf16", dt.float32: "f32"}


def _sums(dtype: DType) -> Layout:
    """Of c, 16 × 8."""
    return Layout(dtype, 4, lambda t, e: t // 4 + e // 2 * 8, lambda t, e: t % 4 * 2 + e % 2)


def _m16n8k16(given: DType, summed: DType) -> Tile:
    """Of 16-bit elements."""
    a = Layout(given, 8, lambda t, e: t // 4 + e // 2 % 2 * 8, lambda t, e: t % 4 * 2 + (e % 2 + e // 4 * 8))
    b = Layout(given, 4, lambda t, e: t % 4 * 2 + (e % 2 + e // 2 * 8), lambda t, e: t // 4)
    kind = _KINDS[given]
    return _tile(16, a, b, _sums(summed), kind, f"{_KINDS[summed]}.{kind}.{kind}.{_KINDS[summed]}")


def _m16n8k8_tf32() -> Tile:
    """Of float32, of which the product reads the first 11 binary digits."""
    a = Layout(dt.float32, 4, lambda t, e: t // 4 + e % 2 * 8, lambda t, e: t % 4 + e // 2 * 4)
    b = Layout(dt.float32, 2, lambda t, e: t % 4 + e * 4, lambda t, e: t // 4)
    return _tile(8, a, b, _sums(dt.float32), "tf32", "f32.tf32.tf32.f32")


def _tile(k: int, a: Layout, b: Layout, c: Layout, kind: str, types: str) -> Tile:
    name = f"mma_m16n8k{k}_{_KINDS[c.dtype]}_{kind}"
    return Tile(name, 16, 8, k, 32, a, b, c, _definition(name, f"m16n8k{k}.row.col.{types}", a, b, c))


def _definition(name: str, instruction: str, a: Layout, b: Layout, c: Layout) -> str:
    """The function: elements into registers, the instruction (the simulator's own under it), and back."""
    layouts = {"a": a, "b": b, "c": c}
    counts = {which: o.elements * o.dtype.itemsize // 4 for which, o in layouts.items()}
    takes = [
        f"{_TYPES[o.dtype]} {'&' if which == 'c' else ''}{which}{e}"
        for which, o in (("c", c), ("a", a), ("b", b))
        for e in range(o.elements)
    ]
    named = {which: ", ".join(f"{which}{e}" for e in range(o.elements)) for which, o in layouts.items()}
    held = [f"  alignas(4) {_TYPES[o.dtype]} {which}[] = {{{named[which]}}};" for which, o in layouts.items()]
    sums, letter = ("float", "f") if c.dtype is dt.float32 else ("unsigned", "r")
    into = [f'"+{letter}"((({sums} *)c)[{i}])' for i in range(counts["c"])]
    given = [f'"r"(((unsigned *){which})[{i}])' for which in "ab" for i in range(counts[which])]
    first = {"c": 0, "a": counts["c"], "b": counts["c"] + counts["a"]}
    slots = {
        which: "{" + ", ".join(f"%{first[which] + i}" for i in range(counts[which])) + "}" for which in "abc"
    }
    back = " ".join(f"c{e} = c[{e}];" for e in range(c.elements))
    return "\n".join(
        [
            f"FN void {name}({', '.join(takes)}) {{",
            *held,
            f"#ifdef simulated_{name}",
            f"  simulated_{name}(c, (unsigned *)a, (unsigned *)b, c);",
            "#else",
            f'  asm("mma.sync.aligned.{instruction} {slots["c"]}, {slots["a"]}, {slots["b"]}, {slots["c"]};"',
            f"      : {', '.join(into)}",
            f"      : {', '.join(given)});",
            "#endif",
            f"  {back}",
            "}",
        ]
    )


TILES: tuple[Tile, ...] = (
    _m16n8k16(dt.float16, dt.float32),
    _m16n8k16(dt.bfloat16, dt.float32),
    _m16n8k16(dt.float16, dt.float16),
)
"""What the port offers, from sm_80 on."""

TF32: Tile = _m16n8k8_tf32()
"""There, too, and not offered: a float32 product that reads 11 digits is none by the contract."""


def tiles_of(capability: tuple[int, int]) -> tuple[Tile, ...]:
    """The tiles that the port offers on a device: none before sm_80."""
    return TILES if capability >= (8, 0) else ()
