"""What a certificate claims, in words: the same for a terminal and for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..core.dtype import ALL
from . import speed
from .certificate import Document
from .ladder import Rung
from .outcome import EXPECTED, FAULTS, NOT_REACHED, PASSED, UNCLAIMED
from .tiers import SuiteTier

EVIDENCE = {
    "measured": "the real device",
    "emulated": "a simulator or another vendor's driver",
    "compiled": "accepted by the real compiler, nothing was run",
}
VERDICTS = {
    "passed": "every claimed case that was selected passed",
    "conditional": "passed, but for expected failures",
    "failed": "a claimed case failed, or was not reached",
}
HASH_SHOWN = 12
SPEED = Rung.SPEED.value


@dataclass(frozen=True)
class Claim:
    """One thing that is claimed: what about, and the lines that say it."""

    about: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Cases that came out alike for the same reason."""

    text: str
    cases: tuple[str, ...]


def claims(document: Document) -> tuple[Claim, ...]:
    """Everything that a reader should know before trusting a port, most important first."""
    made = [
        ("evidence", [f"{document['evidence']}: {EVIDENCE[document['evidence']]}"]),
        ("verdict", [f"{document['verdict']}: {VERDICTS[document['verdict']]}"]),
        ("cases", _cases(document)),
        ("port", _port(document)),
        ("made", _made(document)),
        ("machine", [_machine(m) for m in (document["machine"], *document.get("other_machines", ()))]),
        ("driver", [f"{key}: {value}" for key, value in document["driver"].items()]),
        ("compiler", [document["compiler"]] if document["compiler"] else []),
        ("has", _has(document)),
        ("accuracy", _accuracy(document)),
        ("speed", _speed(document)),
        (
            "failed",
            [f"{', '.join(r.cases[:3])}: {first_line(r.text)}" for r in failed(document)],
        ),
        ("expected", [f"{_count(r)} as expected: {first_line(r.text)}" for r in because(document, EXPECTED)]),
        ("skipped", [f"{_count(r)}: {first_line(r.text)}" for r in because(document, UNCLAIMED)]),
        ("not reached", [_count(r) for r in because(document, NOT_REACHED)]),
    ]
    return tuple(Claim(about, tuple(lines)) for about, lines in made if lines)


def because(document: Document, *outcomes: str) -> tuple[Reason, ...]:
    """The cases that came out so, by reason, the most frequent first."""
    found: dict[str, list[str]] = {}
    for name, case in document["cases"].items():
        if case["outcome"] in outcomes:
            found.setdefault(case.get("reason", ""), []).append(name)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Reason(text, tuple(sorted(cases))) for text, cases in ordered)


def failed(document: Document) -> tuple[Reason, ...]:
    """The cases that did not do what the port claims."""
    return because(document, *sorted(FAULTS))


def first_line(text: str) -> str:
    """Of a reason, what fits in a list."""
    return text.strip().partition("\n")[0]


def revision(document: Document) -> str:
    """Which Portwright made it."""
    suite = document["suite"]
    commit = suite.get("commit")
    if not commit:
        return f"Portwright {suite['portwright']}, as installed (no commit known)"
    changed = "with changes since" if suite["dirty"] else "nothing changed since"
    return f"Portwright {suite['portwright']}, commit {commit[:HASH_SHOWN]}, {changed}"


def no_speed(document: Document) -> str:
    """Why a certificate holds no times; "" of one that does."""
    if "speed" not in document:
        return "an older Portwright made the certificate, which measured no speed"
    if any(document["speed"].values()):
        return ""
    cases = [case for name, case in document["cases"].items() if name.startswith(f"{SPEED}::")]
    if not cases:
        return "the rung of speed was not climbed"
    reasons = Counter(case["reason"] for case in cases if case["outcome"] == UNCLAIMED)
    return first_line(reasons.most_common(1)[0][0]) if reasons else "no case of speed passed"


def _speed(document: Document) -> list[str]:
    """The limits; why there is none is said where it is not plain that nobody asked."""
    lines = speed.said(document["speed"]) if "speed" in document else []
    return lines if lines or SPEED not in document["suite"]["rungs"] else [f"none: {no_speed(document)}"]


def _count(reason: Reason) -> str:
    n = len(reason.cases)
    return f"{n:,} case{'' if n == 1 else 's'}"


def _cases(document: Document) -> list[str]:
    suite = document["suite"]
    tier = SuiteTier(suite.get("tier", SuiteTier.STANDARD.value))
    passed = sum(case["outcome"] == PASSED for case in document["cases"].values())
    part = "the whole ladder" if suite["complete"] else f"a part of the ladder: {', '.join(suite['rungs'])}"
    keyword = f", only what matches {suite['keyword']!r}" if suite["keyword"] else ""
    return [
        f"{passed:,} of {suite['cases']:,} passed in {suite['seconds']:,.1f} s; {part}{keyword}",
        f"{tier.value} tier: {tier.shows}",
        f"seed {suite['seed']}, suite {suite['version']}, contract {document['contract']}",
        *_schedules(document),
    ]


def _schedules(document: Document) -> list[str]:
    seed = document.get("schedules")
    return [] if seed is None else [f"the schedules of kernels were drawn by chance, by seed {seed}"]


def _port(document: Document) -> list[str]:
    port = document["port"]
    name = (
        port["name"]
        if port["opened_as"] == port["name"]
        else f"{port['name']}, opened as {port['opened_as']}"
    )
    shipped = f"{port['distribution']} {port['version']}" if port["distribution"] else "of no distribution"
    hash_ = f", file sha256 {port['file_sha256'][:HASH_SHOWN]}…" if port["file_sha256"] else ""
    return [f"{name}; {shipped}; {port['class']}{hash_}"]


def _made(document: Document) -> list[str]:
    return [f"{document['made_at']} by {revision(document)}"]


def _machine(m: Document) -> str:
    return (
        f"{m['system']} {m['release']}, {m['processor'] or m['architecture']}, {m['cores']} cores; "
        f"Python {m['python']}, NumPy {m['numpy']}"
    )


def _has(document: Document) -> list[str]:
    spec, primitives = document["spec"], document["primitives"]
    kinds = ", ".join(f"{kind} {n}" for kind, n in _ordered(primitives) if kind != "total")
    own, held = len(spec["arithmetic"]), len(spec["dtypes"])
    subnormals = "flushed to zero" if spec["flushes_subnormals"] else "kept"
    lines = [
        f"primitives: {kinds}, of {primitives['total']}; "
        f"dtypes: native {own}, legalized {held - own}, of {len(ALL)}",
        f"accuracy tier {spec['tier']}; subnormals are {subnormals}",
    ]
    offered = [name for kind in ("extras", "tiles", "compounds") for name in _offered(spec.get(kind))]
    if offered:
        lines.append(f"offers {', '.join(offered)}")
    if spec.get("checker"):
        lines.append(f"watched by {spec['checker']['tool']}, which finds {spec['checker']['finds']}")
    return lines


def _offered(claim: object) -> list[str]:
    """The names of what is offered beyond the contract: texts, or records with a name."""
    items = claim if isinstance(claim, list) else []
    return [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in items]


def _ordered(primitives: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(primitives.items(), key=lambda item: (item[0] != "native", item[0]))


def _accuracy(document: Document) -> list[str]:
    measured = [
        (a["ulp"], op, dtype, a["bound"])
        for op, by_dtype in document["accuracy"].items()
        for dtype, a in by_dtype.items()
    ]
    if not measured:
        return []
    ulp, op, dtype, bound = max(measured)
    return [f"furthest from exact: {op} {dtype}, {ulp:.3g} ulp (allowed: {bound})"]
