"""Rung 1: the port opens, and its claims do not contradict each other."""

from __future__ import annotations

import numpy as np

from ...core.contract import SPOKEN
from ...core.device import Device
from ...core.dtype import ALL
from ...core.ops import ALL_OPS
from ...core.port_check import check_port, class_faults
from ...core.registry import offer_of, open_device
from ..case import Case
from ..judge import require_bits


def test_opens(case: Case) -> None:
    """It is a Device, and opening it again by name gives the same one."""
    assert isinstance(case.device, Device), f"{case.name} opens as {type(case.device)}, not as a Device"
    assert open_device(case.name) is case.device, f"{case.name} is opened anew each time it is asked for"


def test_port_is_whole(case: Case) -> None:
    """No method is missing that its Spec says it needs."""
    check_port(type(case.device), case.spec)


def test_contract(case: Case) -> None:
    """It speaks a version of the contract that both sides know, and its methods take that one's calls."""
    version, offer = case.device.contract, offer_of(case.device)
    assert version in SPOKEN, f"it speaks contract {version}; this Portwright speaks {SPOKEN}"
    if offer is not None:
        assert version in offer.contract, f"it speaks contract {version}, and states {offer.contract}"
    assert class_faults(type(case.device)) == []


def test_name(case: Case) -> None:
    """Its Spec calls it what it was opened by, less what was asked for after a colon."""
    name = case.spec.name
    assert case.device.name == case.name
    assert name in case.name.split(":"), f"it was opened as {case.name!r}, and calls itself {name!r}"
    assert name == name.upper(), f"device names are written in capitals, not {name!r}"


def test_claims_exist(case: Case) -> None:
    """It claims dtypes and primitives that the contract has, and computes only in dtypes that it holds."""
    spec = case.spec
    assert spec.dtypes, "it claims no dtype"
    assert spec.dtypes <= set(ALL), "it claims dtypes that the contract does not have"
    assert spec.arithmetic <= spec.dtypes, "it computes in dtypes that it does not hold"
    assert spec.native <= ALL_OPS, "it claims primitives that the contract does not have"


def test_limits(case: Case) -> None:
    """Launch limits, caches and alignment are numbers that a device can have."""
    spec = case.spec
    assert all(n >= 1 for n in spec.max_grid), f"max_grid {spec.max_grid}"
    assert spec.max_block >= 1, f"max_block {spec.max_block}"
    assert spec.threads >= 1, f"threads {spec.threads}"
    assert spec.alignment >= 1, f"alignment {spec.alignment}"
    assert spec.alignment & (spec.alignment - 1) == 0, f"alignment {spec.alignment} is no power of two"
    assert spec.vector_bytes >= 0, f"vector_bytes {spec.vector_bytes}"
    assert spec.local_bytes >= 0, f"local_bytes {spec.local_bytes}"
    assert spec.memory_bytes >= 0, f"memory_bytes {spec.memory_bytes}"


def test_says_how_it_was_reached(case: Case) -> None:
    """Driver and compiler are named, in words that a certificate can hold and that do not change."""
    assert case.spec.driver, "Spec.driver is empty: a certificate could not say what was measured"
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in case.spec.driver.items())
    assert case.device.compiler_key() == case.device.compiler_key()
    assert isinstance(case.device.compiler_key(), str)


def test_synchronize(case: Case) -> None:
    """Waiting for nothing returns."""
    case.device.synchronize()
    case.device.synchronize()


def test_first_breath(case: Case) -> None:
    """A buffer of each claimed dtype goes in and comes out."""
    for dtype in sorted(case.spec.dtypes, key=lambda d: d.name):
        values = np.array([0, 1, 1, 0, 1]).astype(dtype.numpy)
        require_bits(f"place {dtype}", case.run(case.place(values))[0], values)
