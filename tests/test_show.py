"""``portwright show``: what is printed is what stands in the source, of ports that open and that do not."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest

from portwright.cli.calls import calls
from portwright.cli.main import main
from portwright.core.device import Ability, Device, Spec
from portwright.core.errors import DeviceError
from portwright.core.example import Origin, contract_methods, example_of, find_method
from portwright.core.offers import offers
from portwright.core.registry import port_of

PORTS = [*dict.fromkeys(o.name for o in offers() if o.is_ours), "CUDA:sim", "CUDA:sm_80", "METAL:sim"]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["show", *words]) == 2
    return capsys.readouterr().err


def source_of(port: str, method: str) -> str:
    return textwrap.dedent(inspect.getsource(getattr(port_of(port), method)))


@pytest.mark.parametrize("port", PORTS)
def test_every_method_of_every_port_is_shown_to_the_letter(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cls = port_of(port)
    methods = [m for m in contract_methods() if find_method(cls, m) is not None]
    assert {"alloc", "free", "copy_in", "copy_out"} <= set(methods)
    for method in methods:
        out = shown(capsys, port, method)
        assert source_of(port, method) in out
        first = inspect.getsourcelines(getattr(cls, method))[1]
        assert f":{first}\n" in out


def test_a_method_comes_with_the_words_of_the_contract_and_its_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shown(capsys, "cpu", "copy_in")
    assert "CPU copy_in  2 lines, inherited from HostRuntime" in out
    assert "Device.copy_in, core/device.py:" in out
    assert "Host bytes to the start of the device's memory; data may change once this returns." in out
    assert "devices/host_runtime.py:" in out


def test_raises_of_the_contract_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "OutOfMemoryError  when there is none" in shown(capsys, "CPU", "alloc")


@pytest.mark.parametrize(
    ("port", "method", "called", "file", "says"),
    [
        ("OPENCL", "copy_in", "_pool.write", "devices/opencl_memory.py", "def write("),
        ("CUDA", "alloc", "_memory.alloc", "devices/cuda_memory.py", "def alloc("),
        ("CPU", "launch", "_lib.pw_launch", "devices/runtime.c", "pw_launch("),
        ("CUDA:sim", "compile", "entries", "devices/cuda_sim.py", "def entries("),
        ("METAL", "launch", "_queue.launch", "devices/metal_queue.py", "def launch("),
        ("ADRENO", "__init__", "choose", "devices/opencl_choice.py", "def choose("),
    ],
)
def test_helpers_are_found_where_they_are_defined(
    port: str, method: str, called: str, file: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, port, method)
    (line,) = (text for text in out.splitlines() if text.startswith(f"  {called} "))
    place = line.split()[1]
    assert place.partition(":")[0] == file
    number = int(place.partition(":")[2])
    text = (Path(inspect.getfile(Device)).parent.parent / file).read_text(encoding="utf-8")
    assert says in text.splitlines()[number - 1]


def test_no_call_leads_out_of_the_ports() -> None:
    for port in PORTS:
        cls = port_of(port)
        for name in contract_methods():
            method = find_method(cls, name)
            for call in () if method is None or method.origin is Origin.DEFAULT else calls(method, cls):
                assert call.file.startswith("devices/"), f"{port} {name} calls {call}"


@pytest.mark.parametrize("port", PORTS)
def test_the_overview_names_what_is_given_and_what_is_not(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, port)
    cls = port_of(port)
    for name in contract_methods():
        found = find_method(cls, name)
        rows = [line.split() for line in out.splitlines() if line.split()[:1] == [name]]
        if found is None:
            assert not rows
            assert name in out.partition("Not given")[2]
        else:
            assert rows[0][1] == str(found.lines)
            assert ("the default" in " ".join(rows[0])) == (found.owner is Device)
    assert f"class {cls.__name__}" in out


def test_a_port_that_does_not_open_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((main(["show", "METAL", "launch", "--json"]), capsys.readouterr().out)[1])
    assert data["source"] == source_of("METAL", "launch")
    assert (data["class"], data["origin"]) == ("Metal", "written")
    assert data["contract"]["class"] == "Device"


def test_where_the_spec_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "CUDA", "spec")
    assert source_of("CUDA", "__init__") in out
    assert source_of("CUDA", "_open") in out  # what sets self.spec
    sim = shown(capsys, "CUDA:sim", "spec")
    assert "inherited from Simulator" in sim
    assert "evidence=Evidence.EMULATED" in sim


def test_the_dialect_is_its_whole_file(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "METAL", "dialect")
    file = Path(inspect.getfile(Device)).parent.parent / "devices" / "metal_dialect.py"
    assert file.read_text(encoding="utf-8") in out
    assert "METAL_SL" in out
    assert "portwright show NUMPY compute" in refused(capsys, "NUMPY", "dialect")


def test_what_is_not_there_says_who_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    err = refused(capsys, "NUMPY", "replay")
    assert "Runs the launches in order" in err
    assert "portwright show CPU replay" in err
    assert "Did you mean copy_in" in refused(capsys, "CPU", "copyin")
    assert "Did you mean CPU" in refused(capsys, "CPUU")


def test_the_spec_class_is_explained_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "Spec")
    assert out == shown(capsys, "spec")
    for field in fields(Spec):
        assert field.name in out
    assert "float results below the normal range become 0, everywhere" in out
    data = json.loads((main(["show", "Spec", "--json"]), capsys.readouterr().out)[1])
    assert [f["name"] for f in data["fields"]] == [f.name for f in fields(Spec)]
    assert all(f["meaning"] for f in data["fields"])


def test_every_column_of_a_dialect_has_a_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((main(["show", "CLike", "--json"]), capsys.readouterr().out)[1])
    assert not [f["name"] for f in data["fields"] if not f["meaning"]]


def test_the_device_class_says_what_must_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "Device").splitlines()
    must = {line.split()[0] for line in lines if "must be written" in line}
    assert must == {*Device.__abstractmethods__, "compile", "load", "launch"}
    assert any("HostViews" in line for line in lines)


def test_an_enum_is_explained_by_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "Ability")
    assert all(a.name in out for a in Ability)
    assert "its memory can be read in place" in out


def test_a_class_and_a_method_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "say what of a port" in refused(capsys, "Spec", "alloc")


def test_examples_for_others_to_point_to(capsys: pytest.CaptureFixture[str]) -> None:
    for name in contract_methods():
        example = example_of(name)
        if example is None:
            continue
        assert example.command == f"portwright show {example.port} {name}"
        out = shown(capsys, example.port, name)
        assert f"  {example.lines} line" in out
    assert str(example_of("free")).startswith("CPU does it in ")
    compute = example_of("compute")
    assert compute is not None
    assert compute.port == "NUMPY"  # the default port has none
    assert example_of("nonsense") is None


def test_a_plugins_method_is_shown_and_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "portwright_acme-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portwright-acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[portwright.devices]\nACME = portwright_acme.port:Acme\n")
    package = tmp_path / "portwright_acme"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in [n for n in sys.modules if n.partition(".")[0] == package.name]:  # another test's
        monkeypatch.delitem(sys.modules, name)
    (package / "memory.py").write_text("class Memory:\n    def put(self, at, data):\n        pass\n")
    (package / "port.py").write_text(
        "from portwright.devices.numpy import NumPy\nfrom .memory import Memory\n\n\n"
        "class Acme(NumPy):\n    def __init__(self):\n        self._memory = Memory()\n"
        "        raise OSError('no board')\n\n"
        "    def copy_in(self, handle, data):\n        self._memory.put(handle, data)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    out = shown(capsys, "ACME", "copy_in")
    assert "def copy_in(self, handle, data):\n    self._memory.put(handle, data)\n" in out
    assert "_memory.put  portwright_acme/memory.py:2" in out
    assert "2 lines, written in Acme" in out
    assert "inherited from HostMemory" in shown(capsys, "ACME", "alloc")


def test_a_plugin_that_is_not_imported_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[portwright.devices]\nBROKEN = no_such_module:Port\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "no_such_module" in refused(capsys, "BROKEN", "alloc")
    with pytest.raises(DeviceError, match="import failed"):
        port_of("BROKEN")
    assert "def alloc" in shown(capsys, "CPU", "alloc")  # no other port is harmed


def test_as_a_process_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", "show", "CPU", "alloc"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert source_of("CPU", "alloc") in done.stdout
    assert "\x1b" not in done.stdout
