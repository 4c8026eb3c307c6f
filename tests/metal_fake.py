"""A fake of the Metal objects that the port uses, as pyobjc shows them, for tests of the port.

Kernels are run by the simulator. A command buffer runs when it is waited for, so that a read which does not
wait shows; every call is noted, and one that hands out objects without an autorelease pool is a fault.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from portwright.core.device import Buffer, Launch
from portwright.core.errors import CompileError
from portwright.devices.metal import Metal
from portwright.devices.metal_open import Framework
from portwright.devices.metal_sim import MetalSim


class FakeError:
    """An ``NSError``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def localizedDescription(self) -> str:
        return self.text


class FakeOptions:
    """``MTLCompileOptions``."""

    made: ClassVar[list[FakeOptions]] = []
    has_math_mode = False

    @classmethod
    def new(cls) -> FakeOptions:
        options = cls()
        options.said: dict[str, Any] = {}
        cls.made.append(options)
        return options

    def respondsToSelector_(self, name: bytes) -> bool:
        return self.has_math_mode and name == b"setMathMode:"

    def setMathMode_(self, mode: int) -> None:
        self.said["math"] = mode

    def setFastMathEnabled_(self, fast: bool) -> None:
        self.said["fast"] = fast

    def setLanguageVersion_(self, version: int) -> None:
        self.said["language"] = version


class FakeContents:
    """What ``contents`` gives: pyobjc's ``varlist``."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory

    def as_buffer(self, count: int) -> memoryview:
        return memoryview(self.memory)[:count]


class FakeBuffer:
    """An ``MTLBuffer``."""

    def __init__(self, nbytes: int) -> None:
        self.memory = np.zeros(nbytes, np.uint8)

    def length(self) -> int:
        return self.memory.size

    def contents(self) -> FakeContents:
        return FakeContents(self.memory)


class FakeCommands:
    """An ``MTLCommandBuffer`` with its one encoder."""

    def __init__(self, metal: FakeMetal) -> None:
        self.metal = metal
        self.work: list[Any] = []
        self.state = "open"
        self.failure: FakeError | None = None
        self.bound: dict[int, FakeBuffer] = {}

    def computeCommandEncoder(self) -> FakeCommands:
        self.metal.called("computeCommandEncoder")
        return self

    def setComputePipelineState_(self, pipeline: Any) -> None:
        self.pipeline, self.bound = pipeline, {}

    def setBuffer_offset_atIndex_(self, buffer: FakeBuffer, offset: int, index: int) -> None:
        assert offset == 0
        self.bound[index] = buffer

    def dispatchThreadgroups_threadsPerThreadgroup_(self, grid: Any, block: Any) -> None:
        self.metal.called("dispatch")
        assert self.state == "open"
        buffers = [self.bound[i] for i in range(len(self.bound))]
        self.work.append((self.pipeline.program, grid, block, buffers))

    def endEncoding(self) -> None:
        self.metal.called("endEncoding")
        self.state = "encoded"

    def commit(self) -> None:
        self.metal.called("commit")
        assert self.state == "encoded"
        self.state = "committed"

    def waitUntilCompleted(self) -> None:
        self.metal.called("wait")
        assert self.state == "committed"
        self.state = "done"
        if self.metal.failures:
            self.failure = self.metal.failures.pop(0)
            return
        for program, grid, block, buffers in self.work:
            held = [Buffer(self.metal.sim, b.memory.size) for b in buffers]
            for mine, theirs in zip(held, buffers, strict=True):
                mine.write(memoryview(theirs.memory))
            self.metal.sim.launch(Launch(program, grid, block, tuple(held)))
            for mine, theirs in zip(held, buffers, strict=True):
                mine.read(memoryview(theirs.memory))

    def status(self) -> int:
        return FakeMetal.MTLCommandBufferStatusError if self.failure else 4

    def error(self) -> FakeError | None:
        return self.failure

    def GPUStartTime(self) -> float:
        return 1.0

    def GPUEndTime(self) -> float:
        return 1.0 + 1e-6 * len(self.work)


class FakePipeline:
    """An ``MTLComputePipelineState``."""

    shared = 0

    def __init__(self, program: Any) -> None:
        self.program = program

    def maxTotalThreadsPerThreadgroup(self) -> int:
        return 512

    def staticThreadgroupMemoryLength(self) -> int:
        return self.shared


class FakeLibrary:
    """An ``MTLLibrary``."""

    def __init__(self, metal: FakeMetal, source: str) -> None:
        self.metal, self.source = metal, source
        self.binary = metal.sim.compile(source)

    def newFunctionWithName_(self, name: str) -> Any:
        self.metal.called("newFunctionWithName")
        if not re.search(rf"kernel void {name}\b", self.source):
            return None
        return self.metal.sim.load(self.binary, [name])[0]


class FakeDevice:
    """An ``MTLDevice`` of 1 MiB, and its command queue."""

    def __init__(self, metal: FakeMetal) -> None:
        self.metal = metal
        self.total = 1 << 20
        self.made: list[FakeBuffer] = []

    def name(self) -> str:
        return "fake"

    def maxThreadsPerThreadgroup(self) -> Any:
        return SimpleNamespace(width=1024, height=1024, depth=1024)

    def maxThreadgroupMemoryLength(self) -> int:
        return 32 << 10

    def recommendedMaxWorkingSetSize(self) -> int:
        return self.total

    def maxBufferLength(self) -> int:
        return self.total // 2

    def supportsFamily_(self, family: int) -> bool:
        return family in (FakeMetal.MTLGPUFamilyMetal3, FakeMetal.MTLGPUFamilyApple7)

    def newCommandQueue(self) -> FakeDevice:
        self.metal.called("newCommandQueue")
        return self

    def commandBuffer(self) -> FakeCommands:
        self.metal.called("commandBuffer")
        return FakeCommands(self.metal)

    def newBufferWithLength_options_(self, nbytes: int, options: int) -> FakeBuffer | None:
        self.metal.called("newBuffer")
        assert options == FakeMetal.MTLResourceStorageModeShared
        if self.metal.taken() + nbytes > self.total:
            return None
        buffer = FakeBuffer(nbytes)
        self.metal.buffers.append(buffer)
        return buffer

    def newLibraryWithSource_options_error_(self, source: str, options: FakeOptions, error: None) -> Any:
        self.metal.called("newLibrary")
        try:
            return FakeLibrary(self.metal, source), None
        except CompileError as e:
            line = re.search(r"<stdin>:(\d+):", e.log)
            number = line[1] if line else "1"
            return None, FakeError(f"program_source:{number}:1: error: {e.log.splitlines()[-1]}")

    def newComputePipelineStateWithFunction_error_(self, function: Any, error: None) -> Any:
        self.metal.called("newPipeline")
        if self.metal.refuses_pipelines:
            return None, FakeError("too many registers")
        return FakePipeline(function), None


class FakeMetal:
    """The module ``Metal``; the device and the pools beside it.

    Attributes:
        calls: what was called, in order.
        failures: errors with which the next command buffers end.
    """

    MTLResourceStorageModeShared = 0
    MTLCommandBufferStatusError = 5
    MTLGPUFamilyMetal3 = 5001
    MTLGPUFamilyApple7 = 1007
    MTLLanguageVersion3_1 = (3 << 16) + 1
    MTLLanguageVersion2_4 = (2 << 16) + 4
    MTLMathModeSafe = 0
    MTLCompileOptions = FakeOptions

    def __init__(self) -> None:
        self.sim = MetalSim()
        self.device = FakeDevice(self)
        self.calls: list[str] = []
        self.failures: list[FakeError] = []
        self.buffers: list[FakeBuffer] = []
        self.refuses_pipelines = False
        self.pools = 0

    @staticmethod
    def MTLSizeMake(x: int, y: int, z: int) -> tuple[int, int, int]:
        return (x, y, z)

    def called(self, name: str) -> None:
        assert self.pools > 0, f"{name} was called outside of an autorelease pool"
        self.calls.append(name)

    def taken(self) -> int:
        """Bytes of the buffers that somebody still refers to."""
        import gc
        import sys

        gc.collect()
        self.buffers = [b for b in self.buffers if sys.getrefcount(b) > 3]
        return sum(b.length() for b in self.buffers)

    @contextmanager
    def pool(self) -> Any:
        self.pools += 1
        try:
            yield
        finally:
            self.pools -= 1


class FakeMetalPort(Metal):
    """The port on fakes."""

    def __init__(self, system: tuple[int, ...] = (14, 5)) -> None:
        self.fake = FakeMetal()
        self._open(Framework(self.fake, self.fake.pool, self.fake.device, system))
