"""From a fuser's group to source text: every stage of one kernel, in order.

lower → keep → legalize → pack → schedule → expand → hoist → render. Each stage's tree is checked; ``Stages``
keeps them, so that they can be shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import replace

from .chain import chain
from .compound import Call
from .decisions import USUAL, Decider
from .device import Device, ImageView, Spec
from .dialect import NamedKernel
from .errors import DeviceError
from .expand import expand
from .fold import fold_together
from .graph import GraphOp, Node, Shape, toposort
from .hoist import hoist
from .images import read_through_images
from .keep import keep_rows
from .legal_tree import legalize_kernel
from .loops import Kernel, Loop, Memory, Scratch, statements
from .lower import lower
from .online import online
from .pack import pack
from .record import dataclass
from .rename import rename
from .scatter import lower_scatter
from .schedule import schedule
from .siblings import Cut, Group
from .signature import signature
from .strided import shuffled
from .transpose import transpose
from .tuned import decider_of, seconds_to_search
from .verify import verify
from .work import flops_of


@dataclass(frozen=True, slots=True)
class Stages:
    """One kernel through the stages.

    Attributes:
        name: what it is launched by: what it does (``sum``), its loops (``4096x4096``), a hash of its text.
        fresh: the tree as lowered: plain loops and scalars.
        legal: after legalization and packing.
        scheduled: after the schedule, whose steps are in ``trail``.
        final: as printed.
        source: the text, "" for a device that is driven by dispatch.
        grid: how many work items it is launched over, or blocks of them.
        block: threads of a block.
        images: for each parameter the image that it is read through, or None; empty when none is.
        shape: of what it computes.
        made_at: the user's source line that asked for it, while debugging.
        compound: what the device computes by itself, with no loops and no source; None of a kernel.
    """

    name: str
    fresh: Kernel
    legal: Kernel
    scheduled: Kernel
    final: Kernel
    source: str
    grid: int
    block: int
    images: tuple[ImageView | None, ...]
    shape: tuple[int, ...]
    made_at: str | None
    compound: Call | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One kernel of a group, or what stands for one, and what it works on.

    Nodes go by their place among the group's roots and reads, so that groups of one structure share pieces;
    the group's own temporary memory goes by name. A copy between devices has no stages.
    """

    stages: Stages | None
    writes: tuple[int | str, ...]
    reads: tuple[int | str, ...]
    nbytes: tuple[int, ...]


_built: dict[tuple[Device, Hashable, Cut | None], list[Piece]] = {}
KEPT = 4096
"""Groups whose pieces are remembered."""


def build(group: Group, device: Device) -> list[Piece]:
    """The kernels that compute ``group`` on ``device``: copies that it wants of its operands, then itself."""
    key = (device, structure(group), group.cut)
    found = _built.get(key)
    if found is None:
        found = _pieces(group, device)
        if len(_built) >= KEPT:
            _built.pop(next(iter(_built)), None)
        _built[key] = found
    return found


def structure(group: Group) -> Hashable:
    """What is equal for groups that differ only in the memory that they read."""
    reads = frozenset(group.reads)

    def leaf(n: Node) -> bool:  # one that is met and not read, too: a key must not keep its memory
        return n in reads or n.storage is not None

    return signature(group.roots, leaf, (*group.reads, *group.inside))[0]


def forget(device: Device) -> None:
    """No pieces for a device are remembered any more. Called while no graph is planned."""
    for key in [k for k in _built if k[0] is device]:
        del _built[key]


def _pieces(group: Group, device: Device) -> list[Piece]:
    spec = device.spec
    sizes = tuple(r.nbytes for r in group.roots)
    outputs = tuple(range(len(group.roots)))
    inputs = tuple(range(len(outputs), len(outputs) + len(group.reads)))
    if group.roots[0].op is GraphOp.COPY:
        return [Piece(None, outputs, inputs, sizes)]
    if group.roots[0].op is GraphOp.COMPOUND:
        return [_called(group)]
    fresh = fresh_kernel(group)
    if device.dialect is None:
        root = group.roots[0]
        name = f"{_kind(root)}_{_loops(fresh)}_{hashlib.sha256(str(fresh).encode()).hexdigest()[:10]}"
        stages = Stages(name, fresh, fresh, fresh, fresh, "", 1, 1, (), root.shape, _made_at(root))
        return [Piece(stages, outputs, inputs, sizes)]
    packed = pack(legalize_kernel(keep_rows(fresh, spec), spec), spec)
    named: dict[str, int | str] = {f"in{i}": at for i, at in enumerate(inputs)}
    pieces: list[Piece] = []
    for name, copy in packed.copies:
        named[name] = name
        stages = _stages(group, copy, copy, device, "pack")
        pieces.append(Piece(stages, (name,), _reads(copy, named), (copy.params[0].nbytes,)))
    stages = _stages(group, fresh, packed.kernel, device)
    pieces.append(Piece(stages, outputs, _reads(packed.kernel, named), sizes))
    return pieces


def _called(group: Group) -> Piece:
    """A compound: no kernel of ours. Its operands are read in order, one that is two of them twice."""
    (root,) = group.roots
    call = root.arg
    assert isinstance(call, Call)
    place = {n: i for i, n in enumerate(group.reads, 1)}
    operands = [Memory(f"in{i}", s.dtype, s.size) for i, s in enumerate(root.srcs)]
    nothing = Kernel((Memory("out0", root.dtype, root.size, written=True), *operands), (), call.flops)
    stages = Stages(
        f"compound:{call}", nothing, nothing, nothing, nothing, "", 1, 1, (), root.shape, _made_at(root), call
    )
    return Piece(stages, (0,), tuple(place[s] for s in root.srcs), (root.nbytes,))


def _reads(kernel: Kernel, named: dict[str, int | str]) -> tuple[int | str, ...]:
    return tuple(named[p.name] for p in kernel.params if not p.written)


def _stages(group: Group, fresh: Kernel, legal: Kernel, device: Device, what: str = "") -> Stages:
    root = group.roots[0]
    stem = f"{what or _kind(root)}_{_loops(fresh)}"
    stages = _through(stem, fresh, legal, device, USUAL, root.shape, _made_at(root))
    seconds = seconds_to_search(device, stages.source)
    if seconds:
        from .tune import tune_aloud  # which runs kernels through this stage

        tune_aloud(stages, device, seconds)
    decider = decider_of(device, stages.source)
    return stages if decider == USUAL else rescheduled(stages, device, decider)


def rescheduled(stages: Stages, device: Device, decider: Decider) -> Stages:
    """The same kernel by the schedule that other answers give."""
    s = stages
    return _through(s.name.rpartition("_")[0], s.fresh, s.legal, device, decider, s.shape, s.made_at)


def _through(
    stem: str,
    fresh: Kernel,
    legal: Kernel,
    device: Device,
    decider: Decider,
    shape: Shape,
    made_at: str | None,
) -> Stages:
    """A legal tree through the stages that are left."""
    assert device.dialect is not None
    spec = device.spec
    scheduled = schedule(legal, spec, decider)
    if scheduled.threads is not None:
        scheduled = legalize_kernel(scheduled, spec)  # what the threads of a block do to meet
    verify(scheduled)
    final = shuffled(transpose(fold_together(expand(scheduled))), spec)
    final = hoist(read_through_images(final, spec))
    verify(final)
    placeholder = "kernel_of_no_name_yet"  # a word that no language has of its own
    text = device.dialect.render([NamedKernel(placeholder, final)], spec)
    name = f"{stem}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    grid, block = _launched_over(final, spec)
    images = tuple(ImageView(p.image, p.dtype) if p.image else None for p in final.params)
    return Stages(
        name, fresh, legal, scheduled, final, text.replace(placeholder, name), grid, block,
        images if any(images) else (), shape, made_at,
    )  # fmt: skip


def _launched_over(kernel: Kernel, spec: Spec) -> tuple[int, int]:
    """How many blocks (work items, on a device without blocks) and threads of a block a kernel wants."""
    if kernel.grid is None:
        return 1, 1  # its loops keep their order: a second work item would do the same again, in a race
    if kernel.threads is not None:
        return kernel.grid.extent, kernel.threads.extent
    block = min(spec.block, spec.max_block)
    if spec.warp == 1:  # no block needs to be full, and each thread of the device wants blocks of its own
        while block > 1 and kernel.grid.extent < 2 * spec.threads * block:
            block //= 2
        if any(isinstance(s, Loop | Scratch) for s in statements(kernel.grid.body)):
            block = 1  # it has enough to do, and vectors of its own: side by side they gain nothing
    return -(-kernel.grid.extent // block), block


def fresh_kernel(group: Group) -> Kernel:
    """The verified tree of a group, before any device is thought of."""
    root = group.roots[0]
    if root.op is GraphOp.COPY:
        raise DeviceError("a copy between devices is no kernel")
    if root.op is GraphOp.SCATTER:
        made: Kernel | None = lower_scatter(root, frozenset(group.reads).__contains__)
    elif group.cut is not None:
        made = chain(links(group), group.cut.blocks)
        if group.cut.terms and made is not None:
            made = online(made, group.cut.terms)
    else:
        made = lower(group.roots, frozenset(group.reads).__contains__).kernel
    assert made is not None
    kernel = replace(made, flops=flops_of(made))
    verify(kernel)
    return kernel


def links(group: Group) -> list[Kernel]:
    """The kernels that a chain is made of, their parameters by names that are the chain's."""
    names = {n: f"in{i}" for i, n in enumerate(group.reads)}
    names |= {n: f"part{i}" for i, n in enumerate(group.inside)}
    out = []
    for roots in (*((n,) for n in group.inside), group.roots):
        lowered = lower(roots, names.__contains__)
        kernel = lowered.kernel
        assert kernel is not None
        own = {f"in{i}": names[n] for i, n in enumerate(lowered.leaves)}
        if roots != group.roots:
            own["out0"] = names[roots[0]]
        params = tuple(replace(m, name=own.get(m.name, m.name)) for m in kernel.params)
        out.append(replace(kernel, params=params, body=rename(kernel.body, own)))
    return out


def _loops(kernel: Kernel) -> str:
    """The extents of a kernel's loops: of several side by side the last."""
    sizes: list[int] = []
    body = kernel.body
    while body:
        loop = next((s for s in reversed(body) if isinstance(s, Loop)), None)
        if loop is None:
            break
        sizes.append(loop.extent)
        body = loop.body
    return "x".join(map(str, sizes)) or "scalar"


def _kind(root: Node) -> str:
    node = root
    while node.op in (GraphOp.RESHAPE, GraphOp.CONTIGUOUS, GraphOp.ASSIGN, GraphOp.PARAMETER):
        node = node.srcs[-1]
    return node.op.name.lower()


def _made_at(root: Node) -> str | None:
    return next(
        (n.made_at for n in reversed(toposort([root], lambda n: n.storage is not None)) if n.made_at), None
    )
