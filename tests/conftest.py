"""Every test session compiles into a cache folder of its own, which its workers share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import fresh
import pytest

CACHE = "PORTWRIGHT_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker inherits the folder of the process that started it
        folder = tempfile.mkdtemp(prefix="portwright-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ[CACHE] = folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    return fresh.build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an empty environment with the wheel and what it asks for."""
    (wheel,) = built.glob("*.whl")
    return fresh.install(wheel, tmp_path_factory.mktemp("installed"))
