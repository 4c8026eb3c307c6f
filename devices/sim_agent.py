"""The starter simulator: a program that comes with a port, made by the port's own compiler when it opens."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..core.cache import compile_cache, digest
from .command_compiler import CommandCompiler


def agent(source: Path, compiler: CommandCompiler, through: str = "") -> list[str]:
    """The command that runs the program whose C text is ``source``; it is compiled when nothing kept fits.

    Args:
        source: the program's text.
        compiler: what makes a program of it that can be run.
        through: what runs the program where the host cannot: "qemu-riscv64 -L /usr/riscv64-linux-gnu".

    Raises:
        CompileError: when the compiler refuses it.
    """
    text = source.read_text(encoding="utf-8")
    key = digest("agent", compiler.key, text)
    cache = compile_cache()
    binary = cache.get(key)
    if binary is None:
        binary = compiler.compile(text)
        cache.put(key, binary)
    return [*shlex.split(through), str(cache.file(binary, ".agent", executable=True))]
