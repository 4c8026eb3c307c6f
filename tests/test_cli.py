"""The commands: what they print, for people and for programs, and the status that they end with."""

from __future__ import annotations

import pytest

from portwright import __version__
from portwright.cli import main as cli
from portwright.core.errors import DeviceError


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
    ("typed", "meant"), [("devcies", "devices"), ("docter", "doctor"), ("certfy", "certify")]
)
def test_a_misspelt_command_names_the_one_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([typed]) == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_an_unknown_command_lists_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["xyzzy"]) == 2
    assert "certify, devices, doctor" in capsys.readouterr().err


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
