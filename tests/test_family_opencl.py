"""A vendor's port of OPENCL's or ADRENO's kind, over the OpenCL driver that is here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opencl_support import opened
from vendor import certified, install

from portwright import Tensor, debug
from portwright.core import registry
from portwright.core.device import Evidence
from portwright.core.errors import DeviceError
from portwright.core.registry import open_device
from portwright.core.trace import KernelRun
from portwright.devices.adreno import Adreno
from portwright.devices.adreno_profile import profile_for
from portwright.devices.opencl import OpenCL
from portwright.devices.opencl_choice import choose
from portwright.devices.opencl_dialect import OPENCL_C
from portwright.devices.opencl_oclgrind import Watched
from portwright.port import Op, Spec, float32, float64, named

DTYPES = named("bool int8 int32 uint8 float16 float32")
HERE = choose("the tests", None)
PLATFORM = HERE.names[0]
"""Of the driver that is here."""


class Acme(OpenCL):
    """A chip that is made of the driver that is here: fewer dtypes, no EXP2, another name for SQRT."""

    called = "ACME"
    platform = PLATFORM.upper()
    dtypes = DTYPES
    dialect = replace(
        OPENCL_C,
        prelude=OPENCL_C.prelude + "#define acme_sqrt sqrt\n",
        scalar={**OPENCL_C.scalar, Op.SQRT: "acme_sqrt({0})"},
    )

    def claims(self, spec: Spec) -> Spec:
        return replace(spec, native=spec.native - {Op.EXP2}, max_block=32)


class Textured(Adreno):
    """A GPU like an Adreno, with less of everything."""

    called = "ACME"
    profiles = (replace(profile_for("a630"), name="X1", group=128, local_bytes=8 << 10, image_side=1024),)
    dtypes = DTYPES


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device is open yet, none is chosen, and the environment chooses none."""
    monkeypatch.setattr(registry, "_opened", {})
    monkeypatch.setattr(registry, "_default", None)
    monkeypatch.delenv("PORTWRIGHT_ACME", raising=False)
    monkeypatch.setenv("PORTWRIGHT_OPENCL", "not for ACME")


def needs_stand_in() -> None:
    if HERE.is_of(Adreno.platform):
        pytest.skip("there is a real Adreno: nothing stands in for one")


def test_what_is_stated_is_what_is_claimed() -> None:
    with opened(Acme) as device:
        spec = device.spec
        assert (spec.name, spec.dtypes, spec.max_block) == ("ACME", DTYPES, 32)
        assert Op.EXP2 not in spec.native
        assert spec.evidence is (Evidence.EMULATED if HERE.imitates else Evidence.MEASURED)
        with pytest.raises(DeviceError, match=r"^ACME was given a int, not a buffer"):
            device.free(5, 1)
        with pytest.raises(DeviceError, match=r"^ACME's compiler"):
            device.compile("__kernel void k(__global float *a) { nobody(); }")
    assert Acme.variants == {}
    assert "sanitize" in OpenCL.variants


def test_it_is_certified_in_its_own_spelling() -> None:
    with opened(Acme) as device:
        registry.adopt(device)
        document = certified(device, "test_unary[SQRT-float32] or test_unary[EXP2-float32]")
        assert document["primitives"]["native"] == len(device.spec.native)
        with debug.record() as events:
            Tensor(np.ones(8, np.float32), device="ACME").sqrt().numpy()
        (source,) = [e.stages.source for e in events if isinstance(e, KernelRun)]
        assert "acme_sqrt" in source


def test_on_anothers_driver_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Acme):
        platform = "Acme Chips"

    place = ":".join(map(str, HERE.place))
    with pytest.raises(
        DeviceError, match=rf"called 'Acme Chips': install .*\. ACME:{place} runs its kernels there"
    ):
        Absent()
    with opened(Absent, PLATFORM) as device:
        assert device.spec.evidence is Evidence.EMULATED
    monkeypatch.setenv("PORTWRIGHT_ACME", place)
    with opened(Absent) as device:
        assert device.spec.driver["asked for as"] == place
        assert device.spec.evidence is Evidence.EMULATED


def test_what_runs_on_an_emulator_may_say_so() -> None:
    class Board(Acme):
        def claims(self, spec: Spec) -> Spec:
            return replace(spec, evidence=Evidence.EMULATED)

    with opened(Board) as device:
        assert device.spec.evidence is Evidence.EMULATED


def test_its_kernels_are_watched() -> None:
    class AcmeWatched(Watched, Acme):
        pass

    try:
        device = AcmeWatched()
    except DeviceError as e:
        pytest.skip(f"Oclgrind does not open here: {e}")
    with opened(lambda: device) as watched:  # type: ignore[arg-type]
        assert (watched.spec.name, watched.spec.dtypes) == ("ACME", DTYPES)
        assert watched.spec.evidence is Evidence.EMULATED
        registry.adopt(watched)
        x = np.arange(8, dtype=np.float32)
        assert (Tensor(x, device="ACME").sqrt() * 2).numpy() == pytest.approx(np.sqrt(x) * 2, rel=1e-6)


def test_a_profile_of_its_own_limits_it() -> None:
    needs_stand_in()
    with opened(Textured) as device:
        spec = device.spec
        assert (spec.name, spec.driver["profile"], spec.evidence) == ("ACME", "X1", Evidence.EMULATED)
        assert (spec.max_block, spec.local_bytes, spec.dtypes) == (128, 8 << 10, DTYPES)
        assert spec.images is not None
        assert spec.images.width == 1024
        assert spec.images.dtypes <= DTYPES
        certified(device, "test_binary[ADD-float32]")
    with opened(Textured, "x1") as device:
        assert device.spec.driver["profile"] == "X1"
    with pytest.raises(DeviceError, match=r"ACME: no device of 'qualcomm' is 'a630', .* Profiles: x1"):
        Textured("a630")
    with pytest.raises(DeviceError, match="no profile of an Adreno is called 'a999': there are a630"):
        profile_for("a999")


def test_its_hints_are_read_from_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_stand_in()
    monkeypatch.setenv("PORTWRIGHT_ADRENO_HALF", "not for ACME")
    with opened(Textured):
        pass
    monkeypatch.setenv("PORTWRIGHT_ACME_HALF", "quarter")
    with pytest.raises(DeviceError, match="PORTWRIGHT_ACME_HALF is 'quarter'"):
        Textured()


@pytest.mark.parametrize(("family", "through"), [("opencl", PLATFORM), ("adreno", ""), ("adreno", "a740")])
@pytest.mark.parametrize("dtypes", ["least", "all"])
def test_a_rendered_port_is_certified(
    family: str, through: str, dtypes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = {"integers": "bool int32", "floats": "float32"} if dtypes == "least" else {}
    install(tmp_path, monkeypatch, family, through=through, **least)
    device = open_device("ACME")
    if dtypes == "least":
        assert device.spec.dtypes == device.spec.arithmetic == named("bool int32 float32")
    else:
        assert (float64 in device.spec.dtypes) == (family == "opencl" and _has_double())
    certified(device, "test_binary[ADD-float32] or test_unary[EXP2-float32]")
    device.close()


def _has_double() -> bool:
    return "cl_khr_fp64" in HERE.device.extensions.split()


def test_a_rendered_port_whose_chip_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "opencl")
    with pytest.raises(DeviceError, match=r"portwright-acme 1\.2\): cannot open: .*called 'Acme Chips'"):
        open_device("ACME")
    with opened(open_device, f"ACME:{PLATFORM}") as device:  # type: ignore[arg-type]
        assert device.name == f"ACME:{PLATFORM}"
        assert device.spec.evidence is Evidence.EMULATED
        assert float32 in device.spec.arithmetic
