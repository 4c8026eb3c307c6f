"""What the rung of stress stands on: patterns and leaks, threads, other processes, other devices."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import support as t
from sim_support import Starter

from portwright import Device as devices
from portwright import Tensor
from portwright.conformance import runner
from portwright.conformance.elsewhere import digests, digests_of
from portwright.conformance.ladder import Rung
from portwright.conformance.named import softmax
from portwright.conformance.outcome import PASSED, UNCLAIMED, Outcome
from portwright.conformance.selection import Selection
from portwright.conformance.sizes import AROUND, around_tiles
from portwright.conformance.threads import at_once
from portwright.conformance.watch import BAND, POISON, Watch
from portwright.core import compiler, engine, graph, pipeline, registry
from portwright.core import dtype as dt
from portwright.core.closing import close
from portwright.core.device import Ability, Buffer, Device
from portwright.core.errors import DeviceError, OutOfMemoryError, PortwrightError
from portwright.core.ops import Op
from portwright.devices.numpy import NumPy

pytestmark = pytest.mark.usefixtures("fresh")

ROOM = 64 << 20


class Board(NumPy):
    """NumPy with so much memory.

    Args:
        forgets: bytes of every buffer that do not come back.
    """

    def __init__(self, forgets: int = 0) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="BOARD", memory_bytes=ROOM, unified_memory=False)
        self.held, self.forgets = 0, forgets

    def alloc(self, nbytes: int) -> Any:
        if self.held + nbytes > ROOM:
            raise OutOfMemoryError(f"{self.name} has no room for {nbytes:,} bytes: {self.held:,} are held")
        self.held += nbytes
        return super().alloc(nbytes)

    def free(self, handle: Any, nbytes: int) -> None:
        self.held -= nbytes - min(nbytes, self.forgets)


def stress(device: Device, keyword: str = "") -> Outcome:
    return runner.run(device, Selection((Rung.STRESS,), keyword))


def outcomes(outcome: Outcome) -> dict[str, str]:
    return {r.id.removeprefix("stress::"): r.outcome for r in outcome.results}


# ------------------------------------------------------------------------------------------------- the watch


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch(NumPy()).installed() as made:
        made.active = True
        made.begin()
        yield made


def first_byte(buffer: Buffer) -> int:
    out = bytearray(buffer.nbytes)
    buffer.read(memoryview(out))
    return out[0]


def test_patterns_take_turns_from_the_first_of_a_case(watch: Watch) -> None:
    assert POISON[0] ^ POISON[1] == 0xFF
    for _ in range(2):
        watch.begin()
        assert [first_byte(Buffer(watch.device, 3)) for _ in range(4)] == [*POISON, *POISON]


def test_one_pattern_or_none(watch: Watch) -> None:
    with watch.filling(POISON[1]):
        assert [first_byte(Buffer(watch.device, 3)) for _ in range(3)] == [POISON[1]] * 3
    with watch.filling(None, active=False):
        assert len(watch.device.alloc(3)) == 3
    assert len(watch.device.alloc(3)) == 3 + BAND


@pytest.mark.parametrize("pattern", POISON)
def test_a_band_is_held_to_its_own_pattern(watch: Watch, pattern: int) -> None:
    with watch.filling(pattern):
        buffer = Buffer(watch.device, 5)
    buffer.handle[5] ^= 0xFF
    (fault,) = watch.look()
    assert "1 bytes were written past the end of a buffer of 5 bytes" in fault
    assert watch.look() == []


@pytest.mark.parametrize("active", [True, False])
def test_what_is_still_held_is_told(watch: Watch, active: bool) -> None:
    watch.active = active
    before = Buffer(watch.device, 7)
    watch.begin()
    kept = [Buffer(watch.device, 9)]
    assert "1 buffers of 9 bytes" in watch.left()[0]
    kept.append(kept)  # type: ignore[arg-type] # a cycle holds it, which the collector finds
    del kept
    assert watch.left() == []
    del before
    assert watch.left() == []


def test_no_key_of_what_is_remembered_holds_memory() -> None:
    """A value of no elements is met by a fold of it, and never read."""
    device = Board()
    registry.adopt(device)
    engine.realize([graph.reduce(Op.ADD, t.place(np.zeros((3, 0), np.float32), "BOARD"), (1,))], "BOARD")
    gc.collect()
    assert device.held == 0


# ----------------------------------------------------------------------------------------- the rung on boards


def test_a_memory_that_is_stated_is_filled() -> None:
    outcome = stress(Board(), "filled or room or memory")
    assert outcome.passed
    assert outcomes(outcome)["test_filled_and_emptied"] == PASSED


def test_a_memory_that_shrinks_is_noticed() -> None:
    outcome = stress(Board(forgets=1 << 20), "filled")
    assert "could be taken at first" in outcome.failures[0].message


def test_what_is_not_claimed_says_why() -> None:
    found = {r.id: r.message for r in stress(NumPy(), "filled or lost or process").results}
    assert found["stress::test_filled_and_emptied"].startswith("NUMPY states no memory of its own")
    assert found["stress::test_lost"] == "NUMPY does not claim that it can be ended (kill)"
    assert found["stress::test_another_process"].startswith("NUMPY was opened by hand")


def test_a_simulator_in_a_process_of_its_own() -> None:
    device = Starter("MORTAL")
    registry.adopt(device, another=lambda: Starter("MORTAL"))
    assert Ability.KILL in device.spec.abilities
    selection = Selection((Rung.STRESS,), "lost or another or threads or refused")
    outcome = runner.run("MORTAL", selection, jobs=0)
    assert outcome.passed, [r.message for r in outcome.failures]
    passed = {name for name, how in outcomes(outcome).items() if how == PASSED}
    assert passed >= {"test_lost", "test_lost_in_a_run", "test_beside_another", "test_threads_take_memory"}
    close(device)


def test_a_device_that_swallows_its_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Starter("UNDYING")
    monkeypatch.setattr(device, "kill", lambda: None)
    failed = stress(device, "test_lost and not run").failures
    assert "no error is raised" in failed[0].message
    device.close()


# ------------------------------------------------------------------------------------------- its instruments


def test_what_a_thread_raises_is_raised_here() -> None:
    def fails() -> int:
        raise DeviceError("of a thread")

    with pytest.raises(DeviceError, match="of a thread"):
        at_once([lambda: 1, fails, lambda: 2])
    assert at_once([lambda: 1, lambda: 2]) == [1, 2]


def test_another_process_gives_the_same() -> None:
    seeds = [digests("NUMPY", seed, {"softmax": softmax})["softmax"] for seed in (3, 4)]
    assert digests_of("NUMPY", 3)["softmax"] == seeds[0] != seeds[1]


def test_another_process_that_fails_says_why() -> None:
    with pytest.raises(PortwrightError, match=r"(?s)NOWHERE computes here, .*no device"):
        digests_of("NOWHERE", 0)


def test_sizes_lie_around_every_power_of_two() -> None:
    powers = [1 << e for e in range(13)]
    assert {n + d for n in powers for d in (-1, 0, 1)} - {0} <= set(AROUND)
    spec = t.spec(32)
    around = {tuple(n - 1 for n in shape) for shape in around_tiles(spec, dt.float32)}
    assert {(7, 15, 31), (8, 15, 31), (6, 15, 31)} <= around  # 8, 9 and 7 rows: two tiles of four


# --------------------------------------------------------------------------------- closed, and another opened


class Chip(NumPy):
    """NumPy that counts who is open."""

    live = 0

    def __init__(self) -> None:
        super().__init__()
        self.spec = replace(self.spec, name="CHIP")
        type(self).live += 1

    def close(self) -> None:
        type(self).live -= 1


def test_another_of_the_kind_has_a_name_of_its_own() -> None:
    first = registry.adopt(Chip(), another=Chip)
    others = [registry.open_another("CHIP") for _ in range(2)]
    assert Chip.live == 3
    names = [d.name for d in others if d is not None]
    assert len({"CHIP", *names}) == 3
    for name in names:
        assert (Tensor([1.0, 2.0], device=name) * 3).numpy().tolist() == [3.0, 6.0]
    for device in (first, *others):
        assert device is not None
        close(device)
    assert Chip.live == 0
    assert registry.opened("CHIP") is None


def test_another_of_one_that_was_opened_by_name() -> None:
    other = registry.open_another("NUMPY")
    assert other is not None
    assert other is not registry.open_device("NUMPY")
    assert registry.open_device(other.name) is other
    close(other)
    with pytest.raises(DeviceError):
        registry.open_device(other.name)


def test_nobody_knows_how_another_is_opened() -> None:
    registry.adopt(Chip())
    assert registry.open_another("CHIP") is None
    devices.close("CHIP")


def test_a_closed_device_leaves_nothing_and_opens_anew() -> None:
    device = registry.open_device("CPU")
    x = Tensor(np.arange(9, dtype=np.float32), device="CPU")
    assert (x * 2 + 1).numpy()[8] == 17
    del x
    devices.close("cpu")
    devices.close("CPU")  # it is not open any more
    with pytest.raises(DeviceError, match="no device"):
        devices.close("NO SUCH DEVICE")
    assert not [k for k in compiler._loaded if k[0] is device]
    assert not [k for k in pipeline._built if k[0] is device]
    assert not [p for p in engine._plans.values() if p.uses(device)]
    assert registry.open_device("CPU") is not device
    assert (Tensor(np.arange(9, dtype=np.float32), device="CPU") * 2 + 1).numpy()[8] == 17


def test_unclaimed_is_no_failure() -> None:
    assert set(outcomes(stress(NumPy(), "refused")).values()) == {UNCLAIMED}
