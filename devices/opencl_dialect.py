"""OpenCL C, as a table. What its spellings call is in ``opencl_prelude.h``."""

from __future__ import annotations

from pathlib import Path

from ..core import dtype as dt
from ..core.dialect import FOLDS, OPERATORS, CLike, wrapping
from ..core.ops import Op
from ..core.value import Extra

_TYPES = {
    dt.bool_: "uchar", dt.int8: "char", dt.int16: "short", dt.int32: "int", dt.int64: "long",
    dt.uint8: "uchar", dt.uint16: "ushort", dt.uint32: "uint", dt.uint64: "ulong",
    dt.float16: "half", dt.float32: "float", dt.float64: "double",
}  # fmt: skip

OPENCL_C = CLike(
    types=_TYPES,
    short=_TYPES,
    prelude=Path(__file__).with_name("opencl_prelude.h").read_text(encoding="utf-8"),
    kernel="__kernel void {name}({arguments})",
    argument="__global {qualifier}{T} *{alone}{name}",
    constant_qualifier="const ",
    alone_qualifier="restrict ",
    index_types=("int", "long"),
    grid="const {t} {var} = get_global_id(0); if ({var} < {extent}) {{",
    grid_last="{var} == {last}",
    block="get_group_id(0)",
    thread="get_local_id(0)",
    barrier="barrier(CLK_LOCAL_MEM_FENCE);",
    parameter_space="__global ",
    private_space="__private ",
    shared_space="__local ",
    shared="__local {T} {name}[{size}] __attribute__((aligned(16)));",
    local="{T} {name}[{size}] __attribute__((aligned(64)));",
    vector_name="{short}{n}",
    literal="({V})({lanes})",
    lane="{0}.s{1:x}",
    vector_load="as_{V}(vload{n}(0, {0} + {1}))",
    vector_store="vstore{n}({2}, 0, ({space}{T} *)({0} + {1}));",
    aligned_load="(*({space}{const}{V} *)({0} + {1}))",
    aligned_store="*({space}{V} *)({0} + {1}) = {2};",
    stream="STREAM((__global {V} *)({0} + {1}), {2});",
    prefetch="PREFETCH({0} + {1});",
    scalar={
        **OPERATORS, Op.BITCAST: "as_{T}({0})", Op.SQRT: "sqrt({0})", Op.EXP2: "exp2({0})",
        Op.LOG2: "log2({0})", Op.SIN: "sin({0})", Extra.FMA: "fma({0}, {1}, {2})",
    },
    by_dtype=wrapping({dt.int32: "uint", dt.int64: "ulong", dt.uint16: "uint"}),
    vector={
        Op.CAST: "convert_{V}({0})",
        Op.BITCAST: "as_{V}({0})",
        Op.RECIP: "(1 / {0})",
        Op.MAX: "{V}_max({0}, {1})",
        Extra.FMA: "{V}_fused({0}, {1}, {2})",
        Extra.SPLAT: "(({V})({0}))",
    },
    functions={
        "max": "static inline {V} {V}_max({V} a, {V} b) {{ return (a > b) | (a != a) ? a : b; }}",
        "fused": "static inline {V} {V}_fused({V} a, {V} b, {V} c) {{ FUSED(a, b, c); }}",
        **dict.fromkeys(FOLDS, "static inline {T} {name}({V} a) {{ {fold} }}"),
    },
    number={
        **dict.fromkeys(dt.INTS, "{0}"), dt.int64: "{0}L", dt.uint64: "{0}UL", dt.uint32: "{0}u",
        dt.float16: "{0}h", dt.float32: "{0}f", dt.float64: "{0}",
    },
    infinity={dt.float32: "INFINITY", dt.float64: "((double)INFINITY)", dt.float16: "((half)INFINITY)"},
    nan={dt.float32: "NAN", dt.float64: "((double)NAN)", dt.float16: "((half)NAN)"},
)  # fmt: skip
