"""``portwright kernel``: what an expression becomes on a device, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from ..core import engine
from ..core.device import Device, Reach
from ..core.dialect import CLike, NamedKernel
from ..core.dtype import DType, as_dtype, float32
from ..core.errors import ArgumentError, ShapeError
from ..core.graph import toposort
from ..core.plan import KernelInfo
from ..core.registry import default_device, open_device
from .expression import Parsed, evaluate, leaf, nodes_of, parse
from .screen import console, plain, size, write_json
from .spelling import dispatch_table
from .words import heading, names, source

USUAL = (256, 256)
"""The shape of an input that nothing is said of."""


@dataclass(frozen=True)
class Input:
    """A name of the expression, and the tensor that it stands for."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    assumed: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True)
class Planned:
    """An expression on a device: its inputs, and the kernels that would be run."""

    parsed: Parsed
    device: Device
    inputs: tuple[Input, ...]
    kernels: tuple[KernelInfo, ...]
    leaves: tuple[str, ...]
    """The name of each leaf, in the order of the plan's slots; empty of memory that the expression made."""


@click.command()
@click.argument("expression")
@click.option(
    "--device", metavar="NAME", help="Which device; the default one otherwise. Nothing is run on it."
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="x=8,300", help="An input's shape (256,256 if not given)."
)
@click.option(
    "--dtype", "of", multiple=True, metavar="x=float16", help="An input's dtype (float32 if not given)."
)
@click.option("--loops", is_flag=True, help="Show each loop tree too: as lowered, and as scheduled.")
@click.option("--schedule", "only", is_flag=True, help="Show what was chosen, and no source.")
@click.option("--prelude", is_flag=True, help="Show what stands before the kernel in the source too.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write all kernels' source here."
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def kernel(
    expression: str,
    device: str | None,
    shapes: tuple[str, ...],
    of: tuple[str, ...],
    loops: bool,
    only: bool,
    prelude: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Show the kernels that EXPRESSION becomes on a device.

    EXPRESSION is Python over Tensor's functions: "softmax(x)", "relu(x @ w + b)", "x.sum(-1)". Its names are
    inputs; pi, inf, nan and the dtypes mean themselves. Of a device that is driven by dispatch, the
    primitives that it would be asked for are listed.
    """
    if output is not None and not output.absolute().parent.is_dir():
        raise ArgumentError(f"cannot write {output}: there is no folder {output.absolute().parent}")
    parsed = parse(expression)
    inputs = _inputs(parsed, shapes, of)
    planned = _plan(parsed, inputs, open_device(device or default_device()))
    if output is not None:
        output.write_text(_whole_source(planned), encoding="utf-8")
    if as_json:
        write_json(_record(planned))
        return 0
    _show(planned, loops, only, prelude)
    if output is not None:
        console().print(f"\nwritten to {output}", soft_wrap=True)
    return 0


def _inputs(parsed: Parsed, shapes: Sequence[str], of: Sequence[str]) -> tuple[Input, ...]:
    stated = {name: _shape(text) for name, text in _pairs("--shape", shapes, parsed)}
    kinds = {name: as_dtype(text) for name, text in _pairs("--dtype", of, parsed)}
    return tuple(
        Input(n, stated.get(n, USUAL), kinds.get(n, float32), n not in stated) for n in parsed.inputs
    )  # fmt: skip


def _pairs(option: str, given: Sequence[str], parsed: Parsed) -> list[tuple[str, str]]:
    """(name, text) of each ``name=text``; without a name it is the only input's."""
    out = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and len(parsed.inputs) == 1:
            name, value = parsed.inputs[0], text
        if name not in parsed.inputs:
            there = ", ".join(parsed.inputs) or "none"
            raise ArgumentError(f"{option} {text}: no input {name!r} in {parsed.text!r}; its inputs: {there}")
        out.append((name, value))
    return out


def _shape(text: str) -> tuple[int, ...]:
    parts = [p.strip() for p in text.replace("x", ",").replace("×", ",").strip("()").split(",") if p.strip()]
    if not all(p.isdecimal() for p in parts):
        raise ArgumentError(f"a shape of {text!r}: write sizes and commas, as in x=8,300")
    return tuple(map(int, parts))


def _plan(parsed: Parsed, inputs: tuple[Input, ...], device: Device) -> Planned:
    lacking = [i for i in inputs if i.dtype not in device.spec.dtypes]
    if lacking:
        raise ArgumentError(f"{device.name} holds no {lacking[0].dtype}, which {lacking[0].name} is of")
    tensors = {i.name: leaf(device, i.shape, i.dtype) for i in inputs}
    named = {t.node: name for name, t in tensors.items()}
    try:
        made = evaluate(parsed, tensors, device)
    except ShapeError as e:
        if not any(i.assumed for i in inputs):
            raise
        said = ", ".join(f"--shape {i.name}={','.join(map(str, i.shape))}" for i in inputs if i.assumed)
        raise ShapeError(f"{e}\nAssumed, as nothing was said: {said}") from e
    todo = nodes_of(made)
    leaves = [n for n in toposort(todo, stop=lambda n: n.storage is not None) if n.storage is not None]
    kernels = engine.kernels(todo, device.name)
    return Planned(parsed, device, inputs, tuple(kernels), tuple(named.get(n, "") for n in leaves))


# ------------------------------------------------------------------------------------------------- showing


def _show(planned: Planned, loops: bool, only: bool, prelude: bool) -> None:
    out = console()
    count = len(planned.kernels)
    by_hand = planned.device.spec.reach is Reach.DISPATCH
    many = f"{count} {'piece' if by_hand else 'kernel'}{'s' * (count != 1)}"
    out.print(Text.assemble((planned.parsed.text, "bold"), f"  on {planned.device.name}: {many}"))
    for i in planned.inputs:
        told = "  (assumed: --shape says otherwise)" if i.assumed else ""
        out.print(Text.assemble(f"  {i}", (told, "dim")))
    if not count:
        out.print("\nNothing to compute: it is a constant, or memory that is there already.")
    shown: set[str] = set()
    for at, k in enumerate(planned.kernels):
        _show_kernel(planned, at, k)
        if loops:
            heading(out, "Loops", "as lowered from the graph")
            out.print(Text(str(k.loops)), soft_wrap=True)
            if k.source:
                heading(out, "Loops", "as scheduled, and printed")
                out.print(Text(str(k.scheduled)), soft_wrap=True)
        if k.source and not only and k.name in shown:
            out.print(f"\nSource as of {k.name} above.", style="dim")
        elif k.source and not only:
            shown.add(k.name)
            _show_source(planned.device, k, prelude)
        if k.calls:
            _show_calls(planned.device, k)


def _show_kernel(planned: Planned, at: int, k: KernelInfo) -> None:
    out = console()
    heading(out, k.name, f"{at + 1} of {len(planned.kernels)}")
    facts: list[tuple[str, str]] = [("computes", "×".join(map(str, k.shape)) or "one number")]
    if k.source:
        facts.append(("launched", _launched(planned.device, k)))
        facts.append(("takes", ", ".join(_parameters(planned, at, k))))
    facts.append(("moves", f"{k.nbytes:,} bytes ({size(k.nbytes)}), each buffer counted once"))
    facts.append(("computes with", f"{k.flops:,} operations, {_intensity(k)}"))
    if k.source:
        facts += [("schedule" if not i else "", s) for i, s in enumerate(k.schedule)]
        facts += [("schedule", "the loops as they are")] if not k.schedule else []
    out.print(names([(name, Text(text)) for name, text in facts]))


def _intensity(k: KernelInfo) -> str:
    return f"{k.flops / k.nbytes:.3g} for each byte" if k.nbytes else "without memory"


def _launched(device: Device, k: KernelInfo) -> str:
    threads = device.spec.threads
    if device.spec.max_block == 1:
        items = f"{k.grid:,} work item{'s' * (k.grid != 1)}"
        return f"{items}, shared out among {threads} thread{'s' * (threads != 1)}"
    return f"{k.grid:,} block{'s' * (k.grid != 1)} of {k.block} thread{'s' * (k.block != 1)}"


def _parameters(planned: Planned, at: int, k: KernelInfo) -> list[str]:
    """Each parameter, and what it is: an input, a result, or what one kernel leaves for another."""
    later = {s for other in planned.kernels[at + 1 :] for s in other.slots}
    out = []
    for p, slot in zip(k.scheduled.params, k.slots, strict=True):
        if slot < len(planned.leaves):
            what = planned.leaves[slot] or "made here"
        elif p.written:
            what = "for a later kernel" if slot in later else "the result"
        else:
            what = "of an earlier kernel"
        out.append(f"{p.name} {p.dtype}[{p.size}] = {what}")
    return out


def _show_source(device: Device, k: KernelInfo, prelude: bool) -> None:
    out = console()
    text, hidden = k.source, ""
    if not prelude and isinstance(device.dialect, CLike):
        before, mark, after = text.partition(device.dialect.prelude.rstrip())
        if mark:
            hidden = f"after {(before + mark).count(chr(10)) + 1} lines that --prelude shows"
            text = after.lstrip("\n")
    heading(out, "Source", hidden)
    source(out, text, "c++")


def _show_calls(device: Device, k: KernelInfo) -> None:
    out = console()
    table = dispatch_table(type(device))
    heading(out, "Primitives", "one after another")
    rows: list[tuple[str, Text]] = []
    for c in k.calls:
        shape, folded = "×".join(map(str, c.takes)) or "scalar", "×".join(map(str, c.gives)) or "scalar"
        text = f"{c.dtype} {shape}" + (f", folded to {folded}" if c.takes != c.gives else "")
        host = table is not None and c.op not in table
        rows.append(
            (c.op.name, Text.assemble(text, ("  on the host: its table lacks it" if host else "", "yellow")))
        )
    out.print(names(rows))


def _whole_source(planned: Planned) -> str:
    """One text with every kernel.

    Raises:
        ArgumentError: on a device that no text is written for.
    """
    dialect = planned.device.dialect
    if dialect is None:
        raise ArgumentError(f"{planned.device.name} is driven by dispatch: there is no source to write")
    entries = list({k.name: NamedKernel(k.name, k.scheduled) for k in planned.kernels}.values())
    return dialect.render(entries, planned.device.spec)


def _record(planned: Planned) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "expression": planned.parsed.text,
        "device": planned.device.name,
        "inputs": [plain(i) for i in planned.inputs],
        "kernels": [_kernel_record(k) for k in planned.kernels],
    }


def _kernel_record(k: KernelInfo) -> Mapping[str, Any]:
    return {
        "name": k.name, "shape": k.shape, "grid": k.grid, "block": k.block, "bytes": k.nbytes,
        "operations": k.flops, "schedule": k.schedule, "loops": str(k.loops), "scheduled": str(k.scheduled),
        "source": k.source, "calls": [plain(c) for c in k.calls],
    }  # fmt: skip
