"""Rung 10: the same bits whatever else goes on, and after whatever went wrong.

Programs of the rungs below are run in several threads, on several devices of the kind, many times over, from
cold caches and in other processes, in memory that held this or that; and after kernels that were refused, a
memory that was full, and a device that was lost.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from ...core import engine, graph
from ...core.closing import forget_kernels
from ...core.device import Ability, Evidence
from ...core.dtype import float32, int32
from ...core.errors import CannotOpenError, CompileError, DeviceError, LostError, OutOfMemoryError
from ...core.graph import Node
from ...core.ops import Op
from ...core.plan import KernelInfo
from ..calls import TOO_MUCH, Bytes, alloc, copy_in, fill, free, whole
from ..case import Case, place
from ..elsewhere import digests, digests_of
from ..inputs import Array
from ..judge import require_bits
from ..named import (
    NAMED,
    chain,
    convolution,
    fold_of_fold,
    layernorm,
    outer_sum,
    running_sum,
    softmax,
)
from ..threads import at_once

Program = Callable[[Node], Node]
SHAPE = (33, 129)
THREADS = 4
ROUNDS = 8
PROGRAMS: tuple[Program, ...] = (softmax, outer_sum, running_sum, convolution)


def drawn(case: Case, n: int = 1) -> list[Array]:
    """So many matrices of tame numbers."""
    return [case.rng.uniform(-2, 2, SHAPE).astype(np.float32) for _ in range(n)]


def result(device: str, program: Program, x: Array) -> Array:
    """What a program gives of a matrix, both of them new to the device."""
    root = program(place(x, device))
    engine.realize([root], device)
    return engine.read(root)


def same(title: str, got: Sequence[Array], wanted: Sequence[Array]) -> None:
    """The same bits, one by one."""
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        require_bits(f"{title}, {i}", a, b)


# ------------------------------------------------------------------------------------------------ threads


def test_threads_run_one_program(case: Case) -> None:
    """Several threads run one program, each on matrices of its own, and get what each gives alone."""
    case.claims(float32)
    xs = drawn(case, THREADS)
    wanted = [result(case.name, softmax, x) for x in xs]

    def runs(i: int) -> list[Array]:
        return [result(case.name, softmax, xs[i]) for _ in range(ROUNDS)]

    for i, got in enumerate(at_once([partial(runs, i) for i in range(THREADS)])):
        same(f"softmax in thread {i} of {THREADS}, time", got, [wanted[i]] * ROUNDS)


def test_threads_run_programs(case: Case) -> None:
    """Several threads run a program each, and get what each gives alone."""
    case.claims(float32)
    (x,) = drawn(case)
    wanted = [result(case.name, program, x) for program in PROGRAMS]

    def runs(program: Program) -> list[Array]:
        return [result(case.name, program, x) for _ in range(ROUNDS)]

    every = at_once([partial(runs, p) for p in PROGRAMS])
    for program, got, right in zip(PROGRAMS, every, wanted, strict=True):
        same(f"{program.__name__} beside others, time", got, [right] * ROUNDS)


def test_threads_run_one_graph(case: Case) -> None:
    """Several threads realize the very same values at once, and each reads them whole."""
    case.claims(float32)
    (x,) = drawn(case)
    wanted = [result(case.name, program, x) for program in (layernorm, fold_of_fold)]
    for _ in range(ROUNDS // 2):
        roots = [program(case.place(x)) for program in (layernorm, fold_of_fold)]

        def reads(roots: list[Node] = roots) -> list[Array]:
            engine.realize(roots, case.name)
            return [engine.read(root) for root in roots]

        for i, got in enumerate(at_once([reads] * THREADS)):
            same(f"one graph in thread {i} of {THREADS}, value", got, wanted)


def test_threads_take_memory(case: Case) -> None:
    """Several threads take and give back buffers; what each put into its own stays there."""
    seeds = [int(s) for s in case.rng.integers(0, 1 << 32, THREADS)]

    def churn(seed: int) -> None:
        rng, live = np.random.default_rng(seed), list[tuple[Any, Bytes]]()
        for _ in range(150):
            if live and (len(live) > 8 or rng.integers(0, 2)):
                handle, pattern = live.pop(int(rng.integers(0, len(live))))
                whole(case, f"a thread's buffer of {pattern.size} bytes", handle, pattern)
                free(case, handle, pattern.size)
            else:
                n = int(rng.choice((1, 64, 1000, 4096)))  # few, so that what one gave back another gets
                live.append((alloc(case, n), rng.integers(0, 256, n, dtype=np.uint8)))
                copy_in(case, *live[-1])
        for handle, pattern in live:
            whole(case, f"a thread's buffer of {pattern.size} bytes", handle, pattern)
            free(case, handle, pattern.size)

    at_once([partial(churn, seed) for seed in seeds])


# -------------------------------------------------------------------------------------- again and elsewhere


def test_fifty_times(case: Case) -> None:
    """The same programs fifty times give the same bits."""
    case.claims(float32)
    (x,) = drawn(case)
    programs = (softmax, running_sum)
    wanted = [result(case.name, program, x) for program in programs]
    for i in range(50):
        same(f"time {i + 2}, program", [result(case.name, program, x) for program in programs], wanted)


def test_what_was_in_memory(case: Case) -> None:
    """Programs give the same bits whichever pattern memory holds that nobody wrote."""
    case.claims(float32, int32)
    (x,) = drawn(case)
    index = np.array([8, -1, 3, 99, 0, -9, 32], np.int32)

    def results() -> list[Array]:
        a, at = case.place(x), case.place(index)
        roots = [program(a) for program in NAMED.values()]
        roots += [graph.gather(a, at), graph.scatter(a, at, graph.shrink(a, ((0, 7), (0, 129))), Op.ADD)]
        return case.run(*roots)

    with case.filling(0xA5):
        first = results()
    with case.filling(0x5A):
        same("with memory full of 0x5a in place of 0xa5, program", results(), first)


def test_cold_and_warm(case: Case) -> None:
    """Kernels that were compiled anew, that come from the cache folder, and that are loaded give the same."""
    case.claims(float32)
    seed = int(case.rng.integers(1 << 32))
    chosen = {p.__name__: p for p in PROGRAMS}
    wanted = digests(case.name, seed, chosen)
    try:
        for _ in range(2):
            with (
                tempfile.TemporaryDirectory(prefix="portwright-cold-") as folder,
                patch.dict(os.environ, PORTWRIGHT_CACHE=folder),
            ):
                for cache in ("cold", "warm"):
                    forget_kernels(case.device)
                    got = digests(case.name, seed, chosen)
                    others = [name for name in wanted if got[name] != wanted[name]]
                    assert not others, f"{', '.join(others)}: another result from a {cache} cache"
    finally:
        forget_kernels(case.device)  # whose files went with the folder


def test_another_process(case: Case) -> None:
    """Another process that opens the device by its name gives the same bits."""
    case.claims(float32)
    if case.device.opened_as is None:
        pytest.skip(f"{case.name} was opened by hand: no other process can open it by name")
    seed = int(case.rng.integers(1 << 32))
    here, there = digests(case.name, seed), digests_of(case.name, seed)
    others = [name for name in here if here[name] != there[name]]
    assert not others, f"{', '.join(others)}: another result in another process"


# ----------------------------------------------------- texts of many kernels, and kernels that do not compile


def scaled(case: Case, factor: float, x: Array) -> KernelInfo:
    """The kernel of ``x`` times a number that stands in its text."""
    return case.kernel(graph.elementwise(Op.MUL, case.place(x), graph.full(factor, x.shape, float32)))


def test_one_name(case: Case) -> None:
    """Programs whose kernels have one name, loaded at once, do each what its own text says."""
    case.claims(float32)
    (x,) = drawn(case)
    made = scaled(case, 3.25, x)
    factors = ("3.25", "7.25", "5.25")
    programs = [case.loaded(made, made.source.replace("3.25", f)) for f in factors]
    for _ in range(3):
        for factor, program in zip(factors, programs, strict=True):
            (got,) = case.launched(made, program, [x])
            require_bits(f"x · {factor}, of one name with others", got, x * np.float32(factor))


def test_one_text(case: Case) -> None:
    """Kernels of one text, an entry for each, do what each does alone: so those of a plan are compiled."""
    case.claims(float32)
    (x,) = drawn(case)
    factors = (3.25, 7.25, 5.25)
    kernels = [scaled(case, f, x) for f in factors]
    programs = case.loaded_together(kernels)
    for factor, kernel, program in zip(factors, kernels, programs, strict=True):
        (got,) = case.launched(kernel, program, [x])
        require_bits(f"x · {factor}, of one text with others", got, x * np.float32(factor))


BROKEN: tuple[Callable[[str], str], ...] = (
    lambda source: f"{source}\nthis is no kernel;\n",
    lambda source: source[: source.rindex("3.25")],
    lambda source: source.replace("3.25", "no_such_name"),
)


def refused(case: Case, source: str) -> None:
    """Nothing when a text is refused, in words."""
    with pytest.raises(CompileError) as error:
        case.device.compile(source)
    assert error.value.log or str(error.value), "the error does not say what the compiler said"


def test_refused_among_good(case: Case) -> None:
    """After each of many kernels that are refused, the next one is right, and so is one from before."""
    case.claims(float32)
    (x,) = drawn(case)
    made = scaled(case, 3.25, x)
    before = case.loaded(made, made.source)
    for i, broken in enumerate(BROKEN * 2):
        refused(case, broken(made.source))
        factor = f"{i + 8}.75"
        after = case.loaded(made, made.source.replace("3.25", factor))
        for program, by in ((after, factor), (before, "3.25")):
            (got,) = case.launched(made, program, [x])
            require_bits(f"x · {by}, after a kernel that was refused", got, x * np.float32(by))


def test_refused_in_threads(case: Case) -> None:
    """Kernels that are refused in some threads harm none that others compile meanwhile."""
    case.claims(float32)
    (x,) = drawn(case)
    made = scaled(case, 3.25, x)

    def good(i: int) -> None:
        for k in range(2):
            factor = f"{2 * i + k + 8}.5"
            program = case.loaded(made, made.source.replace("3.25", factor))
            (got,) = case.launched(made, program, [x])
            require_bits(f"x · {factor}, beside kernels that are refused", got, x * np.float32(factor))

    def bad(i: int) -> None:
        for k in range(2):
            refused(case, BROKEN[(i + k) % len(BROKEN)](made.source))

    at_once([partial((good, bad)[i % 2], i) for i in range(THREADS)])


# --------------------------------------------------------------------------------- more devices of the kind


def test_beside_another(case: Case) -> None:
    """Two devices of the kind, in two threads at once, give what one gives; closing one leaves the other."""
    case.claims(float32)
    (x,) = drawn(case)
    wanted = [result(case.name, program, x) for program in PROGRAMS]
    kept = [case.place(x), PROGRAMS[0](case.place(x))]
    engine.realize(kept, case.name)

    def runs(device: str) -> list[Array]:
        return [result(device, program, x) for program in PROGRAMS]

    try:
        with case.another() as other:
            for got in at_once([partial(runs, other.name), partial(runs, case.name)]):
                same("beside another device of the kind, program", got, wanted)
    except CannotOpenError as e:
        pytest.skip(f"{case.name} is open, and does not open a second time: {e}")
    same("after another device was closed, program", runs(case.name), wanted)
    same("a value from before another was opened,", [engine.read(n) for n in kept], [x, wanted[0]])


def test_closed_and_another_opened(case: Case) -> None:
    """Devices of the kind that are opened and closed one after another give what the first gives."""
    case.claims(float32)
    (x,) = drawn(case)
    programs = (softmax, running_sum)
    wanted = [result(case.name, program, x) for program in programs]
    for i in range(6):
        try:
            with case.another() as other:
                same(
                    f"device {i + 2} of the kind, program",
                    [result(other.name, p, x) for p in programs],
                    wanted,
                )
        except CannotOpenError as e:
            if i:
                raise
            pytest.skip(f"{case.name} is open, and does not open a second time: {e}")
    same("after others were closed, program", [result(case.name, p, x) for p in programs], wanted)


# ----------------------------------------------------------------------------------------------- no room

OF_THE_HOST = 2 << 30
"""Bytes that the suite fills of a memory that is the host's in the end."""


def test_filled_and_emptied(case: Case) -> None:
    """Memory is taken until there is no more, three times over; each time it comes back whole, and works."""
    case.claims(float32)
    spec = case.spec
    if not spec.memory_bytes:
        pytest.skip(f"{case.name} states no memory of its own (Spec.memory_bytes) that could be filled")
    is_hosts = spec.unified_memory or spec.evidence is not Evidence.MEASURED
    if is_hosts and spec.memory_bytes > OF_THE_HOST:
        pytest.skip(
            f"{case.name} states {spec.memory_bytes:,} bytes, and they are the host's: too many to fill"
        )
    (x,) = drawn(case)
    wanted, first = result(case.name, softmax, x), 0
    for i in range(3):
        with case.filling(None, active=False):
            held = fill(case)
        total = sum(n for _, n in held)
        marks = [case.rng.integers(0, 256, 64, dtype=np.uint8) for _ in held]
        for (handle, _), mark in zip(held, marks, strict=True):
            copy_in(case, handle, mark)
        for (handle, n), mark in zip(held, marks, strict=True):
            whole(case, f"a buffer of {n:,} bytes in a full memory", handle, mark)
            free(case, handle, n)
        first = first or total
        assert total >= 0.95 * first, f"{first:,} bytes could be taken at first, {total:,} the time {i + 1}"
        require_bits("softmax, after memory was full", result(case.name, softmax, x), wanted)


@pytest.mark.parametrize("at", range(3))
def test_no_room_within(case: Case, at: int) -> None:
    """A program that finds no room for one of its values leaves nothing behind, and is right afterwards."""
    case.claims(float32)
    (x,) = drawn(case)
    programs = (softmax, running_sum, layernorm)
    wanted = [result(case.name, program, x) for program in programs]
    placed = case.place(x)
    take, calls = case.device.alloc, count()

    def full(nbytes: int) -> Any:
        return take(TOO_MUCH if next(calls) == at else nbytes)

    roots = [program(placed) for program in programs]
    for _ in range(3):
        with patch.object(case.device, "alloc", full), pytest.raises(OutOfMemoryError):
            engine.realize(roots, case.name)
        calls = count()
    same("after there was no room, program", case.run(*roots), wanted)


# --------------------------------------------------------------------------------------------------- loss


def test_lost(case: Case) -> None:
    """A device that ends is an error that says so, what it held is lost, and what comes next is right."""
    case.claims(float32)
    device = mortal(case)
    (x,) = drawn(case)
    wanted = result(case.name, softmax, x)
    for _ in range(3):
        kept = place(x, case.name)
        device.kill()
        with pytest.raises(DeviceError, match=r"."):
            engine.read(kept)
        with pytest.raises(LostError, match=r"."):  # never another's bytes
            engine.read(kept)
        require_bits("softmax, after the device was lost", result(case.name, softmax, x), wanted)
        with pytest.raises(LostError, match=r"."):
            engine.read(kept)


def test_lost_in_a_run(case: Case) -> None:
    """A device that ends while programs run ends them by an error that says so; the next ones are right."""
    case.claims(float32)
    device = mortal(case)
    (x,) = drawn(case)
    wanted = result(case.name, chain, x)
    for _ in range(3):
        runs = threading.Event()

        def until_lost(runs: threading.Event = runs) -> str:
            try:
                while True:
                    require_bits("chain, before the device was lost", result(case.name, chain, x), wanted)
                    runs.set()
            except DeviceError as e:
                return str(e)
            finally:
                runs.set()

        def killer(runs: threading.Event = runs) -> str:
            runs.wait()
            device.kill()
            return "killed"

        said, _ = at_once([until_lost, killer])
        assert said, "the error does not say what happened"
        require_bits("chain, after the device was lost", result(case.name, chain, x), wanted)


def mortal(case: Case) -> Any:
    """The device, if it can be ended; else the case is skipped."""
    if Ability.KILL not in case.spec.abilities:
        pytest.skip(f"{case.name} does not claim that it can be ended ({Ability.KILL.value})")
    return case.device
