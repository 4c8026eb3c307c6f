"""A vendor's port of CUDA's or Metal's kind: the chip over a fake driver, its own text in the simulator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from cuda_fake import FakeCompiler, FakeDriver
from vendor import certified, install

from portwright.core import registry
from portwright.core.device import Ability, Evidence, Launch
from portwright.core.errors import DeviceError, DriverMissingError
from portwright.core.registry import open_device
from portwright.devices import cuda_library
from portwright.devices.cuda import CUDA
from portwright.devices.cuda_compiled import CUDACompiled
from portwright.devices.cuda_dialect import CUDA_C
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.cuda_spec import facts_for
from portwright.devices.cuda_text import CUDAText
from portwright.devices.metal import Metal
from portwright.devices.metal_sim import MetalSim
from portwright.devices.metal_spec import Facts as MetalFacts
from portwright.devices.metal_text import MetalText
from portwright.port import Op, Spec, float16, float32, named

DTYPES = named("bool int8 int32 uint8 float16 float32")
SHIM = '#include "cuda_shim.h"\nstatic inline float __fast_exp2f(float x) { return exp2f(x); }\n'


class AcmeText(CUDAText):
    """A chip with a word of its own, fewer dtypes than NVIDIA's, and no SIN."""

    called = "ACME"
    dtypes = DTYPES
    facts = replace(facts_for("sm_80"), processors=7, block=512)
    dialect = replace(CUDA_C, by_dtype={**CUDA_C.by_dtype, (Op.EXP2, float32): "__fast_exp2f({0})"})

    def claims(self, spec: Spec) -> Spec:
        return replace(spec, name="ANOTHER", evidence=Evidence.MEASURED, native=spec.native - {Op.SIN})


class Acme(AcmeText, CUDA):
    variants: ClassVar[Mapping[str, str]] = {"sim": f"{__name__}:AcmeSim"}


class AcmeSim(AcmeText, CUDASim):
    pass


class AcmeMetalText(MetalText):
    called = "ACME"
    dtypes = DTYPES
    facts = MetalFacts(cores=3, block=256, matrices=False)


class AcmeMetalSim(AcmeMetalText, MetalSim):
    pass


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No device is open yet, and none is chosen."""
    monkeypatch.setattr(registry, "_opened", {})
    monkeypatch.setattr(registry, "_default", None)


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The chip's word, for the host's compiler."""
    path = tmp_path / "shim.h"
    path.write_text(SHIM)
    monkeypatch.setattr(AcmeSim, "shim", str(path))
    return path


# --------------------------------------------------------------------------------------- what is stated


def test_a_simulator_is_of_the_chip_that_is_stated(shim: Path) -> None:
    spec = AcmeSim().spec
    assert spec.name == "ACME"
    assert spec.evidence is Evidence.EMULATED  # whatever ``claims`` says
    assert (spec.max_block, spec.threads) == (512, 7 * 256)
    assert spec.dtypes == DTYPES
    assert Op.SIN not in spec.native
    assert {t.a.dtype for t in spec.tiles} == {float16}  # the tile of bfloat16 went with its dtype
    assert "ACME" in spec.driver["device"]


def test_a_chip_with_fewer_dtypes_than_its_facts() -> None:
    spec = AcmeMetalSim().spec
    assert (spec.name, spec.dtypes, spec.max_block, spec.tiles) == ("ACME", DTYPES, 256, ())


def test_variants_are_a_ports_own() -> None:
    class Bare(CUDA):
        called = "BARE"

    assert Bare.variants == {}
    assert set(Acme.variants) == {"sim"}
    assert "sm_90" in CUDA.variants
    assert AcmeMetalSim.variants == {}


def test_the_facts_of_an_architecture() -> None:
    assert facts_for("sm_90a").processors == 132
    assert facts_for("sm_103").capability == (10, 3)
    assert facts_for("sm_75").architecture == "sm_75"
    with pytest.raises(DeviceError, match="'ampere' is no architecture of CUDA's: write sm_90"):
        facts_for("ampere")


# ------------------------------------------------------------------------------------- text in the simulator


@pytest.mark.parametrize("port", [AcmeSim, AcmeMetalSim])
def test_its_own_text_is_certified(port: type[CUDASim | MetalSim], shim: Path) -> None:
    device = port()
    device.opened_as = "ACME:sim"
    document = certified(device, "test_unary[EXP2-float32] or test_unary[SIN-float32]")
    assert document["evidence"] == "emulated"


def test_a_word_that_the_shim_lacks_is_named() -> None:
    device = AcmeSim()
    source = 'extern "C" __global__ void k(float *a) { a[0] = __fast_exp2f(a[0]); }'
    with pytest.raises(DeviceError, match="__fast_exp2f"):
        device.compile(source)


def test_another_shim_is_another_compiler(shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = AcmeSim().compiler_key()
    shim.write_text(SHIM + "\n")
    assert AcmeSim().compiler_key() != before
    monkeypatch.setattr(AcmeSim, "shim", "absent.h")
    with pytest.raises(DeviceError, match=r"ACME: there is no header .*absent\.h"):
        AcmeSim()


# -------------------------------------------------------------------------------------- driver and compiler


class Faked(AcmeText, CUDA):
    """The chip, whose driver is a fake of NVIDIA's."""

    asked: int | None = None

    def driver(self, ordinal: int | None) -> FakeDriver:  # type: ignore[override]
        type(self).asked = ordinal
        self.fake = FakeDriver(AcmeSim())
        return self.fake

    def compiler(self) -> FakeCompiler:  # type: ignore[override]
        return FakeCompiler(AcmeSim())


def test_a_driver_and_a_compiler_of_its_own(shim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CUDA", "not for ACME")
    monkeypatch.setenv("PORTWRIGHT_ACME", "3")
    device = Faked()
    assert Faked.asked == 3
    assert device.spec.name == "ACME"
    assert device.spec.dtypes == DTYPES
    assert device.spec.abilities == {Ability.REPLAY, Ability.CLOCK}
    with pytest.raises(DeviceError, match=r"^ACME was given"):
        device.free(5, 1)
    with pytest.raises(DeviceError, match=r"^ACME cannot launch a int"):
        device.launch(Launch(5, (1, 1, 1), (1, 1, 1), ()))
    certified(device, "test_binary[ADD-float32]")
    monkeypatch.setenv("PORTWRIGHT_ACME", "first")
    with pytest.raises(DeviceError, match=r"'first' is no ACME device: write its number, .*: ACME:0$"):
        Faked()


def test_without_a_driver_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_library, "_NAMES", ("libabsent.so.1",))
    with pytest.raises(DriverMissingError, match=r"no libabsent.so.1 loads\). Install it"):
        Acme()


@pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac: Metal may open")
def test_elsewhere_than_on_a_mac_it_says_so() -> None:
    class AcmeMetal(AcmeMetalText, Metal):
        variants: ClassVar[Mapping[str, str]] = {"sim": f"{__name__}:AcmeMetalSim"}

    with pytest.raises(DriverMissingError, match=r"Metal is macOS's own, and this is \w+\. It takes a Mac$"):
        AcmeMetal()


def test_its_text_through_the_compiler_alone(shim: Path) -> None:
    class Compiled(AcmeText, CUDACompiled):
        def compiler(self) -> FakeCompiler:  # type: ignore[override]
            return FakeCompiler(AcmeSim())

    spec = Compiled().spec
    assert (spec.name, spec.evidence, spec.driver["architecture"]) == ("ACME", Evidence.COMPILED, "sm_80")


# --------------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize(("family", "through"), [("cuda", "sm_80"), ("cuda", ""), ("metal", "")])
@pytest.mark.parametrize("dtypes", ["least", "all"])
def test_a_rendered_port_is_certified_in_its_simulator(
    family: str, through: str, dtypes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = {"integers": "bool int32", "floats": "float32"} if dtypes == "least" else {}
    install(tmp_path, monkeypatch, family, through=through, **least)
    with pytest.raises(
        DeviceError, match=r"ACME \(portwright-acme 1\.2\): driver missing: .*ACME:sim may open here"
    ):
        open_device("ACME")
    device = open_device("acme:sim")
    if dtypes == "least":
        assert device.spec.dtypes == device.spec.arithmetic == named("bool int32 float32")
    document = certified(device, "test_binary[ADD-float32] or test_unary[EXP2-float32]")
    assert document["evidence"] == "emulated"


@pytest.mark.parametrize("family", ["opencl", "cuda", "metal", "adreno"])
def test_importing_a_port_brings_nothing_of_its_driver(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, family)
    heavy = ("pyopencl", "pycuda", "objc", "Metal", "cffi")
    script = (
        f"import sys; sys.path[:0] = {[str(tmp_path), *sys.path]}; import portwright_acme.port; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
