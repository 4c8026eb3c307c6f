"""What a simulator in a process of its own can do wrong: one error that says it, and an honest start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sim_support import Faulty, Starter, held, launch, place

from portwright.core.device import Buffer
from portwright.core.errors import DeviceError, LostError, OutOfMemoryError
from portwright.devices.sim_process import LAST_WORDS
from portwright.devices.sim_protocol import Verb

ALIKE = np.arange(2500, dtype=np.int32)


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second for a request: those that hang are meant to."""
    monkeypatch.setenv("PORTWRIGHT_SIM_SECONDS", "1")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit that matters: what is tested takes as long as it takes."""
    monkeypatch.setenv("PORTWRIGHT_SIM_SECONDS", "60")


@pytest.fixture
def opened() -> Iterator[Callable[..., Faulty]]:
    """Opens faulty simulators, and closes them."""
    devices: list[Faulty] = []

    def open_one(fault: str = "none", verb: int = 0) -> Faulty:
        devices.append(Faulty(fault, verb))
        return devices[-1]

    yield open_one
    for device in devices:
        device.verb = 0
        device.close()


LOSSES = {
    "hangs": "did not answer within 1 s",
    "aborts": "was ended by SIGABRT",
    "exits": "ended with exit status 3",
    "closes": "closed its stdout",
    "prints": r"answered 'Loading model...\\n', which is no frame",
    "prints little": "answered 'ok', which is no frame",
    "other verb": r"answered request 3 \(verb 6\) to request 3 \(verb 5\)",
    "other number": r"answered request 2 \(verb 5\) to request 3 \(verb 5\)",
    "other status": "answered with status 99, which there is not",
    "too long": "answered with 17 bytes where there must be 4",
    "huge": "answered with 1,099,511,627,776 bytes where there must be at most 1,048,576",
    "half": "did not answer within 1 s",
}


@pytest.mark.parametrize("fault", LOSSES)
def test_a_loss_names_the_request_and_the_next_start_is_honest(opened, fault: str) -> None:
    device = opened(fault, Verb.READ)
    buffer = Buffer(device, 4)
    with pytest.raises(DeviceError, match=LOSSES[fault]) as error:
        held(buffer)
    text = str(error.value)
    assert "READ 4 bytes" in text
    assert "What it held is lost" in text
    assert ("last words of the simulator" in text) == (fault == "aborts")

    with pytest.raises(LostError, match=f"4 bytes is lost: its simulator {LOSSES[fault]}"):
        buffer.write(memoryview(b"1234"))
    device.fault = "none"
    again = place(device, ALIKE)
    assert (held(again).view(np.int32) == ALIKE).all()
    with pytest.raises(LostError, match="is lost"):  # never silently another's bytes
        held(buffer)
    device.free(buffer.handle, 4)  # given back already: no error


def test_a_request_that_is_not_read_is_given_up(opened) -> None:
    device = opened("reads nothing", Verb.WRITE)
    buffer = Buffer(device, 1 << 22)  # more than a pipe holds
    with pytest.raises(DeviceError, match="not answer within 1 s when it was asked to WRITE 4,194,304"):
        buffer.write(memoryview(bytes(1 << 22)))


def test_text_between_two_answers_is_found(opened) -> None:
    device = opened("prints later", Verb.SYNC)
    device.synchronize()
    with pytest.raises(DeviceError, match=r"answered '42\\n.*Its stdout carries frames and nothing else"):
        device.synchronize()
    device.synchronize()  # none runs: nothing to wait for


@pytest.mark.usefixtures("patient")
def test_stderr_without_end_blocks_nobody_and_is_kept_short(opened) -> None:
    device = opened("shouts", Verb.SYNC)
    device.synchronize()
    home = device._process
    assert home is not None
    os.killpg(home._process.pid, signal.SIGKILL)
    with pytest.raises(DeviceError, match="was ended by SIGKILL") as error:
        device.synchronize()
    assert "line 39999 " in str(error.value)
    assert "line 39900 " not in str(error.value)
    assert len(home._said) <= LAST_WORDS


HELLOS = {
    "version": "speaks version 2 of the protocol, and Portwright 1",
    "newer": "speaks version 9 of the protocol, and Portwright 1",
    "short": "answered HELLO with 20 bytes where there must be 40",
    "nameless": "answered HELLO without three lines",
    "limits": "limits that no device can have",
    "refuses": "refuses HELLO: the reason: ö",
    "hangs": "did not answer within 1 s when it was asked to HELLO",
    "aborts": "was ended by SIGABRT when it was asked to HELLO",
    "prints": "which is no frame",
}


@pytest.mark.parametrize("fault", HELLOS)
def test_one_that_does_not_speak_the_protocol_does_not_open(fault: str) -> None:
    with pytest.raises(DeviceError, match=HELLOS[fault]):
        Faulty(fault, Verb.HELLO)


def test_one_that_starts_again_as_another_is_refused(opened) -> None:
    device = opened()
    device.close()
    device.fault, device.verb = "changes", Verb.HELLO
    with pytest.raises(DeviceError, match="started again as another"):
        device.alloc(4)


REFUSALS = {
    "refuses": r"the simulator refuses LAUNCH k \(grid 2x1x1, block 1x1x1, 1 buffers\): the reason: ö\.",
    "silent": "refuses LAUNCH .*: it gave no reason",
    "faults": "reports a fault in LAUNCH .*: illegal instruction at 0x80. What it was to write",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_an_error_that_is_answered_loses_nothing(opened, fault: str) -> None:
    device = opened(fault, Verb.LAUNCH)
    buffer = place(device, ALIKE)
    with pytest.raises(DeviceError, match=REFUSALS[fault]) as error:
        launch(device, "", buffer, items=2)
    assert not isinstance(error.value, LostError)
    assert (held(buffer).view(np.int32) == ALIKE).all()


def test_no_memory_says_how_much_is_held(opened) -> None:
    device = opened("full", Verb.ALLOC)
    with pytest.raises(OutOfMemoryError, match=r"no room for 12 bytes: buffers hold 0\..* all is taken"):
        device.alloc(12)


class Named(Starter):
    """Whatever starts."""

    words: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return list(self.words)


def test_a_command_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    for words, why in (
        (("no-such-simulator", "-x"), "No such file or directory: no-such-simulator -x. Install it"),
        ((str(plain),), "Permission denied"),
        ((), "an empty command"),
    ):
        monkeypatch.setattr(Named, "words", words)
        with pytest.raises(DeviceError, match=f"ACME: the simulator cannot be started: .*{why}"):
            Named()


@pytest.mark.parametrize("stated", ["0", "soon", "-1"])
def test_a_time_limit_that_is_none(opened, monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    device = opened()
    monkeypatch.setenv("PORTWRIGHT_SIM_SECONDS", stated)
    with pytest.raises(DeviceError, match=f"PORTWRIGHT_SIM_SECONDS is '{stated}'"):
        device.synchronize()
    monkeypatch.delenv("PORTWRIGHT_SIM_SECONDS")
    device.synchronize()


# ------------------------------------------------------------------------------- kernels of the starter

KERNELS = {
    "*(volatile int *)8 = 1;": "was ended by SIGSEGV",
    "for (volatile int i = 0;; i++);": "did not answer within 1 s",
    "__builtin_trap();": "was ended by SIG(ILL|TRAP)",
    "extern void _exit(int); _exit(9);": "ended with exit status 9",
    "extern int close(int); for (int i = 3; i < 20; i++) close(i); close(1);": "ended with exit status 1",
}


@pytest.mark.parametrize("body", KERNELS)
def test_a_kernel_that_ends_or_stops_the_simulator(body: str) -> None:
    device = Starter()
    buffer = place(device, ALIKE)
    with pytest.raises(DeviceError, match=f"{KERNELS[body]} when it was asked to LAUNCH k"):
        launch(device, body, buffer)
    with pytest.raises(LostError, match="is lost"):
        held(buffer)
    fresh = place(device, ALIKE)
    launch(device, "((int *)a[0])[0] = 5;", fresh)
    assert held(fresh).view(np.int32)[0] == 5
    device.close()


def test_what_a_kernel_prints_comes_between_no_answers_and_is_among_its_last_words() -> None:
    device = Starter()
    launch(device, 'printf("here\\n"); extern int fflush(void *); fflush(0);')
    with pytest.raises(DeviceError, match="Its last words on stderr:\n    here"):
        launch(device, "__builtin_trap();")


def group_is_gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether no process of a group runs, once those that were ended have had time to end."""
    end = time.monotonic() + seconds
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not _runs(pid)


def _runs(pid: int) -> bool:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if int(group) == pid and state != "Z":
                return True
    return False


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


class Wrapped(Starter):
    """The simulator behind a script, which would outlive a process that is ended alone."""

    through = ("sh", "-c", '"$0"; exit 7')


@linux
def test_a_simulator_behind_a_script_is_ended_with_it() -> None:
    device = Wrapped()
    home = device._process
    assert home is not None
    with pytest.raises(DeviceError, match="did not answer"):
        launch(device, "for (volatile int i = 0;; i++);")
    assert group_is_gone(home._process.pid)
    with pytest.raises(DeviceError, match="ended with exit status 7"):
        launch(device, "__builtin_trap();")


ORPHAN = """
import sys
sys.path.insert(0, {tests!r})
from sim_support import Starter, launch
device = Starter()
print(device._process._process.pid, flush=True)
if {busy}:
    launch(device, "for (volatile int i = 0;; i++);")
sys.stdin.read()
"""


@linux
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("busy", [False, True])
def test_a_simulator_ends_with_the_process_that_started_it(busy: bool) -> None:
    program = ORPHAN.format(tests=str(Path(__file__).parent), busy=busy)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not group_is_gone(pid)
        parent.kill()
    waited = threading.Event()
    for _ in range(300):
        if group_is_gone(pid):
            break
        waited.wait(0.1)
    assert group_is_gone(pid)


def test_an_interrupt_in_the_middle_of_a_request_is_a_loss_too() -> None:
    device = Starter()
    buffer = place(device, ALIKE)
    kernel = "for (volatile long i = 0; i < 1l << 40; i++);"

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            launch(device, kernel, buffer)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(LostError, match="KeyboardInterrupt came while it was asked to LAUNCH"):
        held(buffer)
    assert (held(place(device, ALIKE)).view(np.int32) == ALIKE).all()
