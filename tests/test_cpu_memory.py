"""The CPU port's memory: blocks that are kept, bounds, exhaustion, copies."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
from processes import in_process

from portwright.core.device import Buffer
from portwright.core.errors import DeviceError, OutOfMemoryError
from portwright.devices.cpu import CPU


@pytest.fixture(scope="module")
def cpu() -> CPU:
    return CPU()


def test_blocks_are_aligned_kept_and_counted(cpu: CPU) -> None:
    cpu._lib.pw_release_kept()
    held = cpu.memory()[0]
    for nbytes in (1, 63, 64, 65, 257, 4097, 1 << 20, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (17 << 20) + 5):
        address = cpu.alloc(nbytes)
        assert address % (64 if nbytes < 2 << 20 else 2 << 20) == 0
        assert nbytes <= cpu.memory()[0] - held <= max(64, 1.25 * nbytes, nbytes + (2 << 20))
        cpu.host_view(address, nbytes)[:] = b"\xa5" * nbytes
        cpu.free(address, nbytes)
        assert cpu.memory()[0] == held
        assert cpu.alloc(nbytes) == address, "the block that was just freed"
        cpu.free(address, nbytes)
    assert cpu.memory()[1] > 0
    cpu._lib.pw_release_kept()
    assert cpu.memory() == (held, 0)


def test_blocks_do_not_overlap(cpu: CPU) -> None:
    sizes = np.random.default_rng(1).integers(1, 3 << 20, 60).tolist()
    for _ in range(2):
        blocks = sorted((cpu.alloc(n), n) for n in sizes)
        assert all(a + n <= b for (a, n), (b, _) in pairwise(blocks))
        for address, n in blocks:
            cpu.free(address, n)


def test_the_kept_blocks_are_bounded() -> None:
    held, kept = map(
        int,
        in_process(
            """
            from portwright.devices.cpu import CPU
            cpu = CPU()
            for address in [cpu.alloc(3 << 20) for _ in range(10)]:
                cpu.free(address, 3 << 20)
            print(*cpu.memory())
            """,
            PORTWRIGHT_KEEP_BYTES=str(10 << 20),
        ).split(),
    )
    assert held == 0
    assert 0 < kept <= 10 << 20


def test_out_of_memory_says_how_much(cpu: CPU) -> None:
    small = cpu.alloc(1000)
    for nbytes in (1 << 50, 1 << 62, (1 << 64) - 1):
        with pytest.raises(OutOfMemoryError, match=f"no room for {nbytes:,} bytes: tensors hold"):
            cpu.alloc(nbytes)
    cpu.free(small, 1000)
    cpu.free(cpu.alloc(1 << 20), 1 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is kept by Linux only")
def test_kept_blocks_are_dropped_before_giving_up() -> None:
    said = in_process(
        """
        import resource
        from portwright.devices.cpu import CPU
        from portwright.core.errors import DeviceError, OutOfMemoryError
        cpu = CPU()
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20), -1))
        cpu.free(cpu.alloc(200 << 20), 200 << 20)
        large = cpu.alloc(250 << 20)  # only without the one that is kept
        assert cpu.memory()[1] == 0
        try:
            cpu.alloc(200 << 20)
        except OutOfMemoryError as e:
            assert "tensors hold 268,435,456" in str(e), e
            cpu.free(large, 250 << 20)
            cpu.free(cpu.alloc(200 << 20), 200 << 20)
            print("refused, and went on")
        """
    )
    assert said == "refused, and went on"


def test_copies_and_host_views(cpu: CPU) -> None:
    for n in (1, 1000, (3 << 20) + 17):
        data = np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8)
        buffer, back = Buffer(cpu, n), np.empty(n, np.uint8)
        buffer.write(memoryview(data))
        buffer.read(memoryview(back))
        assert (back == data).all()
        view = cpu.host_view(buffer.handle, n)
        assert (np.frombuffer(view, np.uint8) == data).all()
        view[0] = 255 - int(data[0])
        buffer.read(memoryview(back))
        assert back[0] == 255 - data[0]


def test_a_bound_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_KEEP_BYTES", "lots")
    with pytest.raises(DeviceError, match="PORTWRIGHT_KEEP_BYTES is 'lots'"):
        CPU()
