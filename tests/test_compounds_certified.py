"""The suite holds a compound to its decomposition: a good library passes, each faulty one is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import compounding as c
import jsonschema
import numpy as np
import pytest

from portwright import Tensor
from portwright.conformance import certificate, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import PASSED, UNCLAIMED, Outcome
from portwright.conformance.selection import Selection
from portwright.core import dtype as dt
from portwright.core.compound import Compound, Dense

CASES = {
    "test_compounds_of_integers",
    "test_compounds",
    "test_compounds_special",
    "test_compounds_are_recognized",
    "test_compounds_decline",
}


def climbed(device: Any, seed: int = 0) -> Outcome:
    return runner.run(device, Selection((Rung.REDUCTIONS,), "test_compounds", seed=seed), jobs=0)


def failures(outcome: Outcome) -> dict[str, str]:
    return {r.id.split("::")[1]: r.message for r in outcome.failures}


GOOD = [(c.Table, c.ALL, seed) for seed in range(3)] + [(c.Library, (c.LINEAR, c.MATMUL), 0)]


@pytest.mark.parametrize(("port", "compounds", "seed"), GOOD)
def test_a_good_library_passes(port: Callable[..., Any], compounds: tuple[Compound, ...], seed: int) -> None:
    outcome = climbed(port(*compounds), seed=seed)
    assert failures(outcome) == {}
    assert {r.id.split("::")[1] for r in outcome.results} == CASES
    assert {r.outcome for r in outcome.results} == {PASSED}


def test_who_offers_nothing_is_asked_the_same_and_claims_nothing() -> None:
    outcome = climbed("NUMPY")
    assert {r.id.split("::")[1] for r in outcome.results} == CASES
    assert {r.outcome for r in outcome.results} == {UNCLAIMED}
    assert {r.message for r in outcome.results} == {"NUMPY offers no compound"}


def test_a_certificate_names_them() -> None:
    library = c.Library(c.MATMUL)
    document = certificate.build(climbed(library), library)
    assert document["spec"]["compounds"] == [
        {"name": "matmul", "dtypes": ["float16", "float32", "float64", "int32"], "ranks": [2, 2]}
    ]
    jsonschema.validate(document, json.loads(certificate.SCHEMA.read_text(encoding="utf-8")))
    certificate.check(json.loads(certificate.canonical(document)))


def meant(name: str, decomposition: Callable[..., Any], *example: tuple[int, ...]) -> Compound:
    """A compound that is run by its meaning, on the reference port."""

    def run(*arrays: c.Array) -> c.Array:
        out = decomposition(*[Tensor(x, device="NUMPY") for x in arrays]).numpy()
        assert isinstance(out, np.ndarray)
        return out

    return Compound(name, decomposition, c.by(run), frozenset({dt.float32}), (example,))


MEANT = (
    meant("softmax", lambda x: x.softmax(-1), (5, 7)),
    meant("layernorm", lambda x, w, b: x.layernorm(weight=w, bias=b), (3, 5, 8), (8,), (8,)),
    meant("activated", lambda x, w, b: x.linear(w, b).gelu(), (5, 6), (7, 6), (7,)),
    meant(
        "causal", lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True),
        (2, 5, 4), (2, 5, 4), (2, 5, 3),
    ),
    meant("strided", lambda x, w: x.conv2d(w, stride=2, dilation=(2, 1)), (2, 3, 9, 8), (4, 3, 2, 3)),
    meant("grouped", lambda x, w: x.conv2d(w, groups=2, padding="same"), (2, 6, 7, 8), (4, 3, 3, 5)),
    meant(
        "turned", lambda x, w: x.permute(0, 3, 1, 2).conv2d(w).permute(0, 2, 3, 1),
        (2, 6, 7, 3), (4, 3, 2, 3),
    ),
    meant("pooled", lambda x: x.avg_pool2d(2), (2, 3, 8, 6)),
    meant("distances", lambda a, b: ((a.unsqueeze(1) - b) ** 2).sum(-1).sqrt(), (5, 4), (6, 4)),
)  # fmt: skip


@pytest.mark.parametrize("compound", MEANT, ids=lambda x: x.name)
def test_whatever_can_be_written_can_be_offered(compound: Compound) -> None:
    table = c.Table(compound)
    assert failures(climbed(table)) == {}
    assert table.ran > 20


def test_whole_models_are_right_on_it() -> None:
    library = c.Library()
    selection = Selection((Rung.GRADIENTS,), "mlp or convolution or attention")
    outcome = runner.run(library, selection, jobs=0)
    assert failures(outcome) == {}
    assert library.ran > 0


# ---------------------------------------------------------------------------------------------- faults


def product(f: Callable[..., Any], **changes: Any) -> Compound:
    """A matmul that is run by a function of arrays; it may differ otherwise, too."""
    return replace(c.MATMUL, run=c.by(f), **changes)


def one_at_a_time(a: c.Array, b: c.Array, keep: Any) -> c.Array:
    """Products summed in order, in some type."""
    total = np.zeros((a.shape[0], b.shape[1]), keep)
    for i in range(a.shape[1]):
        total = (total + a[:, i : i + 1].astype(keep) * b[i].astype(keep)).astype(keep)
    return total


def without_tail(device: Any, out: Dense, a: Dense, b: Dense) -> None:
    """In tiles of four columns; what is left over is left."""
    whole = out.shape[1] // 4 * 4
    c.seen(device, out)[:, :whole] = (c.wide(c.seen(device, a)) @ c.wide(c.seen(device, b)))[:, :whole]


def beyond(device: Any, out: Dense, a: Dense, b: Dense) -> None:
    """A row too many."""
    c.seen(device, out)[...] = c.wide(c.seen(device, a)) @ c.wide(c.seen(device, b))
    c.seen(device, replace(out, shape=(out.size + 4,)))[-4:] = 0


def in_place(device: Any, out: Dense, a: Dense, b: Dense) -> None:
    """Leaves its operand scaled."""
    c.seen(device, out)[...] = c.wide(c.seen(device, a)) @ c.wide(c.seen(device, b))
    c.seen(device, a)[...] *= 2


def short_digits(x: c.Array) -> c.Array:
    """Of float32, the first 11 binary digits, as some tensor cores read them."""
    return (x.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) if x.dtype == np.float32 else x


def zeros_skipped(a: c.Array, b: c.Array) -> c.Array:
    """Zero times NaN is zero."""
    return np.nan_to_num(c.wide(a)) @ c.wide(b)


def atomics() -> Callable[..., c.Array]:
    """A sum whose order is another each time."""
    rng = np.random.default_rng(0)

    def run(a: c.Array, b: c.Array) -> c.Array:
        order = rng.permutation(a.shape[1])
        return one_at_a_time(a[:, order], b[order], c.wide(a).dtype)

    return run


ONLY32, ONLY16 = frozenset({dt.float32}), frozenset({dt.float16})
LONG = (((16, 16), (16, 12)), ((8, 700), (700, 9)))
FAULTS: dict[str, tuple[Compound, str, str]] = {
    "transposed": (
        product(lambda a, b: (c.wide(a) @ c.wide(b)).T.reshape(a.shape[0], -1)),
        "test_compounds_of_integers", "whole numbers",
    ),
    "a tail ignored": (replace(c.MATMUL, run=without_tail), "test_compounds_of_integers", "first at"),
    "written beyond": (replace(c.MATMUL, run=beyond), "test_compounds", "past the end of a buffer"),
    "an operand changed": (
        replace(c.MATMUL, run=in_place), "test_compounds_of_integers", "an input changed",
    ),
    "summed in float16": (
        product(lambda a, b: one_at_a_time(a, b, np.float16), dtypes=ONLY16, examples=LONG),
        "test_compounds", "float16",
    ),
    "of 11 digits": (
        product(lambda a, b: short_digits(a) @ short_digits(b), dtypes=ONLY32),
        "test_compounds", "float32",
    ),
    "NaN lost": (product(zeros_skipped, dtypes=ONLY32), "test_compounds_special", "NaN alike"),
    "another each time": (
        product(atomics(), dtypes=ONLY32, examples=LONG), "test_compounds", "a second time",
    ),
    "another meaning": (
        product(lambda a, b: c.wide(a) @ c.wide(b), decomposition=lambda a, b: (a @ b).relu()),
        "test_compounds_of_integers", "whole numbers",
    ),
    "an attention that forgets its scale": (
        replace(c.ATTENTION, run=c.by(lambda q, k, v: c.attend(q * np.sqrt(q.shape[-1]), k, v))),
        "test_compounds", "attention",
    ),
    "an attention in a narrower type": (  # which intervals are too wide to see
        replace(
            c.ATTENTION,
            dtypes=frozenset({dt.float64}),
            run=c.by(lambda q, k, v: c.attend(*(x.astype(np.float32) for x in (q, k, v)))),
        ),
        "test_compounds", "root mean square",
    ),
    "a library that crashes on one row": (
        product(lambda a, b: 1 / 0 if a.shape[0] == 1 else c.wide(a) @ c.wide(b)),
        "test_compounds", "ZeroDivisionError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.replace(" ", "_"))
def test_a_fault_is_found(fault: str) -> None:
    compound, case, said = FAULTS[fault]
    found = failures(climbed(c.Library(compound)))
    assert said in found[case], found
