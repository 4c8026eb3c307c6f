"""python -m bench: measure, print the tables, keep them; see --help."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import report
from .harness import ROOT, Process, measure, present
from .limits import measure as measure_limits
from .peers import PEERS, PORTWRIGHT, use_cores
from .table import SETS, WORKLOADS, find, known


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Portwright beside its peers, in one run: by default the promised figures.",
    )
    parser.add_argument("workloads", nargs="*", help="which to measure, or sets of them (see --list)")
    parser.add_argument("--all", action="store_true", help="measure every workload")
    parser.add_argument(
        "--random", type=int, metavar="N", help="measure N workloads drawn by chance (see --seed)"
    )
    parser.add_argument("--list", action="store_true", help="name workloads and peers, and measure nothing")
    parser.add_argument("--peers", help="which peers, with commas between; Portwright is always there")
    parser.add_argument("--rounds", type=int, default=5, help="bursts of each peer (5)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a burst (0.3)")
    parser.add_argument("--seed", type=int, help="of the inputs; a new one each time when not given")
    parser.add_argument("--show", type=Path, nargs="?", const=report.RESULTS / "latest.json",
                        help="print a kept run (the latest), and measure nothing")  # fmt: skip
    parser.add_argument("--cores", type=int, metavar="N", help="use N cores only")
    parser.add_argument("--write", nargs="?", const=report.SECTIONS[0], choices=report.SECTIONS,
                        help="write the tables into docs/performance.md, where this section is")  # fmt: skip
    chosen = parser.parse_args(arguments)
    chosen.workloads = [name for w in chosen.workloads for name in SETS.get(w, [w])]
    unknown = [w for w in chosen.workloads if not known(w)]
    unknown += [p for p in (chosen.peers or "").split(",") if p and p not in PEERS]
    if unknown:
        parser.error(f"no workload or peer is called {', '.join(unknown)}: see --list")
    if chosen.show and not chosen.show.exists():
        parser.error(f"{chosen.show} is not there: nothing was measured yet")
    return chosen


def list_all() -> None:
    print("workloads")
    for w in WORKLOADS.values():
        print(f"  {w.name:18} {w.says}")
    print("sets of them")
    for name, members in SETS.items():
        print(f"  {name:18} {len(members)} of these")
    print("peers")
    for p in PEERS.values():
        print(f"  {p.name:22} {p.missing() or 'here'}{': ' + p.says if p.says else ''}")


def versions() -> dict[str, str]:
    found = {}
    for name in ("portwright", "numpy", "torch", "tinygrad", "jax"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run(chosen: argparse.Namespace) -> report.Results:
    wanted = [PORTWRIGHT, *chosen.peers.split(",")] if chosen.peers else list(PEERS)
    peers, absent = present(list(dict.fromkeys(wanted)))
    if chosen.cores:
        use_cores(chosen.cores)
    seed = secrets.randbits(32) if chosen.seed is None else chosen.seed
    if chosen.random:
        names = [f"random_{seed}_{i}" for i in range(chosen.random)]
    elif chosen.all:
        names = list(WORKLOADS)
    else:
        names = chosen.workloads or list(dict.fromkeys(t.workload for t in report.TARGETS))
    results = report.Results(
        report.now(), report.machine(), seed, versions(), absent, measure_limits(), rows={}
    )
    for name, reason in absent.items():
        print(f"{name}: {reason}")
    processes = [Process(p) for p in peers]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # stopped processes would outlive us
    start = time.monotonic()
    try:
        for i, name in enumerate(names, 1):
            w = find(name)
            print(f"[{i}/{len(names)}, {time.monotonic() - start:.0f} s] {name}: {w.says}", flush=True)
            results.rows[name] = measure(
                w, processes, seed, chosen.rounds, chosen.seconds, says=lambda line: print(line, flush=True)
            )
            report.save(results)
    except KeyboardInterrupt:
        print("interrupted: these were measured")
    finally:
        for process in processes:
            process.close()
    results.limits = results.limits.or_more(measure_limits())
    return results


def main(arguments: list[str]) -> int:
    chosen = parse(arguments)
    if chosen.list:
        list_all()
        return 0
    if chosen.show:
        results = report.load(chosen.show)
    else:
        results = run(chosen)
        path = report.save(results)
        print(f"\nkept in {path.relative_to(ROOT)}\n")
    print(report.tables(results))
    if chosen.write:
        report.write_page(results, chosen.write)
        print(f"\nwritten into {report.PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
