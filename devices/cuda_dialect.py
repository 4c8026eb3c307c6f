"""CUDA C++, as a table. What its spellings call is in ``cuda_prelude.h``."""

from __future__ import annotations

from pathlib import Path

from ..core import dtype as dt
from ..core.dialect import FOLDS, OPERATORS, SHORT, CLike
from ..core.ops import Op
from ..core.value import Extra

_INTEGERS = {
    Op.ADD: "add<{T}>({0}, {1})", Op.SUB: "sub<{T}>({0}, {1})", Op.MUL: "mul<{T}>({0}, {1})",
    Op.NEG: "neg<{T}>({0})", Op.SHL: "shl<{T}>({0}, {1})",
}  # fmt: skip

CUDA_C = CLike(
    types={
        dt.bool_: "unsigned char", dt.int8: "signed char", dt.int16: "short", dt.int32: "int",
        dt.int64: "long long", dt.uint8: "unsigned char", dt.uint16: "unsigned short",
        dt.uint32: "unsigned int", dt.uint64: "unsigned long long", dt.float16: "__half",
        dt.bfloat16: "__nv_bfloat16", dt.float32: "float", dt.float64: "double",
    },
    short=SHORT,
    prelude=Path(__file__).with_name("cuda_prelude.h").read_text(encoding="utf-8"),
    kernel='extern "C" __global__ void __launch_bounds__({threads}) {name}({arguments})',
    argument="{qualifier}{T} *{alone}{name}",
    constant_qualifier="const ",
    alone_qualifier="__restrict__ ",
    index_types=("int", "long long"),
    grid="const {t} {var} = ({t})blockIdx.x * blockDim.x + threadIdx.x; if ({var} < {extent}) {{",
    grid_last="{var} == {last}",
    block="blockIdx.x",
    thread="threadIdx.x",
    barrier="__syncthreads();",
    shared="alignas(16) __shared__ {T} {name}[{size}];",
    vector_type="typedef vec<{T}, {n}> {V};",
    literal="{V}{{{{{lanes}}}}}",
    aligned_load="(*({const}{V} *)({0} + {1}))",
    aligned_store="*({V} *)({0} + {1}) = {2};",
    scalar={
        **OPERATORS, Op.CAST: "to<{T}>({0})", Op.BITCAST: "bits<{T}>({0})", Op.MAX: "maximum<{T}>({0}, {1})",
        Op.RECIP: "recip({0})", Op.SQRT: "root({0})", Op.EXP2: "power2({0})", Op.LOG2: "logarithm2({0})",
        Op.SIN: "sine({0})", Extra.FMA: "fused({0}, {1}, {2})", Extra.DIV: "quotient({0}, {1})",
    },
    by_dtype={(op, d): text for op, text in _INTEGERS.items() for d in dt.INTS},
    vector={
        Op.CAST: "convert<{T}>({0})", Op.BITCAST: "bits<{V}>({0})", Op.MAX: "maximum({0}, {1})",
        Op.WHERE: "choose({0}, {1}, {2})", Extra.SPLAT: "all<{T}, {n}>({0})",
    },
    functions=dict.fromkeys(FOLDS, "FN {T} {name}({V} a) {{ {fold} }}"),
    number={
        dt.float16: "__float2half({0}f)", dt.bfloat16: "__float2bfloat16({0}f)", dt.float32: "{0}f",
        dt.float64: "{0}", dt.int64: "{0}ll", dt.uint64: "{0}ull", dt.uint32: "{0}u", dt.int32: "{0}",
        dt.int8: "(signed char){0}", dt.int16: "(short){0}", dt.uint8: "(unsigned char){0}",
        dt.uint16: "(unsigned short){0}",
    },
    infinity={
        dt.float32: "bits<float>(0x7f800000)", dt.float64: "bits<double>(0x7ff0000000000000ll)",
        dt.float16: "bits<__half>((short)0x7c00)", dt.bfloat16: "bits<__nv_bfloat16>((short)0x7f80)",
    },
    nan={
        dt.float32: "bits<float>(0x7fc00000)", dt.float64: "bits<double>(0x7ff8000000000000ll)",
        dt.float16: "bits<__half>((short)0x7e00)", dt.bfloat16: "bits<__nv_bfloat16>((short)0x7fc0)",
    },
)  # fmt: skip
