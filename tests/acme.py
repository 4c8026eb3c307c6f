"""A port ACME of one file, found by entry point as if it were installed, for commands in other processes."""

from __future__ import annotations

import os
from pathlib import Path


def installed(folder: Path, port: str) -> Path:
    """A place among others to look for modules, with a distribution whose port ``acme:Acme`` is this text."""
    site = folder / "site"
    about = site / "acme-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[portwright.devices]\nACME = acme:Acme\n")
    (site / "acme.py").write_text(port)
    return site


def environment(folder: Path, *sites: Path) -> dict[str, str]:
    """What a process is started with that looks there first, and keeps its cache in the folder."""
    path = [*map(str, sites), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    paths = {"PYTHONPATH": os.pathsep.join(path)} if sites else {}
    return {**os.environ, **paths, "PORTWRIGHT_CACHE": str(folder / "cache")}
