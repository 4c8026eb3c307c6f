"""The compile cache: binaries kept on disk by a key that says everything that they depend on.

An entry carries a checksum, so that a truncated or changed file is noticed, removed and made anew, never
used. Files appear by an atomic rename: any number of processes may share the folder, on one machine or on
several. When the folder cannot be used, a private temporary folder stands in for it, with one warning.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import warnings
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import TypeVar

from .errors import CacheError

_MAGIC = b"PWCACHE1"
_DIGEST = hashlib.sha256().digest_size
_LIMIT = 1 << 30
_WRITES_TO_TRIM = 64
_TRIM_TO = 0.8  # of the limit, so that trimming is rare

T = TypeVar("T")


def digest(*parts: str | bytes) -> str:
    """One name for all of ``parts``, in hexadecimal; no other list of parts has it."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


class Cache:
    """A folder of entries by key.

    Args:
        root: the folder; made when it is first written to.
        limit: bytes that it may hold; beyond, the entries that were used longest ago go.
    """

    def __init__(self, root: Path, limit: int = _LIMIT) -> None:
        self.root = root
        self.limit = limit
        self._writes = 0
        self._stand_in: Path | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """What was put under ``key``, or None: never put, removed since, or no longer what was put."""
        path = self._entry(self._folder, key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        payload = data[len(_MAGIC) + _DIGEST :]
        if data[: len(_MAGIC) + _DIGEST] != _MAGIC + hashlib.sha256(payload).digest():
            _remove(path)
            return None
        _touch(path)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Keeps ``payload`` under ``key``, in place of what was there.

        Raises:
            CacheError: when neither the folder nor a temporary one can be written.
        """
        data = _MAGIC + hashlib.sha256(payload).digest() + payload
        self._write(lambda folder: _replace(self._entry(folder, key), data))

    def file(self, data: bytes, suffix: str = "") -> Path:
        """A file that holds exactly ``data``, for those who need a path; named by its content.

        Raises:
            CacheError: when neither the folder nor a temporary one can be written.
        """
        name = digest(data) + suffix
        path = self._folder / "files" / name[:2] / name
        try:
            if path.read_bytes() == data:
                _touch(path)
                return path
        except OSError:
            _remove(path)  # absent, or not readable: written anew below
        return self._write(lambda folder: _replace(folder / "files" / name[:2] / name, data))

    @property
    def _folder(self) -> Path:
        return self._stand_in or self.root

    @staticmethod
    def _entry(folder: Path, key: str) -> Path:
        name = digest(key)
        return folder / "entries" / name[:2] / name

    def _write(self, write: Callable[[Path], T]) -> T:
        with self._lock:
            self._writes += 1
            trim = self._writes % _WRITES_TO_TRIM == 1
        try:
            if trim:
                self._trim()
            return write(self._folder)
        except OSError as e:
            return self._write_elsewhere(write, e)

    def _write_elsewhere(self, write: Callable[[Path], T], cause: OSError) -> T:
        mend = (
            "free some space or set PORTWRIGHT_CACHE to a folder that can be written "
            "(or TMPDIR, for the temporary one)"
        )
        failed = self._folder
        try:
            with self._lock:
                if self._folder == self.root:
                    self._stand_in = Path(tempfile.mkdtemp(prefix="portwright-"))
                    weakref.finalize(self, rmtree, self._stand_in, ignore_errors=True)
                    warnings.warn(
                        f"the cache folder {self.root} cannot be used ({cause}): kernels are kept in "
                        f"{self._stand_in} until this process ends; {mend}",
                        RuntimeWarning,
                        stacklevel=5,
                    )
            if failed == self._folder:
                raise cause
            return write(self._folder)
        except OSError as e:
            raise CacheError(
                f"nowhere to keep compiled kernels: {self.root}: {cause}; a temporary folder: {e}. "
                f"{mend.capitalize()}"
            ) from e

    def _trim(self) -> None:
        """Removes the entries that were used longest ago, until the rest fits well."""
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*/*"):
            try:
                stat = path.stat()
            except OSError:
                continue  # another process was quicker
            files.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self.limit:
            return
        for _, size, path in sorted(files):
            _remove(path)
            total -= size
            if total <= self.limit * _TRIM_TO:
                break


def _replace(path: Path, data: bytes) -> Path:
    """Writes a file so that others see nothing or the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as f:
            f.write(data)
        os.replace(name, path)
    except BaseException:
        _remove(Path(name))
        raise
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # a folder that cannot be written shows itself at the next write


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        return  # read-only: then nothing is removed by age either


def cache_folder() -> Path:
    """``PORTWRIGHT_CACHE``, else the user's cache folder."""
    stated = os.environ.get("PORTWRIGHT_CACHE")
    if stated:
        return Path(stated).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "portwright"


def compile_cache() -> Cache:
    """The cache of this process: the same object as long as ``cache_folder`` is the same."""
    return _cache_at(cache_folder())


@cache
def _cache_at(folder: Path) -> Cache:
    return Cache(folder)
