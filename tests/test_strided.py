"""Views of a buffer against NumPy's own, and the library that calls go to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from dispatching import Array, port
from hypothesis import given, settings
from hypothesis import strategies as st

from portwright.conformance.choices import Drawn
from portwright.conformance.movement import moves
from portwright.core import graph
from portwright.core.device import Buffer, Device
from portwright.core.dtype import DType, bfloat16, float32, int8
from portwright.core.errors import DeviceError
from portwright.core.evaluate import move
from portwright.core.graph import GraphOp, Node, toposort
from portwright.devices.library import Library
from portwright.devices.strided import Strided, moved, walked_together, whole

DTYPES = (int8, bfloat16, float32)


def filled(device: Device, dtype: DType, shape: tuple[int, ...]) -> tuple[Strided, Array]:
    array = (np.arange(np.prod(shape, dtype=int)) % 100).astype(dtype.numpy).reshape(shape)
    buffer = Buffer(device, array.nbytes)
    buffer.write(memoryview(array.reshape(-1).view(np.uint8)))
    return whole(buffer, dtype, shape), array


@pytest.fixture(scope="module")
def device() -> Device:
    return port({})()


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 4), max_size=4).map(tuple), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_movement_is_numpys(device: Device, shape: tuple[int, ...], dtype: DType, seed: int) -> None:
    x, array = filled(device, dtype, shape)
    leaf = graph.buffer(x.buffer, shape, dtype)
    choices = Drawn(np.random.default_rng(seed))
    views: dict[Node, Strided] = {leaf: x}
    arrays = {leaf: array}
    for node in toposort([moves(choices, leaf, 5)]):
        if node is leaf or node.op is GraphOp.CONTIGUOUS:
            continue
        if node.srcs[0] not in views:
            break
        arrays[node] = move(node, arrays[node.srcs[0]])
        view = moved(node, views[node.srcs[0]])
        if view is None:
            assert node.op in (GraphOp.PAD, GraphOp.RESHAPE)
            break
        views[node] = view
        got = view.array(x.handle[: x.buffer.nbytes])
        assert got.shape == node.shape
        assert np.array_equal(got, arrays[node])
        if view.size:
            (fewest,) = walked_together([view])
            assert np.array_equal(fewest.array(x.handle).ravel(), got.ravel())
            assert fewest.is_contiguous == view.is_contiguous
            if view.is_contiguous:
                assert (len(fewest.shape), fewest.strides) == (1, (1,))


def test_a_reshape_without_strides_is_none(device: Device) -> None:
    x, _ = filled(device, int8, (3, 4))
    turned = Strided(x.buffer, int8, (4, 3), (1, 4))
    assert turned.reshaped((12,)) is None
    assert turned.reshaped((2, 2, 3)) == Strided(x.buffer, int8, (2, 2, 3), (2, 1, 4))
    assert turned.reshaped((4, 1, 3, 1)) == Strided(x.buffer, int8, (4, 1, 3, 1), (1, 0, 4, 0))


# ----------------------------------------------------------------------------------------------- libraries


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    (folder / "twice.c").write_text("int twice(int a) { return 2 * a; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "twice.so", folder / "twice.c"], check=True)
    return folder / "twice.so"


def test_a_library_is_called(built: Path) -> None:
    library = Library(str(built), "int twice(int a);")
    library.open()
    assert library.calls.twice(21) == 42


def test_nothing_is_opened_before_it_is_wanted() -> None:
    library = Library("", "")
    library.open()
    with pytest.raises(DeviceError, match="its path is empty"):
        library.calls  # noqa: B018
    Library("/nowhere/libacme.so", "not C at all")


@pytest.mark.parametrize(
    ("path", "declarations", "said"),
    [
        ("/nowhere/libacme.so", "int f(void);", "does not load: .*libacme.so.*name the file that it is in"),
        ("~/libacme_absent.so", "int f(void);", "does not load: cannot load library '/"),
        ("libacme.so", "#include <a.h>\nint f(void)", "declarations of libacme.so are not C that cffi reads"),
    ],
    ids=["path", "home", "declarations"],
)
def test_what_is_wrong_is_told_when_the_port_opens(path: str, declarations: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        Library(path, declarations).open()
