"""Which OpenCL device is chosen, over drivers that are only described."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from opencl_support import cl

from portwright.core.errors import DeviceError, DriverMissingError, NoDeviceError
from portwright.devices.opencl_choice import candidates, choose


def device(name: str, kind: str = "GPU", **changes: Any) -> SimpleNamespace:
    facts = {
        "name": name, "type": getattr(cl.device_type, kind), "available": True, "compiler_available": True,
        "endian_little": True, "profile": "FULL_PROFILE", "version": "OpenCL 3.0", "driver_version": "1.0",
        "global_mem_size": 8 << 30, "host_unified_memory": kind == "CPU",
    }  # fmt: skip
    return SimpleNamespace(**{**facts, **changes})


class Platform:
    def __init__(self, name: str, *devices: SimpleNamespace) -> None:
        self.name, self.devices = name, devices

    def get_devices(self) -> tuple[SimpleNamespace, ...]:
        return self.devices


NVIDIA = Platform("NVIDIA CUDA", device("NVIDIA H200"))
POCL = Platform("Portable Computing Language", device("pthread-EPYC", "CPU", driver_version="3.0-rc2"))
NEWER = Platform("Portable Computing Language", device("cpu-EPYC", "CPU", driver_version="3.1"))
OCLGRIND = Platform("Oclgrind", device("Oclgrind Simulator", "GPU", driver_version="Oclgrind 19.10"))
FPGA = Platform("Intel(R) FPGA Emulation Platform for OpenCL(TM)", device("Emulator", "ACCELERATOR"))
REAL_FPGA = Platform("Some FPGA", device("Board", "ACCELERATOR"))
IGPU = Platform(
    "Intel(R) OpenCL Graphics", device("Iris", host_unified_memory=True, global_mem_size=64 << 30)
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(*platforms: Platform) -> None:
        monkeypatch.setattr(cl, "get_platforms", lambda: list(platforms))

    return install


def chosen(wanted: str | None = None) -> str:
    name: str = choose("OPENCL", wanted).device.name
    return name


@pytest.mark.parametrize(
    ("platforms", "best"),
    [
        ((POCL, NVIDIA), "NVIDIA H200"),
        ((OCLGRIND, POCL), "pthread-EPYC"),  # a checker calls itself a GPU
        ((FPGA, POCL), "pthread-EPYC"),
        ((POCL, REAL_FPGA), "Board"),
        ((POCL, NEWER), "cpu-EPYC"),
        ((IGPU, NVIDIA), "NVIDIA H200"),  # memory of its own before more of the host's
        ((OCLGRIND,), "Oclgrind Simulator"),
    ],
)
def test_the_best_is_chosen_wherever_it_is_listed(
    installed: Any, platforms: tuple[Platform, ...], best: str
) -> None:
    installed(*platforms)
    assert chosen() == best
    installed(*reversed(platforms))
    assert chosen() == best


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("0", "pthread-EPYC"), ("1", "NVIDIA H200"), ("1:0", "NVIDIA H200"), ("portable", "pthread-EPYC"),
        (":epyc", "pthread-EPYC"), ("cuda:h200", "NVIDIA H200"), ("2:", "Oclgrind Simulator"),
        (":0", "NVIDIA H200"),
    ],
)  # fmt: skip
def test_one_that_is_asked_for(installed: Any, wanted: str, name: str) -> None:
    installed(POCL, NVIDIA, OCLGRIND)
    assert chosen(wanted) == name


@pytest.mark.parametrize("wanted", ["3", "0:1", "mali", "cuda:epyc"])
def test_one_that_is_not_there(installed: Any, wanted: str) -> None:
    installed(POCL, NVIDIA)
    with pytest.raises(DeviceError) as caught:
        chosen(wanted)
    said = str(caught.value)
    assert f"OPENCL: no OpenCL device is {wanted!r}" in said
    assert "0:0 pthread-EPYC (CPU, Portable Computing Language, 3.0-rc2); 1:0 NVIDIA H200" in said


def test_more_than_platform_and_device(installed: Any) -> None:
    installed(POCL)
    with pytest.raises(DeviceError, match="as platform:device, not '0:0:0'"):
        chosen("0:0:0")


@pytest.mark.parametrize(
    ("fact", "fault"),
    [
        ({"available": False}, "is not available"),
        ({"compiler_available": False}, "has no compiler"),
        ({"endian_little": False}, "is big-endian"),
        ({"profile": "EMBEDDED_PROFILE"}, "has the embedded profile"),
        ({"version": "OpenCL 1.1 old"}, "speaks a version before OpenCL 1.2"),
    ],
)
def test_one_that_cannot_be_used_is_passed_over(installed: Any, fact: dict[str, Any], fault: str) -> None:
    bad = Platform("Bad", device("Bad GPU", **fact))
    installed(bad, POCL)
    assert chosen() == "pthread-EPYC"
    with pytest.raises(NoDeviceError, match=f"no OpenCL device can be used: 0:0 Bad GPU .*{fault}"):
        chosen("bad")


def test_a_platform_without_devices_is_passed_over(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Platform("Empty")
    error = cl.RuntimeError.__new__(cl.RuntimeError)
    monkeypatch.setattr(cl.RuntimeError, "code", cl.status_code.DEVICE_NOT_FOUND)

    def none() -> tuple[SimpleNamespace, ...]:
        raise error

    monkeypatch.setattr(empty, "get_devices", none)
    installed(empty, POCL)
    assert [c.place for c in candidates("OPENCL")] == [(1, 0)]


def test_no_device_and_no_driver(installed: Any) -> None:
    installed(Platform("Empty"))
    with pytest.raises(NoDeviceError, match=r"list no device. pip install 'portwright\[pocl\]'"):
        chosen()
    installed()
    with pytest.raises(DriverMissingError, match=r"list no device. pip install 'portwright\[pocl\]'"):
        chosen()


def test_no_pyopencl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    with pytest.raises(DriverMissingError, match=r"OPENCL is reached through pyopencl, .*portwright\[pocl\]"):
        chosen()


def test_the_variable_and_the_argument_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    from portwright.devices.opencl import OpenCL

    monkeypatch.setenv("PORTWRIGHT_OPENCL", "no such platform")
    with pytest.raises(DeviceError, match="no OpenCL device is 'no such platform'"):
        OpenCL()
    place = ":".join(map(str, choose("OPENCL", None).place))
    assert OpenCL(place).spec.driver["asked for as"] == place


def test_an_imitation_is_known_as_one(installed: Any) -> None:
    installed(OCLGRIND, FPGA, POCL, NVIDIA)
    assert [c.imitates for c in candidates("OPENCL")] == [True, True, False, False]
