"""Whether a certificate can be trusted: every way in which a file may not be what it says.

Nothing is run: what is checked is that the document is whole, unchanged since it was made (and by whom it
was signed, where it was), and that its parts agree with each other and with the suite that it names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.device import Evidence
from ..core.ops import ALL_OPS, CONTRACT_VERSION
from . import SUITE_VERSION, signing, speed
from .certificate import FORMAT, Document, canonical, cases_hash, digest
from .form import form
from .ladder import Rung
from .outcome import EXPECTED, FAILED, FAULTS, NOT_REACHED, PASSED, UNCLAIMED
from .runner import SuiteError, collect
from .selection import Selection
from .spread import percentile
from .tiers import SuiteTier

NAMED = 3
"""Cases that a difference names."""
ROUNDING = 1e-5


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Attributes:
        document: the certificate; None of a file that holds none.
        problems: why it is refused, one line each; none when it is accepted.
        notes: what could not be checked, and why that is no reason to refuse it.
        signed_by: the public key whose signature it bears rightly, in hex.
        trusted: whether that is the key that was asked for.
    """

    document: Document | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    signed_by: str | None = None
    trusted: bool = False

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


def verify(data: bytes, key: str | None = None) -> Verification:
    """Checks the bytes of a certificate.

    Args:
        data: what the file holds.
        key: the public key that must have signed it, in hex; without, none need have.

    Raises:
        CertificateError: when it is signed and the package that checks signatures is not installed.
    """
    try:
        document = json.loads(data)
        again = canonical(document)
    except (ValueError, RecursionError) as e:
        return Verification(None, (f"it is not JSON, or was cut short: {str(e).splitlines()[0]}",))
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return Verification(None, (f"it is not a certificate: its format is not {FORMAT!r}",))
    found = form(document)
    problems = [f"its form is wrong: {fault}" for fault in found.faults]
    if found.missing:
        problems.append(f"an older Portwright made it; it lacks {', '.join(found.missing)}")
    if data.removesuffix(b"\n") != again:
        problems.append(
            "its bytes are not canonical: the content was written anew (spaces, order, a key twice)"
        )
    if document.get("sha256") != digest(document):
        problems.append(f"it was edited: it says sha256 {document.get('sha256')}, and has {digest(document)}")
    if found.faults:  # what the rest would read may not be there
        return Verification(document, tuple(problems))
    signed_by = None
    signature = document.get("signature")
    if signature is None and key is not None:
        problems.append(f"it is not signed, and the key {key} must have signed it")
    elif signature is not None and not signing.fits(document):
        problems.append(
            "its signature is of other content: it was edited after it was signed, or signed wrongly"
        )
    elif signature is not None:
        signed_by = signature["public_key"]
        if key not in (None, signed_by):
            problems.append(f"another key signed it: {signed_by}, and not {key}")
    notes: list[str] = []
    problems += _parts(document)
    problems += _versions(document, notes)
    return Verification(
        document, tuple(problems), tuple(notes), signed_by, signed_by is not None and signed_by == key
    )


def _parts(document: Document) -> Iterator[str]:
    """Where the parts of a certificate contradict each other."""
    cases, suite = document["cases"], document["suite"]
    if suite["cases"] != len(cases):
        yield f"it lists {len(cases)} cases, and says that {suite['cases']} were selected"
    if suite["cases_sha256"] != cases_hash(cases):
        yield "the hash of its case list is not that of the cases that it lists"
    rungs = [row["rung"] for row in document["rungs"]]
    if rungs != suite["rungs"] or len(set(rungs)) != len(rungs):
        yield "its table of rungs is not of the rungs that it says were climbed"
    strangers = {name.partition("::")[0] for name in cases} - set(rungs)
    if strangers:
        yield f"it lists cases of {', '.join(sorted(strangers))}, and no such rung was climbed"
    for row in document["rungs"]:
        yield from _rung(row, counts(cases, row["rung"]))
    wanted = verdict(cases)
    if document["verdict"] != wanted:
        yield f"its verdict is {document['verdict']}, and by its cases it is {wanted}"
    yield from _accuracy(document)
    yield from _speed(document)
    spec, primitives = document["spec"], document["primitives"]
    if primitives["native"] != len(spec["native"]):
        yield f"it counts {primitives['native']} native primitives, and names {len(spec['native'])}"
    if primitives["total"] != sum(n for kind, n in primitives.items() if kind != "total"):
        yield "its counts of primitives do not add up to their total"
    if not set(spec["arithmetic"]) <= set(spec["dtypes"]):
        yield "it claims to compute in dtypes that it does not hold"
    if spec["name"] != document["port"]["name"]:
        yield f"the port is {document['port']['name']}, and the claims are of {spec['name']}"


def _accuracy(document: Document) -> Iterator[str]:
    most = max((row["worst_ulp"] or 0.0 for row in document["rungs"]), default=0.0)
    for op, by_dtype in document["accuracy"].items():
        for dtype, a in by_dtype.items():
            if a["ulp"] > most + ROUNDING:
                yield f"{op} {dtype} lies {a['ulp']} ulp away, and the worst of every rung is {most}"
            edges = a.get("histogram")
            if edges and a["p99"] != percentile(edges, 0.99):
                yield f"{op} {dtype}: the 99th percentile {a['p99']} is not that of its histogram"


def _speed(document: Document) -> Iterator[str]:
    """Where the times are not those of the cases that passed."""
    held = dict(speed.cases_of(document.get("speed", speed.by_name(()))))
    passed = {name for name, case in document["cases"].items() if case["outcome"] == PASSED}
    for name, timing in held.items():
        if name not in passed:
            yield f"it holds times of {name}, which is none of the cases that passed"
        if not timing["best_seconds"] <= timing["median_seconds"] <= timing["p90_seconds"]:
            yield f"{name}: its best time, its median and its 90th percentile are not in this order"
    timeless = sorted(n for n in passed - held.keys() if n.startswith(f"{Rung.SPEED.value}::"))
    if timeless and "speed" in document:
        yield f"it holds no times of {len(timeless)} cases of speed that passed: {_some(timeless)}"
    if held and document["evidence"] != Evidence.MEASURED.value:
        yield f"it holds times, and what was seen is {document['evidence']}, not {Evidence.MEASURED.value}"


def _rung(row: Mapping[str, Any], found: Mapping[str, int]) -> Iterator[str]:
    for kind, n in found.items():
        if row.get(kind, 0) != n:
            yield f"{row['rung']}: it counts {row.get(kind, 0)} {kind.replace('_', ' ')}, and lists {n}"


def counts(cases: Mapping[str, Mapping[str, str]], rung: str) -> dict[str, int]:
    """How many cases of a rung are listed, and how many of them did what: the row that it must have."""
    outcomes = Counter(case["outcome"] for name, case in cases.items() if name.partition("::")[0] == rung)
    return {
        "cases": outcomes.total(),
        "passed": outcomes[PASSED],
        "failed": sum(outcomes[o] for o in FAULTS),
        "expected": outcomes[EXPECTED],
        "unclaimed": outcomes[UNCLAIMED],
        "not_reached": outcomes[NOT_REACHED],
    }


def verdict(cases: Mapping[str, Mapping[str, str]]) -> str:
    """What the cases amount to: as ``Outcome.verdict``."""
    outcomes = {case["outcome"] for case in cases.values()}
    if PASSED not in outcomes or outcomes & {*FAULTS, NOT_REACHED}:
        return FAILED
    return "conditional" if EXPECTED in outcomes else PASSED


def _versions(document: Document, notes: list[str]) -> Iterator[str]:
    """What this Portwright knows better: its own contract, suite and case list."""
    suite, contract = document["suite"], document["contract"]
    if contract > CONTRACT_VERSION:
        yield f"it is about contract {contract}; update Portwright, which knows none after {CONTRACT_VERSION}"
    elif contract < CONTRACT_VERSION:
        notes.append(f"it is about contract {contract}; this Portwright's is {CONTRACT_VERSION}")
    elif document["primitives"]["total"] != len(ALL_OPS):
        yield f"contract {contract} has {len(ALL_OPS)} primitives, and not {document['primitives']['total']}"
    if suite["version"] > SUITE_VERSION:
        yield f"it is of suite {suite['version']}; update Portwright, which knows none after {SUITE_VERSION}"
    elif suite["version"] < SUITE_VERSION:
        notes.append(
            f"it is of suite {suite['version']}, this Portwright's is {SUITE_VERSION}: "
            "whether its case list is whole was not checked"
        )
    else:
        yield from _own_cases(document)


def _own_cases(document: Document) -> Iterator[str]:
    """Where the cases are not those that this Portwright selects for the same rungs, tier and keyword."""
    suite, cases = document["suite"], document["cases"]
    tier = SuiteTier(suite.get("tier", SuiteTier.STANDARD.value))
    known = [r.value for r in Rung]
    strangers = [name for name in suite["rungs"] if name not in known]
    if strangers:
        yield f"suite {SUITE_VERSION} has no rung {', '.join(strangers)}"
        return
    reached = {name.partition("::")[0] for name, case in cases.items() if case["outcome"] != NOT_REACHED}
    whole = suite["rungs"] == known and not suite["keyword"] and reached == set(known)
    if suite["complete"] != whole:
        said = "the whole ladder was climbed" if suite["complete"] else "a part of the ladder was climbed"
        yield f"it says that {said}, and that is not so"
    # A climb that stops at a rung that fails has no cases of the rungs above.
    stopped = (
        {r["rung"] for r in document["rungs"] if not r["cases"]} if document["verdict"] == FAILED else set()
    )
    rungs = tuple(Rung(name) for name in suite["rungs"] if name not in stopped)
    try:
        own = set(collect(Selection(rungs, suite["keyword"], tier)))
    except SuiteError:
        yield f"its keyword {suite['keyword']!r} selects nothing that can be told"
        return
    asked = f"suite {SUITE_VERSION}" + ("" if tier is SuiteTier.STANDARD else f", tier {tier.value}")
    missing, added = sorted(own - cases.keys()), sorted(cases.keys() - own)
    if missing:
        yield f"it lacks {len(missing)} cases of {asked}: {_some(missing)}"
    if added:
        yield f"it lists {len(added)} cases that {asked} does not have: {_some(added)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
