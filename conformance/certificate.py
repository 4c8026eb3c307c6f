"""The certificate: what was seen of a port, as canonical JSON under a hash of its own.

Canonical means UTF-8, keys sorted, no spaces, no NaN: equal content is equal bytes. ``sha256`` is the hash of
the document without that key and without ``signature``, so that signing does not change it. The fields are
described in ``certificate.schema.json`` beside this file.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.device import Device
from ..core.errors import CertificateError
from . import speed
from .outcome import NOT_REACHED, PASSED, CaseResult, Outcome, RungSummary
from .spread import Spread, together
from .subject import Document as Document
from .subject import Subject, subject_of

FORMAT = "portwright-certificate-1"
SCHEMA = Path(__file__).with_name("certificate.schema.json")


def build(outcome: Outcome, of: Device | Subject) -> Document:
    """The certificate of a climb, sealed.

    Args:
        outcome: what came of the cases.
        of: the device that was climbed on, opened; or what boards that are alike said of theirs.
    """
    subject = subject_of(of) if isinstance(of, Device) else of
    machine, *others = sorted(outcome.machines, key=canonical) or [subject.machine]
    sdk, asked = subject.portwright, outcome.selection
    results = {r.id: r for r in outcome.results}
    return seal(
        {
            **subject.said,
            "format": FORMAT,
            "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "verdict": outcome.verdict,
            "suite": {
                "version": sdk["suite"],
                "tier": asked.tier.value,
                "portwright": sdk["version"],
                "commit": sdk["commit"],
                "dirty": sdk["dirty"],
                "cases": len(outcome.cases),
                "cases_sha256": cases_hash(outcome.cases),
                "complete": outcome.complete,
                "rungs": [r.value for r in asked.rungs],
                "keyword": asked.keyword,
                "seed": asked.seed,
                "seconds": outcome.seconds,
            },
            "machine": machine,
            **({"other_machines": others} if others else {}),
            "rungs": [_rung(s, outcome) for s in outcome.summary()],
            "accuracy": _accuracy(outcome),
            "speed": speed.by_name(timings(outcome)),
            "cases": {c: _case(results.get(c)) for c in outcome.cases},
        }
    )


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one way to write a document: equal documents give equal bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of everything but ``sha256`` itself and the signature, in hex."""
    return hashlib.sha256(
        canonical({k: v for k, v in document.items() if k not in ("sha256", "signature")})
    ).hexdigest()


def seal(document: Document) -> Document:
    """The document with its hash."""
    return {**document, "sha256": digest(document)}


def check(document: Any) -> Document:
    """The document, if it is a certificate whose hash is right.

    Raises:
        CertificateError: when it is not, with what is wrong.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CertificateError(f"not a certificate: its format is not {FORMAT!r}")
    claimed, found = document.get("sha256"), digest(document)
    if claimed != found:
        raise CertificateError(
            f"the certificate was changed: it says sha256 {claimed}, its content has {found}"
        )
    return document


def load(path: Path) -> Document:
    """A certificate from a file, checked.

    Raises:
        CertificateError: when it cannot be read, is cut short or was changed.
    """
    try:
        return check(json.loads(path.read_text(encoding="utf-8")))
    except OSError as e:
        raise CertificateError(f"{path}: {e.strerror}") from e
    except ValueError as e:
        raise CertificateError(f"{path}: {e}") from e


def save(document: Document, path: Path) -> None:
    """Writes a certificate, whole or not at all.

    Raises:
        CertificateError: when the file cannot be written.
    """
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(canonical(document) + b"\n")
        beside.replace(path)
    except OSError as e:
        raise CertificateError(f"cannot write {path}: {e.strerror}") from e


def cases_hash(cases: Iterable[str]) -> str:
    """SHA-256 of the names of the cases, one a line, sorted: which questions were asked."""
    return hashlib.sha256("".join(f"{c}\n" for c in sorted(cases)).encode()).hexdigest()


def _case(result: CaseResult | None) -> Document:
    if result is None:
        return {"outcome": NOT_REACHED}
    return {"outcome": result.outcome, **({"reason": result.message} if result.message else {})}


def _rung(summary: RungSummary, outcome: Outcome) -> Document:
    return {
        "rung": summary.rung.value,
        "cases": summary.cases,
        "passed": summary.passed,
        "failed": summary.failed,
        "expected": summary.expected,
        "unclaimed": summary.unclaimed,
        "not_reached": summary.not_reached,
        "worst_ulp": summary.worst_ulp,
        "seconds": round(sum(r.seconds for r in outcome.results if r.rung is summary.rung), 3),
    }


def timings(outcome: Outcome) -> list[tuple[str, Mapping[str, Any]]]:
    """The cases that passed and took times, with those."""
    return [(r.id, r.timing) for r in outcome.results if r.timing is not None and r.outcome == PASSED]


def _accuracy(outcome: Outcome) -> Document:
    """The worst result of each primitive on each dtype, and how far all of them lay."""
    records: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for result in outcome.results:
        for record in result.accuracy if result.outcome == PASSED else ():
            records.setdefault(record["op"], {}).setdefault(record["dtype"], []).append(record)
    return {op: {d: _measured(of) for d, of in by_dtype.items()} for op, by_dtype in records.items()}


def _measured(records: Sequence[Mapping[str, Any]]) -> Document:
    worst = max(records, key=lambda r: float(r["ulp"]))
    all_ = together(Spread(**r["spread"]) for r in records)
    return {
        "ulp": worst["ulp"],
        "bound": worst["bound"],
        "operands": list(worst["operands"]),
        "got": worst["got"],
        "p99": all_.p99,
        "mean": round(all_.mean, 6),
        "histogram": dict(all_.histogram),
    }
