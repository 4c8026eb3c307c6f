"""What is certified: all that a certificate says once for its cases, and what else they depend on.

In: a device, opened. Out: plain values, which go to another machine and come back as they were. Two subjects
that are alike may share a certificate, and ``differences`` says why others may not.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core.cache import digest
from ..core.compound import Compound
from ..core.device import Device, Spec
from ..core.dtype import DType
from ..core.ops import ALL_OPS
from ..core.registry import offer_of
from ..core.tile import Tile
from ..core.tuned import drawn_by
from . import SUITE_VERSION
from .sdk import own_content, package_content, revision

Document = dict[str, Any]
_OURS = __name__.partition(".")[0]
_FOLLOWS = "primitives"
"""What is said that follows from the rest."""


@dataclass(frozen=True)
class Subject:
    """A device as certificates speak of it.

    Attributes:
        device: what it is called.
        said: what a certificate says of it: evidence, contract, port, spec, driver, compiler, primitives; and
            the seed of its kernels' schedules, where they are drawn by chance.
        portwright: what Portwright it is driven by: suite, version, commit, dirty, content.
        port_content: one name for the files of its port; None of Portwright's own, and of one without files.
        machine: what a certificate says of the machine that it was opened on.
        host: that machine's name and its Python.
    """

    device: str
    said: Document
    portwright: Document
    port_content: str | None
    machine: Document
    host: Document

    @property
    def common(self) -> Document:
        """What must be alike wherever cases of one certificate run: all but the machine's own."""
        kept = {key: value for key, value in self.said.items() if key != _FOLLOWS}
        return {
            **kept,
            "port": {**kept["port"], "files": self.port_content},
            "Portwright": self.portwright,
            "machine": {key: self.machine[key] for key in ("python", "numpy")},
        }

    @property
    def whole(self) -> Document:
        """What must be as it was for a run to go on where it was cut short on one machine."""
        return {**self.common, "machine": {**self.machine, **self.host}}

    def as_json(self) -> Document:
        """As plain values, for ``Subject(**values)``."""
        return asdict(self)


def subject_of(device: Device) -> Subject:
    """The subject that an opened device is, here and now."""
    spec = device.spec
    said: Document = {
        "evidence": spec.evidence.value,
        "contract": device.contract,
        "port": _port(device),
        "spec": _claims(spec),
        "driver": dict(spec.driver),
        "compiler": device.compiler_key(),
        "primitives": {
            "total": len(ALL_OPS),
            "native": len(spec.native),
            "legalized": len(spec.legalized),
            "host": len(spec.on_host),
        },
    }
    seed = drawn_by()
    if seed is not None and device.dialect is not None:  # else it has no schedules
        said["schedules"] = seed
    host = {"name": platform.node(), "interpreter": sys.version}
    return Subject(device.name, said, portwright(), _port_content(type(device)), _machine(), host)


def portwright() -> Document:
    """Which Portwright this is."""
    sdk = revision()
    return {
        "suite": SUITE_VERSION,
        "version": __version__,
        "commit": sdk.commit,
        "dirty": sdk.dirty,
        "content": own_content(),
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any], verb: str) -> Iterator[str]:
    """What is not alike in two documents of one form, each with how where that is short.

    Args:
        one, other: what ``common`` or ``whole`` gives.
        verb: what is said of it: "driver changed (acme 1.0 → 1.1)".
    """
    for key in sorted(one.keys() | other.keys()):
        was, is_ = one.get(key), other.get(key)
        if was == is_:
            continue
        if isinstance(was, dict) and isinstance(is_, dict):
            parts = [k for k in sorted(was.keys() | is_.keys()) if was.get(k) != is_.get(k)]
            how = ", ".join(_difference(k, was.get(k), is_.get(k), verb) for k in parts)
            yield f"{key} {verb} ({how})"
        else:
            is_short = isinstance(was, str | int | float)
            yield _difference(key, was, is_, verb) if is_short else f"{key} {verb}"


def _difference(key: str, was: object, is_: object, verb: str) -> str:
    """A value that differs; of hashes and lists, that they do."""
    is_short = all(isinstance(v, str | int | float) and len(str(v)) < 40 for v in (was, is_))
    return f"{key} {was} → {is_}" if is_short else f"{key} {verb}"


def _port(device: Device) -> Document:
    port = type(device)
    source = inspect.getsourcefile(port)
    offer = offer_of(device)
    return {
        "name": device.spec.name,
        "opened_as": device.name,
        "class": f"{port.__module__}:{port.__qualname__}",
        "distribution": offer.distribution if offer else None,
        "version": offer.version if offer else None,
        "file_sha256": hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else None,
    }


def _port_content(port: type[Device]) -> str | None:
    """One name for the files of a port and of what it inherits from, where these are not Portwright's."""
    found = []
    for base in port.__mro__:
        if issubclass(base, Device) and base.__module__.partition(".")[0] != _OURS:
            source = inspect.getsourcefile(base)
            found += [package_content(base.__module__, Path(source))] if source else []
    return digest(*found) if found else None


def _claims(spec: Spec) -> Document:
    """Every claim of the Spec; ``driver`` and ``evidence`` stand by themselves."""
    return {
        f.name: _plain(getattr(spec, f.name)) for f in fields(spec) if f.name not in ("driver", "evidence")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, DType):
        return value.name
    if isinstance(value, frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, Mapping):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, Tile):
        return str(value)
    if isinstance(value, Compound):
        return {"name": value.name, "dtypes": _plain(value.dtypes), "ranks": list(value.ranks)}
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _machine() -> Document:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    """What the processor calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor()
    return platform.processor()
