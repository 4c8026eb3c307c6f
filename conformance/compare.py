"""Two certificates side by side: what became better and worse from the old to the new."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.device import Evidence
from ..core.ops import Tier
from . import speed
from .certificate import Document
from .outcome import EXPECTED, FAULTS, NOT_REACHED, PASSED, UNCLAIMED
from .spread import STEP

FACTOR = 1.5
"""How many times further from exact a result may lie before it is said."""
LESS = frozenset({*FAULTS, EXPECTED, NOT_REACHED})
"""What a case that passed must not become."""
ABSENT = "absent"
_SIZES = frozenset({"vector_bytes", "local_bytes", "max_block", "max_buffers", "images"})
"""Claims of which less is a loss, though no name is lost."""
_RANKS: Mapping[str, list[str]] = {
    "evidence": [Evidence.COMPILED.value, Evidence.EMULATED.value, Evidence.MEASURED.value],
    "tier": [Tier.RELAXED.value, Tier.FULL.value, Tier.STRICT.value],
}
_ABOUT_ITSELF = frozenset({"seconds", "cases", "cases_sha256"})


@dataclass(frozen=True)
class CaseChange:
    """A case that came out otherwise: the outcomes, and the reason of the new one ("" of a pass)."""

    case: str
    old: str
    new: str
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """A claim or a circumstance that differs; "absent" where one certificate does not have it."""

    what: str
    old: str
    new: str


@dataclass(frozen=True)
class Drift:
    """A figure of a primitive on a dtype ("worst", "p99", "mean") that moved, in ulp."""

    op: str
    dtype: str
    figure: str
    old: float
    new: float


@dataclass(frozen=True)
class Pace:
    """A job's median seconds.

    Attributes:
        name: the case that takes them.
        old, new: its median seconds.
        verdict: "slower" or "quicker" where the best of one lies beyond the 90th percentile of the other; ""
            where they overlap; or why the two cannot be compared.
    """

    name: str
    old: float
    new: float
    verdict: str

    @property
    def ratio(self) -> float:
        """How many times as long it takes now."""
        return self.new / self.old


SLOWER, QUICKER = "slower", "quicker"


@dataclass(frozen=True)
class Comparison:
    """What differs.

    Attributes:
        same_port: whether both are of the same port, opened alike.
        regressions: cases that passed, and now fail, are expected to, or are not reached.
        lost: claims that are no longer made, or are weaker.
        new_failures: cases that fail now and did not pass before: new ones, and such as were not claimed.
        new_skips: cases that were claimed, and are not any more.
        gone: cases that were asked and are not any more.
        further: figures that are beyond ``factor`` times what they were.
        fixes: cases that failed, and pass.
        gained: claims that are new, or stronger.
        nearer: figures that are below what they were by ``factor``.
        circumstances: driver, compiler, machine, port and suite, where they differ.
        seconds: by rung and of the whole run ("total"), where both know it.
        paces: jobs that both have timed; they never make anything worse.
        moved: parts of machine and driver that differ, so that paces say nothing of the port.
    """

    same_port: bool
    regressions: tuple[CaseChange, ...]
    lost: tuple[Change, ...]
    new_failures: tuple[CaseChange, ...]
    new_skips: tuple[CaseChange, ...]
    gone: tuple[str, ...]
    further: tuple[Drift, ...]
    fixes: tuple[CaseChange, ...]
    gained: tuple[Change, ...]
    nearer: tuple[Drift, ...]
    circumstances: tuple[Change, ...]
    seconds: Mapping[str, tuple[float, float]]
    paces: tuple[Pace, ...]
    moved: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether a case that passed does not, or a claim is lost."""
        return bool(self.regressions or self.lost)


def compare(old: Document, new: Document, factor: float = FACTOR) -> Comparison:
    """What became of a port's certificate.

    Args:
        old, new: certificates, as ``form.read`` gives them.
        factor: how many times further from exact is worth saying.
    """
    changes = list(_cases(old["cases"], new["cases"]))
    claims = list(_claims(_claimed(old), _claimed(new)))
    drifts = list(_drifts(old["accuracy"], new["accuracy"]))
    regressions = [c for c in changes if c.old == PASSED and c.new in LESS]
    return Comparison(
        all(old["port"][k] == new["port"][k] for k in ("class", "opened_as")),
        tuple(regressions),
        tuple(c for c, is_lost in claims if is_lost),
        tuple(c for c in changes if c.new in FAULTS and c.old not in FAULTS and c not in regressions),
        tuple(c for c in changes if c.new == UNCLAIMED and c.old != ABSENT),
        tuple(sorted(old["cases"].keys() - new["cases"].keys())),
        tuple(d for d in drifts if d.new > d.old * factor and d.new - d.old > STEP),
        tuple(c for c in changes if c.new == PASSED and c.old in LESS),
        tuple(c for c, is_lost in claims if not is_lost),
        tuple(d for d in drifts if d.old > d.new * factor and d.old - d.new > STEP),
        tuple(_circumstances(old, new)),
        _seconds(old, new),
        tuple(_paces(old, new)),
        tuple(_moved(old, new)),
    )


def _cases(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[CaseChange]:
    for name, case in sorted(new.items()):
        before = old[name]["outcome"] if name in old else ABSENT
        if before != case["outcome"]:
            yield CaseChange(name, before, case["outcome"], case.get("reason", ""))


def _claimed(document: Document) -> dict[str, Any]:
    """The claims of a Spec and the evidence; its name is the port's."""
    return {"evidence": document["evidence"], **{k: v for k, v in document["spec"].items() if k != "name"}}


def _claims(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[Change, bool]]:
    """Every claim that differs, and whether it is a loss."""
    for key in sorted(old.keys() | new.keys()):
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        ranks = _RANKS.get(key, [])
        if before in ranks and now in ranks:
            yield Change(key, _text(before), _text(now)), ranks.index(now) < ranks.index(before)
        elif key == "flushes_subnormals":
            yield Change("subnormals", _subnormals(before), _subnormals(now)), bool(now)
        elif _is_names(before) or _is_names(now):
            had, has = _names(before), _names(now)
            yield from ((Change(f"{key}: {name}", "claimed", ABSENT), True) for name in sorted(had - has))
            yield from ((Change(f"{key}: {name}", ABSENT, "claimed"), False) for name in sorted(has - had))
        elif key in _SIZES:
            yield Change(key, _text(before), _text(now)), _is_less(now, before)
    for op in sorted({*_names(old.get("native")), *_names(new.get("native"))}):
        had, has = _native_on(old, op), _native_on(new, op)
        if had and has:  # else the primitive itself is lost or new
            some = set(old.get("arithmetic", ())) & set(new.get("arithmetic", ()))
            yield from (
                (Change(f"native {op}: {d}", "claimed", ABSENT), True) for d in sorted(some & had - has)
            )
            yield from (
                (Change(f"native {op}: {d}", ABSENT, "claimed"), False) for d in sorted(some & has - had)
            )


def _native_on(spec: Mapping[str, Any], op: str) -> set[str]:
    """The dtypes on which a device has a primitive itself."""
    if op not in spec.get("native", ()):
        return set()
    return set(spec.get("native_on", {}).get(op, spec.get("arithmetic", ())))


def _is_names(claim: Any) -> bool:
    """Whether a claim is a list of things that are there or not: texts, or records."""
    return isinstance(claim, list) and any(isinstance(item, str | dict) for item in claim)


def _names(claim: Any) -> set[str]:
    """What a list claims: of a record with a name that, and each thing that it names beside."""
    found: set[str] = set()
    for item in claim if isinstance(claim, list) else ():
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            found.add(item["name"])
            lists = [value for value in item.values() if isinstance(value, list)]
            found.update(
                f"{item['name']} {part}" for values in lists for part in values if isinstance(part, str)
            )
        else:
            found.add(_text(item))
    return found


def _is_less(now: Any, before: Any) -> bool:
    if isinstance(now, dict) and isinstance(before, dict):
        return any(_is_less(now.get(k), v) for k, v in before.items())
    if isinstance(now, list) and isinstance(before, list):
        return not {_text(x) for x in before} <= {_text(x) for x in now}
    if isinstance(now, int | float) and isinstance(before, int | float):
        return now < before
    return now is None


def _subnormals(flushed: Any) -> str:
    return "flushed" if flushed else "kept"


def _drifts(old: Document, new: Document) -> Iterator[Drift]:
    for op, by_dtype in sorted(new.items()):
        for dtype, now in sorted(by_dtype.items()):
            before = old.get(op, {}).get(dtype, {})
            for figure, key in (("worst", "ulp"), ("p99", "p99"), ("mean", "mean")):
                if key in before and key in now and before[key] != now[key]:
                    yield Drift(op, dtype, figure, before[key], now[key])


def _circumstances(old: Document, new: Document) -> Iterator[Change]:
    """What a difference may come from."""
    for key in ("contract", "compiler", "other_machines"):
        before, now = old.get(key, ABSENT), new.get(key, ABSENT)
        if before != now:
            yield Change(key.replace("_", " "), _text(before), _text(now))
    for part in ("port", "suite", "driver", "machine"):
        for key in sorted(old[part].keys() | new[part].keys()):
            before, now = old[part].get(key, ABSENT), new[part].get(key, ABSENT)
            if before != now and (part, key) not in {("suite", name) for name in _ABOUT_ITSELF}:
                yield Change(f"{part} {key}", _text(before), _text(now))
    named = {"evidence", "name", "flushes_subnormals", *_RANKS, *_SIZES}
    for key in sorted(old["spec"].keys() | new["spec"].keys()):
        before, now = old["spec"].get(key, ABSENT), new["spec"].get(key, ABSENT)
        if before != now and key not in named and not (_is_names(before) or _is_names(now)):
            yield Change(f"spec {key}", _text(before), _text(now))


def _seconds(old: Document, new: Document) -> dict[str, tuple[float, float]]:
    before, now = ({r["rung"]: r.get("seconds") for r in d["rungs"]} for d in (old, new))
    both = {r: (before[r], now[r]) for r in now if before.get(r) is not None and now[r] is not None}
    return {**both, "total": (old["suite"]["seconds"], new["suite"]["seconds"])}


def _moved(old: Document, new: Document) -> Iterator[str]:
    """The parts of machine and driver that differ."""
    for part in ("machine", "driver"):
        keys = sorted(old[part].keys() | new[part].keys())
        yield from (f"{part} {key}" for key in keys if old[part].get(key) != new[part].get(key))


def _paces(old: Document, new: Document) -> Iterator[Pace]:
    before, now = (dict(speed.cases_of(d.get("speed", speed.by_name(())))) for d in (old, new))
    elsewhere = any(_moved(old, new))
    for name in sorted(before.keys() & now.keys()):
        a, b = before[name], now[name]
        verdict = ""
        if any(a[key] != b[key] for key in ("bytes", "flops")):
            verdict = "not of the same work"
        elif a["clock"] != b["clock"]:
            verdict = "not by the same clock"
        elif not elsewhere and b["best_seconds"] > a["p90_seconds"]:
            verdict = SLOWER
        elif not elsewhere and a["best_seconds"] > b["p90_seconds"]:
            verdict = QUICKER
        yield Pace(name, a["median_seconds"], b["median_seconds"], verdict)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
