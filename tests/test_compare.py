"""``portwright compare``: what got worse is found and what got better is no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Chip, Document, changed, climb, written

from portwright.cli.main import main
from portwright.conformance.claims import claims
from portwright.conformance.compare import CaseChange, Change, Drift, compare
from portwright.conformance.form import read
from portwright.conformance.ladder import Rung
from portwright.devices.cpu import CPU
from portwright.devices.numpy import NumPy

KEYWORD = "(test_unary or test_binary) and (SUB or SQRT or EXP2) and (float32 or float64)"
KEPT = Path(__file__).resolve().parent.parent / "docs" / "certificates"
SQRT = "primitives::test_unary[SQRT-float32]"


@pytest.fixture(scope="module")
def document() -> Document:
    return climb(NumPy(), [Rung.PRIMITIVES], KEYWORD)


def test_the_same_is_the_same(document: Document) -> None:
    found = compare(document, document)
    assert not found.worse
    assert found.same_port
    groups = (found.regressions, found.lost, found.new_failures, found.new_skips, found.gone, found.further)
    assert not any(groups)
    assert not any((found.fixes, found.gained, found.nearer, found.circumstances))
    assert found.seconds["total"][0] == found.seconds["total"][1] > 0
    assert set(found.seconds) == {"primitives", "total"}


@pytest.fixture(scope="module")
def sound() -> Document:
    return climb(Chip(), [Rung.PRIMITIVES], KEYWORD)


@pytest.fixture(scope="module")
def slipping() -> Document:
    return climb(Chip(slips=True), [Rung.PRIMITIVES], KEYWORD)


def test_a_chip_whose_compiler_got_worse(
    sound: Document, slipping: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare(sound, slipping)
    assert found.worse
    names = {c.case for c in found.regressions}
    assert "primitives::test_binary[SUB-float32]" in names
    assert all((c.old, c.new) == ("passed", "failed") and c.reason for c in found.regressions)
    assert [c.what for c in found.circumstances] == ["compiler"]
    back = compare(slipping, sound)
    assert not back.worse
    assert {c.case for c in back.fixes} == names
    paths = [str(written(d, tmp_path / f"{i}.json")) for i, d in enumerate((sound, slipping))]
    assert main(["compare", *paths]) == 1
    out = capsys.readouterr().out
    assert "primitives::test_binary[SUB-float32]: passed → failed: SUB float32, shape" in out
    assert f"worse: {len(names)} regressions, 0 lost claims" in out
    assert main(["compare", *reversed(paths)]) == 0
    assert "no regression, no claim lost" in capsys.readouterr().out


def test_a_chip_that_claims_less(sound: Document) -> None:
    whole = climb(CPU(), [Rung.PRIMITIVES], KEYWORD)
    found = compare(whole, sound)
    assert not found.same_port
    assert {c.what for c in found.lost} >= {"dtypes: float64", "arithmetic: float64"}
    assert found.worse
    assert {c.reason for c in found.new_skips} == {"CHIP does not claim float64"}
    assert len(found.new_skips) == 3
    assert not found.regressions
    assert not compare(sound, whole).worse
    assert Change("dtypes: float64", "absent", "claimed") in compare(sound, whole).gained


def worse(d: Document, ulp: float) -> None:
    d["accuracy"]["EXP2"]["float32"].update(ulp=ulp)


def test_drift_is_said_beyond_a_factor(document: Document) -> None:
    before = document["accuracy"]["EXP2"]["float32"]["ulp"]
    far = changed(document, lambda d: worse(d, before * 1.6))
    assert compare(document, far).further == (Drift("EXP2", "float32", "worst", before, before * 1.6),)
    assert not compare(document, far).worse
    assert compare(document, far, factor=2).further == ()
    assert len(compare(far, document).nearer) == 1
    tiny = [changed(document, lambda d, u=u: worse(d, u)) for u in (0.001, 0.03)]
    assert compare(*tiny).further == ()  # less than the histogram's step is no drift


CLAIMS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a primitive": (lambda d: d["spec"]["native"].remove("SIN"), "native: SIN"),
    "an extra": (lambda d: d["spec"].update(extras=[]), "extras: fma"),
    "vectors": (lambda d: d["spec"].update(vector_bytes=8), "vector_bytes"),
    "vectors at all": (lambda d: d["spec"].pop("vector_bytes"), "vector_bytes"),
    "images": (lambda d: d["spec"].update(images=None), "images"),
    "smaller images": (lambda d: d["spec"]["images"].update(width=8), "images"),
    "fewer dtypes of images": (lambda d: d["spec"]["images"].update(dtypes=[]), "images"),
    "the tier": (lambda d: d["spec"].update(tier="relaxed"), "tier"),
    "subnormals": (lambda d: d["spec"].update(flushes_subnormals=True), "subnormals"),
    "evidence": (lambda d: d.update(evidence="emulated"), "evidence"),
    "a compound": (lambda d: d["spec"]["compounds"].pop(), "compounds: attention"),
    "a compound's dtype": (lambda d: d["spec"]["compounds"][0]["dtypes"].pop(), "compounds: matmul float32"),
    "a primitive on a dtype": (
        lambda d: d["spec"].update(native_on={"ADD": ["float32"]}),
        "native ADD: int8",
    ),
}


@pytest.mark.parametrize("lost", CLAIMS)
def test_a_claim_that_is_lost(document: Document, lost: str) -> None:
    def rich(d: Document) -> None:
        d["spec"].update(
            extras=["fma"],
            vector_bytes=16,
            images={"width": 16, "height": 16, "dtypes": ["float32"]},
            compounds=[
                {"name": "matmul", "dtypes": ["float16", "float32"], "ranks": [2, 2]},
                {"name": "attention", "dtypes": ["float16"], "ranks": [3]},
            ],
        )

    old = changed(document, rich)
    change, what = CLAIMS[lost]
    new = changed(old, change)
    found = compare(old, new)
    assert what in {c.what for c in found.lost}
    assert found.worse
    back = compare(new, old)
    assert not back.worse, back.lost
    assert what in {c.what for c in back.gained}


@pytest.mark.parametrize("outcome", ["failed", "crashed", "hung", "expected", "not reached"])
def test_a_case_that_passed_and_does_not(document: Document, outcome: str) -> None:
    new = changed(document, lambda d: d["cases"][SQRT].update(outcome=outcome, reason="why\nmore"))
    assert compare(document, new).regressions == (CaseChange(SQRT, "passed", outcome, "why\nmore"),)
    assert [c.case for c in compare(new, document).fixes] == [SQRT]


def test_what_is_new_and_what_is_gone(document: Document) -> None:
    old = changed(
        document, lambda d: (d["cases"].pop(SQRT), d["cases"].update({"open::test_x": {"outcome": "passed"}}))
    )
    new = changed(document, lambda d: d["cases"][SQRT].update(outcome="failed", reason="why"))
    found = compare(old, new)
    assert found.gone == ("open::test_x",)
    assert found.new_failures == (CaseChange(SQRT, "absent", "failed", "why"),)
    assert not found.worse


def test_circumstances(document: Document) -> None:
    def moved(d: Document) -> None:
        d["driver"].update(numpy="9.9", extra="new")
        d["machine"].update(cores=99)
        d["port"].update(version="9")
        d["spec"].update(threads=64)
        d["suite"].update(seed=7, seconds=1e6)

    found = compare(document, changed(document, moved))
    assert [c.what for c in found.circumstances] == [
        "port version", "suite seed", "driver extra", "driver numpy", "machine cores", "spec threads",
    ]  # fmt: skip
    assert Change("driver extra", "absent", "new") in found.circumstances
    assert found.seconds["total"][1] == 1e6
    assert not found.worse


def test_what_is_offered_is_named(document: Document) -> None:
    def rich(d: Document) -> None:
        d["spec"].update(extras=["fma"], compounds=[{"name": "matmul", "dtypes": [], "ranks": [2, 2]}])

    (has,) = [c for c in claims(changed(document, rich)) if c.about == "has"]
    assert "offers fma, matmul" in has.lines


def test_json_and_older_certificates(capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(KEPT / f"{name}.json") for name in ("CPU", "METAL-sim")]
    assert main(["compare", *paths, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["worse"] is True
    assert {"what": "dtypes: float64", "old": "claimed", "new": "absent"} in found["lost"]
    assert {"what": "evidence", "old": "measured", "new": "emulated"} in found["lost"]
    assert len(found["new_skips"]) == 72
    assert main(["compare", *paths]) == 1
    out = capsys.readouterr().out
    assert "71 × METAL:sim does not claim float64" in out
    assert "different ports: CPU and METAL:sim" in out


def test_an_edited_certificate_is_not_compared(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(document, tmp_path / "good.json")
    bad = written({**document, "verdict": "failed"}, tmp_path / "bad.json")
    assert main(["compare", str(good), str(bad)]) == 2
    assert "bad.json" in capsys.readouterr().err
    assert read(good) == document
