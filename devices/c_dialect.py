"""C with GNU vector extensions, as a table: what gcc and clang both compile."""

from __future__ import annotations

from ..core import dtype as dt
from ..core.dialect import CLike
from ..core.ops import Op
from ..core.value import Extra

_LANES = "static inline {V} {V}_%s { {V} r; for (int l = 0; l < {n}; l++) r[l] = %s; return r; }"


def _function(body: str) -> str:
    """A vector function's definition, with its braces escaped for ``str.format``."""
    return "__attribute__((always_inline)) static inline " + body


C = CLike(
    types={
        dt.bool_: "uint8_t", dt.int8: "int8_t", dt.int16: "int16_t", dt.int32: "int32_t", dt.int64: "int64_t",
        dt.uint8: "uint8_t", dt.uint16: "uint16_t", dt.uint32: "uint32_t", dt.uint64: "uint64_t",
        dt.float32: "float", dt.float64: "double",
    },
    short={
        dt.bool_: "b8", dt.int8: "i8", dt.int16: "i16", dt.int32: "i32", dt.int64: "i64", dt.uint8: "u8",
        dt.uint16: "u16", dt.uint32: "u32", dt.uint64: "u64", dt.float32: "f32", dt.float64: "f64",
    },
    prelude="""\
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#if defined(__clang__)
#define STREAM(V, p, v) __builtin_nontemporal_store(v, (V *)(p))
#elif defined(__AVX512F__)
typedef long long i64x8_s __attribute__((vector_size(64)));
#define STREAM(V, p, v) __builtin_ia32_movntdq512((i64x8_s *)(p), (i64x8_s)(v))
#elif defined(__AVX__)
typedef long long i64x4_s __attribute__((vector_size(32)));
#define STREAM(V, p, v) __builtin_ia32_movntdq256((i64x4_s *)(p), (i64x4_s)(v))
#else
#define STREAM(V, p, v) (*(V *)(p) = (v))
#endif
#if defined(__x86_64__) && (defined(__AVX__) || defined(__clang__))
#define STREAM_END() __builtin_ia32_sfence()
#else
#define STREAM_END() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
static inline index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
static inline index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
""",
    kernel="void {name}(void *const *a, long first, long last)",
    parameter="{qualifier}{T} *{alone}{name} = ({qualifier}{T} *)a[{i}];",
    constant_qualifier="const ",
    alone_qualifier="restrict ",
    vector_type=(
        "typedef {T} {V} __attribute__((vector_size({bytes})));\n"
        "typedef {T} {V}_u __attribute__((vector_size({bytes}), aligned({align}), may_alias));"
    ),
    grid="for ({t} {var} = first; {var} < last; {var}++) {{",
    grid_last="last == {extent}",
    literal="({V}){{{lanes}}}",
    vector_load="(({V})*({const}{V}_u *)({0} + {1}))",
    vector_store="*({V}_u *)({0} + {1}) = {2};",
    scalar={
        Op.CAST: "(({T}){0})", Op.BITCAST: "{name}({0})", Op.ADD: "({0} + {1})", Op.SUB: "({0} - {1})",
        Op.MUL: "({0} * {1})", Op.NEG: "(-{0})", Op.IDIV: "({0} / {1})",
        Op.MAX: "({0} > {1} || {0} != {0} ? {0} : {1})",
        Op.MOD: "({0} % {1})", Op.RECIP: "(({T})1 / {0})", Op.SQRT: "__builtin_sqrt({0})",
        Op.CMPLT: "({0} < {1})", Op.CMPNE: "({0} != {1})", Op.WHERE: "({0} ? {1} : {2})",
        Op.AND: "({0} & {1})", Op.OR: "({0} | {1})", Op.XOR: "({0} ^ {1})", Op.SHL: "({0} << {1})",
        Op.SHR: "({0} >> {1})", Extra.FMA: "__builtin_fma({0}, {1}, {2})", Extra.DIV: "({0} / {1})",
    },
    by_dtype={
        (Op.SQRT, dt.float32): "__builtin_sqrtf({0})",
        (Extra.FMA, dt.float32): "__builtin_fmaf({0}, {1}, {2})",
    },
    vector={
        Op.CAST: "__builtin_convertvector({0}, {V})",
        Op.BITCAST: "(({V}){0})",
        Extra.SPLAT: "{V}_set({0})",
        Op.RECIP: "({V}_set(1) / {0})",
        Op.SQRT: "{V}_sqrt({0})",
        Op.MAX: "{V}_max({0}, {1})",
        Op.WHERE: "{V}_where({0}, {1}, {2})",
        Extra.FMA: "{V}_fma({0}, {1}, {2})",
    },
    functions={
        "set": _function("{V} {V}_set({T} x) {{ return ({V}){{{all}}}; }}"),
        "where": _function(
            "{V} {V}_where({I} m, {V} a, {V} b) {{ {V} r; for (int l = 0; l < {n}; l++) "
            "r[l] = m[l] ? a[l] : b[l]; return r; }}"
        ),
        "max": _function(
            "{V} {V}_max({V} a, {V} b) {{ {I} m = (a > b) | (a != a); "
            "return ({V})((m & ({I})a) | (~m & ({I})b)); }}"
        ),
        "stream": _function("void {V}_stream({T} *p, {V} v) {{ STREAM({V}, p, v); }}"),
        "sqrt": _function(
            "{V} {V}_sqrt({V} a) {{ {V} r; for (int l = 0; l < {n}; l++) r[l] = {sqrt}; return r; }}"
        ),
        "fma": _function(
            "{V} {V}_fma({V} a, {V} b, {V} c) {{ {V} r; for (int l = 0; l < {n}; l++) "
            "r[l] = {fma}; return r; }}"
        ),
        "fold_add": _function(
            "{T} {V}_fold_add({V} a) {{ for (int h = {n} / 2; h; h /= 2) for (int l = 0; l < h; l++) "
            "a[l] = a[l] + a[l + h]; return a[0]; }}"
        ),
        "fold_mul": _function(
            "{T} {V}_fold_mul({V} a) {{ for (int h = {n} / 2; h; h /= 2) for (int l = 0; l < h; l++) "
            "a[l] = a[l] * a[l + h]; return a[0]; }}"
        ),
        "fold_max": _function(
            "{T} {V}_fold_max({V} a) {{ for (int h = {n} / 2; h; h /= 2) for (int l = 0; l < h; l++) "
            "a[l] = a[l] > a[l + h] || a[l] != a[l] ? a[l] : a[l + h]; return a[0]; }}"
        ),
        "fold_or": _function(
            "{T} {V}_fold_or({V} a) {{ {T} r = 0; for (int l = 0; l < {n}; l++) r |= a[l]; return r; }}"
        ),
        "bits": _function("{B} {name}({A} x) {{ union {{ {A} a; {B} b; }} u = {{x}}; return u.b; }}"),
    },
    number={
        dt.float32: "{0}f", dt.float64: "{0}", dt.int64: "{0}ll", dt.uint64: "{0}ull", dt.uint32: "{0}u",
        dt.int32: "{0}", dt.int8: "{0}", dt.int16: "{0}", dt.uint8: "{0}", dt.uint16: "{0}",
    },
    infinity={dt.float32: "__builtin_inff()", dt.float64: "__builtin_inf()"},
    nan={dt.float32: '__builtin_nanf("")', dt.float64: '__builtin_nan("")'},
    stream="{V}_stream({0} + {1}, {2});",
    after_stream="STREAM_END();",
    local="{T} {name}[{size}] __attribute__((aligned(64)));",
)  # fmt: skip
