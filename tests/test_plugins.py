"""Plugins that fail in every way: each is one line with its cause, and harms nothing and nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portwright.core import registry, trial
from portwright.core.errors import CannotOpenError, DeviceError, DriverMissingError, NoDeviceError, PortError
from portwright.core.offers import Offer, offers
from portwright.core.opening import OpeningError, State
from portwright.core.registry import open_device
from portwright.core.survey import Status, status

Plugin = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("fresh")

OPENING = """
    from dataclasses import replace
    from portwright.core import errors
    from portwright.devices.numpy import NumPy

    class Port(NumPy):
        variants = {{"sim": "{module}:Port", "sanitize": "{module}:Port"}}

        def __init__(self, argument=None):
            {first}
            super().__init__()
            self.spec = replace(self.spec, name="{name}")
"""


def opens(name: str, first: str = "pass") -> str:
    """The source of a port that does ``first`` when it is opened."""
    return OPENING.format(name=name, module=f"pw_{name.lower()}", first=first)


def install(plugin: Plugin, **sources: str) -> Path:
    """A distribution for each: ``ACME=source`` is the port ACME of "pw-acme", in the module pw_acme."""
    folder = Path()
    for name, source in sources.items():
        module = f"pw_{name.lower()}"
        folder = plugin(f"pw-{name.lower()}", f"{name} = {module}:Port", f"{name} = v1", **{module: source})
    return folder


def found(*names: str) -> dict[str, Status]:
    return {s.name: s for s in status() if s.name in names}


def fails(name: str) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        open_device(name)
    return caught.value


def commands(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``portwright`` in a process of its own that sees what is installed in ``folder``."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "portwright.cli.main", *words],
        capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- at import

IMPORTS = {
    "RAISES": ("import pw_sdk_that_is_absent", "No module named 'pw_sdk_that_is_absent' ({file}:1)"),
    "TYPO": ("def port(:", "SyntaxError"),
    "EXITS": ("raise SystemExit('no licence')", "SystemExit: no licence ({file}:1)"),
    "LEAVES": (
        "import os\nprint('bye', flush=True)\nos._exit(0)",
        "its import ended the process with exit status 0, having said: bye",
    ),
    "CRASHES": (
        "import ctypes\nctypes.string_at(0)",
        "its import died by signal 11 (SIGSEGV) at {file}:2",
    ),
    "INTERRUPTS": ("raise KeyboardInterrupt", "its import "),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process by no signal")
def test_each_way_to_fail_at_import_is_one_line(plugin: Plugin) -> None:
    folder = install(plugin, **{name: source for name, (source, _) in IMPORTS.items()})
    every = found(*IMPORTS, "NUMPY")
    assert every["NUMPY"].state is State.READY
    for name, (_, cause) in IMPORTS.items():
        s, file = every[name], folder / f"pw_{name.lower()}.py"
        assert s.state is State.IMPORT_FAILED
        assert cause.format(file=file) in s.cause
        assert "\n" not in s.cause
        assert (s.distribution, s.version, s.file) == (f"pw-{name.lower()}", "1.2", str(file))
        assert f"pip install --upgrade pw-{name.lower()}" in s.mend
        assert f"PORTWRIGHT_PLUGINS=-pw-{name.lower()}" in s.mend
        assert not [m for m in sys.modules if m.startswith("pw_")]


@pytest.mark.parametrize("name", ["LEAVES", "CRASHES"])
def test_opening_one_that_would_end_the_process_is_an_error(plugin: Plugin, name: str) -> None:
    source, _ = IMPORTS[name]
    folder = install(plugin, **{name: source})
    error = fails(name)
    assert isinstance(error, CannotOpenError)
    assert f"{name} (pw-{name.lower()} 1.2): import failed: its import" in str(error)
    assert f"{folder / f'pw_{name.lower()}.py'}" in str(error)
    assert "pip install --upgrade" in error.mend
    assert open_device("NUMPY").name == "NUMPY"


def test_one_that_hangs_is_ended_with_all_that_it_started(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    source = f"""
        import subprocess, sys, time
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(child)!r}, "w").write(str(started.pid))
        time.sleep(600)
    """
    folder = install(plugin, HANGS=source)
    monkeypatch.setenv("PORTWRIGHT_PROBE_SECONDS", "3")
    error = str(fails("HANGS"))
    assert f"its import ran past 3 s at {folder / 'pw_hangs.py'}:5" in error
    assert "PORTWRIGHT_PROBE_SECONDS gives it more time" in error
    state = Path(f"/proc/{child.read_text()}/stat")
    if sys.platform.startswith("linux"):
        assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_flood_of_words_stops_nothing(plugin: Plugin) -> None:
    flood = "import sys\nfor f in (sys.stdout, sys.stderr):\n    f.write('x' * (4 << 20) + '\\n')\n"
    folder = install(plugin, FLOODS=flood + opens("FLOODS").replace("\n    ", "\n"))
    done = commands(folder, "devices", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    states = {d["name"]: d["state"] for d in json.loads(done.stdout)["devices"]}
    assert states["FLOODS"] == "ready"


# -------------------------------------------------------------------------------------------- at opening

OPENS = {
    "DRIVERLESS": (
        "raise errors.DriverMissingError('no libacme.so', 'Install Acme 3')",
        State.DRIVER_MISSING,
    ),
    "ABSENT": ("raise errors.NoDeviceError('no board answers')", State.NO_DEVICE),
    "REFUSES": ("raise errors.DeviceError('the board is in use')", State.CANNOT_OPEN),
    "DIES": ("1 / 0", State.CANNOT_OPEN),
    "QUITS": ("raise SystemExit(4)", State.CANNOT_OPEN),
    "FALLS": ("import ctypes; ctypes.string_at(0)", State.CANNOT_OPEN),
    "DISAGREES": ("raise errors.PortError('its parts contradict each other')", State.INCOMPATIBLE),
}
ERRORS = {
    State.DRIVER_MISSING: DriverMissingError, State.NO_DEVICE: NoDeviceError, State.INCOMPATIBLE: PortError,
}  # fmt: skip


def test_a_port_says_by_what_it_raises_why_it_does_not_open(plugin: Plugin) -> None:
    install(plugin, **{name: opens(name, first) for name, (first, _) in OPENS.items()})
    every = found(*OPENS)
    assert {n: s.state for n, s in every.items()} == {n: state for n, (_, state) in OPENS.items()}
    assert (every["DRIVERLESS"].cause, every["ABSENT"].cause) == ("no libacme.so", "no board answers")
    assert every["DRIVERLESS"].mend == "Install Acme 3. DRIVERLESS:sim may open here"
    assert every["ABSENT"].mend.startswith("Attach the device")
    assert "ZeroDivisionError" in every["DIES"].cause
    for name in set(OPENS) - {"FALLS"}:  # which opening here would end this process
        error = fails(name)
        assert type(error) is ERRORS.get(every[name].state, CannotOpenError)
        assert every[name].state.value in str(error)
        assert every[name].cause.partition(" (")[0] in str(error)


def test_the_error_names_the_variants_that_may_open(plugin: Plugin) -> None:
    install(plugin, OTHERS=opens("OTHERS", "if argument is None: raise errors.NoDeviceError('no board')"))
    assert "OTHERS:sim may open here" in str(fails("OTHERS"))
    assert ":sanitize" not in str(fails("OTHERS"))
    assert "may open" not in str(fails("OTHERS:sim"))  # it is that variant


def test_one_that_hangs_while_it_opens(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import time
        from portwright.core.device import Device

        class Port(Device):
            alloc = free = copy_in = copy_out = None

            def __init__(self):
                time.sleep(600)
    """.replace("alloc = free = copy_in = copy_out = None", METHODS)
    folder = install(plugin, SLEEPS=source)
    (offer,) = [o for o in offers() if o.name == "SLEEPS"]
    with trial.Trial(offer, opens=True, limit=3) as running, pytest.raises(OpeningError) as caught:
        running.wait()
    assert caught.value.state is State.CANNOT_OPEN
    line = (folder / "pw_sleeps.py").read_text().splitlines().index("        time.sleep(600)") + 1
    assert caught.value.cause == f"opening it ran past 3 s at {folder / 'pw_sleeps.py'}:{line}"


METHODS = """def alloc(self, nbytes): ...
            def free(self, handle, nbytes): ...
            def copy_in(self, handle, data): ...
            def copy_out(self, data, handle): ..."""


# -------------------------------------------------------------------------------------------- once, apart


def test_a_good_verdict_is_kept_until_the_plugin_changes(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path / "cache"))
    count = tmp_path / "count"
    counts = f"open({str(count)!r}, 'a').write('.')\n"
    port = counts + opens("KEPT").replace("\n    ", "\n")
    modules = {"pw_kept/__init__": "", "pw_kept/other": "", "pw_kept/port": port}
    folder = plugin("pw-kept", "KEPT = pw_kept.port:Port", **modules)
    (offer,) = [o for o in offers() if o.name == "KEPT"]
    trial.vouch_for(offer)
    trial.vouch_for(offer)
    assert count.read_text() == "."
    assert "pw_kept" not in sys.modules
    (folder / "pw_kept" / "other.py").write_text("more = 1")  # another file of its package
    trial.vouch_for(offer)
    assert count.read_text() == ".."
    open_device("KEPT")
    assert count.read_text() == "..."  # here, and not tried again
    trial.vouch_for(offer)  # it is imported
    assert count.read_text() == "..."


def test_what_fails_is_tried_again(plugin: Plugin, tmp_path: Path) -> None:
    folder = install(plugin, MENDED="import os; os._exit(1)")
    fails("MENDED")
    (folder / "pw_mended.py").write_text(opens("MENDED").replace("\n    ", "\n"))
    assert open_device("MENDED").name == "MENDED"


def test_ours_are_not_tried_before_they_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_trial(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(trial.subprocess, "Popen", no_trial)
    assert open_device("NUMPY").name == "NUMPY"


def test_zero_seconds_try_nothing_apart(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    install(plugin, HERE=opens("HERE"))
    monkeypatch.setenv("PORTWRIGHT_PROBE_SECONDS", "0")
    monkeypatch.setattr(trial.subprocess, "Popen", None)
    assert open_device("HERE").name == "HERE"
    assert found("NUMPY")["NUMPY"].state is State.READY


@pytest.mark.parametrize("stated", ["soon", "-1", "nan", "inf"])
def test_a_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv("PORTWRIGHT_PROBE_SECONDS", stated)
    with pytest.raises(DeviceError, match=f"PORTWRIGHT_PROBE_SECONDS is '{stated}': set it to a number"):
        list(status())


def test_without_processes_it_says_what_to_set(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    install(plugin, APART=opens("APART"))
    monkeypatch.setattr(trial.sys, "executable", "/no/such/python")
    assert "cannot be tried in a process of its own" in str(fails("APART"))
    assert "PORTWRIGHT_PROBE_SECONDS=0" in str(fails("APART"))


def test_a_trial_keeps_nobody_from_another_device(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    install(plugin, SLOW="")
    begun, go = threading.Event(), threading.Event()

    def wait(offer: Offer) -> None:
        begun.set()
        assert go.wait(60)
        raise OpeningError(State.CANNOT_OPEN, "it was waited for")

    monkeypatch.setattr(trial, "vouch_for", wait)
    said: list[str] = []
    slow = threading.Thread(target=lambda: said.append(str(fails("SLOW"))))
    slow.start()
    assert begun.wait(60)
    other = threading.Thread(target=lambda: said.append(open_device("NUMPY").name), daemon=True)
    other.start()
    other.join(60)
    assert said == ["NUMPY"]
    go.set()
    slow.join(60)
    assert "it was waited for" in said[1]


def test_leaving_the_list_ends_what_is_still_tried(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    install(plugin, ZZHANGS="import time; time.sleep(600)")
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def note(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(trial.subprocess, "Popen", note)
    walk = status()
    next(walk)
    assert any(p.poll() is None for p in started)
    walk.close()
    assert started
    assert all(p.poll() is not None for p in started)


# ----------------------------------------------------------------------------------------------- commands


def test_listing_imports_nothing(plugin: Plugin) -> None:
    folder = install(plugin, LAZY="import os; os._exit(3)")
    every = {s.name: s for s in status(tries=False)}
    assert {s.state for s in every.values()} == {State.INSTALLED}
    assert every["LAZY"].file == str(folder / "pw_lazy.py")
    assert "LAZY" in list(registry.devices)
    assert "pw_lazy" not in sys.modules
    done = commands(folder, "devices", "--no-open", "--json")
    ports = {d["name"]: d for d in json.loads(done.stdout)["devices"]}
    assert (ports["LAZY"]["state"], ports["LAZY"]["needs"]) == ("installed", "1")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process by no signal")
def test_broken_plugins_as_people_see_them(plugin: Plugin) -> None:
    folder = install(
        plugin, CRASHES=IMPORTS["CRASHES"][0], LEAVES=IMPORTS["LEAVES"][0],
        DRIVERLESS=opens("DRIVERLESS", OPENS["DRIVERLESS"][0]), NUMPY=opens("NUMPY"),
    )  # fmt: skip
    plugin("pw-future", "FUTURE = pw_future:Port", "FUTURE = v7", pw_future="import os; os._exit(7)")
    done = commands(folder, "devices")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "import failed", "pw-crashes 1.2, contract 1", str(folder / "pw_crashes.py"), "signal 11 (SIGSEGV)",
        "driver missing", "→ Install Acme 3", "needs contract 7; this Portwright speaks 1",
        "NUMPY is offered more than once: say portwright:NUMPY or pw-numpy:NUMPY",
    ):  # fmt: skip
        assert words in done.stdout
    assert "Traceback" not in done.stdout
    done = commands(folder, "doctor")
    assert done.returncode == 0
    for words in ("driver missing: no libacme.so", "pw-driverless 1.2", str(folder / "pw_driverless.py")):
        assert words in done.stdout
