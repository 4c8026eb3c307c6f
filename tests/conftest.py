"""Every test session compiles into a cache folder of its own, which its workers share."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

CACHE = "PORTWRIGHT_CACHE"


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker inherits the folder of the process that started it
        folder = tempfile.mkdtemp(prefix="portwright-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ[CACHE] = folder
