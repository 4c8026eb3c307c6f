"""``portwright devices``: every port that is installed, whether it opens, and what it can do."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterable, Iterator

import click
from rich.table import Table
from rich.text import Text

from ..core import dtype as dtypes
from ..core.device import Spec
from ..core.dtype import DType
from ..core.errors import DeviceError
from ..core.offers import GROUP
from ..core.opening import State
from ..core.ops import ALL_OPS, Op
from ..core.registry import default_device
from ..core.survey import Status, status
from .screen import console, heard, plain, size, working, write_json

_STYLES = {State.READY: "green", State.INSTALLED: "", State.DENIED: "dim"}


@click.command()
@click.option("--open/--no-open", "tries", default=True, help="Try each port (usual), or import none.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def devices(tries: bool, as_json: bool) -> int:
    """List the ports that are installed, and what each can do.

    Every port is tried, in a process of its own; for one that does not open, the list says why not and what
    to do. PORTWRIGHT_PROBE_SECONDS says how long each may take, PORTWRIGHT_PLUGINS which may be opened.
    """
    found: list[Status] = []
    with working("Opening every device" if tries else "Looking"), heard() as warnings:
        found.extend(status(tries=tries))
        default = _default() if tries else None
    if as_json:
        write_json({"default": default, "devices": [plain(s) for s in found], "warnings": warnings})
        return 0
    out = console()
    for warning in warnings:
        out.print(Text(warning, style="yellow"))
        out.print()
    if not found:
        out.print(
            f"No port is installed (entry point group {GROUP}). Try pip install -e . in Portwright's folder"
        )
        return 0
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for i, port in enumerate(found):
        if i:
            table.add_row()
        table.add_row(Text(port.name, style="bold"), _state(port), Text("\n").join(_lines(port)))
    out.print(table)
    for name, ways in _twice(found):
        out.print(f"\n{name} is offered more than once: say {' or '.join(ways)}.")
    if default:
        out.print(f"\nTensors are made on {default} unless told otherwise (PORTWRIGHT_DEVICE, device=).")
    return 0


def _state(port: Status) -> Text:
    return Text(port.state.value, style=_STYLES.get(port.state, "yellow"))


def _twice(found: Iterable[Status]) -> Iterator[tuple[str, list[str]]]:
    """Names that several distributions offer, and how to say whose is meant."""
    ways: dict[str, list[str]] = {}
    for port in found:
        whose, _, name = port.name.rpartition(":")
        if whose:
            ways.setdefault(name, []).append(port.name)
    yield from ((name, whose) for name, whose in ways.items() if len(whose) > 1)


def _default() -> str | None:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the list says itself what did not open
            return default_device()
    except DeviceError:
        return None


def _lines(port: Status) -> Iterator[Text]:
    contract = f", contract {port.needs}" if port.needs else ""
    yield Text(f"{port.distribution} {port.version}{contract}")
    if port.file:
        yield Text(port.file, style="dim")
    if port.cause:
        yield Text(port.cause)
    if port.mend:
        yield Text(f"→ {port.mend}", style="cyan")
    if port.spec is not None:
        yield from map(Text, _abilities(port.spec))
        yield from (Text(f"{key}: {value}", style="dim") for key, value in port.spec.driver.items())


def _primitives(spec: Spec) -> Iterator[str]:
    """How many primitives are native, which of them only in part, and what becomes of the others."""
    absent = [op.name for op in Op if op in spec.legalized | spec.on_host]
    rest = "on the host" if spec.on_host else "built from those"
    others = f"; {rest}: {', '.join(absent)}" if absent else ""
    yield f"native {len(spec.native)}/{len(ALL_OPS)}{others}"
    if spec.native_on:
        yield f"native in part: {', '.join(_in_part(op, held) for op, held in spec.native_on.items())}"


def _in_part(op: Op, held: Collection[DType]) -> str:
    return f"{op.name} ({' '.join(d.name for d in dtypes.ALL if d in held)} only)"


def _abilities(spec: Spec) -> Iterator[str]:
    yield f"{spec.reach.value}, {spec.evidence.value}, accuracy {spec.tier.value}"
    held = [d.name for d in dtypes.ALL if d in spec.dtypes]
    every = len(dtypes.ALL)
    yield f"all {every} dtypes" if len(held) == every else f"{len(held)} of {every} dtypes: {', '.join(held)}"
    yield from _primitives(spec)
    parts = [f"{spec.threads} thread{'s' if spec.threads != 1 else ''}"]
    if spec.vector_bytes:
        parts.append(f"vectors of {spec.lanes(dtypes.float32)} × float32, {spec.vector_registers} registers")
    if spec.local_bytes:
        parts.append(f"{size(spec.local_bytes)} local memory")
    yield ", ".join(parts)
