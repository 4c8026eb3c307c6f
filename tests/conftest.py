"""Every test session has a folder of its own, for its cache and temporary files; plugins to install."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
import textwrap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import elsewhere
import numpy as np
import pytest

CACHE = "PORTWRIGHT_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:  # it inherits the folder of the process that started it
        return
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # where tmp_path is, and stays
    folder = tempfile.mkdtemp(prefix="portwright-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ[CACHE] = str(Path(folder, "cache"))
    os.environ["TMPDIR"] = tempfile.tempdir = folder  # what a process leaves that a test kills goes with it


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    return elsewhere.build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an empty environment with the wheel and what it asks for."""
    (wheel,) = built.glob("*.whl")
    return elsewhere.install(wheel, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device is open yet, none is chosen, and the environment says nothing."""
    from portwright.core import registry

    monkeypatch.setattr(registry, "_opened", {})
    monkeypatch.setattr(registry, "_another", {})
    monkeypatch.setattr(registry, "_default", None)
    for name in ("PORTWRIGHT_DEVICE", "PORTWRIGHT_PLUGINS", "PORTWRIGHT_PROBE_SECONDS"):
        monkeypatch.delenv(name, raising=False)


Plugin = Callable[..., Path]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
    """Installs a distribution: ``plugin("acme-tools", "ACME = module:Acme", module="its text")``.

    ``contract="ACME = v1"`` is what it states of the contract. Gives the folder that all of it lies in.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def install(distribution: str, points: str, contract: str = "", **modules: str) -> Path:
        info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        stated = f"[portwright.contract]\n{contract}\n" if contract else ""
        (info / "entry_points.txt").write_text(f"[portwright.devices]\n{points}\n{stated}")
        for name, source in modules.items():
            path = folder / f"{name.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return folder

    yield install
    for name in [n for n in set(sys.modules) - before if _lies_in(sys.modules[n], folder)]:
        del sys.modules[name]


def _lies_in(module: object, folder: Path) -> bool:
    return (getattr(module, "__file__", None) or "").startswith(str(folder))


@pytest.fixture(autouse=True)
def own_numbers(request: pytest.FixtureRequest) -> None:
    """Each test of a module that draws from its ``RNG`` draws the same numbers whatever ran before it."""
    if "RNG" in vars(request.module):
        seeded = np.random.default_rng(zlib.crc32(request.node.name.encode()))
        request.module.RNG.bit_generator.state = seeded.bit_generator.state


@pytest.fixture
def no_long_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called on, the long way through a captured function fails."""
    from portwright.core.replay import Replay

    def fails(self: Replay, tensors: Any) -> Any:
        raise AssertionError("the long way")

    return lambda: monkeypatch.setattr(Replay, "run", fails)
