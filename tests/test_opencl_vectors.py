"""The vectors of an OpenCL processor are as wide as its driver compiles, whatever it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from portwright.core.errors import DeviceError
from portwright.devices import opencl_vectors
from portwright.devices.opencl_choice import Candidate, choose
from portwright.devices.opencl_limits import VECTOR_BYTES
from portwright.devices.opencl_vectors import vector_bytes

HERE = choose("the tests", None)


class Saying:
    """The device that is here, which says another width than it does."""

    def __init__(self, device: Any, lanes: int) -> None:
        self._device, self.native_vector_width_int = device, lanes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)


def saying(lanes: int) -> Candidate:
    return replace(HERE, device=Saying(HERE.device, lanes))


def test_what_no_compiler_takes_is_halved_until_one_does(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    found = vector_bytes(saying(32))  # OpenCL C has no vectors of 32 elements
    assert VECTOR_BYTES <= found <= 4 * 16
    assert opencl_vectors._compiles(HERE, found)
    if found < 4 * 16:
        assert not opencl_vectors._compiles(HERE, 2 * found)


def test_it_is_tried_once_for_each_driver(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    tried: list[int] = []

    def compiles(chosen: Candidate, width: int) -> bool:
        tried.append(width)
        return width == 32

    monkeypatch.setattr(opencl_vectors, "_compiles", compiles)
    assert [vector_bytes(saying(16)), vector_bytes(saying(16))] == [32, 32]
    assert tried == [64, 32]


def test_what_says_no_more_than_every_device_has_is_not_tried(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(opencl_vectors, "_compiles", lambda *_: pytest.fail("it was tried"))
    assert vector_bytes(saying(1)) == VECTOR_BYTES


def test_what_cannot_be_tried_is_told(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(opencl_vectors, "__name__", "portwright.devices.nobody")
    with pytest.raises(DeviceError, match=r"cannot be tried in a process of their own: .*nobody"):
        vector_bytes(saying(8))
    monkeypatch.undo()
    assert vector_bytes(saying(8)) in (16, 32)
