"""A simulator in a process of its own: what it computes, how much it moves, its cycles, and its starts."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sim_support import ANSWERS, PROGRAM, Faulty, Starter, held, launch, place

from portwright import Tensor
from portwright.conformance import runner
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import FAILED
from portwright.conformance.selection import Selection
from portwright.conformance.watch import Watch
from portwright.core.device import Ability, Buffer, Evidence
from portwright.core.errors import DeviceError, LostError, OutOfMemoryError
from portwright.core.port_check import check_port
from portwright.core.registry import adopt
from portwright.devices import sim_protocol as protocol
from portwright.devices.sim_protocol import Status, Verb
from portwright.devices.subprocess_simulator import MOST_DATA
from portwright.templates.render import render

PAGE = Path(__file__).parent.parent / "docs" / "porting" / "simulator.md"


@pytest.fixture(scope="module")
def device() -> Starter:
    return adopt(Starter())


def bytes_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8)


# ----------------------------------------------------------------------------------------- what it is


def test_it_is_emulated_and_says_what_it_was_reached_through(device: Starter) -> None:
    check_port(type(device), device.spec)
    assert device.spec.evidence is Evidence.EMULATED
    driver = device.spec.driver
    assert driver["simulator"] == "acme-agent 1"
    assert driver["counts"] == "work items"
    assert driver["command"].endswith(".agent")
    assert os.sep not in driver["command"]  # the same on every machine


def test_launch_limits_are_the_simulators_own() -> None:
    device = Faulty()
    assert device.spec.max_buffers == 4
    assert device.spec.max_grid == (100, 1, 1)  # the simulator has 2 on the second axis, the Spec 1
    device.close()


def test_tensors(device: Starter) -> None:
    a, b = (np.random.default_rng(i).standard_normal((33, 65)).astype(np.float32) for i in range(2))
    x, y = Tensor(a, device="ACME"), Tensor(b, device="ACME")
    np.testing.assert_allclose((x @ y.T).relu().sum(1).numpy(), np.maximum(a @ b.T, 0).sum(1), rtol=1e-4)
    np.testing.assert_allclose((x * y).exp().numpy(), np.exp(a * b), rtol=1e-5)


# --------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("n", [64 << 20, MOST_DATA, MOST_DATA + 1])
def test_large_buffers_go_there_and_back(device: Starter, n: int) -> None:
    data = bytes_of(n)
    buffer = place(device, data)
    assert (held(buffer) == data).all()


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 5000])
def test_frames_are_as_large_as_the_simulator_says(n: int) -> None:
    device = Faulty()  # which takes 1,000 bytes at a time, and has an assertion that it is no more
    buffer = place(device, bytes_of(n))
    assert (held(buffer) == bytes_of(n)).all()
    device.close()


def test_what_does_not_lie_in_a_buffer_is_refused_and_loses_nothing(device: Starter) -> None:
    buffer = place(device, bytes_of(100))
    with pytest.raises(DeviceError, match=r"refuses WRITE 101 bytes: .* lie outside of a buffer of 100"):
        device.copy_in(buffer.handle, memoryview(bytes(101)))
    with pytest.raises(DeviceError, match=r"refuses READ 101 bytes: .* lie outside of a buffer of 100"):
        device.copy_out(memoryview(bytearray(101)), buffer.handle)
    assert (held(buffer) == bytes_of(100)).all()


def test_a_buffer_that_was_given_back_is_known_for_it(device: Starter) -> None:
    old = device.alloc(64)
    device.free(old, 64)
    new = device.alloc(64)  # in the same place
    for call in (
        lambda: device.copy_in(old, memoryview(bytes(64))),
        lambda: device.free(old, 64),
    ):
        with pytest.raises(DeviceError, match="is no buffer: never given out, or given back"):
            call()
    device.copy_in(new, memoryview(bytes(64)))
    device.free(new, 64)


def test_more_than_there_is(device: Starter) -> None:
    with pytest.raises(OutOfMemoryError, match=r"no room for 1,152,921,504,606,846,976 bytes: .* malloc"):
        device.alloc(1 << 60)
    assert (held(place(device, bytes_of(9))) == bytes_of(9)).all()


def test_an_image_that_is_none_and_an_entry_that_it_lacks(device: Starter) -> None:
    with pytest.raises(DeviceError, match="refuses LOAD k of 4 bytes: the image does not load"):
        device.load(b"none", ["k"])
    with pytest.raises(DeviceError, match="the image has no entry other"):
        device.load(device.compile("void k(void *const *a, long first, long last) {}"), ["other"])


# --------------------------------------------------------------------------------------------- cycles


def test_cycles_of_the_last_launch_and_of_all() -> None:
    device = Starter()
    buffer = place(device, np.zeros(50, np.int32))
    for items in (50, 20):
        launch(device, "for (long i = first; i < last; i++) ((int *)a[0])[i] += i;", buffer, items=items)
    assert (device.launch_cycles, device.total_cycles) == (20, 70)
    assert (held(buffer).view(np.int32) == np.arange(50) * np.where(np.arange(50) < 20, 2, 1)).all()
    assert Ability.CLOCK not in device.spec.abilities
    with pytest.raises(DeviceError, match="no clock: the simulator counts work items"):
        device.launch_seconds()
    device.close()


class Clocked(Starter):
    """Whose work items are said to be cycles."""

    counts = "cycles"
    clock_hz = 2e6


def test_seconds_are_cycles_of_the_stated_clock() -> None:
    device = Clocked()
    assert Ability.CLOCK in device.spec.abilities
    assert device.spec.driver["clock"] == "2e+06 Hz"
    with pytest.raises(DeviceError, match="nothing was launched yet"):
        device.launch_seconds()
    launch(device, "", items=500)
    assert device.launch_seconds() == 500 / 2e6
    device.close()
    with pytest.raises(DeviceError, match="nothing was launched yet"):  # in this run
        device.launch_seconds()


# --------------------------------------------------------------------------------------------- starts


def test_programs_are_loaded_again_and_tensors_can_be_made_again() -> None:
    device = adopt(Starter("AGAIN"))

    def triple() -> np.ndarray:
        return (Tensor(np.arange(7, dtype=np.float32), device="AGAIN") * 3).numpy()

    kept = Tensor(np.arange(7, dtype=np.float32), device="AGAIN").realize()
    first = triple()
    with pytest.raises(DeviceError, match="SIG"):
        launch(device, "__builtin_trap();")
    assert (triple() == first).all()  # by the same program, which is kept as loaded
    with pytest.raises(LostError, match="a buffer of 28 bytes is lost: its simulator was ended by SIG"):
        kept.numpy()
    device.close()


def test_a_closed_one_starts_anew() -> None:
    device = Starter()
    buffer = place(device, bytes_of(10))
    device.close()
    device.close()
    device.synchronize()
    with pytest.raises(LostError, match="10 bytes is lost: its simulator was closed"):
        held(buffer)
    assert (held(place(device, bytes_of(10))) == bytes_of(10)).all()
    device.close()


def test_the_suite_goes_on_after_a_kernel_that_ends_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Starter("FRAGILE")
    compile_as_it_should = device.compile
    broken: list[str] = []

    def compile(source: str) -> bytes:
        if " recip_" in source and not broken:
            broken.append(source)
            source = re.sub(r"\{\n", "{\n  __builtin_trap();\n", source)
        return compile_as_it_should(source)

    monkeypatch.setattr(device, "compile", compile)
    monkeypatch.setattr(device, "compiler_key", lambda: "fragile")
    outcome = runner.run(device, Selection((Rung.PRIMITIVES,), "test_unary and float32"))
    wrong = {r.id: r.message for r in outcome.results if r.outcome == FAILED}
    assert len(broken) == 1
    assert set(wrong) == {"primitives::test_unary[RECIP-float32]"}
    assert "was ended by SIG" in next(iter(wrong.values()))
    device.close()


def test_a_death_that_only_the_guard_bands_find_out_is_not_passed_over() -> None:
    device = Starter()
    watch = Watch(device)
    watch.active = True
    handles = [watch.alloc(8) for _ in range(2)]
    assert device._process is not None
    device._process._process.kill()
    with pytest.raises(DeviceError, match="was ended by SIGKILL"):
        watch.look()
    assert watch.look() == []  # said once
    for handle in handles:
        watch.free(handle, 8)
    device.close()


def test_two_of_a_kind_hold_memory_of_their_own(device: Starter) -> None:
    other = Starter()
    mine, its = place(device, bytes_of(8, 1)), place(other, bytes_of(8, 2))
    with pytest.raises(DeviceError, match="a buffer of 8 bytes is another device's"):
        other.copy_out(memoryview(bytearray(8)), mine.handle)
    with pytest.raises(DeviceError, match="SIG"):
        launch(other, "__builtin_trap();", its)
    assert (held(mine) == bytes_of(8, 1)).all()
    other.close()


def test_threads_take_turns(device: Starter) -> None:
    def work(seed: int) -> bool:
        good = True
        for i in range(40):
            data = bytes_of(1 + 997 * i, seed)
            good &= bool((held(place(device, data)) == data).all())
        return good

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_buffers_that_the_collector_finds_do_not_come_between(device: Starter) -> None:
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for i in range(200):
            ring: list[object] = [Buffer(device, 8)]
            ring.append(ring)
            data = bytes_of(64, i)
            assert (held(place(device, data)) == data).all()
    finally:
        gc.set_threshold(*before)


def test_a_forked_child_has_a_simulator_of_its_own() -> None:
    device = Starter()
    buffer = place(device, bytes_of(16))
    with device._lock:  # as when another thread of the parent is in the middle of a request
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                try:
                    held(buffer)
                except LostError as e:
                    fresh = held(place(device, bytes_of(16, 3)))
                    status = 0 if "forked" in str(e) and (fresh == bytes_of(16, 3)).all() else 2
                device.close()
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (held(buffer) == bytes_of(16)).all()  # and the parent's lives
    device.close()


def test_opened_on_a_thread_that_ends() -> None:
    devices: list[Starter] = []
    thread = threading.Thread(target=lambda: devices.append(Starter()))
    thread.start()
    thread.join()
    assert (held(place(devices[0], bytes_of(5))) == bytes_of(5)).all()
    devices[0].close()


def test_leaving_without_closing_says_nothing() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from sim_support import Starter, place
import numpy as np
kept = place(Starter(), np.zeros(4, np.uint8))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---------------------------------------------------------------------------------------- the protocol


def ask(device: Starter, verb: int, body: bytes) -> tuple[Status, str]:
    """A request as it stands, of a wrong form."""
    assert device._process is not None
    answer = device._process.ask(verb, "it", body, seconds=60, answer=None)  # type: ignore[arg-type]
    return answer.status, answer.text


def test_requests_that_make_no_sense_are_refused_one_by_one(device: Starter) -> None:
    for verb in (Verb.HELLO, Verb.ALLOC, Verb.FREE, Verb.WRITE, Verb.READ, Verb.LOAD, Verb.LAUNCH):
        assert ask(device, verb, b"\x01\x00") == (Status.REFUSED, "the body is shorter than its verb wants")
    assert ask(device, 77, bytes(100_000)) == (Status.REFUSED, "verb 77 is none of version 1")
    assert ask(device, Verb.LAUNCH, protocol.launch_body(999, (1, 1, 1), (1, 1, 1), [])) == (
        Status.REFUSED, "no program 999",
    )  # fmt: skip
    launch(device, "")
    two = protocol.launch_body(1, (1, 2, 1), (1, 1, 1), [])
    assert "one axis" in ask(device, Verb.LAUNCH, two)[1]
    device.synchronize()


def test_the_page_says_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z]+)` \| (\d+) \|", text, re.MULTILINE))
    assert {name: int(n) for name, n in rows.items()} == {
        **{v.name: v.value for v in Verb}, **{s.name: s.value for s in Status if s.name != "NO_MEMORY"},
    }  # fmt: skip
    assert "| `NO_MEMORY` | 1 |" in text
    assert f"version {protocol.VERSION} of the protocol" in text
    assert f"`{protocol.MAGIC.decode()}`" in text


def test_the_starter_is_short_and_says_so_when_it_cannot_be_compiled(tmp_path: Path) -> None:
    files = render("simulator", ANSWERS)
    assert len(files["agent.c"].splitlines()) <= 250
    assert len(files["port.py"].splitlines()) <= 120
    path = tmp_path / "agent.c"
    path.write_text(files["agent.c"].replace("int main(void) {", "int main(void) { wrong;"))
    from portwright.core.errors import CompileError
    from portwright.devices.command_compiler import CommandCompiler
    from portwright.devices.sim_agent import agent

    with pytest.raises(CompileError, match="wrong"):
        agent(path, CommandCompiler("cc", PROGRAM))
