"""The named programs in another process: ``python -m portwright.conformance.elsewhere REQUEST``.

In: one JSON object, as ``digests_of`` writes it. Out: a line of JSON, the digest of each program's result.
The other process opens the device by its name: all that it shares with this one is the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import numpy as np

from ..core import engine, python_process
from ..core.errors import PortwrightError
from ..core.graph import Node
from .case import Array, place
from .named import NAMED

SHAPE = (33, 129)
PATIENCE = 100
"""Seconds that the other process may take."""


def inputs(seed: int) -> Array:
    """What the programs are given, here and there."""
    return np.random.default_rng(seed).uniform(-2, 2, SHAPE).astype(np.float32)


def digest(array: Array) -> str:
    """Of its bits."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def digests(device: str, seed: int, programs: Mapping[str, Callable[[Node], Node]] = NAMED) -> dict[str, str]:
    """The digest of each program's result, computed here."""
    x = place(inputs(seed), device)
    roots = {name: program(x) for name, program in programs.items()}
    engine.realize(list(roots.values()), device)
    return {name: digest(engine.read(root)) for name, root in roots.items()}


def digests_of(device: str, seed: int) -> dict[str, str]:
    """The same, computed in a process of its own.

    Raises:
        PortwrightError: when that process does not end well, with what it said last.
    """
    command = python_process.command(__name__, json.dumps({"device": device, "seed": seed}))
    own = python_process.environment()
    try:
        ran = subprocess.run(command, capture_output=True, text=True, env=own, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise PortwrightError(f"{device} gave nothing within {PATIENCE} s in a process of its own") from None
    if ran.returncode:
        words = "\n".join(ran.stderr.strip().splitlines()[-8:])
        raise PortwrightError(
            f"{device} computes here, and not in a process of its own (status {ran.returncode}):\n{words}"
        )
    found: dict[str, str] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Does what was asked for."""
    request = json.loads(sys.argv[1])
    print(json.dumps(digests(request["device"], request["seed"])))


if __name__ == "__main__":
    main()
