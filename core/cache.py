"""The compile cache: binaries kept on disk by a key that says everything that they depend on.

An entry carries a checksum, so that a truncated or changed file is noticed, removed and made anew, never
used. Files appear by an atomic rename: any number of processes may share the folder, on one machine or on
several. When the folder cannot be used, a private temporary folder stands in for it, with one warning.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .errors import CacheError

_MAGIC = b"PWCACHE1"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_LIMIT = 1 << 30
_WRITES_TO_TRIM = 64
_TRIM_TO = 0.8  # of the limit, so that trimming is rare
_MEND = (
    "Free some space, or set PORTWRIGHT_CACHE to a folder that can be written (and TMPDIR for temporary ones)"
)


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
        for folder in self._folders:
            path = _place(folder, "entries", digest(key))
            try:
                data = path.read_bytes()
            except OSError:
                continue
            payload = data[_HEADER:]
            if data[:_HEADER] == _header(payload):
                _touch(path)
                return payload
            _remove(path)
        return None

    def put(self, key: str, payload: bytes) -> None:
        """Keeps ``payload`` under ``key``, in place of what was there.

        Raises:
            CacheError: when neither the folder nor a temporary one can be written.
        """
        data = _header(payload) + payload
        self._write(lambda folder: _replace(_place(folder, "entries", digest(key)), data))

    def file(self, data: bytes, suffix: str = "", *, executable: bool = False) -> Path:
        """A file that holds exactly ``data``, for those who need a path; named by its content.

        An executable one takes a suffix of its own: it is another file than one that is not.

        Raises:
            CacheError: when neither the folder nor a temporary one can be written.
        """
        name = digest(data) + suffix
        for folder in self._folders:
            path = _place(folder, "files", name)
            try:
                if path.read_bytes() == data:
                    _touch(path)
                    return path
            except OSError:
                continue
        return self._write(lambda folder: _replace(_place(folder, "files", name), data, executable))

    @property
    def _folders(self) -> tuple[Path, ...]:
        """Where to look, and first where to write: a folder that cannot be written may still be read."""
        return (self.root,) if self._stand_in is None else (self._stand_in, self.root)

    def _write(self, write: Callable[[Path], Path]) -> Path:
        folder = self._folders[0]
        try:
            self._trim(folder)
            return write(folder)
        except OSError as e:
            cause = e
        try:
            if folder != self.root:
                raise cause
            return write(self._open_stand_in(cause))
        except OSError as e:
            raise CacheError(
                f"nowhere to keep compiled kernels: {self.root}: {cause}; a temporary folder: {e}. {_MEND}"
            ) from e

    def _open_stand_in(self, cause: OSError) -> Path:
        import tempfile

        with self._lock:
            if self._stand_in is None:
                self._stand_in = Path(tempfile.mkdtemp(prefix="portwright-"))
                weakref.finalize(self, _remove_stand_in, self._stand_in, os.getpid())
                warnings.warn(
                    f"the cache folder {self.root} cannot be written ({cause}): until this process ends, "
                    f"compiled kernels are kept in {self._stand_in}. {_MEND}",
                    RuntimeWarning,
                    stacklevel=4,
                )
            return self._stand_in

    def _trim(self, folder: Path) -> None:
        """Now and then: removes the entries that were used longest ago, until the rest fits well."""
        with self._lock:
            self._writes += 1
            if self._writes % _WRITES_TO_TRIM != 1:
                return
        files: list[tuple[float, int, Path]] = []
        for path in folder.glob("*/*/*"):
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


def _header(payload: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(payload).digest()


def _place(folder: Path, kind: str, name: str) -> Path:
    return folder / kind / name[:2] / name


def _remove_stand_in(folder: Path, owner: int) -> None:
    from shutil import rmtree

    if os.getpid() == owner:  # a forked child leaves its parent's alone
        rmtree(folder, ignore_errors=True)


def _replace(path: Path, data: bytes, executable: bool = False) -> Path:
    """Writes a file so that others see nothing or the whole of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        partial.write_bytes(data)
        if executable:
            partial.chmod(0o700)
        partial.replace(path)
    except BaseException:
        _remove(partial)
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
