"""What the tests of jit share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from portwright import Tensor, jit
from portwright.core.registry import default_device, set_default


@contextmanager
def default(device: str) -> Iterator[str]:
    """``device`` as the default."""
    before = default_device()
    set_default(device)
    try:
        yield device
    finally:
        set_default(before)


def tensor(*values: float, **named: Any) -> Tensor:
    """A float32 tensor of one axis."""
    return Tensor(np.array(values, np.float32), **named)


def values(t: Tensor) -> Any:
    """Its values as nested lists."""
    return t.numpy().tolist()


def captured(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The function, captured with these arguments."""
    f = jit(function)
    f(*args, **named)
    f(*args, **named)
    assert f.is_captured
    return f


def numbers(*values: float) -> Tensor:
    """A float32 tensor of one axis, computed."""
    return Tensor(np.array(values, np.float32)).realize()


def settled(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The function, captured, with each of its players bound to these arguments."""
    f = jit(function)
    for _ in range(4):
        f(*args, **named)
    return f
