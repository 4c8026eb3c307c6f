"""The Metal Shading Language, as a table. What its spellings call is in ``metal_prelude.h``."""

from __future__ import annotations

from pathlib import Path

from ..core import dtype as dt
from ..core.dialect import FOLDS, OPERATORS, CLike
from ..core.ops import Op
from ..core.value import Extra

_NAMES = {
    dt.bool_: "uchar", dt.int8: "char", dt.int16: "short", dt.int32: "int", dt.int64: "long",
    dt.uint8: "uchar", dt.uint16: "ushort", dt.uint32: "uint", dt.uint64: "ulong",
    dt.float16: "half", dt.bfloat16: "bfloat", dt.float32: "float",
}  # fmt: skip
_INTEGERS = {
    Op.ADD: "add<{T}>({0}, {1})", Op.SUB: "sub<{T}>({0}, {1})", Op.MUL: "mul<{T}>({0}, {1})",
    Op.NEG: "neg<{T}>({0})", Op.SHL: "shl<{T}>({0}, {1})",
}  # fmt: skip

METAL_SL = CLike(
    types=_NAMES,
    short=_NAMES,
    prelude=Path(__file__).with_name("metal_prelude.h").read_text(encoding="utf-8"),
    kernel=(
        "[[max_total_threads_per_threadgroup({threads})]] kernel void {name}({arguments}, "
        "uint3 block_at [[threadgroup_position_in_grid]], "
        "uint3 thread_at [[thread_position_in_threadgroup]], uint3 item_at [[thread_position_in_grid]])"
    ),
    argument="device {qualifier}{T} *{alone}{name} [[buffer({i})]]",
    constant_qualifier="const ",
    alone_qualifier="",
    index_types=("int", "long"),
    grid="const {t} {var} = item_at.x; if ({var} < {extent}) {{",
    grid_last="{var} == {last}",
    block="block_at.x",
    thread="thread_at.x",
    barrier="threadgroup_barrier(mem_flags::mem_threadgroup);",
    shared="alignas(16) threadgroup {T} {name}[{size}];",
    vector_name="{short}{n}",
    literal="{V}({lanes})",
    parameter_space="device ",
    private_space="thread ",
    shared_space="threadgroup ",
    aligned_load="(*({space}{const}{V} *)({0} + {1}))",
    aligned_store="*({space}{V} *)({0} + {1}) = {2};",
    scalar={
        **OPERATORS, Op.CAST: "to<{T}>({0})", Op.BITCAST: "as_type<{T}>({0})",
        Op.MAX: "maximum<{T}>({0}, {1})", Op.RECIP: "recip({0})", Op.SQRT: "root({0})", Op.SIN: "sine({0})",
        Extra.FMA: "fused({0}, {1}, {2})", Extra.DIV: "quotient({0}, {1})",
    },
    by_dtype={(op, d): text for op, text in _INTEGERS.items() for d in dt.INTS},
    vector={
        Op.CAST: "{V}({0})", Op.BITCAST: "as_type<{V}>({0})", Op.MAX: "{V}_max({0}, {1})",
        Op.CMPLT: "(-{I}({0} < {1}))", Op.CMPNE: "(-{I}({0} != {1}))",
        Op.WHERE: "select({2}, {1}, {0} != 0)", Extra.SPLAT: "{V}({0})",
    },
    functions={
        "max": "inline {V} {V}_max({V} a, {V} b) {{ return select(b, a, (a > b) | (a != a)); }}",
        **dict.fromkeys(FOLDS, "inline {T} {name}({V} a) {{ {fold} }}"),
    },
    number={
        dt.float16: "{0}h", dt.bfloat16: "bfloat({0}f)", dt.float32: "{0}f", dt.int64: "{0}l",
        dt.uint64: "{0}ul", dt.uint32: "{0}u", dt.int32: "{0}", dt.int8: "(char){0}", dt.int16: "(short){0}",
        dt.uint8: "(uchar){0}", dt.uint16: "(ushort){0}",
    },
    infinity={dt.float32: "INFINITY", dt.float16: "half(INFINITY)", dt.bfloat16: "bfloat(INFINITY)"},
    nan={dt.float32: "NAN", dt.float16: "half(NAN)", dt.bfloat16: "bfloat(NAN)"},
)  # fmt: skip
