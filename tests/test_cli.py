"""The commands: what they print, for people and for programs, and the status that they end with."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from portwright import __version__
from portwright.cli import main as cli
from portwright.cli.screen import plain
from portwright.core.errors import DeviceError
from portwright.core.opening import State
from portwright.core.ops import Op
from portwright.core.registry import open_device
from portwright.core.survey import Status


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"portwright {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "meant"), [("devcies", "devices"), ("docter", "doctor"), ("certfy", "certify or verify")]
)
def test_a_misspelt_command_names_the_one_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([typed]) == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_an_unknown_command_lists_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["xyzzy"]) == 2
    assert ", ".join(cli.COMMANDS) in capsys.readouterr().err


def _command_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli.portwright, "main", fail)


def test_a_known_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEBUG", raising=False)
    _command_that_raises(monkeypatch, DeviceError("ACME does not open: plug it in"))
    assert cli.main([]) == 2
    assert capsys.readouterr().err == "portwright: ACME does not open: plug it in\n"


def test_debug_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBUG", "1")
    _command_that_raises(monkeypatch, DeviceError("ACME does not open: plug it in"))
    assert cli.main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("portwright: ACME does not open: plug it in\n")


def test_a_fault_of_ours_is_not_a_failed_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command_that_raises(monkeypatch, ZeroDivisionError("oops"))
    assert cli.main([]) == 2
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_an_interrupt_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command_that_raises(monkeypatch, KeyboardInterrupt())
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "portwright: interrupted\n"


def test_devices_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {d["name"]: d for d in found["devices"]}
    assert found["default"] in by_name
    numpy = by_name["NUMPY"]
    assert numpy["state"] == "ready"
    assert numpy["distribution"] == "portwright"
    assert numpy["version"] == __version__
    assert sorted(numpy["spec"]["native"]) == sorted(op.value for op in Op)
    assert "bfloat16" in numpy["spec"]["dtypes"]


def test_devices_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "NUMPY" in out
    assert "native 25/25" in out
    assert "\x1b" not in out  # no colour in a pipe


def _offer_only(monkeypatch: pytest.MonkeyPatch, *ports: Status) -> None:
    for module in ("devices", "doctor"):
        monkeypatch.setattr(import_module(f"portwright.cli.{module}"), "status", lambda **_: iter(ports))


BROKEN = Status("ACME", "acme-port", "0.3", State.CANNOT_OPEN, "no libacme.so", "install the Acme driver")


def test_a_port_that_does_not_open_says_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _offer_only(monkeypatch, BROKEN)
    assert cli.main(["devices"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in ("ACME", "acme-port 0.3", "cannot open", "no libacme.so", "→ install"))
    assert cli.main(["devices", "--json"]) == 0
    (port,) = json.loads(capsys.readouterr().out)["devices"]
    assert (port["state"], port["mend"], port["spec"]) == ("cannot open", "install the Acme driver", None)


def test_doctor_fails_when_nothing_opens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _offer_only(monkeypatch, BROKEN)
    assert cli.main(["doctor"]) == 1
    assert "→ install the Acme driver" in capsys.readouterr().out


def test_doctor_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["numpy"]["state"] == "ok"
    assert found["numpy"]["found"] == version("numpy")
    assert {"cffi", "C compiler", "Python.h", "threads", "cache folder", "NUMPY"} <= found.keys()


def test_doctor_without_a_compiler_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert cli.main(["doctor", "--json"]) == 0  # NUMPY works without one
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["C compiler"]["state"] == "limited"
    assert "no-such-compiler" in found["C compiler"]["found"]
    assert found["C compiler"]["mend"]


@pytest.mark.filterwarnings("ignore:the cache folder")
def test_doctor_names_a_cache_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path / "file" / "below"))
    assert cli.main(["doctor", "--json"]) == 0
    found = {f["name"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["cache folder"]["state"] == "limited"
    assert "PORTWRIGHT_CACHE" in found["cache folder"]["mend"]


def test_a_device_with_tiles_is_written_as_json() -> None:
    spec = open_device("CUDA:sim").spec
    assert spec.tiles
    assert json.loads(json.dumps(plain(spec)))["tiles"] == [str(t) for t in spec.tiles]
