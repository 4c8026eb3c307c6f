"""A simulator with one fault, as a program: ``python faulty_simulator.py FAULT VERB``; "none" has none.

It holds memory and launches nothing, and knows nothing of Portwright: what it speaks is what the page says.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from collections.abc import Callable

HELLO, ALLOC, FREE, WRITE, READ, LOAD, LAUNCH, SYNC, CLOSE = range(1, 10)
FAULT, VERB = sys.argv[1], int(sys.argv[2])
DATA = 1000 if FAULT != "reads nothing" else 1 << 30
"""Bytes of one WRITE or READ: few, so that a copy takes several."""
sent = sys.stdout.buffer
memory: dict[int, bytearray] = {}


def take(n: int) -> bytes:
    data = sys.stdin.buffer.read(n)
    if len(data) < n:
        sys.exit(0)
    return data


def send(raw: bytes) -> None:
    sent.write(raw)
    sent.flush()


def answer(verb: int, number: int, payload: bytes = b"", status: int = 0, size: int | None = None) -> None:
    size = len(payload) if size is None else size
    head = struct.pack("<4sIIIQQQ", b"PWSA", status, verb, number, 7, 70, size)
    send(head + payload)


def hello(version: int = 1, text: str = "faulty\n1.0\ncycles", data: int = DATA) -> bytes:
    return struct.pack("<IIQQIIII", version, 4, 0, data, 8, 100, 2, 1) + text.encode()


def work(verb: int, body: bytes) -> bytes:
    if verb == HELLO:
        return hello()
    if verb == ALLOC:
        memory[len(memory) + 1] = bytearray(struct.unpack("<QQ", body)[0])
        return struct.pack("<Q", len(memory))
    if verb == WRITE:
        handle, offset = struct.unpack("<QQ", body[:16])
        assert len(body) - 16 <= DATA
        memory[handle][offset : offset + len(body) - 16] = body[16:]
    if verb == READ:
        handle, offset, size = struct.unpack("<QQQ", body)
        return bytes(memory[handle][offset : offset + size])
    if verb == LOAD:
        return struct.pack("<Q", 1)
    return b""


def forever() -> None:
    while True:
        time.sleep(60)


def die(number: int) -> None:
    print("last words of the simulator", file=sys.stderr, flush=True)
    os.kill(os.getpid(), number)


def deaf() -> None:
    os.close(1)
    forever()


def shout(verb: int, number: int) -> None:
    """More than a pipe holds, on stderr, and then the answer."""
    for i in range(40000):
        print(f"line {i} " + 60 * "x", file=sys.stderr)
    answer(verb, number)


def count() -> bytes:
    """Another simulator at every start."""
    return hello(text=f"faulty\n{time.monotonic_ns()}\ncycles")


FAULTS: dict[str, Callable[[int, int], object]] = {
    "hangs": lambda v, n: forever(),
    "aborts": lambda v, n: die(signal.SIGABRT),
    "exits": lambda v, n: sys.exit(3),
    "closes": lambda v, n: deaf(),
    "prints": lambda v, n: (send(b"Loading model...\n"), answer(v, n)),
    "prints little": lambda v, n: (send(b"ok"), forever()),
    "other verb": lambda v, n: answer(v + 1, n),
    "other number": lambda v, n: answer(v, n - 1),
    "other status": lambda v, n: answer(v, n, status=99),
    "too long": lambda v, n: answer(v, n, b"12345678901234567"),
    "huge": lambda v, n: answer(v, n, status=2, size=1 << 40),
    "half": lambda v, n: (send(b"PWSA\0\0"), forever()),
    "refuses": lambda v, n: answer(v, n, "the reason: ö".encode(), status=2),
    "faults": lambda v, n: answer(v, n, b"illegal instruction at 0x80", status=3),
    "full": lambda v, n: answer(v, n, b"all is taken", status=1),
    "silent": lambda v, n: answer(v, n, status=2),
    "shouts": shout,
    "version": lambda v, n: answer(v, n, hello(version=2)),
    "newer": lambda v, n: answer(v, n, struct.pack("<I", 9)),
    "short": lambda v, n: answer(v, n, hello()[:20]),
    "nameless": lambda v, n: answer(v, n, hello(text="faulty")),
    "limits": lambda v, n: answer(v, n, hello(data=0)),
    "changes": lambda v, n: answer(v, n, count()),
}


def main() -> None:
    while True:
        verb, number, size = struct.unpack("<IIQ", take(16))
        if verb == VERB and FAULT == "reads nothing":
            forever()
        body = take(size)
        if verb == VERB and FAULT in FAULTS:
            FAULTS[FAULT](verb, number)
        else:
            answer(verb, number, work(verb, body))
            if verb == VERB and FAULT == "prints later":
                send(b"42\n")
        if verb == CLOSE:
            return


main()
