"""The frames that a simulator in a process of its own speaks: docs/porting/simulator.md is the same in words.

All numbers are little-endian. A request is a head of 16 bytes and a body; an answer is a head of 40 bytes and
a payload, which is a text in UTF-8 where the status is not OK.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from struct import Struct

from ..core.record import dataclass

VERSION = 1
MAGIC = b"PWSA"
"""What every answer begins with: text that was printed by accident does not."""
REQUEST = Struct("<IIQ")
"""Verb, number of the request, bytes of its body."""
ANSWER = Struct("<4sIIIQQQ")
"""MAGIC, status, verb, number, cycles of the last launch, cycles since HELLO, bytes of the payload."""
MOST_TEXT = 1 << 20
"""Bytes of a text; a longer one is taken for garbage."""

_HELLO = Struct("<IIQQIIII")
_HANDLE = Struct("<Q")
_TWO = Struct("<QQ")
_THREE = Struct("<QQQ")
_COUNT = Struct("<I")
_LAUNCH = Struct("<QIIIIIIII")


class Verb(enum.IntEnum):
    """What is asked of a simulator."""

    HELLO = 1
    ALLOC = 2
    FREE = 3
    WRITE = 4
    READ = 5
    LOAD = 6
    LAUNCH = 7
    SYNC = 8
    CLOSE = 9


class Status(enum.IntEnum):
    """How a request went. After each of them the simulator takes the next request."""

    OK = 0
    NO_MEMORY = 1  # there is no room for what ALLOC asked for
    REFUSED = 2  # the request has no meaning: a handle that is none, bytes outside of a buffer
    FAULT = 3  # the kernel went wrong: what it was to write holds anything


class FrameError(Exception):
    """What came is no frame of the protocol; the text says what it is."""


@dataclass(frozen=True)
class Hello:
    """What a simulator says of itself.

    Attributes:
        name, version: its own.
        counts: what its cycles are: "cycles", or what stands in for them.
        memory: bytes of memory; 0 where it does not say.
        data: the most bytes that a WRITE may carry and a READ ask for.
        max_buffers, max_block, max_grid: of a launch.
    """

    name: str
    version: str
    counts: str
    memory: int
    data: int
    max_buffers: int
    max_block: int
    max_grid: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Head:
    """The first 40 bytes of an answer."""

    status: Status
    launch_cycles: int
    total_cycles: int
    nbytes: int


def request(verb: Verb, number: int, nbytes: int) -> bytes:
    """The head of a request with a body of ``nbytes``."""
    return REQUEST.pack(verb, number, nbytes)


def head(raw: bytes | bytearray, verb: Verb, number: int, nbytes: int | None) -> Head:
    """The head of the answer to request ``number``.

    Args:
        raw: its 40 bytes.
        verb, number: of the request.
        nbytes: how many bytes the payload must have where the status is OK; None: it is a text.

    Raises:
        FrameError: when it is another's, or none.
    """
    magic, status, verb_of, number_of, launch, total, size = ANSWER.unpack(raw)
    if magic != MAGIC:
        raise FrameError(f"answered {printable(raw)}, which is no frame")
    if (verb_of, number_of) != (verb, number):
        raise FrameError(
            f"answered request {number_of} (verb {verb_of}) to request {number} (verb {int(verb)})"
        )
    if status not in list(Status):
        raise FrameError(f"answered with status {status}, which there is not")
    is_text = status != Status.OK or nbytes is None
    if size > MOST_TEXT if is_text else size != nbytes:
        wanted = f"at most {MOST_TEXT:,}" if is_text else f"{nbytes:,}"
        raise FrameError(f"answered with {size:,} bytes where there must be {wanted}")
    return Head(Status(status), launch, total, size)


def printable(raw: bytes | bytearray) -> str:
    """What came in place of a head, as a message shows it; less the answer that may follow."""
    return repr(bytes(raw).partition(MAGIC)[0] or bytes(raw)).removeprefix("b")


def hello_body() -> bytes:
    """The version that Portwright speaks."""
    return _COUNT.pack(VERSION)


def hello(payload: bytes | bytearray) -> Hello:
    """What a simulator answered to HELLO.

    Raises:
        FrameError: when it speaks another version, or its answer is short.
    """
    if len(payload) >= _COUNT.size and _COUNT.unpack_from(payload)[0] != VERSION:
        raise FrameError(
            f"speaks version {_COUNT.unpack_from(payload)[0]} of the protocol, and Portwright {VERSION}"
        )
    if len(payload) < _HELLO.size:
        raise FrameError(f"answered HELLO with {len(payload)} bytes where there must be {_HELLO.size}")
    _, buffers, memory, data, block, *grid = _HELLO.unpack_from(payload)
    lines = payload[_HELLO.size :].decode("utf-8", "replace").split("\n")
    if len(lines) != 3 or not all(lines):
        raise FrameError("answered HELLO without three lines: its name, its version and what it counts")
    if not (data and buffers and block and all(grid)):
        raise FrameError("answered HELLO with limits that no device can have")
    name, version, counts = lines
    return Hello(name, version, counts, memory, data, buffers, block, (grid[0], grid[1], grid[2]))


def alloc_body(nbytes: int, alignment: int) -> bytes:
    """Of ALLOC."""
    return _TWO.pack(nbytes, alignment)


def handle_body(handle: int) -> bytes:
    """Of FREE."""
    return _HANDLE.pack(handle)


def write_body(handle: int, offset: int) -> bytes:
    """Of WRITE; the data follow."""
    return _TWO.pack(handle, offset)


def read_body(handle: int, offset: int, nbytes: int) -> bytes:
    """Of READ."""
    return _THREE.pack(handle, offset, nbytes)


def load_body(entry: str) -> bytes:
    """Of LOAD; the binary follows."""
    name = entry.encode()
    return _COUNT.pack(len(name)) + name


def launch_body(
    program: int, grid: tuple[int, int, int], block: tuple[int, int, int], handles: Sequence[int]
) -> bytes:
    """Of LAUNCH."""
    head = _LAUNCH.pack(program, *grid, *block, len(handles), 0)
    return head + Struct(f"<{len(handles)}Q").pack(*handles)


def number_of(payload: bytes | bytearray) -> int:
    """The handle or program that ALLOC and LOAD answer with."""
    number: int = _HANDLE.unpack(payload)[0]
    return number


ANSWERS = {
    Verb.HELLO: None,
    Verb.ALLOC: _HANDLE.size,
    Verb.LOAD: _HANDLE.size,
    Verb.FREE: 0,
    Verb.WRITE: 0,
    Verb.LAUNCH: 0,
    Verb.SYNC: 0,
    Verb.CLOSE: 0,
}
"""Bytes of the payload by verb; None: a text's worth. READ answers with as many as were asked for."""
