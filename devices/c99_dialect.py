"""ISO C99 as a table, with nothing of GNU, no vectors and no library: what a C-like language starts from.

A vendor's dialect is ``replace(C99, ...)`` with the columns that differ. Of the primitives, SQRT, EXP2, LOG2
and SIN are in a library in C, and not spelled here: core builds them, or the vendor names the chip's own.

GCC 12 at -O2 miscompiles some sums and products of signed integers that are computed as unsigned ones, where
it vectorizes them; the rung "reductions" finds it. With -O1 or -fno-tree-vectorize it does not.
"""

from __future__ import annotations

from ..core import dtype as dt
from ..core.dialect import OPERATORS, SHORT, CLike, wrapping
from ..core.ops import Op

C99 = CLike(
    types={
        **{d: f"{d.name}_t" for d in dt.INTS},
        dt.bool_: "uint8_t", dt.float32: "float", dt.float64: "double",
    },
    short=SHORT,
    prelude="""\
#include <stdint.h>
#if !defined(__GNUC__) || defined(__clang__) /* GCC does not know it, and under -std=c99 contracts nothing */
#pragma STDC FP_CONTRACT OFF
#endif
static inline index_t floordiv(index_t a, index_t b) { index_t q = a / b; return q - (a % b < 0); }
static inline index_t floormod(index_t a, index_t b) { index_t r = a % b; return r < 0 ? r + b : r; }
""",
    kernel="void {name}(void *const *a, long first, long last)",
    parameter="{qualifier}{T} *{alone}{name} = ({qualifier}{T} *)a[{i}];",
    constant_qualifier="const ",
    alone_qualifier="restrict ",
    grid="for ({t} {var} = first; {var} < last; {var}++) {{",
    grid_last="last == {extent}",
    scalar={**OPERATORS, Op.BITCAST: "{name}({0})"},
    by_dtype={
        **wrapping({  # uint16 too, which C promotes to int
            **dict.fromkeys((dt.int8, dt.int16, dt.int32, dt.uint16), "uint32_t"), dt.int64: "uint64_t",
        }),
        **{(Op.MAX, d): "({0} > {1} ? {0} : {1})" for d in dt.INTS},  # no integer is NaN
    },
    vector={},
    functions={
        "bits": "static inline {B} {name}({A} x) {{ union {{ {A} a; {B} b; }} u; u.a = x; return u.b; }}",
    },
    literal="{lanes}",
    number={
        **dict.fromkeys(dt.INTS, "{0}"), dt.int64: "{0}ll", dt.uint64: "{0}ull", dt.uint32: "{0}u",
        dt.float32: "{0}f", dt.float64: "{0}",
    },
    infinity={dt.float32: "(1.0f / 0.0f)", dt.float64: "(1.0 / 0.0)"},
    nan={dt.float32: "(0.0f / 0.0f)", dt.float64: "(0.0 / 0.0)"},
)  # fmt: skip
