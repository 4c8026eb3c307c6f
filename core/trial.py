"""A plugin tried in a process of its own, so that whatever it does there is one line here.

It may raise, leave, hang, crash or print without end while it is imported or opened: the process is given a
number of seconds for each, by ``PORTWRIGHT_PROBE_SECONDS``, and is ended with all that it started. The other
side is ``probe``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict

from .cache import compile_cache, digest
from .errors import CacheError, DeviceError
from .locate import fingerprint
from .offers import Offer
from .opening import OpeningError, State, mend_of, one_line

VARIABLE = "PORTWRIGHT_PROBE_SECONDS"
_USUAL = 20.0
_START = 60.0
"""Seconds for Python and Portwright to start there, on a machine that is busy."""
_LOOK = 0.02
_GRACE = 2.0
"""Seconds for a process that has answered, or was told to end, to go."""
_KEPT = 1 << 14
"""Bytes that are kept of what it prints."""
_FRAME = re.compile(r'^  File "(.+)", line (\d+)', re.M)
_MODULE = f"{__package__}.probe"


def seconds() -> float:
    """How long importing a plugin may take, and opening it; 0: they are not tried apart.

    Raises:
        DeviceError: when ``PORTWRIGHT_PROBE_SECONDS`` is no such number.
    """
    stated = os.environ.get(VARIABLE, "").strip()
    try:
        limit = float(stated) if stated else _USUAL
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise DeviceError(f"{VARIABLE} is {stated!r}: set it to a number of seconds, 0 or more, or unset it")
    return limit


class Trial:
    """One plugin that is being tried. Leaving its ``with`` ends it.

    Args:
        offer: which.
        opens: it is opened too, and not only imported.
        limit: seconds for each of the two.

    Raises:
        OpeningError: when no process can be started.
    """

    def __init__(self, offer: Offer, *, opens: bool, limit: float) -> None:
        self._offer, self._limit = offer, limit
        path = [os.path.abspath(p) for p in sys.path]
        request = {"offer": asdict(offer), "opens": opens, "path": path}
        environment = {**os.environ, VARIABLE: "0", "PYTHONPATH": os.pathsep.join(path)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, json.dumps(request)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as e:
            raise OpeningError(
                State.CANNOT_OPEN, f"it cannot be tried in a process of its own: {e}", f"Set {VARIABLE}=0"
            ) from e
        self._step, self._since = "start", time.monotonic()
        self._verdict: dict[str, str] | None = None
        self._printed = b""
        self._readers = [threading.Thread(target=t, daemon=True) for t in (self._hear, self._drain)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _hear(self) -> None:
        """Follows the steps that the process says it takes."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                said = json.loads(line)
                if "step" in said:
                    self._step, self._since = said["step"], time.monotonic()
                else:
                    self._verdict = said

    def _drain(self) -> None:
        """Keeps the last of what is printed."""
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._printed = (self._printed + piece)[-_KEPT:]

    def wait(self) -> None:
        """Returns when the plugin was imported, and opened if that was asked for.

        Raises:
            OpeningError: when it was not: how far it came, and what became of it.
        """
        while self._verdict is None and self._process.poll() is None and self._left() > 0:
            time.sleep(_LOOK)
        hung = self._verdict is None and self._process.poll() is None
        status = self._end(told=hung)
        if self._verdict is None:
            raise self._died(hung, status)
        state = State(self._verdict["state"])
        if state is not State.READY:
            raise OpeningError(state, self._verdict["cause"], self._verdict["mend"])

    def _left(self) -> float:
        """Seconds until the step that it is at has taken too long."""
        limit = max(self._limit, _START) if self._step == "start" else self._limit
        return self._since + limit - time.monotonic()

    def _end(self, told: bool = False) -> int:
        """Ends the process and what it started; its exit status.

        Args:
            told: it is first told to say where it is.
        """
        if told:
            self._send(signal.SIGABRT)
        try:
            status = self._process.wait(_GRACE if told or self._verdict else 0)
        except subprocess.TimeoutExpired:
            status = 0
        self._send(getattr(signal, "SIGKILL", signal.SIGTERM))  # those that it started, too
        status = self._process.wait() or status
        for reader in self._readers:
            reader.join(_GRACE)
        return status

    def _send(self, number: int) -> None:
        """A signal to the process and all that it started."""
        if sys.platform == "win32":
            self._process.kill()
            return
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # it is gone, with all of them
            return

    def _died(self, hung: bool, status: int) -> OpeningError:
        """What became of a process that did not answer."""
        what = {"start": "the process to try it in", "import": "its import", "open": "opening it"}[self._step]
        state = State.IMPORT_FAILED if self._step == "import" else State.CANNOT_OPEN
        printed = self._printed.decode(errors="replace")
        where = self._where(printed, hung)
        mend = mend_of(self._offer)
        if hung:
            cause = f"{what} ran past {self._limit:g} s{where}"
            return OpeningError(state, cause, f"{mend}; {VARIABLE} gives it more time")
        if status < 0:
            return OpeningError(state, f"{what} died by signal {-status} ({_signal(-status)}){where}", mend)
        last = printed.strip().rpartition("\n")[2]
        said = f", having said: {one_line(last)}" if last else ""
        return OpeningError(state, f"{what} ended the process with exit status {status}{said}", mend)

    def _where(self, printed: str, hung: bool) -> str:
        """The line that Python says it was at: of the plugin's own, where one of them was being run."""
        # Of its threads, a crash marks the one that crashed; the main one, which is told to end, comes last.
        dump = printed.rfind("(most recent call first)" if hung else "Current thread")
        frames = list(_FRAME.finditer(printed, dump)) if dump >= 0 else []
        home = str(self._offer.file.parent) if self._offer.file else ""
        own = [f for f in frames if home and f[1].startswith(home)]
        return " at {}:{}".format(*(own or frames)[0].groups()) if frames else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def vouch_for(offer: Offer) -> None:
    """Makes sure that a plugin can be imported here: it is tried apart, once for each content that it has.

    Portwright's own ports, and what this process has imported already, need no such thing.

    Raises:
        OpeningError: when it cannot.
    """
    limit = seconds()
    if not limit or offer.is_ours or offer.module in sys.modules:
        return
    key = _key(offer)
    if key is not None and compile_cache().get(key) is not None:
        return
    with Trial(offer, opens=False, limit=limit) as trial:
        trial.wait()
    if key is not None:
        try:
            compile_cache().put(key, b"imports")
        except CacheError:
            return  # then the next process tries it again


def _key(offer: Offer) -> str | None:
    """What a verdict depends on; None: it is not kept."""
    file = offer.file
    try:
        content = fingerprint(offer.module, file) if file is not None else None
    except OSError:
        return None
    if content is None:
        return None
    return digest(
        "imports", sys.executable, sys.version, offer.distribution, offer.version, offer.value, content
    )
