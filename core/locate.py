"""Where a module lies, found without importing anything, and one name for what importing it would run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from itertools import islice
from pathlib import Path

_MOST_FILES = 4096
"""Files of a package that are looked at, so that one that holds a data set costs little."""


def module_file(name: str) -> Path | None:
    """The file of the module called ``name``; None where there is none.

    ``importlib.util.find_spec`` would import the packages around it, and run what they hold.
    """
    path: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for i in range(len(parts)):
        spec = _spec(".".join(parts[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and i < len(parts) - 1:
            return None  # a module, and no package
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    return Path(spec.origin)


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """What is known of a module, from the first finder that knows it."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # another's finder, or a namespace in a namespace that is not imported: see below
            continue
        if spec is not None:
            return spec
    folders = [str(f) for p in path or () if (f := Path(p, name.rpartition(".")[2])).is_dir()]
    if not folders:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = folders
    return namespace


def fingerprint(module: str, file: Path) -> str:
    """One name for what importing a module runs: its content, and when each file of its package was changed.

    Args:
        module: its full name, which tells how far up its package reaches.
        file: where it lies.

    Raises:
        OSError: when it cannot be read.
    """
    from .cache import digest

    depth = module.count(".") + (file.stem == "__init__")
    around = islice(_files(file.parents[depth - 1]), _MOST_FILES) if depth else iter((file,))
    return digest(
        file.read_bytes(), *(f"{p} {s.st_size} {s.st_mtime_ns}" for p in around for s in (p.lstat(),))
    )


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f != "__pycache__" and not f.startswith("."))
        yield from (Path(root, n) for n in sorted(names) if not n.endswith(".pyc"))
