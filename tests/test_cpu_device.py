"""The CPU port below the engine: kernels, replays, memory, threads, forks, and what goes wrong."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest

from portwright.core.device import Ability, Buffer, Extra, Launch
from portwright.core.errors import CompileError, DeviceError
from portwright.devices import host, trampoline
from portwright.devices.cpu import CPU

SOURCE = """
void scale(void *const *a, long g0, long g1) {
    float *out = a[0]; const float *x = a[1];
    for (long i = g0; i < g1; i++) out[i] = x[i] * 3.0f;
}
void count(void *const *a, long g0, long g1) {  /* how often each item was done */
    int *out = a[0];
    for (long i = g0; i < g1; i++) out[i]++;
}
void add(void *const *a, long g0, long g1) {
    float *out = a[0]; const float *x = a[1], *y = a[2];
    for (long i = g0; i < g1; i++) out[i] = x[i] + y[i];
}
void slow(void *const *a, long g0, long g1) {
    volatile long *out = a[0];
    for (long i = g0; i < g1; i++) for (long j = 0; j < 200000; j++) out[i] = j;
}
"""


@pytest.fixture(scope="module")
def cpu() -> CPU:
    return CPU()


@pytest.fixture(scope="module")
def kernels(cpu: CPU) -> dict[str, int]:
    names = ["scale", "count", "add", "slow"]
    return dict(zip(names, cpu.load(cpu.compile(SOURCE), names), strict=True))


def put(cpu: CPU, array: np.ndarray) -> Buffer:
    buffer = Buffer(cpu, array.nbytes)
    buffer.write(memoryview(array).cast("B"))
    return buffer


def get(buffer: Buffer, dtype: type) -> np.ndarray:
    out = np.empty(buffer.nbytes // np.dtype(dtype).itemsize, dtype)
    buffer.read(memoryview(out).cast("B"))
    return out


def call(kernel: int, items: int, *buffers: Buffer) -> Launch:
    return Launch(kernel, (items, 1, 1), (1, 1, 1), buffers)


def test_spec(cpu: CPU) -> None:
    assert cpu.spec.threads == host.thread_count()
    assert cpu.spec.vector_bytes in (0, 16, 32, 64)
    assert cpu.spec.cache_bytes == tuple(sorted(cpu.spec.cache_bytes))
    assert {Ability.REPLAY, Ability.HOST_VIEW} == cpu.spec.abilities
    assert Extra.DIV in cpu.spec.extras
    assert not any(
        "fast-math" in f or "Ofast" in f or "associative" in f for f in cpu._toolchain.kernel_flags
    )
    assert set(cpu.spec.driver) == {"compiler", "version", "flags", "machine", "calls"}
    assert all(cpu.spec.driver.values())


@pytest.mark.parametrize("items", [0, 1, 2, 3, 7, 64, 1001, 100_003])
def test_every_item_is_done_once(cpu: CPU, kernels: dict[str, int], items: int) -> None:
    for threads in (1, 2, 3, 8):
        cpu._lib.pw_open(threads, 1 << 30)
        done = put(cpu, np.zeros(items + 16, np.int32))
        for _ in range(5):
            cpu.launch(call(kernels["count"], items, done))
        assert (get(done, np.int32) == np.where(np.arange(items + 16) < items, 5, 0)).all()
    cpu._lib.pw_open(cpu.spec.threads, 1 << 30)


def test_results_of_a_parallel_launch(cpu: CPU, kernels: dict[str, int]) -> None:
    x = np.random.default_rng(0).normal(size=1_000_001).astype(np.float32)
    source, out = put(cpu, x), Buffer(cpu, x.nbytes)
    cpu.launch(call(kernels["scale"], x.size, out, source))
    assert (get(out, np.float32) == x * np.float32(3)).all()


def test_several_python_threads_launch_at_once(cpu: CPU, kernels: dict[str, int]) -> None:
    buffers = [put(cpu, np.zeros(5000, np.int32)) for _ in range(6)]

    def many(buffer: Buffer) -> None:
        for _ in range(300):
            cpu.launch(call(kernels["count"], 5000, buffer))

    threads = [threading.Thread(target=many, args=(b,)) for b in buffers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all((get(b, np.int32) == 300).all() for b in buffers)


def test_replay_and_rebind(cpu: CPU, kernels: dict[str, int]) -> None:
    one, two = put(cpu, np.full(1000, 1, np.float32)), put(cpu, np.full(1000, 2, np.float32))
    total = put(cpu, np.zeros(1000, np.float32))
    launches = [call(kernels["add"], n, total, total, one) for n in (1000, 1, 500)]
    recording = cpu.record([*launches, call(kernels["scale"], 10, total, total)])
    cpu.replay(recording)
    assert list(get(total, np.float32)[[0, 1, 9, 10, 499, 500]]) == [9, 6, 6, 2, 2, 1]
    cpu.rebind(recording, 1, 2, two)
    cpu.rebind(recording, 3, 1, two)
    cpu.replay(recording)
    assert list(get(total, np.float32)[[0, 10, 999]]) == [6, 4, 2]
    cpu.replay(cpu.record([]))


def test_a_recording_keeps_its_memory(cpu: CPU, kernels: dict[str, int]) -> None:
    held = cpu.memory()[0]
    recording = cpu.record([call(kernels["count"], 10, put(cpu, np.zeros(10, np.int32)))])
    assert cpu.memory()[0] > held
    del recording
    assert cpu.memory()[0] == held


def test_a_compile_error_names_the_line_and_harms_nothing(cpu: CPU) -> None:
    source = "void good(void *const *a, long g0, long g1) {}\nint bad = oops + 1;\n"
    with pytest.raises(CompileError, match=r"line 2 of the source.*oops") as caught:
        cpu.compile(source)
    assert "int bad = oops + 1;" in str(caught.value)
    assert caught.value.source == source
    assert "oops" in caught.value.log
    assert cpu.load(cpu.compile(source.splitlines()[0]), ["good"])


def test_a_missing_entry(cpu: CPU) -> None:
    with pytest.raises(DeviceError, match="no kernel absent"):
        cpu.load(cpu.compile(SOURCE), ["scale", "absent"])


def test_a_binary_that_is_none(cpu: CPU) -> None:
    with pytest.raises(DeviceError, match="cannot load a kernel"):
        cpu.load(b"not a library", ["f"])


def test_a_kernel_of_the_same_name_is_the_new_one(cpu: CPU) -> None:
    out = put(cpu, np.zeros(1, np.int32))
    for value in (1, 2, 3):
        text = f"void f(void *const *a, long g0, long g1) {{ *(int *)a[0] = {value}; }}"
        cpu.launch(call(cpu.load(cpu.compile(text), ["f"])[0], 1, out))
        assert get(out, np.int32)[0] == value


@pytest.mark.skipif(host.platform.machine() != "x86_64", reason="sets the mode by an x86 instruction")
def test_subnormals_survive_a_caller_that_flushes_them(cpu: CPU) -> None:
    """A library built with fast-math leaves flush-to-zero on in the thread that loads it."""
    text = (
        "void flush(void *const *a, long g0, long g1) {}\n"
        "void set(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }\n"
        "unsigned get(void) { return __builtin_ia32_stmxcsr(); }\n"
        "void half(void *const *a, long g0, long g1)"
        "{ float *x = a[0]; for (long i = g0; i < g1; i++) x[i] *= 0.5f; }\n"
    )
    half, set_mode, get_mode = cpu.load(cpu.compile(text), ["half", "set", "get"])
    setter, getter = (
        ctypes.CFUNCTYPE(None, ctypes.c_uint)(set_mode),
        ctypes.CFUNCTYPE(ctypes.c_uint)(get_mode),
    )
    least = np.full(4096, np.finfo(np.float32).tiny)
    buffer = put(cpu, least)
    before = getter()
    setter(0x9FC0)
    try:
        cpu.launch(call(half, 4096, buffer))
        cpu.replay(cpu.record([call(half, 4096, buffer)]))
        assert getter() & 0xFFC0 == 0x9FC0, "the caller's mode is its own"
    finally:
        setter(before)
    assert (get(buffer, np.uint32) == np.uint32(1 << 21)).all()


@pytest.mark.parametrize("items", [1, 1000], ids=["alone", "by threads"])
def test_a_player(cpu: CPU, kernels: dict[str, int], items: int) -> None:
    """Before and after it knows how long its launches take, with the recording held by nobody else."""
    assert "API mode" in cpu.spec.driver["calls"]
    kernel = kernels["scale"]
    to, x, y = [put(cpu, np.full(items, v, np.float32)) for v in (0, 1, 2)]
    recording = cpu.record([call(kernel, items, to, x), call(kernel, items, x, x)])
    play = cpu.player(recording)
    for i in range(12):
        assert play() is None
        assert (get(to, np.float32) == 3 ** (i + 1)).all()
    cpu.rebind(recording, 0, 1, y)
    play()
    assert (get(to, np.float32) == 6).all()
    with pytest.raises(TypeError):
        play(1)  # type: ignore[call-arg]
    del recording, x
    gc.collect()
    for _ in range(3):
        play()
    assert (get(to, np.float32) == 6).all()


def test_without_python_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = sysconfig.get_path
    monkeypatch.setattr(
        trampoline.sysconfig, "get_path", lambda name: str(tmp_path) if name == "include" else real(name)
    )
    cpu = CPU()
    assert "ABI mode (no Python.h" in cpu.spec.driver["calls"]
    (kernel,) = cpu.load(cpu.compile(SOURCE), ["scale"])
    x = np.arange(100_000, dtype=np.float32)
    buffer = put(cpu, x)
    cpu.launch(call(kernel, x.size, buffer, buffer))
    cpu.replay(cpu.record([call(kernel, x.size, buffer, buffer)]))
    assert (get(buffer, np.float32) == x * 9).all()
    cpu.player(cpu.record([call(kernel, x.size, buffer, buffer)]))()
    assert (get(buffer, np.float32) == x * 27).all()
    with pytest.raises(DeviceError, match="cannot load"):
        cpu.load(b"", ["f"])


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="the ziglang wheel is not installed")
def test_ziglang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    cpu = CPU()
    assert "ziglang" in cpu.spec.driver["compiler"]
    (kernel,) = cpu.load(cpu.compile(SOURCE), ["scale"])
    x = np.arange(1000, dtype=np.float32)
    buffer = put(cpu, x)
    cpu.launch(call(kernel, x.size, buffer, buffer))
    assert (get(buffer, np.float32) == x * 3).all()
