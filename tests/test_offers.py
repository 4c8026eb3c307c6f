"""What is offered, as can be told without importing it: contract, permission, place, broken metadata."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portwright.core import contract, opening
from portwright.core.contract import SPOKEN, ContractRange, negotiate
from portwright.core.errors import DeviceError, PortError
from portwright.core.locate import fingerprint, module_file
from portwright.core.offers import offers
from portwright.core.opening import State
from portwright.core.ops import CONTRACT_VERSION, OLDEST_CONTRACT
from portwright.core.registry import default_device, devices, offer_of, open_device
from portwright.core.survey import Status, status

Plugin = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("fresh")
ENDS = "import os; os._exit(9)"
"""Of a module that nothing may import."""
ACME = """
from dataclasses import replace
from portwright.devices.numpy import NumPy

class Port(NumPy):
    def __init__(self):
        super().__init__()
        self.spec = replace(self.spec, name="ACME")
"""


def untried(name: str) -> Status:
    (found,) = [s for s in status(tries=False) if s.name == name]
    return found


# ---------------------------------------------------------------------------------------------- contract


@pytest.mark.parametrize(
    ("stated", "oldest", "newest"), [("", 1, 1), ("v1", 1, 1), ("v1.v3", 1, 3), ("v12.v12", 12, 12)]
)
def test_ranges(stated: str, oldest: int, newest: int) -> None:
    assert ContractRange.parse(stated) == ContractRange(oldest, newest)


@pytest.mark.parametrize("stated", ["1", "v0", "v1.3", "v1-v3", "v1.v2.v3", "v3.v1", "v01", "v1:x", "latest"])
def test_what_is_no_range(plugin: Plugin, stated: str) -> None:
    with pytest.raises(PortError, match="it states contract"):
        ContractRange.parse(stated)
    plugin("acme", "ACME = pw_range:Port", f"ACME = {stated}", pw_range=ENDS)
    found = untried("ACME")
    assert (found.state, found.needs, found.contract) == (State.INCOMPATIBLE, stated, None)
    assert f"it states contract {stated!r}, which" in found.cause


@pytest.mark.parametrize(
    ("needed", "spoken", "agreed"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 3), (2, 5), 3),
        ((2, 9), (1, 4), 4),
        ((3, 4), (1, 2), None),
        ((1, 1), (2, 3), None),
    ],
)
def test_the_newest_that_both_speak(
    needed: tuple[int, int], spoken: tuple[int, int], agreed: int | None
) -> None:
    assert negotiate(ContractRange(*needed), ContractRange(*spoken)) == agreed


def test_portwright_speaks_what_ops_says() -> None:
    assert ContractRange(OLDEST_CONTRACT, CONTRACT_VERSION) == SPOKEN
    assert all(o.contract == SPOKEN for o in offers() if o.is_ours)


def test_a_contract_from_the_future_is_refused_before_anything_is_imported(plugin: Plugin) -> None:
    plugin("acme", "ACME = pw_future:Port", "ACME = v7", pw_future=ENDS)
    with pytest.raises(PortError) as caught:
        open_device("ACME")
    assert "this plugin needs contract 7; this Portwright speaks 1" in str(caught.value)
    assert str(caught.value).endswith("pip install --upgrade portwright")
    assert untried("ACME").state is State.INCOMPATIBLE


def test_a_contract_of_the_past_has_the_plugin_upgraded(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("acme", "ACME = pw_past:Port", "ACME = v1.v2", pw_past=ENDS)
    for module in (contract, opening):
        monkeypatch.setattr(module, "SPOKEN", ContractRange(3, 4))
    monkeypatch.setattr(opening, "negotiate", lambda needed: negotiate(needed, ContractRange(3, 4)))
    found = untried("ACME")
    assert found.cause == "this plugin needs contract 1 to 2; this Portwright speaks 3 to 4"
    assert found.mend == "pip install --upgrade acme"


def test_what_was_agreed_on_is_the_devices(plugin: Plugin) -> None:
    plugin("acme", "ACME = pw_agreed:Port", "acme = v1.v3", pw_agreed=ACME)
    assert untried("ACME").needs == "1 to 3"
    device = open_device("ACME")
    assert device.contract == 1
    assert untried("ACME").contract == 1
    offer = offer_of(device)
    assert offer is not None
    assert (offer.distribution, offer.contract) == ("acme", ContractRange(1, 3))


def test_none_stated_is_taken_to_be_the_first_and_said_so(plugin: Plugin) -> None:
    plugin("acme", "ACME = pw_silent:Port", pw_silent=ENDS)
    assert (untried("ACME").needs, untried("ACME").state) == ("1 (not stated)", State.INSTALLED)


# -------------------------------------------------------------------------------------------- permission


@pytest.fixture
def two(plugin: Plugin) -> None:
    plugin("acme-tools", "ACME = pw_two_acme:Port\nBOARD = pw_two_acme:Port", "ACME = v1", pw_two_acme=ACME)
    plugin("zeta", "ZETA = pw_two_zeta:Port", "ZETA = v1", pw_two_zeta=ENDS)


@pytest.mark.parametrize(
    ("said", "denied"),
    [
        ("", set()),
        (" , ", set()),
        ("acme-tools", {"ZETA"}),
        ("Acme_Tools,zeta", set()),
        ("BOARD", {"ACME", "ZETA"}),
        ("-zeta", {"ZETA"}),
        ("-acme-tools -zeta", {"ACME", "BOARD", "ZETA"}),
        ("-Acme", {"ACME"}),
        ("portwright", {"ACME", "BOARD", "ZETA"}),
    ],
)
@pytest.mark.usefixtures("two")
def test_what_the_environment_allows(monkeypatch: pytest.MonkeyPatch, said: str, denied: set[str]) -> None:
    monkeypatch.setenv("PORTWRIGHT_PLUGINS", said)
    assert {s.name for s in status(tries=False) if s.state is State.DENIED} == denied
    assert {"ACME", "BOARD", "ZETA"} - set(devices) == denied
    assert "CPU" in list(devices)
    for name in denied:
        with pytest.raises(DeviceError, match=rf"{name} \(.* 1\.2\): denied: PORTWRIGHT_PLUGINS is "):
            open_device(name)
    if "ACME" not in denied:
        assert open_device("ACME").name == "ACME"


@pytest.mark.parametrize(
    ("said", "what"),
    [("acme,-zeta", "both allows and leaves out"), ("a/b", "a/b is no name"), ("--acme", "no name")],
)
def test_a_permission_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, said: str, what: str) -> None:
    monkeypatch.setenv("PORTWRIGHT_PLUGINS", said)
    with pytest.raises(DeviceError, match=f"PORTWRIGHT_PLUGINS is '{said}': .*{what}.*Write names to allow"):
        open_device("NUMPY")


@pytest.mark.parametrize(
    ("said", "what"),
    [("zeta acne", "is called acne"), ("-acne", "is called acne"), ("-CPU", "cpu is Portwright's own")],
)
@pytest.mark.usefixtures("two")
def test_a_permission_about_nothing_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, said: str, what: str
) -> None:
    monkeypatch.setenv("PORTWRIGHT_PLUGINS", said)
    with pytest.warns(RuntimeWarning, match=what):
        assert open_device("NUMPY").name == "NUMPY"


def test_of_two_of_one_name_the_one_that_is_not_denied(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin("acme-one", "ACME = pw_one:Port", pw_one=ENDS)
    plugin("acme-two", "ACME = pw_other:Port", pw_other=ACME)
    monkeypatch.setenv("PORTWRIGHT_PLUGINS", "-acme-one")
    assert type(open_device("ACME")).__module__ == "pw_other"


def test_a_plugin_with_a_name_of_ours_replaces_nothing(plugin: Plugin) -> None:
    plugin("acme", "NUMPY = pw_ours:Port\nCPU = pw_ours:Port", pw_ours=ENDS)
    with pytest.raises(DeviceError, match=r"two distributions offer NUMPY: .*acme:NUMPY or portwright:NUMPY"):
        open_device("NUMPY")
    assert default_device() in ("portwright:CPU", "portwright:NUMPY")
    assert open_device("portwright:NUMPY").spec.name == "NUMPY"


# ---------------------------------------------------------------------------------------- broken metadata


@pytest.mark.parametrize(
    ("points", "name", "cause"),
    [
        ("ACME = pw_a:Port\nacme = pw_b:Port", "ACME", "acme offers ACME twice: pw_a:Port and pw_b:Port"),
        ("AC:ME = pw_a:Port", "AC:ME", "'AC:ME' cannot be asked for"),
        ("ACME = pw_a", "ACME", "entry point 'pw_a' does not say where the port is: module:class"),
        ("ACME = not a module:Port", "ACME", "does not say where"),
    ],
)
def test_an_offer_that_is_wrong_by_itself(plugin: Plugin, points: str, name: str, cause: str) -> None:
    plugin("acme", points, pw_a=ENDS, pw_b=ENDS)
    found = untried(name)
    assert found.state is State.INCOMPATIBLE
    assert cause in found.cause


@pytest.mark.parametrize(
    "text", [b"[portwright.devices]\nACME = \xff\xfe", b"[portwright.devices]\nno entry"]
)
def test_entry_points_that_cannot_be_read_spoil_no_others(plugin: Plugin, text: bytes) -> None:
    folder = plugin("broken", "ACME = pw_a:Port")
    (folder / "broken-1.2.dist-info" / "entry_points.txt").write_bytes(text)
    found = untried("BROKEN")
    assert (found.state, found.distribution) == (State.INCOMPATIBLE, "broken")
    assert "its entry_points.txt cannot be read" in found.cause
    assert open_device("NUMPY").name == "NUMPY"


def test_the_broken_files_of_others_are_no_concern(plugin: Plugin) -> None:
    folder = plugin("broken", "ACME = pw_a:Port")
    (folder / "broken-1.2.dist-info" / "entry_points.txt").write_bytes(b"[other.group]\n\xff")
    assert not [o for o in offers() if o.distribution == "broken"]


# ------------------------------------------------------------------------------------------------- place


def test_a_module_is_found_and_not_imported(plugin: Plugin) -> None:
    folder = plugin(
        "acme", "ACME = pw_pack.inner.port:Port",
        **{"pw_pack/__init__": ENDS, "pw_pack/inner/__init__": ENDS, "pw_pack/inner/port": ENDS,
           "pw_space/inner/port": ENDS},
    )  # fmt: skip
    assert module_file("pw_pack.inner.port") == folder / "pw_pack" / "inner" / "port.py"
    assert module_file("pw_pack.inner") == folder / "pw_pack" / "inner" / "__init__.py"
    assert module_file("pw_space.inner.port") == folder / "pw_space" / "inner" / "port.py"  # no __init__
    assert untried("ACME").file == str(folder / "pw_pack" / "inner" / "port.py")
    assert not [name for name in sys.modules if name.startswith(("pw_pack", "pw_space"))]
    for absent in ("pw_absent", "pw_pack.absent", "pw_pack.inner.port.absent", "sys"):
        assert module_file(absent) is None


def test_a_finder_that_raises_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, *arguments: object) -> None:
            raise RuntimeError("not now")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert module_file("portwright.devices.numpy") is not None


def test_an_editable_install_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As setuptools does it: a finder that knows where one package lies."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text(ENDS)
    (tmp_path / "src" / "port.py").write_text(ENDS)

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            init = tmp_path / "src" / "__init__.py"
            spec = importlib.util.spec_from_file_location
            return (
                spec(name, init, submodule_search_locations=[str(init.parent)]) if name == "pw_edit" else None
            )

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert module_file("pw_edit.port") == tmp_path / "src" / "port.py"


def test_a_fingerprint_is_of_the_whole_package_and_of_no_other(tmp_path: Path) -> None:
    package = tmp_path / "pw_print"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "port.py", "inner/table.json"):
        (package / name).write_text("1")

    def now() -> str:
        return fingerprint("pw_print.port", package / "port.py")

    seen = {now()}
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "port.pyc").write_text("1")
    (tmp_path / "beside.py").write_text("1")
    assert now() in seen
    for name in ("port.py", "inner/table.json", "new.py"):
        (package / name).write_text("22")
        assert now() not in seen
        seen.add(now())
    assert fingerprint("beside", tmp_path / "beside.py") != now()
