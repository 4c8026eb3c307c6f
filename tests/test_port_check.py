"""What a port must be, what it may leave out, and what it may use no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portwright.core import deprecation
from portwright.core.deprecation import Deprecation, refused
from portwright.core.device import Ability, Device, Reach
from portwright.core.errors import DeviceError, PortError
from portwright.core.port_check import check_port, class_faults
from portwright.core.registry import open_device
from portwright.devices.numpy import NumPy

Plugin = Callable[..., Path]
SPEC = NumPy().spec


def faults_of(**methods: Any) -> list[str]:
    return class_faults(type("Odd", (NumPy,), methods))


@pytest.mark.parametrize(
    ("method", "function", "fault"),
    [
        ("free", lambda self, handle: None, "free takes (self, handle), core calls free(handle, nbytes)"),
        ("alloc", lambda self: None, "alloc takes (self), core calls alloc(nbytes)"),
        ("copy_in", lambda self, handle, data, at: None, "copy_in takes (self, handle, data, at)"),
        ("copy_out", lambda self, *, data, handle: None, "copy_out takes (self, *, data, handle)"),
        ("launch", lambda self, kernel, grid, block: None, "core calls launch(launch)"),
        ("load", lambda self, binary, entry, more: None, "core calls load(binary, entries)"),
        ("synchronize", lambda self, stream: None, "core calls synchronize()"),
        ("compiler_key", "acme", "compiler_key is no method: core calls compiler_key()"),
        ("close", None, "close is no method: core calls close()"),
        ("compile", staticmethod(lambda self, source: b""), "compile takes (self, source)"),
    ],
)  # fmt: skip
def test_methods_that_take_other_calls_than_core_makes(method: str, function: Any, fault: str) -> None:
    (found,) = faults_of(**{method: function})
    assert fault in found


def test_what_takes_the_calls_in_its_own_way_is_right() -> None:
    assert not faults_of(
        alloc=lambda self, size, /, pool=None: None,
        free=lambda self, *anything: None,
        compile=staticmethod(lambda text: b""),
        compiler_key=classmethod(lambda cls: "key"),
        synchronize=print,  # a function that takes anything
        close=dict.clear,  # compiled, and tells
    )


def test_every_fault_is_told_at_once(plugin: Plugin, fresh: None) -> None:
    plugin("acme", "ACME = pw_faults:Port", "ACME = v1", pw_faults="""
        from portwright.core.device import Device, Reach, Spec
        from portwright.core.dtype import bool_, float32, int32

        class Port(Device):
            spec = Spec("ACME", dtypes=frozenset({bool_, int32}), arithmetic=frozenset({int32, float32}))
            def alloc(self): ...
            def free(self, handle): ...
    """)  # fmt: skip
    with pytest.raises(PortError) as caught:
        open_device("ACME")
    for fault in (
        "missing copy_in, copy_out", "alloc takes (self), core", "free takes (self, handle)",
        "missing compile, load, launch", "names no dialect", "computes in float32, which it does not claim",
    ):  # fmt: skip
        assert fault in str(caught.value)


def test_abilities_are_held_to_their_calls() -> None:
    class Viewed(NumPy):
        def host_view(self, handle: Any) -> Any: ...  # type: ignore[override]

    class Computed(NumPy):
        def compute(self, node: Any) -> Any: ...  # type: ignore[override]

    with pytest.raises(
        PortError, match=r"host_view takes \(self, handle\), core calls host_view\(handle, nbytes\)"
    ):
        check_port(Viewed, SPEC)
    check_port(Viewed, replace(SPEC, abilities=frozenset()))  # which it does not claim then
    with pytest.raises(PortError, match=r"core calls compute\(roots, inputs, outputs\)"):
        check_port(Computed, SPEC)
    with pytest.raises(PortError, match="claims clock but is missing launch_seconds"):
        check_port(NumPy, replace(SPEC, abilities=frozenset({Ability.CLOCK})))


# ------------------------------------------------------------------------------------------ left out


class Least(Device):
    """A port with nothing but what it must have."""

    spec = SPEC

    def alloc(self, nbytes: int) -> bytearray:
        return bytearray(nbytes)

    def free(self, handle: bytearray, nbytes: int) -> None: ...

    def copy_in(self, handle: bytearray, data: memoryview) -> None:
        handle[: data.nbytes] = data

    def copy_out(self, data: memoryview, handle: bytearray) -> None:
        data[:] = handle[: data.nbytes]


def test_what_a_port_may_leave_out_has_a_default() -> None:
    device = Least()
    assert device.synchronize() is None
    assert device.close() is None
    assert device.compiler_key() == "NUMPY"
    assert Least.environment() == {}
    assert (Least.variants, Least.dialect) == ({}, None)
    assert (device.name, device.contract) == ("NUMPY", 1)
    for method, arguments in (("compile", ("text",)), ("load", (b"", ["k"])), ("launch", (None,))):
        with pytest.raises(DeviceError, match=r"NUMPY .* nothing: it is driven by dispatch"):
            getattr(device, method)(*arguments)
    with pytest.raises(PortError, match="missing compute"):
        check_port(Least, SPEC)
    with pytest.raises(PortError, match="missing compile, load, launch; is driven by a kernel language"):
        check_port(Least, replace(SPEC, reach=Reach.KERNELS))


# ------------------------------------------------------------------------------------- on its way out

SYNCHRONIZE = Deprecation("synchronize", since="0.3", instead="finish")
ALIGNMENT = Deprecation("Spec.alignment", since="1.9", instead="Spec.align")
WHOSE = "ACME (acme-tools 1.2)"


class Synchronizes(NumPy):
    def synchronize(self) -> None: ...


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1.dev2", "0.4.7"])
def test_two_minor_versions_warn(version: str) -> None:
    said = r"ACME \(acme-tools 1\.2\): it uses synchronize, deprecated since 0\.3: use finish\. .* 0\.5"
    with pytest.warns(FutureWarning, match=said):
        assert not refused(WHOSE, Synchronizes, SPEC, [SYNCHRONIZE], version)


@pytest.mark.parametrize("version", ["0.5.0", "0.6", "1.0.0"])
def test_then_it_is_gone(version: str) -> None:
    (said,) = refused(WHOSE, Synchronizes, SPEC, [SYNCHRONIZE, ALIGNMENT], version)
    assert said == "it uses synchronize, deprecated since 0.3: use finish. It went with Portwright 0.5"


@pytest.mark.filterwarnings("error")
def test_who_does_not_use_it_hears_nothing() -> None:
    assert not refused(WHOSE, NumPy, SPEC, [SYNCHRONIZE, ALIGNMENT], "0.4")
    assert not refused(WHOSE, Synchronizes, SPEC)  # nothing is on its way out today


def test_a_field_of_the_spec_is_used_where_it_is_not_its_default() -> None:
    with pytest.warns(FutureWarning, match=r"uses Spec\.alignment, .* goes with Portwright 1\.11"):
        refused(WHOSE, NumPy, replace(SPEC, alignment=128), [ALIGNMENT], "1.9")


def test_it_is_looked_for_when_a_plugin_is_opened(
    plugin: Plugin, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deprecation, "DEPRECATED", (SYNCHRONIZE,))
    source = """
        from portwright.devices.numpy import NumPy

        class Port(NumPy):
            def synchronize(self): ...
    """
    plugin("acme-tools", "ACME = pw_past_due:Port\nBOARD = pw_past_due:Port", pw_past_due=source)
    monkeypatch.setattr(deprecation, "_installed", lambda: "0.4.0")
    with pytest.warns(FutureWarning, match=r"ACME \(acme-tools 1\.2\): it uses synchronize"):
        open_device("ACME")
    monkeypatch.setattr(deprecation, "_installed", lambda: "0.5.0")
    with pytest.raises(
        PortError, match=r"BOARD .*incompatible: it uses synchronize, .*went with Portwright 0\.5"
    ):
        open_device("BOARD")
