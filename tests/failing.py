"""A vendor's port that fails as it is told to, in a folder of its own, and the command in a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import acme

PORT = """
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from portwright.core.graph import toposort
from portwright.core.ops import Op
from portwright.devices.numpy import NumPy

HERE = Path(__file__).parent


def told(what):
    return (HERE / what).exists()


class Acme(NumPy):
    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, name="ACME")

    def compute(self, roots, inputs, outputs):
        products = [n for n in toposort(roots, stop=lambda n: n in inputs) if n.op is Op.MUL]
        is_small = products and max(n.size for n in products) < 4
        if products and told("crashes") or is_small and told("crashes small"):
            os.abort()
        if products and told("stalls"):
            (HERE / "stalled").touch()
            time.sleep(600)
        super().compute(roots, inputs, outputs)
        for root, output in zip(roots, outputs):
            if products and root.dtype.is_float and root.size > 1 and told("wrong"):
                output.handle[: root.nbytes].view(root.dtype.numpy)[1] += 1
"""


class Bench:
    """The port ACME: its products are wrong, crash or stall while a file says so.

    Attributes:
        folder: where the command runs.
        site: where the port is installed.
    """

    def __init__(self, folder: Path, *told: str) -> None:
        self.folder = folder
        self.site = acme.installed(folder, PORT)
        for what in told:
            self.tell(what)
        self._environment = acme.environment(folder, self.site)

    def tell(self, what: str, on: bool = True) -> None:
        """Has the port fail so, or no longer."""
        if on:
            (self.site / what).touch()
        else:
            (self.site / what).unlink()

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Python in a session of its own."""
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _to_its_end(self, *command: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command)
        try:
            out, err = process.communicate(timeout=300)
        finally:
            self._end(process)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Ends what is left of a session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def run(self, script: Path) -> subprocess.CompletedProcess[str]:
        """A script, to its end."""
        return self._to_its_end(str(script))

    def certify(self, *arguments: str, status: int) -> tuple[str, str]:
        """What the command prints, to its end: standard output and error."""
        done = self._to_its_end("-m", "portwright.cli.main", "certify", "ACME", *arguments)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr

    def cases(self, *arguments: str) -> dict[str, Any]:
        """The cases of the certificate of a climb that fails."""
        out, _ = self.certify(*arguments, "--json", status=1)
        cases: dict[str, Any] = json.loads(out)["cases"]
        return cases

    def interrupted(self, *arguments: str) -> str:
        """What the command says that is interrupted once the port stalls."""
        self.tell("stalls")
        process = self.start("-m", "portwright.cli.main", "certify", "ACME", *arguments)
        try:
            for _ in range(6000):
                if (self.site / "stalled").exists() or process.poll() is not None:
                    break
                time.sleep(0.01)
            assert (self.site / "stalled").exists(), process.communicate()
            os.kill(process.pid, signal.SIGINT)
            return process.communicate(timeout=60)[1]
        finally:
            self._end(process)
