"""The OPENCL port below the engine, on whichever driver is installed: kernels, memory, what goes wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opencl_support import cl, get, opened, put, run

from portwright.conformance.threads import at_once
from portwright.core import dtype as dt
from portwright.core.device import Ability, Buffer
from portwright.core.errors import CompileError, DeviceError, OutOfMemoryError
from portwright.core.ops import ALL_OPS
from portwright.devices import opencl_launch, opencl_program
from portwright.devices.opencl import OpenCL

SOURCE = """
#pragma OPENCL FP_CONTRACT OFF
__kernel void scale(__global float *o, __global const float *x) {
  long i = get_global_id(0); o[i] = x[i] * 3.0f;
}
__kernel void count(__global int *o) { o[get_global_id(0)] += 1; }
__kernel void where(__global int *o) {
  long i = get_global_id(2) * get_global_size(1) + get_global_id(1);
  i = i * get_global_size(0) + get_global_id(0);
  o[i] = get_group_id(0) + 10 * get_group_id(1) + 100 * get_group_id(2);
}
__kernel void separate(__global float *o, __global const float *a, __global const float *b,
                       __global const float *c) {
  long i = get_group_id(0); o[i] = a[i] * b[i] + c[i];
}
__kernel void turn(__global int *o) {
  __local int s[16];
  s[get_local_id(0)] = o[get_global_id(0)];
  barrier(CLK_LOCAL_MEM_FENCE);
  o[get_global_id(0)] = s[15 - get_local_id(0)];
}
"""


@pytest.fixture(scope="module")
def device() -> Iterator[OpenCL]:
    with opened(OpenCL) as device:
        yield device


@pytest.fixture(scope="module")
def kernels(device: OpenCL) -> dict[str, Any]:
    names = ["scale", "count", "where", "separate", "turn"]
    return dict(zip(names, device.load(device.compile(SOURCE), names), strict=True))


def test_the_spec_says_what_the_device_says(device: OpenCL) -> None:
    spec, d = device.spec, device._queue.device
    assert spec.max_block == min(d.max_work_group_size, *d.max_work_item_sizes[:1])
    assert spec.local_bytes == d.local_mem_size
    assert (dt.float64 in spec.dtypes) == ("cl_khr_fp64" in d.extensions)
    assert {dt.float32, dt.int64, dt.float16, dt.bfloat16} <= spec.dtypes
    assert dt.bfloat16 not in spec.arithmetic
    assert (dt.float16 in spec.arithmetic) <= ("cl_khr_fp16" in d.extensions)
    assert spec.unified_memory == (Ability.HOST_VIEW in spec.abilities) == bool(d.host_unified_memory)
    assert spec.alignment * 8 == d.mem_base_addr_align
    assert spec.native <= ALL_OPS
    assert d.name in spec.driver["device"]
    assert d.platform.name in spec.driver["platform"]
    assert spec.driver["version"] == d.driver_version
    assert not any("fast" in f or "unsafe" in f or "mad" in f for f in spec.driver["flags"].split())


def test_groups_and_items(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros((2, 6, 8), np.int32))
    run(device, kernels["where"], (4, 3, 2), (2, 2, 1), out)
    z, y, x = np.meshgrid(np.arange(2), np.arange(6) // 2, np.arange(8) // 2, indexing="ij")
    assert (get(out, np.int32).reshape(2, 6, 8) == x + 10 * y + 100 * z).all()


def test_a_grid_of_nothing_runs_nothing(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros(4, np.int32))
    run(device, kernels["count"], 0, 4, out)
    assert not get(out, np.int32).any()


def test_groups_share_local_memory(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.arange(64, dtype=np.int32))
    run(device, kernels["turn"], 4, 16, out)
    assert (get(out, np.int32) == np.arange(64).reshape(4, 16)[:, ::-1].reshape(-1)).all()


def test_arithmetic_is_not_contracted(device: OpenCL, kernels: dict[str, Any]) -> None:
    a, b, c = np.random.default_rng(0).normal(size=(3, 5000)).astype(np.float32)
    out = Buffer(device, a.nbytes)
    run(device, kernels["separate"], a.size, 1, out, put(device, a), put(device, b), put(device, c))
    assert (get(out, np.float32) == a * b + c).all()


def test_launches_run_in_order(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros(64, np.int32))
    for _ in range(50):
        run(device, kernels["count"], 4, 16, out)
    assert (get(out, np.int32) == 50).all()


def test_buffers_that_are_freed_behind_a_launch_are_whole_for_it(
    device: OpenCL, kernels: dict[str, Any]
) -> None:
    x = np.arange(4096, dtype=np.float32)
    outs = []
    for i in range(50):
        outs.append(Buffer(device, x.nbytes))
        run(device, kernels["scale"], 256, 16, outs[-1], put(device, x + i))  # the operand goes at once
    assert all((get(o, np.float32) == (x + i) * 3).all() for i, o in enumerate(outs))


def test_threads_launch_one_kernel_at_once(device: OpenCL, kernels: dict[str, Any]) -> None:
    outs = [put(device, np.zeros(64, np.int32)) for _ in range(4)]

    def many(out: Buffer) -> None:
        for _ in range(100):
            run(device, kernels["count"], 4, 16, out)

    threads = [threading.Thread(target=many, args=(o,)) for o in outs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all((get(o, np.int32) == 100).all() for o in outs)


def test_a_launch_is_timed_by_the_device(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros(64, np.int32))
    run(device, kernels["count"], 4, 16, out)
    assert 0 < device.launch_seconds() < 60


# ------------------------------------------------------------------------------------------------ memory


def test_a_view_shows_what_is_launched_copied_and_written(device: OpenCL, kernels: dict[str, Any]) -> None:
    if Ability.HOST_VIEW not in device.spec.abilities:
        pytest.skip("the device has memory of its own: it claims no host views")
    x = np.arange(64, dtype=np.float32)
    source, out = put(device, x), put(device, np.zeros(64, np.float32))
    seen = np.frombuffer(device.host_view(out.handle, out.nbytes), np.float32)
    written = np.frombuffer(device.host_view(source.handle, source.nbytes), np.float32)
    run(device, kernels["scale"], 4, 16, out, source)
    device.synchronize()
    assert (seen == x * 3).all()
    written[:] = x + 1
    run(device, kernels["scale"], 4, 16, out, source)
    device.synchronize()
    assert (seen == (x + 1) * 3).all()
    out.write(memoryview(x).cast("B"))
    assert (seen == x).all()
    assert (get(source, np.float32) == x + 1).all()


def test_memory_is_used_again(device: OpenCL) -> None:
    pool = device._pool
    held = pool.held
    first = Buffer(device, 1000)
    assert pool.held == held + 1024
    driver_buffer = first.handle.buffer
    del first
    assert pool.held == held
    again = Buffer(device, 1010)
    assert again.handle.buffer is driver_buffer
    del again
    device.close()
    assert pool.kept == 0


def test_kept_memory_makes_room(device: OpenCL, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = device._pool
    device.close()
    monkeypatch.setattr(pool, "total", pool.held + (1 << 20))
    one = Buffer(device, 600 << 10)
    del one
    two = Buffer(device, 700 << 10)  # fits only when what was kept of the first goes
    with pytest.raises(
        OutOfMemoryError, match=r"OPENCL has no room for 409,600 bytes: tensors hold [\d,]+ of"
    ):
        Buffer(device, 400 << 10)
    del two
    assert Buffer(device, 400 << 10).handle


def test_a_buffer_beyond_the_largest(device: OpenCL) -> None:
    with pytest.raises(OutOfMemoryError, match=r"OPENCL gives at most .* bytes in one buffer"):
        Buffer(device, device._pool.largest + 1)


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("what", ["number", "freed", "foreign", "none"])
def test_what_is_no_live_buffer_never_meets_the_driver(
    device: OpenCL, kernels: dict[str, Any], what: str
) -> None:
    out = put(device, np.zeros(16, np.int32))
    other = OpenCL() if what == "foreign" else device
    handle = other.alloc(64)
    if what == "freed":
        device.free(handle, 64)
    bad = Buffer(device, 64, {"number": 7, "none": None}.get(what, handle), keep=out)
    if what == "none":
        bad.handle = None
    said = {"number": "a int", "freed": "freed", "foreign": "of OPENCL", "none": "a NoneType"}[what]
    for call in (
        lambda: run(device, kernels["count"], 1, 16, bad),
        lambda: device.copy_in(bad.handle, memoryview(bytes(8))),
        lambda: device.copy_out(memoryview(bytearray(8)), bad.handle),
    ):
        with pytest.raises(DeviceError, match=f"OPENCL was given .*{said}"):
            call()
    bad.handle = None
    run(device, kernels["count"], 1, 16, out)
    assert (get(out, np.int32) == 1).all()


def test_freeing_twice(device: OpenCL) -> None:
    handle = device.alloc(64)
    device.free(handle, 64)
    with pytest.raises(DeviceError, match="a buffer that was freed"):
        device.free(handle, 64)


def test_bytes_that_do_not_fit(device: OpenCL) -> None:
    handle = device.alloc(60)
    with pytest.raises(DeviceError, match="64 bytes do not fit a buffer of 60"):
        device.copy_in(handle, memoryview(bytes(64)))
    device.free(handle, 60)


def test_a_group_too_large_and_then_one_that_fits(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros(16, np.int32))
    with pytest.raises(DeviceError, match=r"OPENCL cannot launch kernel count with .* it has at most"):
        run(device, kernels["count"], 1, device.spec.max_block * 2, out)
    run(device, kernels["count"], 1, 16, out)
    assert (get(out, np.int32) == 1).all()


def test_the_wrong_number_of_buffers(device: OpenCL, kernels: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match="kernel scale takes 2 buffers, not 1"):
        run(device, kernels["scale"], 1, 1, put(device, np.zeros(4, np.float32)))


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (
            "OUT_OF_RESOURCES",
            DeviceError,
            r"OPENCL cannot launch kernel count: .*the device or its driver is gone",
        ),
        ("DEVICE_NOT_AVAILABLE", DeviceError, r"OPENCL cannot launch kernel count"),
        ("MEM_OBJECT_ALLOCATION_FAILURE", OutOfMemoryError, r"OPENCL has no room for 64 bytes: tensors hold"),
    ],
)
def test_a_driver_that_refuses_and_the_next_call(
    device: OpenCL, kernels: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    status: str, error: type[DeviceError], said: str,
) -> None:  # fmt: skip
    out = put(device, np.zeros(16, np.int32))

    def refuse(*args: Any) -> None:
        record = cl._cl._ErrorRecord(msg="", code=getattr(cl.status_code, status), routine="clEnqueue")
        raise (cl.MemoryError if "MEM" in status else cl.RuntimeError)(record)

    with monkeypatch.context() as m:
        m.setattr(opencl_launch.cl, "enqueue_nd_range_kernel", refuse)
        with pytest.raises(error, match=said):
            run(device, kernels["count"], 1, 16, out)
    run(device, kernels["count"], 1, 16, out)
    assert (get(out, np.int32) == 1).all()


def test_a_driver_that_is_lost_while_it_is_waited_for(
    device: OpenCL, kernels: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = put(device, np.zeros(16, np.int32))

    def lost() -> None:
        raise cl.RuntimeError(
            cl._cl._ErrorRecord(msg="", code=cl.status_code.OUT_OF_RESOURCES, routine="clFinish")
        )

    with monkeypatch.context() as m:
        m.setattr(device._pool, "queue", SimpleNamespace(finish=lost))
        with pytest.raises(DeviceError, match="OPENCL cannot finish what was launched: clFinish failed"):
            device.synchronize()
    device.synchronize()
    assert not get(out, np.int32).any()


def test_a_compile_error_names_the_line(device: OpenCL) -> None:
    source = "__kernel void f(__global float *o) {\n  o[0] = oops;\n}\n"
    with pytest.raises(CompileError, match=r"OPENCL's compiler refused a kernel at line 2 .*oops") as caught:
        device.compile(source)
    assert "o[0] = oops;" in str(caught.value)
    assert "oops" in caught.value.log
    assert caught.value.source == source


def test_a_kernel_that_takes_a_value(device: OpenCL) -> None:
    with pytest.raises(DeviceError, match=r"kernel f takes argument 1 \(n\) by value"):
        device.compile("__kernel void f(__global float *o, int n) { o[0] = n; }")


def test_a_binary_that_is_not_what_was_compiled(device: OpenCL) -> None:
    binary = device.compile(SOURCE)
    changed = bytearray(binary)
    changed[-100] ^= 1
    for bad in (b"", b"garbage", binary[: len(binary) // 2], bytes(changed)):
        with pytest.raises(DeviceError, match="OPENCL cannot load a kernel: its binary is damaged"):
            device.load(bad, ["scale"])
    with pytest.raises(DeviceError, match="OPENCL finds no kernel absent among scale, count"):
        device.load(binary, ["scale", "absent"])


def test_a_binary_is_of_one_driver_and_its_flags(device: OpenCL, monkeypatch: pytest.MonkeyPatch) -> None:
    key = device.compiler_key()
    assert key == OpenCL().compiler_key()
    monkeypatch.setenv("PYOPENCL_BUILD_OPTIONS", "-cl-mad-enable")
    assert device.compiler_key() != key


def test_a_forked_child_is_told_and_does_not_hang(device: OpenCL, kernels: dict[str, Any]) -> None:
    out = put(device, np.zeros(16, np.int32))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = []
        for call in (
            lambda: run(device, kernels["count"], 1, 16, out),
            lambda: get(out, np.int32),
            lambda: device.alloc(64),
            device.synchronize,
        ):
            try:
                call()
                said.append("nothing")
            except DeviceError as e:
                said.append(str(e).partition(",")[0])
        os.write(writer, "\n".join(said).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as f:
        assert set(f.read().splitlines()) == {"OPENCL was opened before this process was forked"}
    run(device, kernels["count"], 1, 16, out)
    assert (get(out, np.int32) == 1).all()


@pytest.mark.parametrize(
    "log",
    [
        "error: /root/cache/x.cl:2:7: use of undeclared identifier 'oops'",  # PoCL
        "<kernel>:2:7: error: use of undeclared identifier 'oops'",  # NVIDIA, Oclgrind
        "1 warning\n<source>:1:1: warning: unused\n<source>:2:7: error: use of undeclared identifier 'oops'",
    ],
)
def test_the_line_in_the_logs_of_several_compilers(log: str) -> None:
    found = next(opencl_program._ERROR.finditer(log))
    assert (found["line"], found["message"]) == ("2", "use of undeclared identifier 'oops'")


def test_threads_read_one_buffer_at_once(device: OpenCL) -> None:
    """PoCL takes the address of a buffer that is mapped twice away with the first map that ends."""
    array = np.arange(4257, dtype=np.float32)
    buffer = put(device, array)

    def reads() -> bool:
        return all((get(buffer, np.float32) == array).all() for _ in range(100))

    assert all(at_once([reads] * 4))
