"""A port without its device: its text is compiled by the real compiler, and nothing is launched."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.device import Device, Launch
from ..core.errors import DeviceError, NotRunError, OutOfMemoryError


class CompileOnly(Device):
    """Tensors can be made on it, and kernels compiled, which shows that the compiler takes the text.

    A subclass gives the spec, with the evidence ``compiled``, the dialect, and ``compile``.
    """

    def alloc(self, nbytes: int) -> bytearray:
        """Memory of the host."""
        try:
            return bytearray(nbytes)
        except MemoryError as e:
            raise OutOfMemoryError(
                f"{self.name} has no room for {nbytes:,} bytes on the host. Use smaller tensors"
            ) from e

    def free(self, handle: bytearray, nbytes: int) -> None:
        """Nothing: Python gives the memory back."""

    def copy_in(self, handle: bytearray, data: memoryview) -> None:
        """Host to host."""
        handle[: data.nbytes] = data

    def copy_out(self, data: memoryview, handle: bytearray) -> None:
        """Host to host."""
        data[:] = memoryview(handle)[: data.nbytes]

    def load(self, binary: bytes, entries: Sequence[str]) -> list[str]:
        """The kernels' names, when the binary has them.

        Raises:
            DeviceError: when it lacks one.
        """
        absent = [e for e in entries if e.encode() not in binary]
        if absent:
            raise DeviceError(f"{self.name} finds no kernel {', '.join(absent)} in a binary")
        return list(entries)

    def launch(self, launch: Launch) -> None:
        """Refuses.

        Raises:
            NotRunError: always.
        """
        raise NotRunError(
            f"{self.name} compiles kernels and runs none: {launch.program} was accepted by the compiler, and "
            f"there is no device behind it. Open {self.name.partition(':')[0]} itself to run it"
        )
