"""The certificate: what was seen of a port, as canonical JSON under a hash of its own.

Canonical means UTF-8, keys sorted, no spaces, no NaN: equal content is equal bytes. ``sha256`` is the hash of
the document without that key and without ``signature``, so that signing does not change it. The fields are
described in ``certificate.schema.json`` beside this file.
"""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.compound import Compound
from ..core.device import Device, Spec
from ..core.dtype import DType
from ..core.errors import CertificateError
from ..core.ops import ALL_OPS
from ..core.registry import offer_of
from ..core.tile import Tile
from . import SUITE_VERSION, speed
from .outcome import NOT_REACHED, PASSED, CaseResult, Outcome, RungSummary
from .sdk import revision
from .spread import Spread, together

FORMAT = "portwright-certificate-1"
SCHEMA = Path(__file__).with_name("certificate.schema.json")

Document = dict[str, Any]


def build(outcome: Outcome, device: Device) -> Document:
    """The certificate of a climb, sealed.

    Args:
        outcome: what came of the cases.
        device: the one that was climbed on, opened.
    """
    spec = device.spec
    sdk = revision()
    results = {r.id: r for r in outcome.results}
    return seal(
        {
            "format": FORMAT,
            "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "verdict": outcome.verdict,
            "evidence": spec.evidence.value,
            "contract": device.contract,
            "suite": {
                "version": SUITE_VERSION,
                "tier": outcome.tier.value,
                "portwright": __version__,
                "commit": sdk.commit,
                "dirty": sdk.dirty,
                "cases": len(outcome.cases),
                "cases_sha256": cases_hash(outcome.cases),
                "complete": outcome.complete,
                "rungs": [r.value for r in outcome.rungs],
                "keyword": outcome.keyword,
                "seed": outcome.seed,
                "seconds": outcome.seconds,
            },
            "port": _port(device),
            "spec": _claims(spec),
            "driver": dict(spec.driver),
            "compiler": device.compiler_key(),
            "machine": _machine(),
            "primitives": {
                "total": len(ALL_OPS),
                "native": len(spec.native),
                "legalized": len(spec.legalized),
                "host": len(spec.on_host),
            },
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


def _port(device: Device) -> Document:
    port = type(device)
    source = inspect.getsourcefile(port)
    offer = offer_of(device)
    return {
        "name": device.spec.name,
        "opened_as": device.name,
        "class": f"{port.__module__}:{port.__qualname__}",
        "distribution": offer.distribution if offer else None,
        "version": offer.version if offer else None,
        "file_sha256": hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else None,
    }


def _claims(spec: Spec) -> Document:
    """Every claim of the Spec; ``driver`` and ``evidence`` stand by themselves."""
    return {
        f.name: _plain(getattr(spec, f.name)) for f in fields(spec) if f.name not in ("driver", "evidence")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, DType):
        return value.name
    if isinstance(value, frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, Mapping):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, Tile):
        return str(value)
    if isinstance(value, Compound):
        return {"name": value.name, "dtypes": _plain(value.dtypes), "ranks": list(value.ranks)}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _machine() -> Document:
    import os

    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor()
    return platform.processor()
