"""Cheats: devices that look well by not doing what they are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.device import Device, Evidence, Launch, Reach, Spec
from ...core.dialect import Dialect, NamedKernel
from ...core.dtype import bool_, float32, int32
from ...core.errors import NotRunError
from ...core.evaluate import NUMPY_PRIMITIVES, apply
from ...core.interpret import interpret
from ...core.legalize.floor import FLOOR
from ...core.loops import Kernel
from ...core.ops import Op, Tier
from .means import claims, known, method, put, spelled, table, together
from .mutant import Family, Seen
from .walk import Walk

FAMILY = Family("cheats")
add = FAMILY.add
NEW = "fused::test_new_data fused::test_replayed gradients::* fused::*"
ANY = "primitives::test_unary[NEG-float32] primitives::test_binary[ADD-float32] views::test_single[vector]"
SOURCE = (
    "primitives::test_runs_its_source primitives::test_refuses_nonsense primitives::test_unknown_kernel "
    "fused::test_runs_its_source"
)
CLAIMS = "copy::test_every_bit_pattern* open::*"


@dataclass(frozen=True)
class _Remembering(Dialect):
    """A language that keeps the tree of each text."""

    inner: Dialect
    trees: dict[str, Kernel]

    def render(self, kernels: Sequence[NamedKernel], spec: Spec) -> str:
        text = self.inner.render(kernels, spec)
        self.trees[hashlib.sha256(text.encode()).hexdigest()[:10]] = kernels[0].kernel
        return text

    def faults(self, spec: Spec) -> list[str]:
        return self.inner.faults(spec)


def interprets(device: Device) -> None:
    """Nothing is compiled: kernels are interpreted on the host, from the trees that were printed."""
    trees: dict[str, Kernel] = {}
    put(device, "dialect", _Remembering(table(device), trees))
    put(device, "compile", lambda source: b"")
    put(device, "load", lambda binary, entries: [name.rpartition("_")[2] for name in entries])
    put(device, "launch", lambda launch: _on_host(device, trees[launch.program], launch))
    device.spec = replace(device.spec, abilities=frozenset())


def interprets_what_compiles(device: Device) -> None:
    """The compiler is run for show: kernels are interpreted on the host."""
    trees: dict[str, Kernel] = {}
    put(device, "dialect", _Remembering(table(device), trees))
    load, launch, digests = device.load, device.launch, dict[Any, str]()

    def loaded(binary: bytes, entries: Sequence[str]) -> list[Any]:
        made = load(binary, entries)
        digests.update((known(p), name.rpartition("_")[2]) for p, name in zip(made, entries, strict=True))
        return made

    def launched(given: Launch) -> None:
        kernel = trees.get(digests.get(known(given.program), ""))
        if kernel is None:
            launch(given)
        else:
            _on_host(device, kernel, given)

    put(device, "load", loaded)
    put(device, "launch", lambda launch: launched(launch))
    device.spec = replace(device.spec, abilities=frozenset())


def _on_host(device: Device, kernel: Kernel, launch: Launch) -> None:
    arrays = {}
    for p, b in zip(kernel.params, launch.buffers, strict=True):
        raw = np.zeros(max(p.nbytes, 1), np.uint8)
        device.copy_out(memoryview(raw), b.handle)
        arrays[p.name] = raw[: p.nbytes].view(p.dtype.numpy)
    interpret(kernel, arrays, NUMPY_PRIMITIVES)
    for p, b in zip(kernel.params, launch.buffers, strict=True):
        if p.written and p.nbytes:
            device.copy_in(b.handle, memoryview(arrays[p.name].view(np.uint8)))


def every_other(device: Device, launch: Any) -> Any:
    """Every second launch is made."""
    turn = [0]

    def other(given: Launch) -> None:
        turn[0] += 1
        if turn[0] % 2:
            launch(given)

    return lambda launch: other(launch)


def once_each(device: Device, launch: Any) -> Any:
    """Each program is launched once, and later launches are called done."""
    done: dict[Any, Any] = {}

    def other(given: Launch) -> None:
        if known(given.program) not in done:
            launch(given)
        done[known(given.program)] = given.program

    return lambda launch: other(launch)


def small_only(device: Device, launch: Any) -> Any:
    """Only what is small is computed, as a demonstration would show."""

    def other(given: Launch) -> None:
        if given.buffers[0].nbytes <= 4096:
            launch(given)

    return lambda launch: other(launch)


def by_sum(device: Device, launch: Any) -> Any:
    """Results are kept by program, and by the sums of the operands' bytes."""
    made: dict[Any, tuple[Any, bytes]] = {}

    def all_of(b: Any) -> bytes:
        raw = np.zeros(max(b.nbytes, 1), np.uint8)
        device.copy_out(memoryview(raw), b.handle)
        return raw.tobytes()

    def other(given: Launch) -> None:
        out, *operands = given.buffers
        sums = [int(np.frombuffer(all_of(b), np.uint8).astype(np.int64).sum()) for b in operands]
        key = (known(given.program), out.nbytes, *sums)
        if key in made:
            device.copy_in(out.handle, memoryview(bytearray(made[key][1])))
            return
        launch(given)
        made[key] = (given.program, all_of(out))

    return lambda launch: other(launch)


def zeros(device: Device, launch: Any) -> Any:
    """Every result is zeros."""

    def other(given: Launch) -> None:
        out = given.buffers[0]
        device.copy_in(out.handle, memoryview(bytearray(max(out.nbytes, 1))))

    return lambda launch: other(launch)


def not_run(device: Device) -> None:
    """It says that it only compiles, and so nothing is held against it."""

    def launched(launch: Launch) -> None:
        raise NotRunError(f"{device.name} compiles only")

    device.spec = replace(device.spec, evidence=Evidence.COMPILED)
    put(device, "launch", launched)


def by_dispatch(device: Device) -> None:
    """It is called a device that is driven by dispatch, whose table is the host's NumPy."""

    def compute(self: Device, roots: Any, inputs: Any, outputs: Any) -> None:
        Walk(apply)(roots, inputs, outputs)

    kind: Any = type("ByDispatch", (type(device),), {"compute": compute, "dialect": None})
    device.__class__ = kind
    device.spec = replace(device.spec, reach=Reach.DISPATCH, abilities=frozenset(), vector_bytes=0)


_FEW = frozenset({bool_, int32, float32})
add(
    "runs_nothing",
    "Launches are called done, and nothing is run",
    method("launch", lambda d, f: lambda launch: None),
    ANY,
)
add("gives_zeros", "Every result is zeros", method("launch", zeros), ANY)
add(
    "every_other_launch",
    "Every second launch is made",
    method("launch", every_other),
    f"primitives::test_sizes* {ANY} primitives::test_unary*",
)
add("each_program_once", "Each program is run once", method("launch", once_each), NEW)
add(
    "small_only",
    "Only results of 4 KiB or less are computed",
    method("launch", small_only),
    f"{ANY} primitives::test_binary[ADD-int8] reductions::*",
)
add(
    "memoises_by_sums",
    "Results are kept by program and the sums of the operands' bytes",
    method("launch", by_sum),
    "primitives::test_written_again fused::test_written_again fused::test_new_data",
)
add("interprets", "Nothing is compiled: a host's interpreter runs the kernels", interprets, SOURCE)
add(
    "interprets_what_compiles",
    "Kernels are compiled for show, and a host's interpreter runs them",
    interprets_what_compiles,
    SOURCE,
)
add(
    "claims_three_dtypes",
    "It claims three dtypes of those that it has, and is asked for no more",
    claims(dtypes=_FEW, arithmetic=_FEW),
    CLAIMS,
    seen=Seen.CERTIFICATE,
)
add(
    "claims_the_floor",
    "It claims the primitives that cannot be built, and has the rest built",
    claims(native=FLOOR | {Op.AND}),
    CLAIMS,
    seen=Seen.CERTIFICATE,
)
add(
    "claims_no_extras",
    "It claims nothing beyond the contract",
    claims(extras=frozenset(), vector_bytes=0),
    CLAIMS,
    seen=Seen.CERTIFICATE,
)
add("claims_relaxed", "It claims the widest bounds", claims(tier=Tier.RELAXED), CLAIMS, seen=Seen.CERTIFICATE)
add(
    "only_compiles", "It says that it only compiles, and runs nothing", not_run, CLAIMS, seen=Seen.CERTIFICATE
)
add(
    "host_by_dispatch",
    "It says that it is driven by dispatch, and the host's NumPy computes everything",
    by_dispatch,
    CLAIMS,
    seen=Seen.CERTIFICATE,
)
add(
    "claims_strict",
    "It claims the narrowest bounds, and RECIP is two units off",
    together(claims(tier=Tier.STRICT), spelled(Op.RECIP, "(WAS * 1.0000001f)", float32)),
    "primitives::test_unary[RECIP-float32] views::test_operands[RECIP-float32]",
)
