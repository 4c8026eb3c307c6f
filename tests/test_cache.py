"""The compile cache: kept, checked, shared, bounded, and stood in for."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from portwright.core import cache as cache_module
from portwright.core.cache import Cache, cache_folder, compile_cache, digest
from portwright.core.errors import CacheError


def entries(folder: Path) -> list[Path]:
    return [p for p in folder.glob("*/*/*") if p.is_file()]


def test_keeps_by_key(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "folder")
    assert cache.get("a") is None
    cache.put("a", b"one")
    cache.put("b", b"")
    cache.put("a", b"two")
    assert cache.get("a") == b"two"
    assert cache.get("b") == b""
    assert Cache(cache.root).get("a") == b"two"


def test_digest_separates_its_parts() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("ab") == digest(b"ab")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data + b"x",
        lambda data: b"x" + data[1:],
    ],
)
def test_a_damaged_entry_is_never_used(tmp_path: Path, damage) -> None:
    cache = Cache(tmp_path)
    cache.put("k", b"payload of a kernel")
    (path,) = entries(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("k") is None
    assert not path.exists()
    cache.put("k", b"payload of a kernel")
    assert cache.get("k") == b"payload of a kernel"


def test_file_is_exact_and_mended(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = cache.file(b"library", ".so")
    assert (path.suffix, path.read_bytes()) == (".so", b"library")
    inode = path.stat().st_ino
    assert cache.file(b"library", ".so") == path
    assert path.stat().st_ino == inode, "an intact file is not written again"
    path.write_bytes(b"libra")
    assert cache.file(b"library", ".so").read_bytes() == b"library"
    assert cache.file(b"another", ".so") != path


def test_an_executable_file_can_be_run(tmp_path: Path) -> None:
    path = Cache(tmp_path).file(b"#!/bin/sh\necho ran\n", ".program", executable=True)
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "ran\n"
    assert not os.access(Cache(tmp_path).file(b"#!/bin/sh\n", ".so"), os.X_OK)


def test_a_folder_that_cannot_be_made_is_stood_in_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="PORTWRIGHT_CACHE") as caught:
        cache.put("k", b"1")
    assert str(cache.root) in str(caught[0].message)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("l", b"2")
        path = cache.file(b"3")
    assert (cache.get("k"), cache.get("l"), path.read_bytes()) == (b"1", b"2", b"3")


def fail_below(monkeypatch: pytest.MonkeyPatch, folder: Path | None, code: int) -> None:
    """Writing below ``folder`` (anywhere, if None) fails as the system would."""
    real = cache_module._replace

    def replace(path: Path, data: bytes, executable: bool = False) -> Path:
        if folder is None or path.is_relative_to(folder):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, data, executable)

    monkeypatch.setattr(cache_module, "_replace", replace)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_folder_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    cache = Cache(tmp_path)
    cache.put("before", b"0")
    fail_below(monkeypatch, tmp_path, code)
    with pytest.warns(RuntimeWarning, match=os.strerror(code)):
        cache.put("after", b"1")
    assert (cache.get("before"), cache.get("after")) == (b"0", b"1")
    assert len(entries(tmp_path)) == 1


def test_nothing_can_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_below(monkeypatch, None, errno.ENOSPC)
    cache = Cache(tmp_path)
    with pytest.warns(RuntimeWarning), pytest.raises(CacheError, match=r"No space left.*PORTWRIGHT_CACHE"):
        cache.put("k", b"1")
    with pytest.raises(CacheError):
        cache.file(b"1")
    monkeypatch.undo()
    cache.put("k", b"1")
    assert cache.get("k") == b"1", "it works again as soon as there is room"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as f:
            f.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(RuntimeWarning), pytest.raises(CacheError):
        Cache(tmp_path).put("k", b"payload")
    assert not entries(tmp_path)


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=10_000)
    for i in range(20):
        cache.put(f"k{i}", bytes(1000))
        for path in entries(tmp_path):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 60))
    assert cache.get("k0") is not None  # used just now
    Cache(tmp_path, limit=10_000).put("last", b"")
    left = {k for k in [f"k{i}" for i in range(20)] if cache.get(k) is not None}
    assert sum(p.stat().st_size for p in entries(tmp_path)) <= 10_000
    assert "k0" in left
    assert "k19" in left
    assert "k1" not in left


def test_many_processes(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from portwright.core.cache import Cache
cache = Cache(Path(sys.argv[1]))
for i in range(200):
    key = f"k{i % 5}"
    found = cache.get(key)
    assert found is None or found == key.encode() * 5000, (key, len(found))
    cache.put(key, key.encode() * 5000)
    assert cache.file(key.encode() * 3000).read_bytes() == key.encode() * 3000
"""
    running = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [p.wait(120) for p in running] == [0] * 4
    assert len(entries(tmp_path)) == 10, "no partial file is left"


def test_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert compile_cache() is compile_cache()
    assert compile_cache().root == tmp_path / "own"
    monkeypatch.delenv("PORTWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "portwright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "portwright"


def test_a_forked_child_leaves_the_stand_in(tmp_path: Path) -> None:
    code = """
import os, sys, warnings
from pathlib import Path
from portwright.core.cache import Cache
warnings.simplefilter("ignore")
cache = Cache(Path(sys.argv[1], "file", "cache"))
cache.put("k", b"1")
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
assert cache.get("k") == b"1"
print(cache._stand_in)
"""
    (tmp_path / "file").write_text("")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists(), "and the process itself removes it"
