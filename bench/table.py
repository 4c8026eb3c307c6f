"""Which workloads there are: a table of them, sets of these, and as many as one likes drawn by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .convolutions import by_input, by_weight, conv2d
from .transformer import Transformer, gpt2, gpt2_train
from .workloads import (
    REPEATS,
    Random,
    Sizes,
    Workload,
    attention,
    axpb64,
    batched_matmul,
    chain64,
    cube,
    digits_train,
    elementwise,
    gather,
    gelu64,
    gemv,
    layernorm,
    matmul,
    mlp_train,
    reduction,
    softmax,
    tiny,
    transadd,
)

BIG = 64 << 20
GPT2_SMALL = Transformer(tokens=50_257, length=128, layers=12, width=768, heads=12)
MATMUL = {
    "matmul": "a @ b",
    "matmul_nt": "a @ b.T",
    "matmul_tn": "a.T @ b",
    "matmul_tt": "a.T @ b.T",
    "bcastmm": "(a.reshape(N,1,N)*b.T.reshape(1,N,N)).sum(2)",
}


def _cubed(kind: str, n: int) -> Workload:
    return matmul(kind, f"{kind}_{n}", f"{MATMUL[kind]}, {n} cubed", cube(n))


def _of_sizes(*sizes: int) -> Workload:
    n = Sizes(*sizes)
    return matmul("matmul", f"matmul_{'x'.join(map(str, sizes))}", f"{MATMUL['matmul']}, {n}", n)


CONVOLUTIONS = (
    conv2d(8, 3, 64, 224, 7, stride=2, name="conv2d_first"),
    conv2d(8, 64, 256, 56, 1, name="conv2d_1x1"),
    conv2d(8, 256, 512, 56, 1, stride=2, name="conv2d_1x1_s2"),
    conv2d(8, 128, 128, 28, 3, name="conv2d_28"),
    conv2d(8, 256, 256, 14, 3, name="conv2d_14"),
    conv2d(8, 512, 512, 7, 3, name="conv2d_7"),
    conv2d(16, 32, 64, 28, 5, name="conv2d_5x5"),
    conv2d(8, 64, 64, 56, 3, name="conv2d_last_56", last=True),
    conv2d(8, 256, 256, 14, 3, name="conv2d_last_14", last=True),
    by_input(8, 128, 128, 28, 3),
    by_input(8, 64, 128, 56, 3, stride=2),
    by_input(8, 256, 512, 56, 1, stride=2),
    by_weight(8, 128, 128, 28, 3),
    by_weight(8, 64, 128, 56, 3, stride=2),
)
"""The shapes of layers in residual nets."""
WORKLOADS = {
    w.name: w
    for w in (
        elementwise("chain", "chain_64m", "max((x*a+b)*(x-b), a)*b - abs(x), 64M float32", BIG, chain64),
        elementwise("axpb", "axpb_64m", "x*a + b, 64M float32", BIG, axpb64),
        elementwise("gelu", "gelu_64m", "gelu(x*a + b) by tanh, 64M float32", BIG, gelu64),
        elementwise("gelu", "gelu_256k", "gelu(x*a + b) by tanh, 256K float32 (in cache)", 256 << 10, gelu64),
        reduction("sum", "sum_64m", "the sum of 64M float32", (BIG,), None),
        reduction("rowsum", "rowsum_8192", "the rows' sums of 8192x8192", (8192, 8192), 1),
        reduction("colsum", "colsum_8192", "the columns' sums of 8192x8192", (8192, 8192), 0),
        softmax(4096, 4096),
        layernorm(4096, 4096),
        *(_cubed("matmul", n) for n in (511, 512, 1024, 1500, 2048)),
        *(_cubed(kind, n) for kind in ("matmul_nt", "matmul_tn", "matmul_tt") for n in (512, 1024)),
        _of_sizes(1000, 37, 4093),
        _of_sizes(1000, 4093, 37),
        batched_matmul("matmul_batch_64", 64, cube(64)),
        batched_matmul("matmul_batch_128", 32, Sizes(128, 64, 128)),
        *(_cubed("bcastmm", n) for n in (512, 1024)),
        gemv("gemv", "gemv_4096", "x[4096] @ W[4096, 4096]", 4096, 4096),
        gemv("gemvt", "gemvt_4096", "W[4096, 4096] @ x[4096]", 4096, 4096),
        conv2d(32, 64, 64, 56, 3),
        conv2d(8, 128, 256, 28, 3, stride=2),
        *CONVOLUTIONS,
        attention(4, 8, 512, 64),
        attention(1, 2, 4096, 64, "attention_4096"),
        mlp_train(),
        gpt2(GPT2_SMALL, "gpt2_small"),
        gpt2_train(GPT2_SMALL, "gpt2_train"),
        digits_train(),
        transadd(8192, 8192),
        gather(100_000, 512, 65_536),
        tiny("tiny_eager", "tiny_eager", "x = x + y on 10 numbers, run at once: a call", REPEATS, 1e-3),
        tiny("tiny_jit", "tiny_jit", "a compiled f(x, y) = x*y + y on 10 numbers: a call", REPEATS, 1e-5),
        tiny("tiny_fused", "tiny_fused_1000", "1000 dependent adds on 10 numbers in one call", 1, 1e-3),
    )
}


_PRODUCTS = [name for name, w in WORKLOADS.items() if w.kind.startswith("matmul")]
_LAYERS = [w.name for w in CONVOLUTIONS]
_ELSEWHERE = {*_PRODUCTS, *_LAYERS} - {"matmul_512", "matmul_1024", "matmul_2048"}
SETS = {
    "table": [name for name in WORKLOADS if name not in _ELSEWHERE],
    "products": _PRODUCTS,
    "convolutions": ["conv2d", "conv2d_s2", *_LAYERS],
    "opencl": [
        "axpb_64m", "gelu_64m", "gelu_256k", "sum_64m", "rowsum_8192", "colsum_8192",
        "matmul_512", "matmul_1024", "matmul_2048",
    ],
}  # fmt: skip
"""Workloads that are measured together, by the set's name."""


def find(name: str) -> Workload:
    """The workload of a name: one of the table, or one that ``drawn`` named.

    Raises:
        KeyError: there is none.
    """
    if name in WORKLOADS:
        return WORKLOADS[name]
    word, _, rest = name.partition("_")
    seed, _, index = rest.partition("_")
    if word != "random" or not (seed.isdecimal() and index.isdecimal()):
        raise KeyError(name)
    return drawn(int(seed), int(index))


def known(name: str) -> bool:
    """Whether there is a workload of a name."""
    try:
        find(name)
    except KeyError:
        return False
    return True


def drawn(seed: int, index: int) -> Workload:
    """A workload of a kind and of sizes drawn by chance, the same in each process."""
    random = np.random.default_rng((seed, index))
    kinds = list(DRAWN)
    made = DRAWN[kinds[(seed + index) % len(kinds)]](random)  # each kind as often as any other
    return replace(made, name=f"random_{seed}_{index}")


def _size(random: Random, least: int, most: int) -> int:
    """A size whose logarithm is uniform; a multiple of 8 half of the time, as those of models are."""
    n = int(np.exp(random.uniform(np.log(least), np.log(most))))
    return max(8, n // 8 * 8) if random.random() < 0.5 and least >= 8 else n


def _drawn_elementwise(kind: str, text: str, exact: Callable[..., object]) -> Callable[[Random], Workload]:
    def draw(random: Random) -> Workload:
        n = _size(random, 1 << 10, 1 << 24)
        return elementwise(kind, kind, f"{text}, {n:,} float32", n, exact)  # type: ignore[arg-type]

    return draw


def _drawn_reduction(kind: str, axis: int) -> Callable[[Random], Workload]:
    def draw(random: Random) -> Workload:
        rows, columns = _size(random, 16, 4096), _size(random, 16, 4096)
        return reduction(kind, kind, f"{kind} of {rows}x{columns}", (rows, columns), axis)

    return draw


def _drawn_product(kind: str, text: str) -> Callable[[Random], Workload]:
    def draw(random: Random) -> Workload:
        sizes = Sizes(*(_size(random, 8, 1500) for _ in range(3)))
        return matmul(kind, kind, f"{text}, {sizes}", sizes)

    return draw


def _drawn_vector_product(kind: str) -> Callable[[Random], Workload]:
    def draw(random: Random) -> Workload:
        terms, results = _size(random, 64, 4096), _size(random, 64, 4096)
        text = f"W[{results}, {terms}] @ x" if kind == "gemvt" else f"x @ W[{terms}, {results}]"
        return gemv(kind, kind, text, terms, results)

    return draw


def _drawn_conv2d(random: Random) -> Workload:
    window = int(random.choice([1, 3, 5]))
    sizes = _size(random, 1, 16), _size(random, 3, 128), _size(random, 8, 128), _size(random, 8, 64)
    return conv2d(*sizes, window, stride=int(random.choice([1, 1, 2])))


DRAWN: dict[str, Callable[[Random], Workload]] = {
    "chain": _drawn_elementwise("chain", "max((x*a+b)*(x-b), a)*b - abs(x)", chain64),
    "matmul": _drawn_product("matmul", "a @ b"),
    "softmax": lambda r: softmax(_size(r, 16, 4096), _size(r, 16, 4096)),
    "conv2d": _drawn_conv2d,
    "gelu": _drawn_elementwise("gelu", "gelu(x*a + b) by tanh", gelu64),
    "matmul_nt": _drawn_product("matmul_nt", "a @ b.T"),
    "rowsum": _drawn_reduction("rowsum", 1),
    "attention": lambda r: attention(_size(r, 1, 4), _size(r, 1, 12), _size(r, 16, 700), _size(r, 16, 128)),
    "colsum": _drawn_reduction("colsum", 0),
    "matmul_tn": _drawn_product("matmul_tn", "a.T @ b"),
    "layernorm": lambda r: layernorm(_size(r, 16, 4096), _size(r, 16, 4096)),
    "gemv": _drawn_vector_product("gemv"),
    "transadd": lambda r: transadd(_size(r, 16, 4096), _size(r, 16, 4096)),
    "gather": lambda r: gather(_size(r, 100, 100_000), _size(r, 8, 512), _size(r, 100, 20_000)),
    "gemvt": _drawn_vector_product("gemvt"),
}
