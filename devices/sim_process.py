"""A simulator as a process: its pipes, a time limit on every request, and what is known of its end.

Nothing here waits without a limit: the pipes are polled, so that a simulator that hangs, writes to stderr
without end or answers before it has read the whole request blocks nobody. When the conversation cannot go on,
whatever the cause, the process is ended and every later request says why.
"""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import signal
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from ..core.errors import DeviceError, LostError
from ..core.record import dataclass
from . import sim_protocol as protocol
from .sim_limit import VARIABLE
from .sim_protocol import FrameError, Head, Status, Verb

LAST_WORDS = 4096
"""Bytes of stderr that are kept."""
MOST_LINES = 12
"""Lines of them that a message shows."""
PIPE_BYTES = 1 << 20
GRACE = 1.0
"""Seconds that a simulator has to end by itself once its stdin has ended."""
_READ = 1 << 16
_MOST_WAIT = 2**31 - 1  # milliseconds, all that poll takes
# Its stdin ends when the process that started it does, however that ends: then the simulator has a second.
_WATCHDOG = 'read -r _; sleep 1; kill -s KILL -- "-$0" 2>/dev/null'
_PAGE = "docs/porting/simulator.md"


class _EndError(Exception):
    """It closed its stdout."""


class _LateError(Exception):
    """It did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the payload, where it was not read to a place of the caller's."""

    status: Status
    payload: bytearray

    @property
    def text(self) -> str:
        """The payload of an error."""
        return self.payload.decode("utf-8", "replace").strip() or "it gave no reason"


class SimProcess:
    """One run of a simulator. The caller sees to it that one thread asks at a time.

    Args:
        name: of the device, for messages.
        command: what starts it.

    Attributes:
        launch_cycles, total_cycles: as the last answer said.

    Raises:
        DeviceError: when the command cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.command = shlex.join(command)
        self._lost = ""
        self.launch_cycles = self.total_cycles = 0
        self._number = 0
        self._said = bytearray()
        self._process = _start(name, command)
        watched, lifeline = os.pipe()
        with open(watched, closefd=True) as end:
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG, str(self._process.pid)],
                stdin=end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = (p.fileno() for p in pipes if p is not None)
        for fd in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(fd, False)
        for fd in (self._stdin, self._stdout):
            _widen(fd)
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._poll.register(self._stderr, select.POLLIN)
        self._writing = False
        self._end = weakref.finalize(self, _finish, self._process, self._watchdog, lifeline)
        self._lifeline = lifeline

    @property
    def lost(self) -> str:
        """Why it is gone, after the word "simulator"; empty while it runs."""
        return self._lost or ("" if self._end.alive else "ended with this process")

    # ------------------------------------------------------------------------------------------- asking

    def ask(
        self,
        verb: Verb,
        about: str,
        *parts: bytes | memoryview,
        seconds: float,
        answer: int | None = 0,
        into: memoryview | None = None,
    ) -> Answer:
        """One request and its answer.

        Args:
            verb: what is asked.
            about: the same for a message: "READ 4 bytes".
            parts: the body.
            seconds: how long it may take.
            answer: bytes of the payload; None: a text's worth.
            into: where the payload goes, in place of ``Answer.payload``.

        Raises:
            DeviceError: when no sense can be had from the simulator; it is ended then.
        """
        if self.lost:
            raise LostError(f"{self.name}: the simulator {self.lost}, before it was asked to {about}")
        self._number = (self._number + 1) & 0xFFFFFFFF
        body = [memoryview(p).cast("B") for p in parts]
        first = memoryview(protocol.request(verb, self._number, sum(p.nbytes for p in body)))
        out = deque(p for p in (first, *body) if p.nbytes)
        until = time.monotonic() + seconds
        try:
            head = self._head(out, verb, answer, until)
            payload = bytearray()
            place = into
            if place is None or head.status != Status.OK:
                payload = bytearray(head.nbytes)
                place = memoryview(payload)
            self._move(out, place, until)
        except _LateError:
            self.lose(f"did not answer within {seconds:g} s", ended=False)
            raise self.error(about, f"{VARIABLE} allows more") from None
        except _EndError:
            self.lose("closed its stdout", ended=True)
            raise self.error(about, "Start it by hand to see more") from None
        except FrameError as e:
            self.lose(str(e), ended=False)
            raise self.error(about, f"Its stdout carries frames and nothing else ({_PAGE})") from None
        except BaseException as e:  # Ctrl-C, a time limit of somebody else's: half a frame is on its way
            self.lose(f"was ended: {type(e).__name__} came while it was asked to {about}", ended=False)
            raise
        self.launch_cycles, self.total_cycles = head.launch_cycles, head.total_cycles
        return Answer(head.status, payload)

    def _head(self, out: deque[memoryview], verb: Verb, answer: int | None, until: float) -> Head:
        raw = bytearray(protocol.ANSWER.size)
        self._move(out, memoryview(raw), until, is_head=True)
        return protocol.head(raw, verb, self._number, answer)

    def _move(
        self, out: deque[memoryview], place: memoryview, until: float, *, is_head: bool = False
    ) -> None:
        """Fills ``place`` from stdout while ``out`` goes to stdin; after the payload, all of it."""
        got = 0
        while got < place.nbytes or (out and not is_head):
            if out:
                self._write(out)
            for fd in self._ready(bool(out), until):
                if fd == self._stderr:
                    self._listen()
                elif fd == self._stdout and got < place.nbytes:
                    n = os.readv(fd, [place[got:]])
                    if not n:
                        raise _EndError
                    got += n
                    came = bytes(place[: min(got, len(protocol.MAGIC))]) if is_head else b""
                    if not protocol.MAGIC.startswith(came):
                        raise FrameError(
                            f"answered {protocol.printable(bytes(place[:got]))}, which is no frame"
                        )

    def _ready(self, writing: bool, until: float) -> list[int]:
        """Pipes on which something can be done; at least one."""
        if writing != self._writing:
            if writing:
                self._poll.register(self._stdin, select.POLLOUT)
            else:
                self._poll.unregister(self._stdin)
            self._writing = writing
        left = until - time.monotonic()
        found = self._poll.poll(min(int(left * 1000) + 1, _MOST_WAIT)) if left > 0 else []
        if not found:
            raise _LateError
        return [fd for fd, _ in found]

    def _write(self, out: deque[memoryview]) -> None:
        """As much as the pipe takes; a simulator that reads no more is found out at its stdout."""
        try:
            n = os.writev(self._stdin, list(out)[:16])
        except BlockingIOError:
            return
        except BrokenPipeError:
            out.clear()
            return
        while out and n >= out[0].nbytes:
            n -= out.popleft().nbytes
        if n:
            out[0] = out[0][n:]

    def _listen(self) -> None:
        """Keeps the end of what stderr says."""
        said = os.read(self._stderr, _READ)
        if said:
            self._said += said
            del self._said[:-LAST_WORDS]
        else:
            self._poll.unregister(self._stderr)

    # ------------------------------------------------------------------------------------------- its end

    def lose(self, why: str, *, ended: bool) -> None:
        """Ends it and keeps the reason.

        Args:
            why: what it did, after the word "simulator".
            ended: it may have ended by itself, and how says more than ``why`` does.
        """
        if ended:
            with suppress(subprocess.TimeoutExpired):
                why = _end_of(self._process.wait(GRACE))
        self._lost = why
        self._kill_and_hear()
        self._end()

    def kill(self) -> None:
        """Ends it at once, from any thread, and keeps no reason: that is found out as of any other end."""
        if not self.lost:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _kill_and_hear(self) -> None:
        _kill(self._process)
        with suppress(BlockingIOError):  # a child of its own may hold its stderr open
            while said := os.read(self._stderr, _READ):
                self._said += said
        del self._said[:-LAST_WORDS]

    def error(self, about: str, mend: str) -> DeviceError:
        """What to raise once it is lost: what it was asked, and what to do."""
        lines = self._said.decode("utf-8", "replace").strip().splitlines()[-MOST_LINES:]
        words = "".join(f"\n    {line}" for line in lines)
        said = f" Its last words on stderr:{words}" if lines else " It said nothing on stderr."
        return DeviceError(
            f"{self.name}: the simulator {self.lost} when it was asked to {about}. {mend}. "
            f"What it held is lost; what is asked next starts another: {self.command}.{said}"
        )

    def close(self, seconds: float) -> None:
        """Ends it in order: CLOSE, the end of its stdin, a moment, and only then by force."""
        if not self.lost:
            self.ask(Verb.CLOSE, "CLOSE", seconds=seconds)
            self._lost = "was closed"
        self._end()

    def forget(self) -> None:
        """In a forked child: the simulator is the parent's, and stays."""
        if self._end.detach() is None:
            return
        self._lost = "belongs to the process that this one was forked from"
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self._lifeline)
        self._process.returncode = self._watchdog.returncode = 0  # nobody's children here


def _start(name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """The process, in a group of its own: it ends whole, and Ctrl-C is not for it."""
    try:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError, IndexError) as e:
        what = e.strerror if isinstance(e, OSError) else str(e)
        raise DeviceError(
            f"{name}: the simulator cannot be started: {what}: {shlex.join(command) or 'an empty command'}. "
            "Install it, or correct the port's command"
        ) from e


def _widen(fd: int) -> None:
    """A wider pipe moves large buffers twice as fast; where the system grants none, a narrow one serves."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _end_of(code: int) -> str:
    """How a process ended, in words."""
    shell = "ended with exit status {1}, a shell's word for {0}"
    for number, words in ((-code, "was ended by {0}"), (code - 128, shell)):
        with suppress(ValueError):
            return words.format(signal.Signals(number).name, code)
    return f"ended with exit status {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _finish(process: subprocess.Popen[bytes], watchdog: subprocess.Popen[bytes], lifeline: int) -> None:
    """The end of stdin, a moment, and force."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        _kill(process)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    watchdog.kill()
    watchdog.wait()
    os.close(lifeline)
