"""The ADRENO port: a real one's published limits over another driver, and what a real one would be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opencl_support import cl, get, opened, put, run

from portwright import Tensor, debug
from portwright.core import dtype as dt
from portwright.core.device import Ability, Buffer, Evidence, ImageView
from portwright.core.errors import DeviceError, OutOfMemoryError
from portwright.core.trace import KernelRun
from portwright.devices import adreno, adreno_hints, opencl_queue
from portwright.devices.adreno import Adreno
from portwright.devices.adreno_profile import PROFILES
from portwright.devices.opencl_choice import Candidate, choose

USUAL = next(iter(PROFILES))
KERNELS = """
__kernel void twice(__global float *o) { o[get_global_id(0)] *= 2.0f; }
__kernel void halve(__global float *o) { o[get_global_id(0)] *= 0.5f; }
"""


def needs_stand_in() -> None:
    if any("qualcomm" in p.vendor.lower() for p in cl.get_platforms()):
        pytest.skip("there is a real Adreno: nothing stands in for one")


@pytest.fixture(scope="module")
def device() -> Iterator[Adreno]:
    with opened(Adreno, USUAL) as device:
        yield device


@pytest.fixture(scope="module")
def kernels(device: Adreno) -> dict[str, Any]:
    names = ["twice", "halve"]
    return dict(zip(names, device.load(device.compile(KERNELS), names), strict=True))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_limits_and_says_so(name: str) -> None:
    profile = PROFILES[name]
    with opened(Adreno, name.upper()) as device:
        spec = device.spec
        assert spec.name == "ADRENO"
        assert spec.evidence is Evidence.EMULATED
        assert spec.driver["profile"] == name
        assert spec.max_block <= profile.group
        assert spec.local_bytes <= profile.local_bytes
        assert dt.float64 not in spec.dtypes | spec.arithmetic
        assert dt.float16 in spec.dtypes
        assert not spec.extras
        assert spec.flushes_subnormals
        assert spec.unified_memory
        assert Ability.HOST_VIEW in spec.abilities
        assert device._pool.mapped
        assert device._launcher.images.width <= profile.image_side
        if profile.buffer_bytes:
            assert device._pool.largest <= profile.buffer_bytes


def test_every_figure_of_a_profile_has_a_source() -> None:
    for profile in PROFILES.values():
        figures = {f.name for f in fields(profile)} - {"name", "sources"}
        known = {f for f in figures if getattr(profile, f) is not None}
        assert set(profile.sources) == known


def test_without_an_adreno_the_usual_profile_stands_in() -> None:
    needs_stand_in()
    with opened(Adreno) as device:
        assert device.spec.driver["profile"] == USUAL
    with pytest.raises(
        DeviceError,
        match=r"no device of 'qualcomm' is 'a999', for there is none. Profiles: a630, a730, a740",
    ):
        Adreno("a999")


def test_a_group_beyond_the_phones_fails_here(device: Adreno, kernels: dict[str, Any]) -> None:
    out = put(device, np.ones(2048, np.float32))
    with pytest.raises(DeviceError, match="with 2,048 work items in a group: it has at most 1,024"):
        run(device, kernels["twice"], 1, 2048, out)
    run(device, kernels["twice"], 2, 1024, out)
    assert (get(out, np.float32) == 2).all()


def test_local_memory_beyond_the_phones_fails_here(device: Adreno) -> None:
    source = """__kernel void big(__global float *o) {
      __local float s[8193]; s[get_local_id(0)] = o[0]; barrier(CLK_LOCAL_MEM_FENCE); o[0] = s[0]; }"""
    with pytest.raises(DeviceError, match=r"kernel big uses 32,\d+ bytes of local memory; .* 32,768"):
        device.load(device.compile(source), ["big"])
    assert device.load(device.compile(source.replace("8193", "8192")), ["big"])


def test_an_image_beyond_the_phones_fails_here(device: Adreno) -> None:
    buffer, most = Buffer(device, 64), device._launcher.images.width
    assert most <= PROFILES[USUAL].image_side
    with pytest.raises(DeviceError, match=rf"an image of {most + 1}x1 pixels; it has at most {most}x\d+"):
        device._launcher.images.of(buffer.handle, most + 1, dt.float16)


def test_a_buffer_beyond_the_phones_fails_here() -> None:
    with (
        opened(Adreno, "a730") as device,
        pytest.raises(OutOfMemoryError, match="at most 1,073,741,824 bytes"),
    ):
        Buffer(device, (1 << 30) + 1)


def test_subnormals_are_flushed_as_on_the_phone(device: Adreno, kernels: dict[str, Any]) -> None:
    out = put(device, np.array([2e-38, 3.0], np.float32))
    run(device, kernels["halve"], 2, 1, out)
    assert list(get(out, np.float32)) == [0.0, 1.5]


def test_in_what_half_is_computed(device: Adreno, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dt.float16 not in device.spec.arithmetic
    able = replace(device.spec, arithmetic=device.spec.arithmetic | {dt.float16})
    monkeypatch.setenv("PORTWRIGHT_ADRENO_HALF", "half")
    assert adreno._with_half(able) is able
    with pytest.raises(DeviceError, match=r"PORTWRIGHT_ADRENO_HALF is half, and .* does not compute in it"):
        adreno._with_half(device.spec)
    monkeypatch.setenv("PORTWRIGHT_ADRENO_HALF", "Float")
    assert dt.float16 not in adreno._with_half(able).arithmetic
    monkeypatch.setenv("PORTWRIGHT_ADRENO_HALF", "quarter")
    with pytest.raises(DeviceError, match="PORTWRIGHT_ADRENO_HALF is 'quarter': set it to float or half"):
        adreno._with_half(able)


# ------------------------------------------------------------------------------- what a real one is told


@pytest.fixture
def pretended() -> SimpleNamespace:
    """A device that lists extensions of Qualcomm's and is nothing more."""
    return SimpleNamespace(extensions="cl_khr_fp16 cl_qcom_perf_hint cl_qcom_priority_hint cl_qcom_ml_ops")


def test_hints_where_their_extensions_are(
    pretended: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hints() -> list[tuple[int, int]]:
        return [(h.property, h.value) for h in adreno_hints.hints_for("ADRENO", pretended)]

    assert hints() == [(0x40C2, 0x40C3), (0x40C9, 0x40CB)]
    monkeypatch.setenv("PORTWRIGHT_ADRENO_PERF", "Low")
    monkeypatch.setenv("PORTWRIGHT_ADRENO_PRIORITY", "high")
    assert hints() == [(0x40C2, 0x40C5), (0x40C9, 0x40CA)]
    pretended.extensions = "cl_khr_fp16 cl_qcom_priority_hint"
    assert hints() == [(0x40C9, 0x40CA)]
    pretended.extensions = "cl_khr_fp16"
    assert hints() == []


def test_a_hint_that_is_none(pretended: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_ADRENO_PERF", "highest")
    with pytest.raises(DeviceError, match="PORTWRIGHT_ADRENO_PERF is 'highest': set it to high, normal, low"):
        adreno_hints.hints_for("ADRENO", pretended)


def test_a_context_is_made_with_properties_that_pyopencl_does_not_know() -> None:
    needs_stand_in()
    chosen = choose("ADRENO", None)
    context = opencl_queue._hinted("ADRENO", chosen, [])
    assert context.devices == [chosen.device]
    unknown = opencl_queue.Hint(0x40C2, 0x40C3, "cl_qcom_perf_hint high")
    with pytest.raises(DeviceError, match=r"its driver refuses cl_qcom_perf_hint high \(error -\d+\)"):
        opencl_queue.open_queue("ADRENO", chosen, [unknown])


def test_a_real_one_is_asked_and_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any driver, taken for Qualcomm's: what is asked of a device is asked of it."""
    needs_stand_in()
    monkeypatch.setattr(Adreno, "platform", "")
    with opened(Adreno) as device:
        d, spec = device._queue.device, device.spec
        assert "profile" not in spec.driver
        assert spec.evidence is not Evidence.EMULATED or choose("ADRENO", None).imitates
        assert (spec.local_bytes, device._pool.largest) == (d.local_mem_size, d.max_mem_alloc_size)
        assert spec.images is not None
        assert (spec.images.width, spec.images.height) == (d.image2d_max_width, d.image2d_max_height)
        assert device._pool.mapped
    place = ":".join(map(str, choose("ADRENO", None).place))
    with opened(Adreno, place) as device:
        assert device.spec.driver["asked for as"] == place
    with opened(Adreno, "a730") as device:
        assert device.spec.evidence is Evidence.EMULATED
    with pytest.raises(DeviceError, match="ADRENO: no OpenCL device is 'b12'"):
        Adreno("b12")


def test_the_qualcomm_platform_is_known_by_its_vendor() -> None:
    def candidate(platform: str, device: str) -> Candidate:
        makers = [SimpleNamespace(name="", vendor=vendor) for vendor in (platform, device)]
        return Candidate((0, 0), *makers, "GPU")

    assert candidate("QUALCOMM", "QUALCOMM").is_of(Adreno.platform)
    assert candidate("Mesa", "Qualcomm").is_of(Adreno.platform)  # rusticl
    assert not candidate("The pocl project", "AuthenticAMD").is_of(Adreno.platform)


def test_what_is_only_read_comes_through_textures_whose_border_is_zeros() -> None:
    needs_stand_in()
    x = np.random.default_rng(0).integers(-4, 5, (64, 64)).astype(np.float32)
    with debug.record() as events:
        a, b = Tensor(x, device="ADRENO"), Tensor(x + 1, device="ADRENO")
        padded = (a.pad(((3, 2), (0, 0))) * 2).numpy()
        product = (a @ b).numpy()
    assert (padded == np.pad(x, ((3, 2), (0, 0))) * 2).all()
    assert (product == x @ (x + 1)).all()
    border, matmul = [e.stages.source for e in events if isinstance(e, KernelRun)]
    assert "read_imagef(in0, PIXEL, place((" in border
    assert ": -1)" in border  # outside of its guard, the pixel beside the image
    assert "read_imagef(in1, PIXEL" in matmul


@pytest.mark.parametrize("dtype", [dt.int32, dt.uint32, dt.int16, dt.uint16, dt.int8, dt.uint8], ids=str)
def test_textures_of_integers(dtype: dt.DType) -> None:
    needs_stand_in()
    low, high = int(dtype.min), int(dtype.max)
    x = np.random.default_rng(0).integers(low, high, 256, dtype.numpy, endpoint=True)
    with debug.record() as events:
        got = (Tensor(x, device="ADRENO") + 1).numpy()
    assert (got == x + dtype.numpy.type(1)).all()
    (stages,) = [e.stages for e in events if isinstance(e, KernelRun)]
    assert "read_image" in stages.source.partition("__kernel")[2]
    assert stages.images[1] == ImageView(64, dtype)


def test_half_is_stored_narrow_and_read_through_textures() -> None:
    needs_stand_in()
    x = np.random.default_rng(0).normal(size=256).astype(np.float16)
    with debug.record() as events:
        got = (Tensor(x, device="ADRENO") * 3).numpy()
    assert (got == x * np.float16(3)).all()
    (stages,) = [e.stages for e in events if isinstance(e, KernelRun)]
    assert stages.images[1] == ImageView(64, dt.uint16)  # half as its bits, where half is not computed in
