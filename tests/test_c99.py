"""ISO C99 as a language that ports start from: certified on the host, by a compiler that is strict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from portwright.conformance import runner
from portwright.conformance.selection import Selection
from portwright.core import dtype as dt
from portwright.core import registry
from portwright.devices.c99_dialect import C99
from portwright.devices.command_compiler import CommandCompiler
from portwright.devices.compiled_port import CompiledPort
from portwright.devices.host_runtime import HostRuntime
from portwright.devices.toolchain import find_toolchain
from portwright.port import ALL_OPS, Extra, Op, Spec

NOTHING_OF_GNU = ("-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror")
OF_GENERATED_TEXT = [
    f"-Wno-{what}"
    for what in ("type-limits", "unused-parameter", "unused-variable", "unused-function", "unknown-pragmas")
]
"""Warnings that do not matter: a constant compared with what no number of its dtype is less than."""
DEFINED = ("-fsanitize=signed-integer-overflow,shift", "-fsanitize-undefined-trap-on-error")
"""An integer operation without a meaning in C ends the process."""
NO_LIBRARY = ("-O1", "-fPIC", "-shared", "-nostdlib")


class PlainC(CompiledPort, HostRuntime):
    """The host, told of nothing that C99 has not."""

    dialect = C99

    def __init__(self, compiler: str) -> None:
        flags = (*NOTHING_OF_GNU, *OF_GENERATED_TEXT, *DEFINED, *NO_LIBRARY)
        self.compiler = CommandCompiler(compiler, flags)
        self.spec = Spec(
            "PLAINC",
            dtypes=frozenset(dt.ALL),
            native=ALL_OPS - {Op.SQRT, Op.EXP2, Op.LOG2, Op.SIN},
            arithmetic=frozenset(dt.ALL) - {dt.float16, dt.bfloat16} - dt.FLOAT8S,
            extras=frozenset({Extra.DIV}),
            threads=self.start(find_toolchain()),
            driver={"compiler": self.compiler.version},
        )


@pytest.fixture(params=["gcc", "clang"])
def plain(request: pytest.FixtureRequest) -> Iterator[PlainC]:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    yield PlainC(request.param)
    registry._opened.pop("PLAINC", None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", ["integers", "rest"])
def test_it_is_certified(plain: PlainC, part: str) -> None:
    """Integer arithmetic wraps without an operation that C leaves undefined; and something of every rung."""
    integers = "(test_binary or test_unary or test_one_operand) and int and not float"
    rest = "float32 and (test_unary or test_sum or test_matmul) or test_bitcast or softmax or test_mlp"
    outcome = runner.run(plain, Selection(keyword=integers if part == "integers" else rest), jobs=0)
    assert not outcome.failures, outcome.failures[0].message
    assert outcome.passed


def test_its_compiler_keeps_binaries_apart(plain: PlainC) -> None:
    other = CommandCompiler(plain.compiler.command, ["-std=c99"])
    assert plain.compiler_key() == plain.compiler.key != other.key
