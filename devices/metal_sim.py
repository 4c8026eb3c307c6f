"""METAL:sim: the METAL port's generated text, run on the host; and the base of a vendor's simulator."""

from __future__ import annotations

import re
from typing import ClassVar

from ..core.errors import DeviceError
from .metal_spec import metal_spec
from .metal_text import MetalText
from .sim.heads import Head, Parameter, entry, heads
from .simulator import Simulator

_KERNEL = r"\bkernel\b(?=\s+void\b)"
_BUFFER = re.compile(r"buffer\((\d+)\)")
_THREADGROUP = re.compile(r"\bthreadgroup\b")
_DECLARATION = re.compile(r"\bthreadgroup\b(?:[^;*&()=\[\]{}]|\[[^\]]*\])*;")


class MetalSim(MetalText, Simulator):
    """The Metal Shading Language on the host.

    A vendor's, whose language has words of its own, names a ``shim`` of its own: the path of a header that
    defines them and includes "metal_shim.h".
    """

    shim: ClassVar[str] = "metal_shim.h"

    def __init__(self) -> None:
        super().__init__(self.stated(metal_spec(self.called, self.facts)))

    def entries(self, source: str) -> list[str]:
        """Every ``kernel``: its buffers by the number in their attribute, its indices by name."""
        out = []
        for head in heads(source, _KERNEL):
            numbers = {p: self._buffer(head, p) for p in head.parameters}
            buffers = {n: p for p, n in numbers.items() if n is not None}
            if sorted(buffers) != list(range(len(buffers))):
                raise DeviceError(
                    f"{self.name}: kernel {head.name} has buffers {sorted(buffers)}: number "
                    "them from 0, each once"
                )
            arguments = [
                f"pw::{p.attributes[0]}()" if n is None else p.argument(n) for p, n in numbers.items()
            ]
            out.append(entry(head.name, arguments, [buffers[n] for n in sorted(buffers)]))
        return out

    def _buffer(self, head: Head, parameter: Parameter) -> int | None:
        """The number of a buffer; None of an index."""
        if len(parameter.attributes) == 1:
            number = _BUFFER.fullmatch(parameter.attributes[0])
            if number:
                return int(number[1])
            if re.fullmatch(r"\w+", parameter.attributes[0]):
                return None
        raise DeviceError(
            f"{self.name}: kernel {head.name} takes {parameter.text!r} with attributes "
            f"{parameter.attributes}: one of [[buffer(n)]] and the thread's indices, and no memory of "
            "the threadgroup"
        )

    def defines(self, source: str) -> list[str]:
        """What ``threadgroup`` stands for on each line that has it: shared memory where it declares some.

        It cannot be one word for both: a pointer to such memory is a variable like any other.
        """
        declared: dict[int, set[bool]] = {}
        for found in _THREADGROUP.finditer(source):
            line = source.count("\n", 0, found.start()) + 1
            declared.setdefault(line, set()).add(bool(_DECLARATION.match(source, found.start())))
        for line, kinds in declared.items():
            if len(kinds) > 1:
                raise DeviceError(
                    f"{self.name}: line {line} of the source both declares threadgroup memory and points to "
                    "some: write two lines"
                )
        shared = {line: "PW_SHARED" if True in kinds else "" for line, kinds in declared.items()}
        return [f"-Dpw_threadgroup_{line}={word}" for line, word in shared.items()]
