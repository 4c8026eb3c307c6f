"""A real cluster: Dask's scheduler and workers as processes, and a vendor's port that the workers have."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acme

PORT = """
import os
import time
from dataclasses import replace
from pathlib import Path

from portwright.core.ops import Op
from portwright.devices.numpy import NumPy

HERE = Path(__file__).parent


class Acme(NumPy):
    def __init__(self):
        super().__init__()
        driver = {"acme": os.environ.get("ACME_DRIVER", "1.0")}
        self.spec = replace(self.spec, name="ACME", driver=driver)

    def compute(self, roots, inputs, outputs):
        op, dtype = roots[0].op, roots[0].dtype.name
        if op is Op.SQRT and dtype == "float16":
            if (HERE / "stalls").exists():
                beside = HERE / "stalling"
                beside.write_text(str(os.getpid()))
                beside.replace(HERE / f"stalled-{os.environ['BOARD']}")
            while (HERE / "stalls").exists():
                time.sleep(0.01)
            if (HERE / "crashes").exists():
                os.abort()
            if (HERE / "kills").exists():
                import psutil

                psutil.Process().parent().parent().kill()
                time.sleep(600)
        if op is Op.SIN and (HERE / "hangs").exists():
            time.sleep(600)
        super().compute(roots, inputs, outputs)
        if op is Op.NEG and (HERE / "errs").exists():
            outputs[0].write(memoryview(bytes(outputs[0].nbytes)))
"""
"""NUMPY under another name, which does what files beside it say."""


class Bench:
    """A folder with a port ACME, a cache, and a cluster whose workers hold boards of it.

    Attributes:
        without: what a process finds first that has no Portwright.
        temporary: where its processes leave temporary files.
        workers: by name.
        address: the scheduler's.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.site = acme.installed(folder, PORT)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.environment = {**acme.environment(folder), "TMPDIR": str(self.temporary), **environment}
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.without = folder / "without"
        (self.without / "portwright").mkdir(parents=True)
        # it says no by itself: an editable install finds the package's parts beside any package of the name
        (self.without / "portwright" / "__init__.py").write_text("raise ImportError('it is not here')\n")
        where = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        self.scheduler = self._dask("scheduler", *where, PYTHONPATH=str(self.without))  # needs no Portwright
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"), "the scheduler")
        self.address: str = json.loads(file.read_text())["address"]

    def add_worker(self, name: str, *options: str, resources: str = "ACME=1", **environment: str) -> None:
        """Starts a worker, which registers itself in its own time; ``BOARD`` is its name there."""
        environment = {**self._with_port, "BOARD": name, **environment}
        size = ("--nthreads", "1", "--resources", resources, "--memory-limit", "0", "--name", name)
        where = ("--local-directory", str(self.folder / "scratch"), "--host", "127.0.0.1")
        options = options or ("--no-nanny",)
        self.workers[name] = self._dask("worker", self.address, *size, *where, *options, **environment)

    def wait_for_workers(self, number: int) -> dict[str, str]:
        """The addresses of the workers by name, once there are so many."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=120)
            return {about["name"]: address for address, about in client.scheduler_info()["workers"].items()}

    def lose(self, name: str) -> None:
        """Kills a worker."""
        self.workers[name].kill()
        self.workers[name].wait()

    def start(self, *arguments: str, cluster: bool = True) -> subprocess.Popen[str]:
        """The command: on the cluster, from where there is no port ACME; or on one machine that has it."""
        where = ["--cluster", self.address] if cluster else []
        return subprocess.Popen(
            [sys.executable, "-m", "portwright.cli.main", "certify", "ACME", *arguments, *where],
            cwd=self.folder,
            env=self.environment if cluster else {**self._with_port, "BOARD": "here"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, status: int = 0, cluster: bool = True) -> tuple[str, str]:
        """What the command prints, to its end."""
        return ended(self.start(*arguments, cluster=cluster), status)

    def does(self, what: str) -> Path:
        """Has the port stall, crash, kill, hang or err, while the file is there."""
        path = self.site / what
        path.touch()
        return path

    def stalled(self) -> dict[str, int]:
        """The boards that are at a case that stalls, and the processes that run it there."""
        return {p.name.partition("-")[2]: int(p.read_text()) for p in self.site.glob("stalled-*")}

    def results(self) -> list[str]:
        """The cases in the journals, in the order in which they ended."""
        paths = (self.folder / "cache" / "journals").glob("*.jsonl")
        lines = [json.loads(line) for path in sorted(paths) for line in path.read_text().splitlines()[1:]]
        return [line["case"]["id"] for line in lines if "case" in line]

    def is_tidy(self) -> bool:
        """Whether nothing of ours is left among temporary files."""
        return not list(self.temporary.glob("portwright-*"))

    def close(self) -> None:
        """Ends all of it."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def _with_port(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.site), self.environment.get("PYTHONPATH", "")])
        return {**self.environment, "PYTHONPATH": path}

    def _dask(self, what: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words, "--no-dashboard"]
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process


def ended(process: subprocess.Popen[str], status: int) -> tuple[str, str]:
    """What a process printed, which must end so."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == status, out + err
    return out, err


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Until it is so."""
    for _ in range(24000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def lives(pid: int) -> bool:
    """Whether a process runs: one that is dead and not yet fetched does not."""
    try:
        return " Z " not in f" {Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]} "
    except OSError:
        return False


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """A certificate without what two runs never share: when, and how long."""
    made = {k: v for k, v in document.items() if k not in ("made_at", "sha256")}
    made["suite"] = {k: v for k, v in made["suite"].items() if k != "seconds"}
    made["rungs"] = [{k: v for k, v in r.items() if k != "seconds"} for r in made["rungs"]]
    return made
