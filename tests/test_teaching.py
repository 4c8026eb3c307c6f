"""What a failure says: the call, what was expected, what came back, the line to open, and what to do next."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from portwright.conformance import report, runner
from portwright.conformance.ladder import Rung
from portwright.conformance.outcome import Outcome
from portwright.conformance.selection import Selection
from portwright.conformance.subject import subject_of
from portwright.conformance.teach import place
from portwright.core import registry
from portwright.core.device import Buffer
from portwright.core.example import example_of
from portwright.devices.cpu import CPU
from portwright.port import DeviceError, not_written


class Wrong(CPU):
    """The CPU port under another name, to be spoilt."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="WRONG", abilities=frozenset())


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    registry._opened.pop("WRONG", None)


def climb(port: type[Wrong], *rungs: Rung, keyword: str = "", stop: bool = False) -> Outcome:
    return runner.run(registry.adopt(port()), Selection(rungs, keyword, stop=stop), jobs=0)


def message(port: type[Wrong], rung: Rung, case: str) -> str:
    """What the only failure says."""
    outcome = climb(port, rung, keyword=case)
    (failure,) = outcome.failures
    return failure.message


def said(outcome: Outcome) -> str:
    """The screen of 80 columns."""
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False)
    report.show(outcome, subject_of(registry.open_device("WRONG")).said, console)
    console.print(report.advice(outcome))
    return out.getvalue()


class Stub(Wrong):
    def alloc(self, nbytes: int) -> int:
        raise not_written("memory of nbytes")


def raises(port: type[Wrong], method: str) -> str:
    """The line that a spoilt method raises in: the one after its head."""
    return place(__file__, getattr(port, method).__code__.co_firstlineno + 1)


def test_a_stub_says_all_that_it_takes_to_write_it() -> None:
    example = example_of("alloc")
    assert example is not None
    assert example.lines > 1
    assert message(Stub, Rung.MEMORY, "test_holds[64]").splitlines() == [
        "alloc is still to be written",
        "  call       alloc(nbytes=64)",
        "  expected   memory of nbytes",
        "  came back  nothing: alloc is not written yet",
        f"  open       {raises(Stub, 'alloc')}",
        f"  example    the port {example}",
        "  again      portwright certify WRONG --next",
    ]


def test_cases_that_stop_at_one_stub_are_told_once() -> None:
    outcome = climb(Stub, Rung.OPEN, Rung.MEMORY, Rung.COPY, stop=True)
    assert {r.rung for r in outcome.failures} == {Rung.OPEN}
    again = climb(Stub, Rung.MEMORY, stop=True)
    assert len(again.failures) > 5
    screen = said(again)
    assert screen.count("came back") == 1
    assert f"  and {len(again.failures) - 1} more cases fail for the same reason" in screen
    last = " ".join(screen.split())
    assert f"next: write alloc in {raises(Stub, 'alloc')}" in last
    assert "portwright certify WRONG --next" in last
    assert max(map(len, screen.splitlines())) <= 80


def test_a_rung_of_which_everything_fails_is_left_early() -> None:
    outcome = climb(Stub, Rung.COPY, stop=True)
    assert len(outcome.failures) == runner.MOST_FAILED < len(outcome.cases)
    assert not outcome.passed


class NoHandle(Wrong):
    def alloc(self, nbytes: int):
        super().alloc(nbytes)


def test_alloc_that_returns_nothing() -> None:
    told = message(NoHandle, Rung.MEMORY, "test_holds[64]")
    assert "  call       alloc(64)\n" in told
    assert "  came back  None: does the method return it?" in told
    with pytest.raises(DeviceError, match=r"alloc\(7\) of WRONG gives None: it must return a handle"):
        Buffer(NoHandle(), 7)


class CopiesNothingOut(Wrong):
    def copy_out(self, data: memoryview, handle: int) -> None:
        pass


class CopiesNothingIn(Wrong):
    def alloc(self, nbytes: int) -> int:
        address = super().alloc(nbytes)
        super().copy_in(address, memoryview(bytes(nbytes)))
        return address

    def copy_in(self, handle: int, data: memoryview) -> None:
        pass


class WholeWords(Wrong):
    def copy_in(self, handle: int, data: memoryview) -> None:
        super().copy_in(handle, data[: data.nbytes // 4 * 4])


class Exchanged(Wrong):
    def copy_in(self, handle: int, data: memoryview) -> None:
        super().copy_out(data, handle)


@pytest.mark.parametrize(
    ("port", "came_back"),
    [
        (CopiesNothingOut, "the host's bytes as they were before: nothing was copied out"),
        (CopiesNothingIn, "4095 zeros: did copy_in write nothing?"),
        (WholeWords, "those before it are right: a copy is of any number of bytes"),
        (Exchanged, "are source and destination exchanged?"),
    ],
    ids=lambda x: x.__name__ if isinstance(x, type) else "",
)
def test_copies_that_are_wrong(port: type[Wrong], came_back: str) -> None:
    told = " ".join(message(port, Rung.MEMORY, "test_holds[4095]").split())
    assert "expected the bytes" in told
    assert came_back in told
    assert "copy_in" in told


class TooFar(Wrong):
    def copy_in(self, handle: int, data: memoryview) -> None:
        super().copy_in(handle, data)
        if data.nbytes == 4095:
            super().copy_in(handle + 4095, memoryview(b"\x5a" * 3))


def test_a_copy_that_writes_too_much() -> None:
    told = message(TooFar, Rung.COPY, "test_there_and_back and 4095 and zeros")
    assert told.startswith("a copy writes the device's bytes beside what was asked for\n")
    assert "copy_in(handle, <4095 bytes>)" in told
    assert "3 bytes more changed, up to 3 bytes away" in told


class OneForAll(Wrong):
    def __init__(self) -> None:
        super().__init__()
        self.only = super().alloc(1 << 21)

    def alloc(self, nbytes: int) -> int:
        return self.only

    def free(self, handle: int, nbytes: int) -> None:
        pass


def test_buffers_that_overlap() -> None:
    told = message(OneForAll, Rung.MEMORY, "test_separate")
    assert told.startswith("buffer 0 of ")
    assert "was overwritten" in told
    assert "buffers do not overlap" in told


class Refuses(Wrong):
    def free(self, handle: int, nbytes: int) -> None:
        raise DeviceError("BAD_ADDRESS")

    def copy_in(self, handle: int, data: memoryview) -> None:
        data.no_such_thing  # noqa: B018 - what an author may get wrong


def test_what_a_method_raises_says_the_call_and_the_line() -> None:
    class Free(Refuses):
        def copy_in(self, handle: int, data: memoryview) -> None:
            CPU.copy_in(self, handle, data)

    told = message(Free, Rung.MEMORY, "test_holds[64]")
    assert "  call       free(handle=" in told
    assert "nbytes=64)" in told
    assert "  came back  DeviceError: BAD_ADDRESS" in told
    assert f"  open       {raises(Refuses, 'free')}" in told
    told = message(Refuses, Rung.MEMORY, "test_holds[64]")
    assert "  call       copy_in(handle=" in told
    assert "  came back  AttributeError: 'memoryview' object has no attribute 'no_such_thing'" in " ".join(
        told.split("\n             ")
    )
    assert f"  open       {raises(Refuses, 'copy_in')}" in told


class NoCompiler(Wrong):
    def compiler_key(self) -> str:  # not the CPU's, of which another test may have kept binaries
        return f"none, {super().compiler_key()}"

    def compile(self, source: str) -> bytes:
        return super().compile(source.replace("out0", "out 0"))

    def load(self, binary: bytes, entries: Sequence[str]) -> list[int]:
        raise AssertionError("nothing is compiled")


def test_one_complaint_of_a_compiler_is_told_once() -> None:
    outcome = climb(NoCompiler, Rung.PRIMITIVES, keyword="test_binary and int32", stop=True)
    assert len(outcome.failures) > 3
    screen = said(outcome)
    assert screen.count("CompileError") == 1
    assert "more cases fail for the same reason" in screen


def test_what_to_do_when_nothing_failed() -> None:
    outcome = climb(Wrong, Rung.OPEN, stop=True)
    assert outcome.passed
    assert "next: the rest of the ladder: portwright certify WRONG --next" in said(outcome)
