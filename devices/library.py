"""A vendor's C library, reached through cffi: opened when it is first wanted, never at import."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.errors import DeviceError


class Library:
    """A shared library and what of it is called.

    Args:
        path: where it is, or a name that the system's loader finds; empty: there is none yet.
        declarations: the C declarations of what is called, as in the vendor's header, without directives.
    """

    def __init__(self, path: str, declarations: str) -> None:
        self.path, self.declarations = path, declarations

    def open(self) -> None:
        """Opens it, where there is one: for ``__init__`` of a port, so that what is missing is told there.

        Raises:
            DeviceError: when it does not load, or its declarations are not C: what is wrong and what to do.
        """
        if self.path:
            self.calls  # noqa: B018 - opens it

    @cached_property
    def ffi(self) -> Any:
        """cffi's view of the declarations: ``new``, ``cast``, ``from_buffer``."""
        import cffi

        made = cffi.FFI()
        try:
            made.cdef(self.declarations)
        except (cffi.CDefError, cffi.FFIError) as e:
            raise DeviceError(
                f"the declarations of {self.path or 'the library'} are not C that cffi reads: {e}. Write "
                "them as in the header, without #include and #if"
            ) from e
        return made

    @cached_property
    def calls(self) -> Any:
        """The library: each function that is declared, by its name."""
        if not self.path:
            raise DeviceError("there is no library to call: its path is empty")
        ffi = self.ffi
        try:
            return ffi.dlopen(str(Path(self.path).expanduser()) if "/" in self.path else self.path)
        except OSError as e:
            raise DeviceError(
                f"the library does not load: {e}. Install it, or name the file that it is in"
            ) from e
