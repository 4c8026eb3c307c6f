"""What was measured, kept as JSON, as tables to read, and written into docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, median, quantiles

from .harness import ROOT, Burst, Outcome, Row, per_call
from .limits import Limits
from .peers import COPY, HAND, HAND_OPENCL, OPENCL, PEERS, PORTWRIGHT, YARDSTICKS, cores
from .table import find

RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
SECTIONS = ("measured", "products", "one-core", "convolutions", "opencl", "drawn", "start")
"""Parts of the page that a command writes, each between two marks."""


LEGEND = """\
Times are medians of bursts ± half the distance of their quartiles; ratios are medians (quartiles) over turns
in which both ran. `~` marks times that were taken while something else used the machine. A peer whose result
was wrong has no time. The limit is what the least bytes and operations take at this machine's speeds."""


@dataclass(frozen=True, slots=True)
class Target:
    """A promised figure: the best of ``peers`` takes ``ratio`` of our time, or a call ``seconds`` at most."""

    workload: str
    says: str
    peers: tuple[str, ...] = ()
    ratio: float = 0.0
    seconds: float = 0.0


BY_HAND = {HAND: "C", HAND_OPENCL: "OpenCL"}
COMPILED = ("compiled", "compiled+pages")
TARGETS = (
    Target("chain_64m", "an elementwise chain: at least 70 % of the copy's speed", (COPY,), 0.7),
    Target("softmax_4096", "softmax: not slower than compiled PyTorch", COMPILED, 1.0),
    Target("layernorm_4096", "layer norm: not slower than compiled PyTorch", COMPILED, 1.0),
    Target(
        "digits_train", "a training step of the digits' net: not slower than eager PyTorch", ("torch",), 1.0
    ),
    Target("tiny_jit", "a jitted call of one small kernel: under 15 µs", seconds=15e-6),
)


@dataclass(slots=True)
class Results:
    """One run of the benchmark."""

    date: str
    machine: str
    seed: int
    versions: dict[str, str]
    absent: dict[str, str]
    limits: Limits
    rows: dict[str, Row]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and its quartiles."""

    low: float
    middle: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def ratio(row: Row, peer: str, us: str = PORTWRIGHT) -> Spread | None:
    """How many times longer than Portwright a peer takes, turn by turn; None when either has no times."""
    ours, theirs = row.outcomes.get(us), row.outcomes.get(peer)
    if ours is None or theirs is None or ours.fault or theirs.fault:
        return None
    turns = {b.turn: median(b.times) for b in ours.counted}
    pairs = [median(b.times) / turns[b.turn] for b in theirs.counted if b.turn in turns]
    return spread(pairs or [_time(theirs, row) / _time(ours, row)])


def _time(outcome: Outcome, row: Row) -> float:
    return median(per_call(outcome, find(row.workload)))


def best(row: Row, among: Sequence[str]) -> str | None:
    """Who of these computed the workload rightly in the shortest time."""
    times = {p: _time(o, row) for p, o in row.outcomes.items() if p in among and not o.fault}
    return min(times, key=lambda p: times[p]) if times else None


# ------------------------------------------------------------------------------------------------------ text


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _cell(outcome: Outcome | None, row: Row) -> str:
    if outcome is None:
        return "–"
    if outcome.fault:
        return "wrong" if outcome.fault.startswith("WRONG") else "failed"
    s = spread(per_call(outcome, find(row.workload)))
    noisy = "" if all(b.quiet for b in outcome.counted) else " ~"
    return f"{duration(s.middle)} ±{(s.high - s.low) / 2 / s.middle:.0%}{noisy}"


def _ratio_cell(s: Spread | None, peer: str | None) -> str:
    return "–" if s is None else f"{s.middle:.2f} ({s.low:.2f}–{s.high:.2f}) {peer}"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is aligned as plain text too."""
    rows = [list(header), *map(list, lines)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(header))]
    rule = ["-" * w for w in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + " |"
        for r in [rows[0], rule, *rows[1:]]
    )


def verdicts(results: Results) -> list[list[str]]:
    """Each target that was measured, what came out, and whether it is met."""
    lines = []
    for t in TARGETS:
        row = results.rows.get(t.workload)
        if row is None:
            continue
        ours = row.outcomes.get(PORTWRIGHT)
        if ours is None or ours.fault:
            lines.append([t.says, ours.fault if ours else "not measured", "no"])
        elif t.seconds:
            s = spread(per_call(ours, find(row.workload)))
            figure = f"{duration(s.middle)} ({duration(s.low)}–{duration(s.high)})"
            lines.append([t.says, figure, _met(s.low <= t.seconds, s.high <= t.seconds)])
        else:
            peer = best(row, t.peers)
            r = ratio(row, peer) if peer else None
            if r is None:
                faults = {p: row.outcomes[p].fault for p in t.peers if p in row.outcomes} or results.absent
                missing = "; ".join(f"{p}: {faults.get(p, 'not asked')}" for p in t.peers)
                lines.append([t.says, missing, "not compared"])
            else:
                lines.append([t.says, _ratio_cell(r, peer), _met(r.high >= t.ratio, r.low >= t.ratio)])
    return lines


def _met(possibly: bool, surely: bool) -> str:
    return "yes" if surely else "within the spread" if possibly else "no"


def summary(results: Results, others: Sequence[str]) -> str | None:
    """All workloads together: the geometric mean, how often Portwright is fastest, and where it is slowest.

    A workload that nobody else computed says nothing; one that Portwright got wrong counts as lost.
    """
    ratios: dict[str, float] = {}
    for row in results.rows.values():
        peer = best(row, others)
        if peer is not None:
            r = ratio(row, peer)
            ratios[row.workload] = 0.0 if r is None else r.middle
    if len(ratios) < 2:
        return None
    right = [r for r in ratios.values() if r > 0]
    worst = min(ratios, key=lambda name: ratios[name])
    mean = f"{geometric_mean(right):.2f}" if right else "–"
    fastest = sum(r >= 1 for r in ratios.values())
    return (
        f"All together: the best peer's time ÷ ours is {mean} (geometric mean of {len(right)} workloads); "
        f"Portwright is the fastest in {fastest} of {len(ratios)}, the worst is {ratios[worst]:.2f}: {worst}."
    )


def beside_hand(results: Results, hand: str = HAND, us: str = PORTWRIGHT) -> str | None:
    """Portwright beside kernels written by hand, of the workloads that there are such kernels of."""
    ratios = {row.workload: ratio(row, hand, us) for row in results.rows.values() if hand in row.outcomes}
    known = {name: r for name, r in ratios.items() if r is not None}
    if not known:
        return None
    mean = geometric_mean([r.middle for r in known.values()])
    each = ", ".join(f"{name} {r.middle:.2f} ({r.low:.2f}–{r.high:.2f})" for name, r in known.items())
    us = "" if us == PORTWRIGHT else f"ours of {us}"
    says = f"Beside {BY_HAND[hand]} written by hand, its time ÷ {us or 'ours'}"
    return f"{says}: {mean:.2f} (geometric mean of {len(known)}): {each}."


def tables(results: Results) -> str:
    """Everything, as Markdown."""
    others = [p for p in PEERS if p != PORTWRIGHT and p not in YARDSTICKS]
    here = {p for r in results.rows.values() for p in r.outcomes}
    shown = [p for p in (*others, OPENCL, HAND_OPENCL) if p in here]
    lines = []
    for row in results.rows.values():
        w = find(row.workload)
        peer = best(row, others)
        ours = row.outcomes.get(PORTWRIGHT)
        share = "–"
        if ours is not None and not ours.fault and (w.nbytes or w.flops):
            share = f"{results.limits.floor(w.nbytes, w.flops) / _time(ours, row):.0%}"
        lines.append(
            [
                f"`{w.name}`: {w.says}",
                _cell(ours, row),
                _ratio_cell(ratio(row, peer) if peer else None, peer),
                share,
                *(_cell(row.outcomes.get(p), row) for p in shown),
            ]
        )
    head = ["workload", "Portwright", "best peer's time ÷ ours", "share of the limit", *shown]
    limits = results.limits
    parts = [
        f"Measured {results.date} on {results.machine}.",
        f"Limits of this machine: {limits.copied / 1e9:.1f} GB/s copied with streaming stores, "
        f"{limits.read / 1e9:.1f} GB/s read, {limits.flops / 1e9:.0f} GFLOP/s of float32 multiply-adds.",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in results.versions.items()) + ".",
    ]
    if results.absent:
        parts.append("Not taking part: " + "; ".join(f"{k} ({v})" for k, v in results.absent.items()) + ".")
    promised = verdicts(results)
    if promised:
        parts.append(markdown(["promised", "measured", "met"], promised))
    parts.append(markdown(head, lines))
    if (all_together := summary(results, others)) is not None:
        parts.append(all_together)
    parts += [s for s in (beside_hand(results), beside_hand(results, HAND_OPENCL, OPENCL)) if s is not None]
    faults = [
        f"- `{row.workload}`, {name}: {o.fault}"
        for row in results.rows.values()
        for name, o in row.outcomes.items()
        if o.fault
    ]
    if faults:
        parts.append("Without times:\n\n" + "\n".join(faults))
    parts.append(LEGEND)
    return "\n\n".join(parts)


# ------------------------------------------------------------------------------------------------------ files


def machine() -> str:
    """This machine in a few words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return f"{cores()} cores of {name}, {platform.system()}"


def now() -> str:
    """The date and time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def save(results: Results) -> Path:
    """Keeps a run: under its date, and as the latest, into which rows of earlier runs are not mixed."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(asdict(results), indent=1)
    stamp = results.date.replace(" UTC", "").replace(" ", "-").replace(":", "")
    path = RESULTS / f"{stamp}.json"
    for target in (path, RESULTS / "latest.json"):
        scratch = target.with_suffix(".tmp")
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, target)
    return path


def load(path: Path | None = None) -> Results:
    """A kept run; the latest when none is named."""
    data = json.loads((path or RESULTS / "latest.json").read_text(encoding="utf-8"))
    rows = {name: _row(row) for name, row in data.pop("rows").items()}
    return Results(limits=Limits(**data.pop("limits")), rows=rows, **data)


def _row(data: Mapping[str, object]) -> Row:
    outcomes: Mapping[str, dict[str, object]] = data["outcomes"]  # type: ignore[assignment]
    made = {}
    for name, o in outcomes.items():
        bursts = [Burst(**b) for b in o.pop("bursts")]  # type: ignore[attr-defined]
        made[name] = Outcome(**o, bursts=bursts)  # type: ignore[arg-type]
    return Row(str(data["workload"]), made)


def write_page(results: Results, section: str = SECTIONS[0]) -> None:
    """Puts the tables into a section of docs/performance.md."""
    put_into_page(section, tables(results))


def put_into_page(section: str, tables: str) -> None:
    """Puts tables between the marks of a section of docs/performance.md, at its end if it has none."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{tables}\n{end}{after}", encoding="utf-8")
