"""A compiler that is a command: a file of source in, a file of binary out. Any vendor's, on any host."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ..core.cache import digest
from ..core.errors import CompileError, DeviceError
from .compiler_process import TIMEOUT, complaint, log, run

_ASKING = 30.0  # seconds in which a compiler says its version


class CommandCompiler:
    """A command line compiler: ``COMMAND FLAGS kernel.c -o kernel.out``.

    Attributes:
        command: the program's path, and the arguments that are always given.
        flags: what else it is given.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        flags: Sequence[str] = (),
        *,
        suffix: str = ".c",
        timeout: float = TIMEOUT,
    ) -> None:
        """Finds the program; nothing is run.

        Args:
            command: its name or path, and arguments: "acme-cc -m64", or a list of them. A relative path is
                meant from the folder that the process is in now. It runs in a temporary folder, so that
                arguments that name files name them from the root.
            flags: given after it.
            suffix: of the source's file, which tells many compilers the language.
            timeout: seconds for one compilation.

        Raises:
            DeviceError: when there is no such program, with where it was looked for.
        """
        said = command if isinstance(command, str) else shlex.join(command)
        try:
            words = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as e:
            raise DeviceError(f"the compiler's command {said!r} cannot be read: {e}") from e
        if not words:
            raise DeviceError("the compiler's command is empty: give its name, as in CommandCompiler('cc')")
        program = shutil.which(words[0])
        if program is None:
            raise DeviceError(_missing(words[0]))
        self.command = (str(Path(program).absolute()), *words[1:])
        self.flags = tuple(flags)
        self._suffix, self._timeout = suffix, timeout

    @cached_property
    def _says(self) -> str:
        """What ``--version`` prints; nothing of a compiler that has no such thing."""
        done = run([*self.command, "--version"], timeout=_ASKING)
        return done.stdout.strip() if done.returncode == 0 else ""

    @property
    def version(self) -> str:
        """The first line of what it says of itself; "no version" of a compiler that says nothing."""
        return self._says.partition("\n")[0].strip() or "no version"

    @cached_property
    def key(self) -> str:
        """What a binary depends on besides its source: command, flags, version, and the program's file."""
        file = Path(self.command[0]).resolve()
        try:
            stat = file.stat()
        except OSError as e:
            raise DeviceError(f"the compiler {file} cannot be looked at: {e}") from e
        return digest(*self.command, *self.flags, self._says, f"{stat.st_size} {stat.st_mtime_ns}")

    def compile(self, source: str) -> bytes:
        """A binary from a source text.

        Raises:
            CompileError: with the log, the source, and the line of it that the first error is about.
        """
        import tempfile

        try:
            with tempfile.TemporaryDirectory(prefix="portwright-") as name:
                folder = Path(name)
                text, binary = folder / f"kernel{self._suffix}", folder / "kernel.out"
                text.write_text(source, encoding="utf-8")
                command = [*self.command, *self.flags, text.name, "-o", binary.name]
                done = run(command, folder=folder, timeout=self._timeout)
                if done.returncode == 0 and binary.exists():
                    return binary.read_bytes()
        except OSError as e:
            raise CompileError(
                f"no room to compile in: {e}. Set TMPDIR to a folder that can be written"
            ) from e
        raise CompileError(complaint(command, done, source), log=log(done), source=source)


def _missing(program: str) -> str:
    """Where a program was looked for, and what to do."""
    if os.sep in program:
        path = Path(program).absolute()
        why = "is no program that can be run (chmod +x?)" if path.exists() else "does not exist"
        return f"the compiler {path} {why}. Correct its path, or install it there"
    return (
        f"the compiler {program!r} is in no folder of PATH. Install it, put its folder on PATH, or give "
        "its whole path"
    )
