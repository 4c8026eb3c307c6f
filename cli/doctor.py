"""``portwright doctor``: what Portwright needs, whether it is there, and how to mend what is not."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..core.cache import cache_folder
from ..core.errors import CannotOpenError, PortwrightError
from ..core.survey import Status, status
from ..devices import host, toolchain
from .screen import State, console, heard, plain, size, working, write_json


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        group: the heading that it stands under.
        name: what was looked for.
        state: how it stands. Only what nothing works without is ``MISSING``.
        found: what was found, or what is wrong.
        mend: what to do about it; empty when there is nothing to do.
    """

    group: str
    name: str
    state: State
    found: str
    mend: str = ""


def _python() -> Iterator[Finding]:
    group = "Python"
    version = platform.python_version()
    yield Finding(group, platform.python_implementation(), State.OK, f"{version}, {sys.executable}")
    yield Finding(group, "portwright", State.OK, f"{__version__}, {Path(__file__).parent.parent}")
    for text in importlib.metadata.requires("portwright") or ():
        yield from _requirement(text)


def _requirement(text: str) -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wanted = Requirement(text)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return
    mend = f"{sys.executable} -m pip install '{wanted.name}{wanted.specifier}'"
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        yield Finding("Python", wanted.name, State.MISSING, f"not installed, needed {wanted.specifier}", mend)
        return
    if wanted.specifier.contains(version, prereleases=True):
        yield Finding("Python", wanted.name, State.OK, version)
    else:
        yield Finding("Python", wanted.name, State.MISSING, f"{version}, needed {wanted.specifier}", mend)


def _compiler() -> Iterator[Finding]:
    group = "Compiling kernels for the CPU"
    try:
        found = toolchain.find_toolchain()
        yield Finding(group, "C compiler", State.OK, f"{found.version}, {' '.join(found.command)}")
        vectors = found.vectors
        text = f"{vectors.nbytes} bytes, {vectors.registers} registers{', FMA' if found.has_fma else ''}"
        yield Finding(group, "vectors", State.OK if vectors.nbytes else State.LIMITED, text)
    except CannotOpenError as e:
        yield Finding(group, "C compiler", State.LIMITED, e.cause, e.mend)
    header = Path(sysconfig.get_path("include"), "Python.h")
    if header.exists():
        yield Finding(group, "Python.h", State.OK, str(header))
    else:
        yield Finding(
            group,
            "Python.h",
            State.LIMITED,
            f"not in {header.parent}: a call into a kernel costs two or three times more",
            "apt-get install python3-dev, or dnf install python3-devel",
        )
    try:
        yield Finding(group, "ziglang", State.OK, importlib.metadata.version("ziglang"))
    except importlib.metadata.PackageNotFoundError:
        yield Finding(group, "ziglang", State.OK, "not installed; only needed where there is no C compiler")


def _machine() -> Iterator[Finding]:
    group = "This machine"
    yield Finding(group, "system", State.OK, platform.platform())
    yield Finding(group, "processor", State.OK, host.processor_name())
    try:
        yield Finding(group, "threads", State.OK, str(host.thread_count()))
    except PortwrightError as e:
        yield Finding(group, "threads", State.LIMITED, str(e), "unset PORTWRIGHT_THREADS")
    yield _cache()


def _cache() -> Finding:
    folder = cache_folder()
    held = [p.stat().st_size for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as e:
        return Finding(
            "This machine",
            "cache folder",
            State.LIMITED,
            f"{folder} cannot be written ({e.strerror}): kernels are compiled anew in every process",
            "set PORTWRIGHT_CACHE to a folder that can be written",
        )
    return Finding(
        "This machine", "cache folder", State.OK, f"{folder}, {len(held)} files, {size(sum(held))}"
    )


def _devices() -> Iterator[Finding]:
    try:
        with heard() as warnings:
            ports = list(status())
    except PortwrightError as e:  # an environment variable that cannot be read
        yield Finding("Devices", "any", State.MISSING, str(e))
        return
    for warning in warnings:
        yield Finding("Devices", "warning", State.LIMITED, warning)
    closed = State.MISSING if all(port.spec is None for port in ports) else State.LIMITED
    if not ports:
        yield Finding("Devices", "any", closed, "no port is installed", "reinstall Portwright")
    for port in ports:
        yield _device(port, closed)


def _device(port: Status, closed: State) -> Finding:
    """How a port stands, whose it is, and where it lies."""
    contract = f", contract {port.needs}" if port.needs else ""
    whose = f"{port.distribution} {port.version}{contract}"
    if port.spec is not None:
        return Finding("Devices", port.name, State.OK, whose)
    lines = (f"{port.state.value}: {port.cause}", whose, port.file)
    return Finding("Devices", port.name, closed, "\n".join(filter(None, lines)), port.mend)


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in the order in which it is shown."""
    yield from _python()
    yield from _compiler()
    yield from _machine()
    yield from _devices()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def doctor(as_json: bool) -> int:
    """Check what Portwright needs, and say how to mend what is missing.

    Ends with status 0 when everything that Portwright cannot work without is there, else with 1.
    """
    with working("Looking"):
        found = list(findings())
    missing = [f for f in found if f.state is State.MISSING]
    if as_json:
        write_json([plain(f) for f in found])
        return int(bool(missing))
    out = console()
    for group in dict.fromkeys(f.group for f in found):
        out.print(Text(group, style="bold"))
        out.print(_table([f for f in found if f.group == group]))
        out.print()
    out.print(_verdict(found))
    return int(bool(missing))


def _verdict(found: list[Finding]) -> str:
    missing = sum(f.state is State.MISSING for f in found)
    limited = sum(f.state is State.LIMITED for f in found)
    hint = " What follows → mends it." if any(f.mend for f in found) else ""
    if missing:
        return f"Missing: {missing}.{hint}"
    return f"Portwright works here. Limited: {limited}.{hint}" if limited else "Everything is in order."


def _table(found: list[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=16)
    table.add_column(min_width=7)
    table.add_column(overflow="fold")
    for f in found:
        lines = [Text(f.found)] + ([Text(f"→ {f.mend}", style="cyan")] if f.mend else [])
        table.add_row(f"  {f.name}", f.state.text, Text("\n").join(lines))
    return table
