"""The CPU port below the engine: kernels, replays, memory, threads, forks, and what goes wrong."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
import sysconfig
import textwrap
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from portwright.core.device import Ability, Buffer, Extra, Launch
from portwright.core.errors import CompileError, DeviceError, OutOfMemoryError
from portwright.devices import host, toolchain, trampoline
from portwright.devices.cpu import CPU
from portwright.devices.toolchain import find_toolchain

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


def in_process(code: str, **environment: str) -> str:
    """Runs ``code`` in a new process, which must end well; gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


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
        from portwright.core.errors import OutOfMemoryError
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
        buffer = put(cpu, data)
        assert (get(buffer, np.uint8) == data).all()
        view = cpu.host_view(buffer.handle, n)
        assert (np.frombuffer(view, np.uint8) == data).all()
        view[0] = 255 - int(data[0])
        assert get(buffer, np.uint8)[0] == 255 - data[0]


FORK = """
import os, sys
import numpy as np
from portwright.core.device import Buffer, Launch
from portwright.devices.cpu import CPU
cpu = CPU()
text = "void count(void *const *a, long g0, long g1) { for (long i = g0; i < g1; i++) ((int *)a[0])[i]++; }"
(kernel,) = cpu.load(cpu.compile(text), ["count"])
def check():
    buffer = Buffer(cpu, 40000)
    buffer.write(memoryview(np.zeros(40000, np.uint8)))
    for _ in range(50):
        cpu.launch(Launch(kernel, (10000, 1, 1), (1, 1, 1), (buffer,)))
    assert (np.frombuffer(cpu.host_view(buffer.handle, 40000), np.int32) == 50).all()
"""


@pytest.mark.skipif(os.name != "posix", reason="this system does not fork")
def test_forked_children_have_threads_of_their_own() -> None:
    said = in_process(
        FORK
        + textwrap.dedent("""
        check()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                check()
                grandchild = os.fork()
                if grandchild == 0:
                    check()
                    os._exit(7)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            check()
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        print(len(os.listdir("/proc/self/task")) if sys.platform == "linux" else "forked")
        """),
        PORTWRIGHT_THREADS="3",
    )
    assert said in ("3", "forked")


@pytest.mark.skipif(os.name != "posix", reason="this system does not fork")
def test_a_fork_while_another_thread_launches() -> None:
    said = in_process(
        FORK
        + textwrap.dedent("""
        import threading
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                check()
        threads = [threading.Thread(target=busy) for _ in range(2)]
        for t in threads: t.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                check()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for t in threads: t.join()
        print("done")
        """),
        PORTWRIGHT_THREADS="4",
    )
    assert said == "done"


def test_one_thread_starts_none() -> None:
    assert (
        in_process(FORK + "check(); import threading; print(cpu.spec.threads)", PORTWRIGHT_THREADS="1") == "1"
    )


@pytest.mark.parametrize("stated", ["0", "-1", "many", "1.5"])
def test_a_thread_count_that_is_none(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("PORTWRIGHT_THREADS", stated)
    with pytest.raises(DeviceError, match="PORTWRIGHT_THREADS"):
        CPU()


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


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError) as caught:
        CPU()
    for word in ("cc (not found)", "gcc (", "clang (", "ziglang (not installed)", "apt-get install gcc"):
        assert word in str(caught.value)
    for word in ("xcode-select --install", "pip install ziglang"):
        assert word in str(caught.value)


def test_a_stated_compiler_is_the_only_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-cc -m64")
    with pytest.raises(DeviceError, match=r"CC names .*no-such-cc \(not found\)"):
        CPU()
    monkeypatch.setenv("CC", f"{sys.executable} -c 'raise(SystemExit(\"no compiler\"))'")
    with pytest.raises(DeviceError, match=r"CC names .*no compiler"):
        CPU()


def test_a_compiler_that_vanishes(cpu: CPU) -> None:
    gone = toolchain.Toolchain(("/nowhere/cc",), "GCC 0", ("-O2",), ("-O2",), {})
    with pytest.raises(CompileError, match=r"/nowhere/cc failed.*FileNotFoundError"):
        gone.compile("int x;", gone.flags)


def test_the_key_tells_targets_apart(cpu: CPU) -> None:
    tools = find_toolchain()
    assert tools.key == cpu.compiler_key()
    other = toolchain.Toolchain(
        tools.command, tools.version, tools.flags, tools.kernel_flags, {**tools.macros, "__ACME__": "1"}
    )
    assert other.key != tools.key


@pytest.mark.parametrize(
    ("macros", "nbytes", "registers", "fma"),
    [
        ({"__AVX512F__": "1", "__AVX__": "1", "__SSE2__": "1", "__FMA__": "1"}, 64, 32, True),
        ({"__AVX__": "1", "__SSE2__": "1"}, 32, 16, False),
        ({"__SSE2__": "1"}, 16, 16, False),
        ({"__ARM_NEON": "1", "__ARM_FEATURE_FMA": "1"}, 16, 32, True),
        ({}, 0, 16, False),
    ],
)
def test_vectors_by_macros(macros: dict[str, str], nbytes: int, registers: int, fma: bool) -> None:
    tools = toolchain.Toolchain(("cc",), "", (), (), macros)
    assert (tools.vectors.nbytes, tools.vectors.registers, tools.has_fma) == (nbytes, registers, fma)


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


def test_a_warm_cache_needs_no_compiler_run(tmp_path: Path) -> None:
    """The compiler must exist, but nothing is asked of it."""
    code = """
        import subprocess, sys
        ran = []
        real = subprocess.Popen.__init__
        def spy(self, command, *args, **kwargs):
            ran.append(command)
            real(self, command, *args, **kwargs)
        subprocess.Popen.__init__ = spy
        from portwright.devices.cpu import CPU
        CPU()
        print(len(ran))
    """
    assert int(in_process(code, PORTWRIGHT_CACHE=str(tmp_path))) > 0
    assert int(in_process(code, PORTWRIGHT_CACHE=str(tmp_path))) == 0
