"""The registry: names, plugins that fail, defaults."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from portwright.core import registry
from portwright.core.device import Device
from portwright.core.errors import DeviceError, PortError
from portwright.core.offers import offers
from portwright.core.opening import State
from portwright.core.registry import default_device, open_device, set_default
from portwright.core.survey import status
from portwright.devices import DEFAULTS
from portwright.devices.cpu import CPU
from portwright.devices.numpy import NumPy

Plugin = Callable[..., Path]

ACME = """
    from dataclasses import replace
    from portwright.devices.numpy import NumPy

    class Acme(NumPy):
        opened = 0

        def __init__(self, board: str = "0") -> None:
            super().__init__()
            type(self).opened += 1
            self.board = board
            self.spec = replace(self.spec, name="ACME")
"""


pytestmark = pytest.mark.usefixtures("fresh")


def test_ours_are_found_as_anybodys() -> None:
    ours = {o.name: o for o in offers()}
    assert {"CPU", "NUMPY"} <= set(ours)
    assert ours["NUMPY"].is_ours
    assert ours["NUMPY"].distribution == "portwright"


def test_opened_once_in_any_case() -> None:
    device = open_device("numpy")
    assert isinstance(device, NumPy)
    assert open_device("NUMPY") is device
    assert open_device("NumPy") is device
    assert open_device(device.name) is device


def test_opened_once_by_many_threads(plugin: Plugin) -> None:
    plugin(
        "acme", "ACME = acme_threads:Acme", acme_threads=ACME + "            import time; time.sleep(0.05)\n"
    )
    found: list[Device] = []
    threads = [threading.Thread(target=lambda: found.append(open_device("acme"))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert type(found[0]).opened == 1


def test_an_argument_after_the_colon(plugin: Plugin) -> None:
    plugin("acme-tools", "ACME = acme_argument:Acme", acme_argument=ACME)
    board = open_device("acme:Board2:x")
    assert (board.board, board.name) == ("Board2:x", "ACME:Board2:x")
    assert open_device(board.name) is board
    assert open_device("ACME").board == "0"
    assert open_device("ACME") is not board
    with pytest.raises(DeviceError, match=r"NUMPY.*takes nothing after the colon"):
        open_device("NUMPY:2")


def test_unknown() -> None:
    with pytest.raises(DeviceError, match=r"no device 'NUMPI': there are .*CPU.*NUMPY.*Did you mean NUMPY"):
        open_device("NUMPI")


def test_a_plugin_that_fails_harms_no_other(plugin: Plugin) -> None:
    plugin("absent", "ABSENT = no_such_module:X")
    plugin("exits", "EXITS = acme_exits:X", acme_exits="raise SystemExit(3)")
    plugin("lacks", "LACKS = acme_exits_not:X", acme_exits_not="")
    plugin("other", "OTHER = acme_other:X", acme_other="X = 3")
    dies = "from portwright.devices.numpy import NumPy\nclass X(NumPy):\n    def __init__(self): 1 / 0"
    plugin("dies", "DIES = acme_dies:X", acme_dies=dies)
    found = {s.name: s for s in status()}
    assert found["NUMPY"].state is State.READY
    assert found["NUMPY"].spec is open_device("NUMPY").spec
    for name, state, cause in (
        ("ABSENT", State.IMPORT_FAILED, "No module named 'no_such_module'"),
        ("EXITS", State.IMPORT_FAILED, "SystemExit: 3"),
        ("LACKS", State.IMPORT_FAILED, "no attribute 'X'"),
        ("OTHER", State.INCOMPATIBLE, "not a subclass of Device"),
        ("DIES", State.CANNOT_OPEN, "ZeroDivisionError"),
    ):
        assert found[name].state is state
        assert cause in found[name].cause
        assert (found[name].version, found[name].spec) == ("1.2", None)
        with pytest.raises(DeviceError) as caught:
            open_device(name)
        assert f"{name} ({name.lower()} 1.2)" in str(caught.value)
        assert cause in str(caught.value)
    assert "pip install --upgrade absent" in found["ABSENT"].mend


def test_a_port_that_lacks_methods_or_contradicts_itself(plugin: Plugin) -> None:
    source = """
        from portwright.core.device import Device
        from portwright.devices.numpy import NumPy
        from dataclasses import replace
        from portwright.core.device import Reach

        class Bare(Device):
            def alloc(self, nbytes): ...

        class Odd(NumPy):
            def __init__(self):
                super().__init__()
                self.spec = replace(self.spec, reach=Reach.KERNELS)

        class NoSpec(NumPy):
            def __init__(self): pass
    """
    plugin("bad", "BARE = acme_bad:Bare\nODD = acme_bad:Odd\nNOSPEC = acme_bad:NoSpec", acme_bad=source)
    with pytest.raises(PortError, match=r"BARE.*missing copy_in, copy_out, free"):
        open_device("BARE")
    with pytest.raises(PortError, match=r"ODD.*missing compile, load, launch; .*dialect"):
        open_device("ODD")
    with pytest.raises(PortError, match=r"NOSPEC.*spec"):
        open_device("NOSPEC")


def test_two_distributions_of_one_name(plugin: Plugin) -> None:
    plugin("acme-one", "ACME = acme_one:Acme", acme_one=ACME)
    plugin("acme-two", "ACME = acme_two:Acme", acme_two=ACME)
    with pytest.raises(DeviceError, match=r"acme-one 1\.2.*acme-two 1\.2.*acme-one:ACME or acme-two:ACME"):
        open_device("ACME")
    two = open_device("Acme_Two:acme:b7")
    assert (type(two).__module__, two.board) == ("acme_two", "b7")
    assert open_device(two.name) is two
    assert open_device("acme-one:ACME") is not two
    ready = [s.name for s in status() if s.state is State.READY]
    assert {"acme-one:ACME", "acme-two:ACME"} <= set(ready)


def test_a_name_may_say_whose_without_need(plugin: Plugin) -> None:
    plugin("acme", "ACME = acme_whose:Acme", acme_whose=ACME)
    assert open_device("acme:ACME") is open_device("ACME")


def test_adopted_devices_are_known_by_name() -> None:
    class Mine(NumPy):
        pass

    mine = registry.adopt(Mine())
    assert open_device("NUMPY") is mine


def test_a_device_that_is_adopted_for_a_while_gives_the_name_back() -> None:
    first, second = NumPy(), NumPy()
    registry.adopt(first, another=NumPy)
    with registry.adopted(second):
        assert open_device("NUMPY") is second
        assert registry.open_another("NUMPY") is None
    assert open_device("NUMPY") is first
    with pytest.raises(DeviceError), registry.adopted(second):
        open_device("NOSUCH")
    assert open_device("NUMPY") is first
    with registry.adopted(first):
        another = registry.open_another("NUMPY")
    assert another is not None, "who has the name keeps what was said of it"
    assert open_device("NUMPY") is first


def test_the_first_that_opens_with_a_reason_for_the_one_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: CPU) -> None:
        raise DeviceError("no C compiler works: tried cc (not found)")

    monkeypatch.setattr(CPU, "__init__", fail)
    assert default_device() == "NUMPY"
    assert default_device() == "NUMPY"
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "CPU" in told
    assert "tried cc (not found). Using NUMPY" in told


def test_a_vendors_port_is_never_the_default(plugin: Plugin) -> None:
    plugin("acme", "ACME = acme_first:Acme", acme_first=ACME + "\n    DEFAULTS = ('ACME',)\n")
    assert default_device() == DEFAULTS[0]


def test_no_port_is_imported_to_be_passed_over() -> None:
    """Nor does it take the compiler of cffi, which is needed only where nothing is cached yet."""
    script = (
        "import sys, portwright\nportwright.Device()\nimport json\n"
        "print(json.dumps([m for m in sys.modules if m.startswith('portwright.devices.') or m == 'cffi']))"
    )
    run = [sys.executable, "-c", script]
    loaded = [json.loads(subprocess.run(run, capture_output=True, check=True).stdout) for _ in range(2)][1]
    assert "portwright.devices.cpu" in loaded
    assert not [m for m in loaded if m.startswith(("portwright.devices.opencl", "portwright.devices.cuda"))]
    assert "cffi" not in loaded


def test_default_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_DEVICE", "numpy")
    assert default_device() == "NUMPY"


def test_a_default_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_DEVICE", "GPU9")
    with pytest.raises(DeviceError, match="PORTWRIGHT_DEVICE is 'GPU9': no device"):
        default_device()


def test_set_default(monkeypatch: pytest.MonkeyPatch, plugin: Plugin) -> None:
    plugin("acme", "ACME = acme_set:Acme", acme_set=ACME)
    monkeypatch.setenv("PORTWRIGHT_DEVICE", "NUMPY")
    set_default("acme")
    assert default_device() == "ACME"
    with pytest.raises(DeviceError):
        set_default("nothing")
    assert default_device() == "ACME"
    set_default(None)
    assert default_device() == "NUMPY"


def test_devices_as_users_meet_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_DEVICE", "NUMPY")
    device = registry.Devices()
    assert device() is device("numpy") is open_device("NUMPY")
    assert device.default == "NUMPY"
    assert {"CPU", "NUMPY"} <= set(device)
    device.default = "numpy"
    assert device.default == "NUMPY"
