"""OpenCL C to binaries, and binaries to kernels whose arguments' kinds are known.

A binary is kept with a seal: drivers read a damaged one, or another driver's, without looking, and crash.
With it are kept the kinds of its kernels' arguments, which drivers forget.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import warnings
from collections.abc import Sequence
from typing import Any

import pyopencl as cl

from ..core.device import Spec
from ..core.errors import DeviceError
from ..core.record import dataclass
from .build_log import refused

_HEAD = struct.Struct("<8s32sI")  # magic, seal, length of the kinds
_MAGIC = b"PWOPENCL"
# "error: FILE:2:7: what" of PoCL, "FILE:2:7: error: what" of the others
_ERROR = re.compile(r"^(?=.*error).*?:(?P<line>\d+):(?:\d+:)?\s*(?:error: )?(?P<message>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel that is ready to launch.

    Attributes:
        name: it is launched by.
        kernel: the driver's.
        images: of each argument, whether it is an image; the others are buffers.
        group: work items that a work-group of it may have.
    """

    name: str
    kernel: Any
    images: tuple[bool, ...]
    group: int


class Builder:
    """Builds and loads programs for one device.

    Args:
        spec: of the port: its name, its flags and a work-group's local memory.
        queue: of the device.
        key: what a binary depends on besides its source.
    """

    def __init__(self, spec: Spec, queue: Any, key: str) -> None:
        self.name, self.local_bytes, self.key = spec.name, spec.local_bytes, key
        self.flags = spec.driver["flags"].split()
        self.context, self.device = queue.context, queue.device

    def compile(self, source: str) -> bytes:
        """A sealed binary.

        Raises:
            CompileError: with the log, and the line of the source that its first error is about.
        """
        warnings.filterwarnings("ignore", category=cl.CompilerWarning)  # a log that is not empty is no fault
        try:
            program = cl.Program(self.context, source).build(options=self.flags)
            kinds = {
                k.function_name: [self._kind(k, i) for i in range(k.num_args)] for k in program.all_kernels()
            }
            (binary,) = program.get_info(cl.program_info.BINARIES)
        except cl.Error as e:
            raise refused(f"{self.name}'s compiler", str(e), source, _ERROR) from e
        payload = json.dumps(kinds).encode()
        head = _HEAD.pack(_MAGIC, self._seal(payload, binary), len(payload))
        return b"".join((head, payload, binary))

    def load(self, sealed: bytes, entries: Sequence[str]) -> list[Entry]:
        """The kernels named ``entries``.

        Raises:
            DeviceError: when the binary is not what ``compile`` gave here, lacks an entry, or has one that
                the device cannot run.
        """
        kinds, binary = self._opened(sealed)
        absent = [e for e in entries if e not in kinds]
        if absent:
            raise DeviceError(f"{self.name} finds no kernel {', '.join(absent)} among {', '.join(kinds)}")
        try:
            program = cl.Program(self.context, [self.device], [binary]).build(options=self.flags)
            return [self._entry(cl.Kernel(program, entry), entry, kinds[entry]) for entry in entries]
        except cl.Error as e:
            raise DeviceError(f"{self.name} cannot load kernel {', '.join(entries)}: {e}") from e

    def _entry(self, kernel: Any, name: str, kinds: Sequence[str]) -> Entry:
        asked = cl.kernel_work_group_info
        local = kernel.get_work_group_info(asked.LOCAL_MEM_SIZE, self.device)
        if local > self.local_bytes:
            raise DeviceError(
                f"{self.name}: kernel {name} uses {local:,} bytes of local memory; a work-group has "
                f"{self.local_bytes:,}"
            )
        group = kernel.get_work_group_info(asked.WORK_GROUP_SIZE, self.device)
        return Entry(name, kernel, tuple(kind == "image" for kind in kinds), group)

    def _kind(self, kernel: Any, argument: int) -> str:
        """What an argument is: "image", or "buffer"; values and local memory cannot be given."""
        asked, where = cl.kernel_arg_info, cl.kernel_arg_address_qualifier
        if kernel.get_arg_info(argument, asked.ACCESS_QUALIFIER) != cl.kernel_arg_access_qualifier.NONE:
            return "image"
        if kernel.get_arg_info(argument, asked.ADDRESS_QUALIFIER) in (where.GLOBAL, where.CONSTANT):
            return "buffer"
        raise DeviceError(
            f"{self.name}: kernel {kernel.function_name} takes argument {argument} "
            f"({kernel.get_arg_info(argument, asked.NAME)}) by value: arguments are buffers and images"
        )

    def _seal(self, payload: bytes, binary: bytes) -> bytes:
        return hashlib.sha256(b"\0".join((self.key.encode(), payload, binary))).digest()

    def _opened(self, sealed: bytes) -> tuple[dict[str, list[str]], bytes]:
        """The kinds and the binary of what ``compile`` gave."""
        if len(sealed) >= _HEAD.size:
            magic, seal, length = _HEAD.unpack_from(sealed)
            payload = sealed[_HEAD.size : _HEAD.size + length]
            binary = sealed[_HEAD.size + length :]
            if magic == _MAGIC and seal == self._seal(payload, binary):
                kinds: dict[str, list[str]] = json.loads(payload)
                return kinds, binary
        raise DeviceError(
            f"{self.name} cannot load a kernel: its binary is damaged, or another driver's. Remove it from "
            "the cache folder (PORTWRIGHT_CACHE)"
        )
