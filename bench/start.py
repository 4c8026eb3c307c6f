"""How long a new process takes from NumPy to its first result.

    python -m bench.start                     Portwright and every peer that is installed
    python -m bench.start torch jax --write   beside these, and written into docs/performance.md

Each measurement is a process of its own, and peers take turns. The clock starts when NumPy is imported and
the inputs are drawn, and stops when the first result is there: importing, planning, compiling, running.
``cold``: every cache that the peer keeps is an empty folder; ``warm``: the one that earlier processes left.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from . import report
from .harness import ROOT
from .peers import PEERS, PORTWRIGHT, YARDSTICKS
from .table import WORKLOADS
from .workloads import axpb64, elementwise

FIRST = {
    "tiny": elementwise("axpb", "tiny", "x*a + b of ten numbers", 10, axpb64),
    "gpt2_small": WORKLOADS["gpt2_small"],
}
CACHES = ("PORTWRIGHT_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
"""The variables that say where the peers keep what they compiled."""
LONGEST = 300.0
"""Seconds that a process may take."""


def seconds_to_first(peer: str, workload: str) -> float:
    """In this process, which must not have imported the peer yet."""
    random = np.random.default_rng(1)
    made = FIRST[workload]
    inputs = made.make(random)
    start = time.perf_counter()
    task = PEERS[peer].prepare(made.kind, inputs)
    assert task is not None
    task.run()
    result = np.asarray(task.result())
    seconds = time.perf_counter() - start
    error = made.expect(inputs, random).error(result)
    if not error <= 1:
        raise SystemExit(f"{peer} is wrong by {error:.3g} times what is allowed")
    return seconds


def in_new_process(peer: str, workload: str, folder: Path) -> float:
    """``seconds_to_first`` in a process of its own, whose caches are in ``folder``.

    Raises:
        RuntimeError: when it failed, with what it said last.
    """
    # a checkout's bytecode is kept, as an installed package's is
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    caches = {name: str(folder / name.lower()) for name in CACHES}
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.start", "--in-process", peer, workload],
        env={**inherited, **PEERS[peer].environment, **caches},
        cwd=ROOT, capture_output=True, text=True, timeout=LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{peer}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")
    return float(done.stdout.split()[-1])


def measure(peers: Sequence[str], rounds: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Seconds by workload, state and peer."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="portwright-bench-") as scratch:
        for workload in FIRST:
            cold = {peer: list[float]() for peer in peers}
            warm = {peer: list[float]() for peer in peers}
            found[workload] = {"cold": cold, "warm": warm}
            for peer in list(peers):
                try:
                    in_new_process(peer, workload, Path(scratch, peer))  # the first one writes bytecode, too
                except (RuntimeError, subprocess.TimeoutExpired) as e:
                    print(f"{workload}: {e}", flush=True)
                    del cold[peer], warm[peer]
            for turn in range(rounds):
                print(f"{workload}: round {turn + 1} of {rounds}", flush=True)
                for peer in cold:
                    with tempfile.TemporaryDirectory(prefix="portwright-bench-") as empty:
                        cold[peer].append(in_new_process(peer, workload, Path(empty)))
                    warm[peer].append(in_new_process(peer, workload, Path(scratch, peer)))
    return found


def table(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> str:
    """What was measured, as Markdown."""
    peers = list(dict.fromkeys(peer for states in found.values() for row in states.values() for peer in row))
    lines = [
        f"Measured {report.now()} on {report.machine()}: seconds, the median (least to most).",
        "",
        f"| first result of | {' | '.join(peers)} |",
        f"|---|{'---|' * len(peers)}",
    ]
    for workload, states in found.items():
        for state, row in states.items():
            cells = [
                f"{median(row[p]):.2f} ({min(row[p]):.2f}–{max(row[p]):.2f})" if row.get(p) else "–"
                for p in peers
            ]
            lines.append(f"| {FIRST[workload].says}, {state} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__.partition("\n")[0])
    parser.add_argument("peers", nargs="*", help="beside Portwright; all that are installed when not given")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each peer and state (5)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.in_process:
        print(seconds_to_first(*chosen.peers))
        return 0
    unknown = [p for p in chosen.peers if p not in PEERS]
    if unknown:
        parser.error(f"no peer is called {', '.join(unknown)}: there are {', '.join(PEERS)}")
    others = chosen.peers or [
        name for name, p in PEERS.items() if not (p.only or name in YARDSTICKS or p.missing())
    ]
    text = table(measure(list(dict.fromkeys([PORTWRIGHT, *others])), chosen.rounds))
    print(text)
    if chosen.write:
        report.put_into_page("start", text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
