"""The machine that Portwright runs on: its processor, the threads that it grants, its caches, its memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from ..core.errors import DeviceError

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_DEFAULT_CACHES = (32 << 10, 512 << 10, 8 << 20)
_PROCESSOR_FIELDS = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part", "isa")


def _sysctl(name: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


@lru_cache(maxsize=1)
def processor() -> dict[str, str]:
    """What tells this kind of processor from another: maker, model and instruction sets."""
    found = {"machine": platform.machine()}
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, colon, value = line.partition(":")
                if colon and key.strip() in _PROCESSOR_FIELDS:
                    found[key.strip()] = value.strip()
                elif not line.strip():
                    break  # the others are alike, and a large machine has hundreds
    except OSError:
        found["model name"] = _sysctl("machdep.cpu.brand_string")
    return found


def processor_name() -> str:
    """The processor as a person would call it."""
    return processor().get("model name") or platform.machine()


def thread_count() -> int:
    """How many threads kernels run on: ``PORTWRIGHT_THREADS``, else the processors that this process may use.

    Raises:
        DeviceError: when ``PORTWRIGHT_THREADS`` is no positive number.
    """
    stated = os.environ.get("PORTWRIGHT_THREADS", "").strip()
    if stated:
        if not stated.isdecimal() or int(stated) < 1:
            raise DeviceError(
                f"PORTWRIGHT_THREADS is {stated!r}: set it to a number of threads, at least 1, or unset it"
            )
        return int(stated)
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)  # absent on macOS
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file outside a container; "max" without a quota
        return allowed


def _sizes(texts: Iterable[str]) -> tuple[int, ...]:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return tuple(int(t.rstrip("KMG")) * units.get(t[-1], 1) for t in texts if t.rstrip("KMG").isdecimal())


@lru_cache(maxsize=1)
def cache_bytes() -> tuple[int, ...]:
    """Sizes of the data caches, nearest first; a usual machine's where the system does not say."""
    levels: dict[int, str] = {}
    try:
        for cache in _CACHES.glob("index*"):
            if (cache / "type").read_text().strip() != "Instruction":
                levels[int((cache / "level").read_text())] = (cache / "size").read_text().strip()
    except (OSError, ValueError):
        levels.clear()
    texts: Iterable[str] = (levels[k] for k in sorted(levels))
    if not levels and platform.system() == "Darwin":
        texts = [_sysctl(f"hw.perflevel0.{n}") or _sysctl(f"hw.{n}") for n in ("l1dcachesize", "l2cachesize")]
        texts = [t for t in texts if t]
    return _sizes(texts) or _DEFAULT_CACHES


PRIVATE_BYTES = 2 << 20
"""What a work item may have on its thread's stack, of which there are 8 MiB as a rule."""


def keep_bytes() -> int:
    """How much freed memory to keep for reuse: ``PORTWRIGHT_KEEP_BYTES``, else half of what the machine has.

    Raises:
        DeviceError: when ``PORTWRIGHT_KEEP_BYTES`` is no number.
    """
    stated = os.environ.get("PORTWRIGHT_KEEP_BYTES", "").strip()
    if not stated:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    if not stated.isdecimal():
        raise DeviceError(f"PORTWRIGHT_KEEP_BYTES is {stated!r}: set it to a number of bytes, or unset it")
    return int(stated)
