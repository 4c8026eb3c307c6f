"""Stand-in: a compiler that is a command, until the one of the c family is here."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ..core.cache import digest
from ..core.errors import CompileError, DeviceError


class CommandCompiler:
    """A compiler that is a command: C from standard input to a file.

    Args:
        command: the compiler; a text is split as a shell would.
        flags: what it is called with.
    """

    def __init__(self, command: str | Sequence[str], flags: Sequence[str] = ()) -> None:
        self.command = tuple(shlex.split(command) if isinstance(command, str) else command)
        self.flags = tuple(flags)

    @cached_property
    def version(self) -> str:
        """The first line that it says of itself."""
        if not self.command or shutil.which(self.command[0]) is None:
            raise DeviceError(f"no compiler {shlex.join(self.command)!r}: install it, or name another")
        done = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=False)
        return done.stdout.partition("\n")[0]

    @cached_property
    def key(self) -> str:
        """Everything that a binary depends on besides its source."""
        return digest(*self.command, self.version, *self.flags)

    def compile(self, source: str) -> bytes:
        """The binary.

        Raises:
            CompileError: with the log and the source.
        """
        with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
            out = Path(folder, "out")
            command = [*self.command, "-x", "c", "-", "-o", str(out), *self.flags]
            done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
            if done.returncode == 0 and out.exists():
                return out.read_bytes()
        raise CompileError(f"{self.command[0]} failed: {done.stderr}", log=done.stderr, source=source)
