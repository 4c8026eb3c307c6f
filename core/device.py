"""The abstract device: what a port gives.

A port is a ``Device`` (memory, copies, compile, load, launch, synchronize), a ``Spec`` (what the device can
do, declared) and, where it is reached through a kernel language, a ``Dialect`` (what the language calls
things). Optional abilities are separate small protocols that a port lists in ``Spec.abilities``; nothing is
found by ``hasattr`` or by name.
"""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from .dtype import DType
from .errors import DeviceError, OutOfMemoryError
from .knobs import USUAL, Knobs
from .ops import ALL_OPS, CONTRACT_VERSION, Op, Tier
from .record import dataclass

if TYPE_CHECKING:
    from .compound import Compound
    from .dialect import Dialect
    from .graph import Node
    from .tile import Tile


class Evidence(enum.Enum):
    """What a certificate from this device may claim. The kinds never mix."""

    MEASURED = "measured"  # the real device
    EMULATED = "emulated"  # a simulator, or another vendor's driver
    COMPILED = "compiled"  # text accepted by the real compiler, nothing run


class Reach(enum.Enum):
    """How core drives the device."""

    KERNELS = "kernel language"  # core writes source, the device compiles and launches it
    DISPATCH = "dispatch"  # no compiler: the device computes one primitive at a time over its buffers


class Ability(enum.Enum):
    """Optional protocols."""

    REPLAY = "replay"  # many launches as one call: ``Replays``
    HOST_VIEW = "host view"  # its memory can be read in place: ``HostViews``
    CLOCK = "clock"  # it times its launches by itself: ``Clocks``
    LAST_WORDS = "last words"  # it writes down why it ends the process: ``LastWords``
    CALLS = "calls"  # it counts what it computed itself and what the host computed: ``CountsCalls``
    KILL = "kill"  # what it runs in can be ended at once, as by a loss of power: ``Kills``


class Extra(enum.Enum):
    """Operations that a device may offer beyond the contract."""

    FMA = "fma"  # a·b + c rounded once
    DIV = "div"  # a / b rounded once


@dataclass(frozen=True)
class Images:
    """Images of four-element pixels, as memory that is read through the texture cache.

    Attributes:
        width, height: the most pixels in a row, and rows.
        pitch: what the pixels of a row must be a multiple of.
        dtypes: what a pixel's elements may be.
    """

    width: int
    height: int
    pitch: int
    dtypes: frozenset[DType]


@dataclass(frozen=True)
class ImageView:
    """An image that a buffer is read through: rows of ``width`` pixels, of four ``dtype`` elements each."""

    width: int
    dtype: DType


@dataclass(frozen=True)
class Checker:
    """A tool that watches a device's kernels for what their results do not show.

    Attributes:
        tool: its name and version.
        finds: what it reports.
        blind: cases of the conformance suite that it cannot run, as patterns of their names ("casts::*"),
            each with the reason.
    """

    tool: str
    finds: str
    blind: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """What a device can do. Everything that core decides by device, it reads here.

    Attributes:
        name: the device's name, in capitals.
        dtypes: the dtypes it holds and computes in, by itself or after legalization.
        native: the primitives that it has: core builds the rest from these, or, of a device that is driven
            by dispatch, they run on the host.
        native_on: of a device that is driven by dispatch, the native primitives that it has on some dtypes
            only, with those; on others they run on the host.
        arithmetic: the dtypes that its language computes in; the others are stored narrow and computed wide.
        reach: how core drives it.
        evidence: what a certificate from it may claim.
        tier: the accuracy that it claims.
        flushes_subnormals: float results below the normal range become 0, everywhere.
        extras: operations beyond the contract.
        abilities: the optional protocols that the port implements.
        vector_bytes: bytes of a vector register; 0 of a device without vectors.
        vector_registers: how many of them.
        threads: how many work items make progress at once; how many pieces a kernel should have at least.
        cache_bytes: sizes of the data caches, nearest first: of one thread's own, the last one shared.
        private_bytes: scratch memory that a work item may have by itself, as on its stack; 0 where it had
            better have none, since many run at once and share what is near.
        memory_bytes: how much its buffers may hold together; 0 of a device that shares the host's memory, or
            does not know.
        local_bytes: memory that the threads of a block share; 0 of a device without.
        max_grid, max_block: launch limits: blocks on each axis, and threads of a block; a device whose
            max_block is 1 has no blocks, and shares the work items out by itself.
        block: threads of a block where a kernel asks for no number of its own.
        warp: threads of a block that run in step; 1 where none do.
        vector_lanes: the most lanes of a vector, of any dtype; 0: as many as its bytes hold.
        max_buffers: the most buffers that a kernel may take.
        tiles: tensor-core tiles that it offers, best first.
        compounds: larger operations that it offers beside their meaning, best first; none unless it says so.
        images: what its images can hold, of a device that reads memory through images.
        unified_memory: the host can read the device's memory in place.
        alignment: of a buffer's first byte.
        knobs: what the heuristic goes by where it has a choice; what a search finds goes before it.
        driver: what the device was reached through, with versions, for certificates.
        checker: what watches its kernels, of a device that was opened under such a tool.
    """

    name: str
    dtypes: frozenset[DType]
    native: frozenset[Op] = ALL_OPS
    native_on: Mapping[Op, frozenset[DType]] = field(default_factory=dict)
    arithmetic: frozenset[DType] = frozenset()
    reach: Reach = Reach.KERNELS
    evidence: Evidence = Evidence.MEASURED
    tier: Tier = Tier.FULL
    flushes_subnormals: bool = False
    extras: frozenset[Extra] = frozenset()
    abilities: frozenset[Ability] = frozenset()
    vector_bytes: int = 0
    vector_registers: int = 16
    threads: int = 1
    cache_bytes: tuple[int, ...] = (32 << 10, 512 << 10, 8 << 20)
    private_bytes: int = 0
    memory_bytes: int = 0
    local_bytes: int = 0
    max_grid: tuple[int, int, int] = (2**31 - 1, 1, 1)
    max_block: int = 1
    block: int = 1
    warp: int = 1
    vector_lanes: int = 0
    max_buffers: int = 1 << 16
    tiles: tuple[Tile, ...] = ()
    compounds: tuple[Compound, ...] = ()
    images: Images | None = None
    unified_memory: bool = False
    alignment: int = 64
    knobs: Knobs = USUAL
    driver: Mapping[str, str] = field(default_factory=dict)
    checker: Checker | None = None

    @property
    def legalized(self) -> frozenset[Op]:
        """The primitives that core builds from the native ones."""
        return ALL_OPS - self.native if self.reach is Reach.KERNELS else frozenset()

    @property
    def on_host(self) -> frozenset[Op]:
        """The primitives that run on the host, of a device that is driven by dispatch."""
        return ALL_OPS - self.native if self.reach is Reach.DISPATCH else frozenset()

    @property
    def near_bytes(self) -> int:
        """Scratch memory of a work item that stays in the nearest cache but one; 0 where it has none."""
        caches = self.cache_bytes
        return min(self.private_bytes, caches[min(1, len(caches) - 1)]) if caches else 0

    def lanes(self, dtype: DType) -> int:
        """Elements of ``dtype`` in a vector register; 1 without vectors."""
        return self.lanes_of(dtype.itemsize)

    def lanes_of(self, itemsize: int) -> int:
        """Elements of ``itemsize`` bytes in a vector register; 1 without vectors."""
        lanes = max(1, self.vector_bytes // itemsize)
        return min(lanes, self.vector_lanes) if self.vector_lanes else lanes


@dataclass(slots=True)
class Launch:
    """One kernel to run: which program, over how many blocks and threads, on which buffers.

    Attributes:
        program: what ``Device.load`` gave.
        grid: how many work items (CPU-like devices) or blocks, on each axis.
        block: threads of a block on each axis; (1, 1, 1) on a device without blocks.
        buffers: the memory that it reads and writes, in the order of the kernel's arguments.
        images: for each buffer the image that it is read through; None: it is plain memory. Empty when no
            buffer is an image.
    """

    program: Any
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    buffers: tuple[Buffer, ...]
    images: tuple[ImageView | None, ...] = ()


class Device(ABC):
    """A port. One instance stands for one opened device; opening happens in ``__init__``.

    Handles are whatever the port likes: core passes them back and never looks inside.

    Every method may be called from any thread, and from several at once: kernels are compiled and loaded side
    by side, the garbage collector gives buffers back in whatever thread it runs, and users have threads too.

    Raises:
        DeviceError: from ``__init__`` when the device can't be opened: what is missing and how to mend it.
    """

    spec: Spec
    dialect: ClassVar[Dialect | None] = None
    variants: ClassVar[Mapping[str, str]] = {}
    """Other devices of this port's name, by what stands after the colon: where each is, "module:class".

    "sanitize" is the port under a checker, which ``portwright certify --sanitize`` opens. They are not
    inherited: they would open the other port."""
    opened_as: str | None = None
    """Set by the registry: how to ask for this very device again, with what was chosen after a colon."""
    contract: int = CONTRACT_VERSION
    """Set by the registry: the version of the contract that port and core agreed on."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "variants" not in cls.__dict__:
            cls.variants = {}

    @classmethod
    def environment(cls) -> Mapping[str, str]:
        """Environment variables that a process must be started with to open it; none unless a port says so.

        Raises:
            DeviceError: when what they are about is not installed.
        """
        return {}

    @classmethod
    def faults(cls, spec: Spec) -> Sequence[str]:
        """Ways in which the port contradicts itself that only its family knows of, for ``check_port``."""
        return ()

    @property
    def name(self) -> str:
        """The name it was opened by."""
        return self.opened_as or self.spec.name

    @abstractmethod
    def alloc(self, nbytes: int) -> Any:
        """``nbytes`` (at least 1) of memory, aligned to ``spec.alignment``.

        Raises:
            OutOfMemoryError: when there is none, with how much was asked for and how much is held.
        """

    @abstractmethod
    def free(self, handle: Any, nbytes: int) -> None:
        """Gives back what ``alloc`` gave. Work already launched on it still completes."""

    @abstractmethod
    def copy_in(self, handle: Any, data: memoryview) -> None:
        """Host bytes to the start of the device's memory; ``data`` may change once this returns."""

    @abstractmethod
    def copy_out(self, data: memoryview, handle: Any) -> None:
        """The start of the device's memory to host bytes, after all launched work that writes it."""

    def synchronize(self) -> None:  # noqa: B027 - a device that works in order has nothing to wait for
        """Returns when all launched work is done; raises what went wrong in it."""

    def compile(self, source: str) -> bytes:
        """Generated source, of one kernel or of several, to a binary that ``load`` takes; core keeps it.

        Raises:
            CompileError: with the compiler's log and the source.
        """
        raise DeviceError(f"{self.name} compiles nothing: it is driven by {self.spec.reach.value}")

    def load(self, binary: bytes, entries: Sequence[str]) -> list[Any]:
        """The kernels named ``entries`` of a binary, ready to launch."""
        raise DeviceError(f"{self.name} loads nothing: it is driven by {self.spec.reach.value}")

    def launch(self, launch: Launch) -> None:
        """Starts a kernel; may return before it is done."""
        raise DeviceError(f"{self.name} launches nothing: it is driven by {self.spec.reach.value}")

    def player(self, recording: Any) -> Callable[[], None]:
        """``Replays.replay`` of a recording, as a function of nothing: it may be quicker than a method is."""
        return lambda: cast(Replays, self).replay(recording)

    def compiler_key(self) -> str:
        """What a kept binary depends on besides its source: compiler, version, flags, target."""
        return self.spec.name

    def close(self) -> None:  # noqa: B027 - nothing to give back unless the port holds something
        """Gives everything back. The device is not used afterwards; others of its kind do not notice."""


class Computes(Protocol):
    """A device driven by dispatch: it computes a piece of the graph itself, in its own memory."""

    def compute(
        self, roots: Sequence[Node], inputs: Mapping[Node, Buffer], outputs: Sequence[Buffer]
    ) -> None:
        """Computes nodes into its memory.

        Args:
            roots: what to compute, of at least one element each.
            inputs: the leaves, with the memory that holds each: its elements in a row. Read only.
            outputs: for each root the memory to fill, its elements in a row; none of it is an input's.
        """


class Replays(Protocol):
    """``Ability.REPLAY``: a fixed list of launches that can be run again in one call."""

    def record(self, launches: Sequence[Launch]) -> Any:
        """Prepares the launches; the recording is run by ``replay`` and rebound by ``rebind``."""

    def rebind(self, recording: Any, launch: int, argument: int, buffer: Buffer) -> None:
        """Sets one argument of one launch to another buffer."""

    def replay(self, recording: Any) -> None:
        """Runs the launches in order."""


class HostViews(Protocol):
    """``Ability.HOST_VIEW``: zero-copy access from the host."""

    def host_view(self, handle: Any, nbytes: int) -> memoryview:
        """The device's memory itself, valid while the handle is."""


class Clocks(Protocol):
    """``Ability.CLOCK``: how long kernels run by the device's own clock, without the way there."""

    def launch_seconds(self) -> float:
        """Seconds that the last launch ran; waits for it.

        Raises:
            DeviceError: when nothing was launched yet.
        """


class LastWords(Protocol):
    """``Ability.LAST_WORDS``: why a kernel ended the process is written down before it does."""

    def last_words(self, path: str) -> None:
        """From now on, in files whose names begin with ``path``."""


class Kills(Protocol):
    """``Ability.KILL``: what becomes of a device that is lost can be tried on this one."""

    def kill(self) -> None:
        """Ends what the device runs in, at once and from any thread, and tells nobody.

        Whoever uses it next finds out, by a DeviceError that says so. From then on its buffers are lost, and
        raise ``LostError``; what else is asked of it is done as if it had just been opened.
        """


@dataclass
class Calls:
    """How often a device computed a primitive itself, and how often the host did it for the device."""

    native: Counter[Op] = field(default_factory=Counter)
    host: Counter[Op] = field(default_factory=Counter)


class CountsCalls(Protocol):
    """``Ability.CALLS``: what ran where is counted, since the device was opened."""

    calls: Calls


class Buffer:
    """A piece of a device's memory. It goes back when nothing refers to it any more.

    Attributes:
        device: whose memory.
        nbytes: how much was asked for (0 is allowed: nothing is allocated).
        handle: the port's own.
        keep: what must live as long as this does (host memory that is used in place).
        serial: how many buffers were made before it, in this process.
    """

    __slots__ = ("__weakref__", "device", "handle", "keep", "nbytes", "serial")
    serials: ClassVar[Iterator[int]] = count()

    def __init__(self, device: Device, nbytes: int, handle: Any = None, keep: object = None) -> None:
        self.device = device
        self.nbytes = nbytes
        self.keep = keep
        self.serial = next(self.serials)
        if nbytes > sys.maxsize:
            raise OutOfMemoryError(
                f"{device.name} has no room for {nbytes:,} bytes: no machine has. Use smaller tensors"
            )
        self.handle = device.alloc(max(nbytes, 1)) if handle is None else handle
        if self.handle is None:
            raise DeviceError(
                f"alloc({max(nbytes, 1)}) of {device.name} gives None: it must return a handle, which "
                "free, copy_in, copy_out and launch are then given"
            )

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if ends():  # the port's own module may be gone, and all memory goes with the process
            return
        handle = getattr(self, "handle", None)  # None when alloc raised
        if handle is not None and self.keep is None:
            self.device.free(handle, max(self.nbytes, 1))

    def write(self, data: memoryview) -> None:
        """Fills it from host bytes of the same number."""
        if self.nbytes:
            self.device.copy_in(self.handle, data)

    def read(self, data: memoryview) -> None:
        """Copies it to host bytes of the same number."""
        if self.nbytes:
            self.device.copy_out(data, self.handle)
