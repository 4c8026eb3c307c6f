"""The errors: one small hierarchy. Each message says what happened, where, and what to do."""

from __future__ import annotations


class PortwrightError(Exception):
    """Every error that Portwright raises on purpose is one of these."""


class ShapeError(PortwrightError, ValueError):
    """Shapes that do not fit: no broadcast, a reshape of another size, an axis out of range."""


class DTypeError(PortwrightError, TypeError):
    """Dtypes that do not promote, an operation that a dtype has no meaning for, an unknown name."""


class IndexingError(PortwrightError, IndexError):
    """An index out of range, or of a kind that selects nothing."""


class ArgumentError(PortwrightError, ValueError):
    """An argument whose value has no meaning for the call."""


class GradientError(PortwrightError, RuntimeError):
    """A gradient that was asked for and does not exist."""


class DeviceError(PortwrightError, RuntimeError):
    """A device that does not exist, does not open, or cannot do what was asked of it."""


class CannotOpenError(DeviceError):
    """What a port's ``__init__`` raises when it can tell why the device does not open.

    Attributes:
        cause: why, without a full stop.
        mend: what to do about it; empty when the cause says so itself.
    """

    def __init__(self, cause: str, mend: str = "") -> None:
        super().__init__(f"{cause}. {mend}" if mend else cause)
        self.cause = cause
        self.mend = mend


class DriverMissingError(CannotOpenError):
    """What the device is reached through is not installed, or does not load: driver, library or compiler."""


class NoDeviceError(CannotOpenError):
    """The driver is there and lists no device, or not the one that was asked for."""


class PortError(DeviceError):
    """A port whose parts contradict each other or are missing: every fault is listed at once."""


class NotWrittenError(DeviceError):
    """A method of a port that its author has yet to write.

    Attributes:
        call: the method and its arguments.
        expected: what it must give or have done.
        file, line: where to write it.
    """

    def __init__(self, call: str, expected: str, file: str, line: int) -> None:
        super().__init__(f"{call} is not written yet: it must give {expected}. Open {file}:{line}")
        self.call = call
        self.expected = expected
        self.file = file
        self.line = line

    @property
    def method(self) -> str:
        """The method's name."""
        return self.call.partition("(")[0]


class CompileError(DeviceError):
    """The compiler is missing or refused a kernel. Carries the log and the source.

    Attributes:
        log: what the compiler printed.
        source: the text that it was given.
    """

    def __init__(self, message: str, *, log: str = "", source: str = "") -> None:
        super().__init__(message)
        self.log = log
        self.source = source


class NotRunError(DeviceError):
    """A kernel that was compiled, and is not launched: there is no device behind the compiler."""


class LostError(DeviceError):
    """A buffer whose device ended or was reset since; what found that out said so by another error."""


class OutOfMemoryError(DeviceError, MemoryError):
    """The device has no room for a buffer."""


class CacheError(PortwrightError, OSError):
    """The cache folder cannot be used and nothing can stand in for it."""


class KernelError(PortwrightError, RuntimeError):
    """A loop tree that breaks its own rules: a fault of Portwright's, or of a schedule given by hand."""


class JitError(PortwrightError, RuntimeError):
    """A captured function that can't be replayed as it was captured."""


class CertificateError(PortwrightError, ValueError):
    """A certificate that cannot be read or trusted."""
