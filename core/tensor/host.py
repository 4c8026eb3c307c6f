"""Between the host and a node: numbers, lists and NumPy arrays in, plain NumPy out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import graph, reference
from ..device import Buffer
from ..dtype import ALL, DType, Scalar, as_dtype, bool_, default_float, default_int
from ..errors import DTypeError, ShapeError
from ..graph import Node
from ..registry import open_device

Array = np.ndarray[Any, np.dtype[Any]]


def plain(array: Array, dtype: DType) -> Array:
    """``array`` in a dtype that NumPy itself has and that holds its values: float32 for bfloat16."""
    return array if dtype.is_in_numpy else array.astype(np.float32)


_NUMBERS = {d: struct.Struct(d.numpy.char) for d in ALL if d.is_in_numpy}
"""How a number of each dtype lies in memory, for Python itself to read: NumPy makes an array first."""


def number(held: bytearray, dtype: DType) -> Any:
    """The Python number that one element's bytes are."""
    layout = _NUMBERS.get(dtype)
    if layout is None:
        return plain(np.frombuffer(held, dtype.numpy), dtype).item()
    return layout.unpack(held)[0]


def leaf(data: Any, dtype: DType | None, device: str) -> Node:
    """A node that holds ``data``."""
    if isinstance(data, (bool, int, float)):
        return graph.const(_checked(data, dtype or _kind_of(data)), dtype or _kind_of(data))
    if isinstance(data, (list, tuple)):
        data = _from_list(data, dtype)
    if not isinstance(data, (np.ndarray, np.generic)):
        raise DTypeError(
            f"a tensor of {type(data).__name__}: give a number, a list, a NumPy array or a tensor"
        )
    array = np.asarray(data)
    own = as_dtype(array.dtype)
    dtype = dtype or own
    if dtype is not own:
        array = reference.cast(dtype, array)
    if array.ndim == 0:
        return graph.const(plain(array, dtype).item(), dtype)
    flat = np.ascontiguousarray(array, dtype.numpy).reshape(-1)  # in the host's order of bytes
    buffer = Buffer(open_device(device), flat.nbytes)
    buffer.write(memoryview(flat.view(np.uint8)))
    return graph.buffer(buffer, array.shape, dtype)


def _kind_of(value: Scalar) -> DType:
    return bool_ if isinstance(value, bool) else default_int if isinstance(value, int) else default_float


def _checked(value: Scalar, dtype: DType) -> Scalar:
    """``value``, if ``dtype`` holds it."""
    if dtype.is_int and isinstance(value, int) and not dtype.min <= value <= dtype.max:
        raise DTypeError(f"{value} does not fit {dtype}: name a wider dtype, as in Tensor(…, dtype='int64')")
    return value


def _from_list(data: Sequence[Any], dtype: DType | None) -> Array:
    """A (nested) list as an array: of arrays too, which must be of one shape."""
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as e:
        raise ShapeError(f"a tensor of a ragged list, or of numbers that no dtype holds: {e}") from e
    if array.dtype == object or array.dtype.kind not in "biufV":
        raise DTypeError(
            f"a tensor of a list of {array.dtype}: give numbers (integers within 64 bits) or bools"
        )
    if not array.size:
        return array.astype((dtype or default_float).numpy)
    if any(isinstance(v, (np.ndarray, np.generic)) for v in data):
        return array
    if array.dtype.kind == "f":
        return array.astype((dtype or default_float).numpy)
    if array.dtype.kind in "iu":
        to = dtype or default_int
        if to.is_int and not (to.min <= array.min() and array.max() <= to.max):
            raise DTypeError(
                f"a list from {array.min()} to {array.max()} does not fit {to}: name a wider dtype, "
                "as in Tensor(…, dtype='int64')"
            )
        return array.astype(to.numpy)
    return array
