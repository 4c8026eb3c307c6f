"""C with GNU vector extensions, as a table: what gcc and clang both compile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..core import dtype as dt
from ..core.dialect import FOLDS, OPERATORS
from ..core.ops import Op
from ..core.value import Extra
from .c99_dialect import C99


def _function(body: str) -> str:
    """A vector function's definition, with its braces escaped for ``str.format``."""
    return "__attribute__((always_inline)) static inline " + body


def _by_processor(kind: str, lane: str) -> str:
    """A function of two vectors that the prelude may have, by the processor; else lane by lane."""
    body = f"{{{{ {{V}} r; for (int l = 0; l < {{n}}; l++) {lane} return r; }}}}"
    function = _function(f"{{V}} {{V}}_{kind}({{V}} a, {{V}} b) {body}")
    macro = f"{kind.upper()}_{{V}}"
    return f"#ifdef {macro}\n#define {{V}}_{kind} {macro}\n#else\n{function}\n#endif"


C = replace(
    C99,
    prelude=Path(__file__).with_name("c_prelude.h").read_text(encoding="utf-8"),
    vector_type=(
        "typedef {T} {V} __attribute__((vector_size({bytes})));\n"
        "typedef {T} {V}_u __attribute__((vector_size({bytes}), aligned({align}), may_alias));"
    ),
    literal="({V}){{{lanes}}}",
    permute="PERMUTE({I}, {0}, {1}, {lanes})",
    vector_load="(({V})*({const}{V}_u *)({0} + {1}))",
    vector_store="*({V}_u *)({0} + {1}) = {2};",
    scalar={
        **OPERATORS, Op.BITCAST: "{name}({0})", Op.SQRT: "__builtin_sqrt({0})",
        Extra.FMA: "__builtin_fma({0}, {1}, {2})",
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
    lesser="{V}_lesser({0}, {1})",
    greater="{V}_greater({0}, {1})",
    functions={
        "set": _function("{V} {V}_set({T} x) {{ return ({V}){{{all}}}; }}"),
        "where": _function(
            "{V} {V}_where({I} m, {V} a, {V} b) {{ {V} r; for (int l = 0; l < {n}; l++) "
            "r[l] = m[l] ? a[l] : b[l]; return r; }}"
        ),
        "lesser": _by_processor("lesser", "r[l] = a[l] < b[l] ? a[l] : b[l];"),
        "greater": _by_processor("greater", "r[l] = a[l] < b[l] ? b[l] : a[l];"),
        "max": _function("{V} {V}_max({V} a, {V} b) {{ return {V}_where(b != b, b, {V}_greater(a, b)); }}"),
        "stream": _function("void {V}_stream({T} *p, {V} v) {{ STREAM({V}, p, v); }}"),
        "sqrt": _function(
            "{V} {V}_sqrt({V} a) {{ {V} r; for (int l = 0; l < {n}; l++) r[l] = {sqrt}; return r; }}"
        ),
        "fma": _function(
            "{V} {V}_fma({V} a, {V} b, {V} c) {{ {V} r; for (int l = 0; l < {n}; l++) "
            "r[l] = {fma}; return r; }}"
        ),
        **dict.fromkeys(FOLDS, _function("{T} {name}({V} a) {{ {fold} }}")),
        "bits": _function("{B} {name}({A} x) {{ union {{ {A} a; {B} b; }} u = {{x}}; return u.b; }}"),
    },
    infinity={dt.float32: "__builtin_inff()", dt.float64: "__builtin_inf()"},
    nan={dt.float32: '__builtin_nanf("")', dt.float64: '__builtin_nan("")'},
    stream="{V}_stream({0} + {1}, {2});",
    prefetch="__builtin_prefetch({0} + {1});",
    after_stream="STREAM_END();",
    local="{T} {name}[{size}] __attribute__((aligned(64)));",
)  # fmt: skip
