"""The stream of events as people read it: plain lines on stderr, columns aligned, 100 wide."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from .node import Node, toposort
from .trace import (
    Compiled,
    DeviceOpened,
    Event,
    JitEvent,
    KernelPlanned,
    KernelRun,
    Loaded,
    Moved,
    Planned,
)

if TYPE_CHECKING:
    from .pipeline import Stages

WIDTH = 100
_RUNS, _TREES, _SOURCE, _GRAPH, _BINARY = 2, 3, 4, 5, 6
_REPEATED = 8
"""Lines that two sources in a row may begin with before the second is shown without them."""


class Screen:
    """Prints what happens, up to a level (see ``Debug``). A kernel's stages are printed once."""

    def __init__(self, level: int) -> None:
        self.level = level
        self._shown: set[str] = set()
        self._graph = ""
        self._source_before: list[str] = []

    def __call__(self, event: Event) -> None:
        """Prints an event."""
        for line in self.lines(event):
            print(line, file=sys.stderr)

    def lines(self, event: Event) -> Iterator[str]:
        """What an event looks like at this level."""
        if isinstance(event, DeviceOpened):
            yield f"{'opened':10}{event.device}"
            yield from (f"{'':10}{name}: {value}" for name, value in event.driver.items())
        elif isinstance(event, JitEvent):
            key = f"{event.what} {event.function}"
            if event.what == "replayed" and self.level < _RUNS and key in self._shown:
                return  # the first one is news, the others come with their kernels from level 2 on
            self._shown.add(key)
            yield f"{'jit':10}{event.what:10}{event.function}{f': {event.detail}' if event.detail else ''}"
        elif isinstance(event, KernelRun) and self.level >= _RUNS:
            yield from self._stages(event.stages, event.device)
            yield run_line(event)
        elif isinstance(event, Moved) and self.level >= _RUNS and event.kernels > 1:
            yield moved_line(event)
        elif isinstance(event, KernelPlanned) and self.level >= _TREES:
            if self.level >= _GRAPH and event.graph != self._graph:
                self._graph = event.graph
                yield f"{'graph':10}on {event.device}"
                yield from _indented(event.graph)
            if event.stages is not None:
                yield from self._stages(event.stages, event.device)
        elif isinstance(event, Planned) and self.level >= _GRAPH:
            yield f"{'planned':10}{event.nodes} nodes in {_time(event.seconds)}"
        elif isinstance(event, Compiled) and self.level >= _BINARY:
            names = ", ".join(event.kernels)
            yield f"{'compiled':10}{names} on {event.device} in {_time(event.seconds)}"
            yield from (f"{'':10}{name}: {value}" for name, value in event.driver.items())
            yield from (f"{'':10}{line}" for line in event.log.splitlines())
        elif isinstance(event, Loaded) and self.level >= _BINARY:
            yield f"{'loaded':10}{event.kernel} on {event.device}{', kept from before' if event.kept else ''}"
            yield from disassembly(event.binary, event.kernel)

    def _stages(self, stages: Stages, device: str) -> Iterator[str]:
        if self.level < _TREES or stages.name in self._shown:
            return
        self._shown.add(stages.name)
        yield f"{'kernel':10}{stages.name} on {device}"
        yield from _indented(str(stages.fresh))
        if self.level >= _GRAPH and stages.scheduled is not stages.fresh:
            yield f"{'':10}legalized and scheduled"
            yield from _indented(str(stages.scheduled))
            yield f"{'':10}expanded and hoisted"
            yield from _indented(str(stages.final))
        if stages.compound is not None:
            yield f"{'':10}the device's own: it has no loops and no source here"
            return
        trail = stages.scheduled.trail
        yield f"{'':10}schedule: {'; '.join(trail) if trail else 'the loops as they are'}"
        if decisions := stages.scheduled.decisions:
            yield f"{'':10}decisions: {', '.join(map(str, decisions))}"
        if self.level >= _SOURCE and stages.source:
            yield f"{'':10}source"
            yield from self._source(stages.source)

    def _source(self, source: str) -> Iterator[str]:
        """A text, without the lines at its beginning that the one before it began with as well."""
        lines, before = source.splitlines(), self._source_before
        self._source_before = lines
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(lines, before, strict=False)))
        if same > _REPEATED:
            yield f"    … {same} lines as above"
            lines = lines[same:]
        yield from _indented("\n".join(lines))


def run_line(event: KernelRun) -> str:
    """One kernel's run on one line: device, name, time, bandwidth, operations, and the line that made it.

    Of a device that counts its calls, how many ran on it and how many on the host stand for the operations.
    """
    gb, gflop = event.nbytes / event.seconds / 1e9, event.flops / event.seconds / 1e9
    name = _cut(event.kernel, 30)
    rate = f"{gflop:8.2f} GFLOP/s"
    if event.calls is not None:
        rate = f"{event.calls.native.total():3} native {event.calls.host.total():3} host"
    head = f"{event.device:7} {name:30} {_time(event.seconds):>9} {gb:8.2f} GB/s {rate}"
    return f"{head}  {_cut(source_line(event.made_at), max(12, WIDTH - len(head) - 2))}".rstrip()


def moved_line(event: Moved) -> str:
    """What several kernels moved for one result, beside what one that keeps all between them near would."""
    share = event.nbytes / max(event.least, 1)
    return (
        f"{'moved':10}{_bytes(event.nbytes)} by {event.kernels} kernels, {_bytes(event.least)} is the least: "
        f"{share:.2f} times as much"
    )


def _bytes(n: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} bytes"


def source_line(made_at: str | None) -> str:
    """ "file:line code" of a place that the events name."""
    if made_at is None:
        return ""
    file, _, number = made_at.rpartition(":")
    code = linecache.getline(file, int(number)).strip()
    return f"{os.path.basename(file)}:{number} {code}".rstrip()


def graph_text(roots: Sequence[Node], reads: Collection[Node]) -> str:
    """The nodes that a kernel computes, numbered, operands first; those in memory are marked."""
    return "\n".join(_graph_lines(roots, set(reads)))


def _graph_lines(roots: Sequence[Node], held: set[Node]) -> Iterator[str]:
    number: dict[Node, int] = {}
    for node in toposort(roots, lambda n: n in held or n.storage is not None):
        number[node] = len(number)
        srcs = " ".join(f"%{number[s]}" for s in node.srcs if s in number)
        place = " in memory" if node in held else " -> memory" if node in roots else ""
        what = f"{node.op.name}{'' if node.arg is None or node in held else f' {node.arg}'}"
        text = f"%{number[node]} = {what} {srcs}".rstrip()
        yield f"{text} : {node.dtype}{list(node.shape)}{place}"


def disassembly(binary: bytes, kernel: str) -> Iterator[str]:
    """The machine code of a kernel, by ``objdump``; or why there is none."""
    import shutil
    import subprocess
    import tempfile

    tool = shutil.which("objdump")
    if tool is None:
        yield f"{'':10}no disassembly: objdump is not installed (it is in the package binutils)"
        return
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(binary)
        file.flush()
        command = [tool, "-d", "--no-show-raw-insn", f"--disassemble={kernel}", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{'':10}no disassembly: {done.stderr.strip() or 'objdump does not know the format'}"
        return
    text = done.stdout.splitlines()
    begin = next((i for i, line in enumerate(text) if f"<{kernel}>:" in line), 0)
    yield from (f"{'':10}{line.expandtabs(8)}" for line in text[begin:] if line.strip())


def _indented(text: str) -> Iterator[str]:
    return (f"    {line}" for line in text.splitlines())


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
