"""What every case is given: the device under test, its claims, seeded numbers, and a way to run a graph."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from ..core import engine, graph
from ..core.closing import close
from ..core.device import Buffer, Device, Evidence, Launch, Reach, Spec
from ..core.dialect import NamedKernel
from ..core.dtype import DType, as_dtype
from ..core.graph import GraphOp, Node
from ..core.ops import Op
from ..core.plan import KernelInfo
from ..core.registry import open_another, open_device
from .inputs import Rng
from .judge import Accuracy, Mismatch, judge, merged, require_unchanged
from .speed import Timing
from .watch import Watch

Array = np.ndarray[Any, np.dtype[Any]]
P = TypeVar("P")
"""The operands of a part of a sweep."""
PATIENCE = 20.0
"""Seconds that may be spent on making a failure smaller."""


def place(array: Array, device: str) -> Node:
    """A leaf of the graph that holds ``array`` in the memory of ``device``: nothing can fold it."""
    held = np.ascontiguousarray(array).reshape(array.shape)
    storage = Buffer(open_device(device), held.nbytes)
    storage.write(memoryview(held.reshape(-1).view(np.uint8)))
    return graph.buffer(storage, held.shape, as_dtype(held.dtype))


class Case:
    """One case being run.

    Attributes:
        name: the device's name.
        seed: of the whole run.
        id: the case's own name, "primitives::test_unary[SIN-float32]".
        accuracy: how far from exact what was measured lay.
        timing: how long the case's job took, of a case of the rung of speed.
        watch: of the device's buffers, while the suite runs.
        patience: seconds that may be spent on making a failure smaller; 0: it is told as it is.
        looked: seconds that were spent on looking further into a failure.
        ran: the values that were realized last, or that show the failure.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        id_: str,
        watch: Watch | None = None,
        *,
        patience: float = PATIENCE,
        refuge: Path | None = None,
    ) -> None:
        self.name = name
        self.seed = seed
        self.id = id_
        self.accuracy: list[Accuracy] = []
        self.timing: Timing | None = None
        self.watch = watch
        self._placed: list[tuple[Node, Array]] = []
        self.patience = patience
        self.looked = 0.0
        self.ran: tuple[Node, ...] = ()
        self._refuge = refuge

    @property
    def device(self) -> Device:
        """The device under test."""
        return open_device(self.name)

    @property
    def spec(self) -> Spec:
        """Its claims."""
        return self.device.spec

    @cached_property
    def rng(self) -> Rng:
        """Numbers that depend on the run's seed and the case's name only."""
        digest = hashlib.sha256(f"{self.seed}:{self.id}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))

    @property
    def compiles_only(self) -> bool:
        """Whether nothing is run on the port, so that a case is over once the compiler has its kernels."""
        return self.spec.evidence is Evidence.COMPILED

    def claims(self, *dtypes: DType) -> None:
        """Skips the case when the port does not claim these dtypes; it stays in the denominator."""
        missing = sorted({d.name for d in dtypes if d not in self.spec.dtypes})
        if missing:
            pytest.skip(f"{self.name} does not claim {', '.join(missing)}")

    def claims_speed(self) -> None:
        """Skips the case of a device whose times would say nothing about the chip."""
        if self.spec.evidence is not Evidence.MEASURED:
            seen = self.spec.evidence.value
            pytest.skip(f"{self.name} is {seen}: its times would say nothing about the chip")
        if self.spec.checker is not None:
            pytest.skip(f"{self.name} is watched by {self.spec.checker.tool}, whose times these would be")

    def place(self, array: Array) -> Node:
        """``array`` in the device's memory. That nothing changes it is checked when the case is over."""
        node = place(array, self.name)
        self._placed.append((node, np.array(array)))
        return node

    def run(self, *nodes: Node) -> list[Array]:
        """Realizes the nodes together and gives their arrays."""
        self.ran = nodes
        engine.realize(list(nodes), self.name)
        return [engine.read(n) for n in nodes]

    def shows(self, nodes: Sequence[Node]) -> None:
        """Says which values show the failure, where those that were realized last do not."""
        self.ran = tuple(nodes)

    @contextmanager
    def kept(self, error: Exception) -> Iterator[None]:
        """While more is tried, a failure is kept on disk: it is not lost when the process ends there."""
        if self._refuge is not None:
            self._refuge.write_text(str(error), encoding="utf-8")
        start = time.monotonic()
        try:
            yield
        finally:
            self.looked += time.monotonic() - start
            if self._refuge is not None:
                self._refuge.unlink(missing_ok=True)

    def kernel(self, node: Node) -> KernelInfo:
        """The one kernel that computes ``node``; skips the case of a device that has no kernels."""
        if self.spec.reach is not Reach.KERNELS:
            pytest.skip(f"{self.name} is driven by {self.spec.reach.value}, not by kernels")
        self.shows([node])
        (made,) = engine.kernels([node], self.name)
        return made

    def run_edited(self, node: Node, old: str, new: str, x: Array) -> Array:
        """What the kernel of ``node``, which reads ``x`` alone, gives when a number in its text is another.

        Nobody but who runs the text that it is given can know.
        """
        made = self.kernel(node)
        assert old in made.source, f"the number {old} does not stand in the kernel:\n{made.source}"
        return self.launched(made, self.loaded(made, made.source.replace(old, new)), [x])[0]

    def run_each(self, node: Node, arrays: Sequence[Array]) -> list[Array]:
        """What the kernel of ``node``, which reads one array, gives of each; all in one buffer."""
        made = self.kernel(node)
        return self.launched(made, self.loaded(made, made.source), arrays)

    def loaded(self, made: KernelInfo, source: str) -> Any:
        """The program of a kernel's text, or of another that has its name, compiled and loaded anew."""
        (program,) = self.device.load(self.device.compile(source), [made.name])
        return program

    def loaded_together(self, kernels: Sequence[KernelInfo]) -> list[Any]:
        """Their programs, compiled anew as one text."""
        assert self.device.dialect is not None, "a device of kernels has a language"
        text = self.device.dialect.render([NamedKernel(k.name, k.scheduled) for k in kernels], self.spec)
        return self.device.load(self.device.compile(text), [k.name for k in kernels])

    def launched(self, made: KernelInfo, program: Any, arrays: Sequence[Array]) -> list[Array]:
        """What a program, launched as ``made`` is, gives of each array; all in one buffer."""
        launch = self._launch(made, program, arrays[0].nbytes)
        out, operand = launch.buffers
        results = []
        for x in arrays:
            got = np.zeros_like(x)
            operand.write(memoryview(x.view(np.uint8)))
            self.device.launch(launch)
            operand.write(memoryview(got.view(np.uint8)))  # what was launched reads what was there then
            self.device.synchronize()
            out.read(memoryview(got.view(np.uint8)))
            results.append(got)
        return results

    def launch_of(self, node: Node, x: Array) -> Launch:
        """The launch of the one kernel of ``node``, which reads ``x`` alone, in memory of its own."""
        made = self.kernel(node)
        launch = self._launch(made, self.loaded(made, made.source), x.nbytes)
        launch.buffers[1].write(memoryview(x.view(np.uint8)))
        return launch

    def _launch(self, made: KernelInfo, program: Any, nbytes: int) -> Launch:
        """Of a kernel that fills as many bytes as it reads."""
        buffers = (Buffer(self.device, nbytes), Buffer(self.device, nbytes))
        return Launch(program, (made.grid, 1, 1), (made.block, 1, 1), buffers)

    @contextmanager
    def filling(self, pattern: int | None, *, active: bool = True) -> Iterator[None]:
        """Inside, memory that nobody wrote holds this pattern; unless ``active``, it is the port's own."""
        with nullcontext() if self.watch is None else self.watch.filling(pattern, active):
            yield

    @contextmanager
    def another(self) -> Iterator[Device]:
        """One more device of the kind, closed at the end: by then it must have been given back what it gave.

        Raises:
            DeviceError: when it does not open.
            Mismatch: when something was written where it must not be, or is held.
        """
        device = open_another(self.name)
        if device is None:
            pytest.skip(f"{self.name} was opened by hand, and nobody said how another of its kind is")
        try:
            with Watch(device).installed() as watch:
                watch.active = self.watch is not None and self.watch.active
                watch.begin()
                yield device
                for fault in (*watch.look(), *watch.left()):
                    raise Mismatch(f"of another device of the kind: {fault}")
        finally:
            close(device)

    def primitive(self, op: Op, *operands: Array, dtype: DType | None = None) -> None:
        """Runs one primitive on arrays of one shape, judges it by the contract, and keeps its accuracy."""
        (got,) = self.run(graph.elementwise(op, *(self.place(x) for x in operands)))
        dtype = dtype or as_dtype(operands[-1].dtype)
        self.keep(judge(op, dtype, got, operands, self.spec))

    def sweep(self, parts: Iterable[P], judged: Callable[[P], Accuracy | None]) -> None:
        """Judges a part after the other, and keeps the accuracy of all; what was placed for one is let go.

        Args:
            parts: the operands.
            judged: runs and judges those of one part.
        """
        measured = []
        for x in parts:
            measured.append(judged(x))
            self.unchanged()
        self.keep(merged([a for a in measured if a is not None]) if any(measured) else None)

    def keep(self, accuracy: Accuracy | None) -> None:
        """Keeps a measurement for the certificate."""
        if accuracy is not None:
            self.accuracy.append(accuracy)

    def finish(self) -> None:
        """Checks that what was placed is as it was, that nothing was written past the end of a buffer, and
        that every buffer is given back.

        Raises:
            Mismatch: when a kernel wrote where it must not, or something of the case is still held.
        """
        self.unchanged()
        if self.watch is None:
            return
        for fault in self.watch.look():
            raise Mismatch(fault)
        self.ran = ()
        for fault in self.watch.left():
            raise Mismatch(fault)

    def unchanged(self) -> None:
        """Checks that what was placed so far is as it was, and lets it go.

        Raises:
            Mismatch: when a kernel wrote into an input.
        """
        placed, self._placed = self._placed, []
        for node, before in placed:
            assert node.storage is not None
            require_unchanged(engine.read(node), before)

    def records(self) -> list[dict[str, Any]]:
        """The measurements, as JSON can hold them."""
        return [asdict(a) for a in self.accuracy]

    def sources(self) -> Sequence[str]:
        """The generated sources of what ran last; empty of a device that is not driven by kernels."""
        made = [n for n in self.ran if n.op is not GraphOp.BUFFER]
        for node in made:
            node.storage = None  # so that they are to be computed again
        return [k.source for k in engine.kernels(made, self.name) if k.source]
