"""Bad input, met end to end: each case is refused with what, where and what to do, and work goes on."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import in_process
from tensors import on

from portwright import Device, PortwrightError, Tensor, jit
from portwright.cli import main as cli
from portwright.core import cache as cache_module
from portwright.core.errors import (
    DeviceError,
    DTypeError,
    GradientError,
    IndexingError,
    JitError,
    OutOfMemoryError,
    ShapeError,
)


@pytest.fixture(params=["CPU", "NUMPY"], autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    with on(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def _still_right(device: str) -> Iterator[None]:
    """After every case, the process computes as before."""
    yield
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert (Tensor(x) * 2 + Tensor(x).sum(0)).tolist() == (x * 2 + x.sum(0)).tolist()


X = np.arange(6, dtype=np.float32).reshape(2, 3)
I8 = np.array([1, 2], np.int8)

CASES: dict[str, tuple[Callable[[], object], type[PortwrightError], tuple[str, ...]]] = {
    "broadcast": (lambda: Tensor(X) + Tensor.zeros(4), ShapeError, ("(2, 3)", "(4,)", "equal or 1")),
    "where": (
        lambda: (Tensor(X) > 0).where(Tensor.zeros(2), 1), ShapeError, ("(2, 3)", "(2,)", "equal or 1"),
    ),
    "matmul": (lambda: Tensor(X) @ Tensor(X), ShapeError, ("matmul", "(2, 3)", "last axis (3)")),
    "axis of a sum": (lambda: Tensor(X).sum(2), ShapeError, ("axis 2", "(2, 3)", "2 axes")),
    "axis of softmax": (lambda: Tensor(X).softmax(-3), ShapeError, ("axis -3", "(2, 3)", "2 axes")),
    "axis that is no integer": (lambda: Tensor(X).sum(1.0), PortwrightError, ("integer", "1.0")),
    "axis named twice": (lambda: Tensor(X).sum((0, -2)), ShapeError, ("(0, -2)", "named twice")),
    "promotion": (
        lambda: Tensor([1], dtype="uint64") + Tensor(I8), DTypeError,
        ("uint64", "int8", "do not promote", "x.cast('int8')"),
    ),
    "dtype of no name": (lambda: Tensor(X).cast("float8"), DTypeError, ("'float8'", "float16, bfloat16")),
    "dtype None": (lambda: Tensor(X).cast(None), DTypeError, ("None", "float32")),  # type: ignore[arg-type]
    "bits of floats": (lambda: Tensor(X) & 1, DTypeError, ("bitwise and", "float32", "integers")),
    "data of no dtype": (lambda: Tensor([1j]), DTypeError, ("complex128", "numbers")),
    "no such device": (
        lambda: Tensor([1.0], device="GPU9"), DeviceError, ("'GPU9'", "CPU, CUDA, METAL, NUMPY", "vendor"),
    ),
    "move to no such device": (lambda: Tensor(X).to("NUMPI"), DeviceError, ("NUMPI", "Did you mean NUMPY")),
    "device by number": (lambda: Device(0), DeviceError, ("0", "text", "CPU, CUDA, METAL, NUMPY")),  # type: ignore[arg-type]
    "reshape": (
        lambda: Tensor(X).reshape(4, 2), ShapeError, ("(2, 3)", "6 elements", "(4, 2)", "8 elements"),
    ),
    "reshape by -1": (lambda: Tensor(X).reshape(4, -1), ShapeError, ("6 elements", "(4, -1)", "-1")),
    "reshape by a float": (lambda: Tensor(X).reshape(2.0, 3), PortwrightError, ("integers", "(2.0, 3)")),
    "expand to less than nothing": (lambda: Tensor(X).expand(-5, 2, 3), ShapeError, ("(-5, 2, 3)",)),
    "index": (lambda: Tensor(X)[1, 3], IndexingError, ("index 3", "axis 1", "(2, 3)", "3 elements")),
    "index array": (
        lambda: Tensor(X)[np.array([0, -3])], IndexingError, ("-3 to 0", "axis 0", "(2, 3)", "2 elements"),
    ),
    "slice": (lambda: Tensor(X)[0.5:], IndexingError, ("0.5", "integers")),
    "assignment by position": (
        lambda: Tensor(X).__setitem__(2, 0), IndexingError, ("index 2", "axis 0", "2 elements"),
    ),
    "number beyond the dtype": (lambda: Tensor(300, dtype="uint8"), DTypeError, ("300", "uint8", "wider")),
    "number in a list": (lambda: Tensor([1, 2**40]), DTypeError, (str(2**40), "int32", "'int64'")),
    "operand": (lambda: Tensor(I8) + 200, DTypeError, ("200", "int8", "cast")),
    "bound": (lambda: Tensor(I8).clip(0, 200), DTypeError, ("200", "int8", "cast")),
    "padding": (lambda: Tensor(I8).pad([(1, 1)], value=200), DTypeError, ("pad", "200", "int8", "cast")),
    "fill": (lambda: Tensor.full((2,), -1, dtype="uint8"), DTypeError, ("-1", "uint8", "wider")),
    "assigned number": (lambda: Tensor(I8).assign(200), DTypeError, ("200", "int8")),
    "number put in place": (lambda: Tensor(I8).__setitem__(0, -129), DTypeError, ("-129", "int8")),
    "integer beyond floats": (lambda: Tensor(X) + 2**2000, DTypeError, ("2001 bits", "float32", "e+38")),
    "backward": (
        lambda: (Tensor(X, requires_grad=True) * 2).backward(), GradientError, ("(2, 3)", ".sum()"),
    ),
    "backward of nothing": (
        lambda: Tensor(X).sum().backward(), GradientError, ("requires_grad=True", "none"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_is_refused_with_what_where_and_what_to_do(case: str) -> None:
    make, error, words = CASES[case]
    with pytest.raises(error) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_a_refused_assignment_leaves_the_tensor() -> None:
    x = Tensor(X) * 1
    for bad in (lambda: x.assign(Tensor.zeros(4)), lambda: x.__setitem__((0, 5), 1)):
        with pytest.raises(PortwrightError):
            bad()
    assert x.tolist() == X.tolist()


@pytest.mark.parametrize("mix", [lambda a, b: a + b, lambda a, b: a @ b.T, lambda a, b: a.cat(b)])
def test_devices_do_not_mix(mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, b = Tensor(X, device="CPU"), Tensor(X, device="NUMPY")
    with pytest.raises(DeviceError) as caught:
        mix(a, b)
    for word in ("CPU", "NUMPY", "x.to('CPU')"):
        assert word in str(caught.value)
    assert mix(a, b.to("CPU")).tolist() == mix(Tensor(X), Tensor(X)).tolist()


def outer() -> Tensor:
    """A product of 10^7 by 10^7 that its factors hold room for."""
    ones = np.ones(10**7, np.float32)
    return Tensor(ones.reshape(-1, 1)) * Tensor(ones.reshape(1, -1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tensor.zeros(10**7, 10**7).realize(),
        lambda: Tensor.zeros(2**31, 2**31, 2**31).contiguous().realize(),
        lambda: (outer() + 1).numpy(),
    ],
)
def test_out_of_memory(make: Callable[[], object], device: str) -> None:
    with pytest.raises(OutOfMemoryError, match=rf"{device} has no room for [\d,]{{15,}} bytes.*smaller"):
        make()


def test_what_is_fused_away_needs_no_memory(device: str) -> None:
    """Nor does a device that keeps every step of it fail otherwise than for want of memory."""
    total = outer()[:2].sum()
    if device == "NUMPY":
        with pytest.raises(OutOfMemoryError, match=r"NUMPY has no room.*smaller"):
            total.item()
    else:
        assert total.item() == 2 * 10**7


def test_a_replay_is_never_stale() -> None:
    @jit
    def scaled(x: Tensor, k: float) -> Tensor:
        return (x * k).realize()

    for _ in range(3):
        assert scaled(Tensor([1.0, 2.0]), 3.0).tolist() == [3, 6]
    for args, words in (
        ((Tensor([1.0, 2.0, 3.0]), 3.0), ("shape", "(2,)", "(3,)", "reset()")),
        ((Tensor([1, 2]), 3.0), ("dtype", "float32", "int32", "reset()")),
        ((Tensor([1.0, 2.0]), 4.0), ("k", "3.0", "4.0", "reset()")),
    ):
        with pytest.raises(JitError) as caught:
            scaled(*args)  # type: ignore[arg-type]
        for word in words:
            assert word in str(caught.value)
    assert scaled(Tensor([5.0, 6.0]), 3.0).tolist() == [15, 18]
    scaled.reset()
    assert scaled(Tensor([1.0, 2.0, 3.0]), 4.0).tolist() == [4, 8, 12]


def test_certify_of_an_unknown_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["certify", "GPU9"]) == 2
    said = capsys.readouterr().err
    for word in ("GPU9", "CPU", "NUMPY"):
        assert word in said


# ----------------------------------------------------------------------------------- the compiler, the cache


def test_without_a_compiler_numpy_serves(tmp_path: Path) -> None:
    code = """
        from portwright import Device, PortwrightError, Tensor
        assert (Tensor([1.0, 2.0]) + 1).tolist() == [2, 3]
        assert Device.default == "NUMPY"
        try:
            Tensor([1.0], device="CPU")
        except PortwrightError as e:
            print(type(e).__name__, e)
        assert (Tensor([1.0, 2.0]) * 3).tolist() == [3, 6]
    """
    said = in_process(code, CC="no-such-cc", PORTWRIGHT_CACHE=str(tmp_path))
    for word in ("DriverMissingError", "CPU", "no-such-cc", "not found"):
        assert word in said


def test_a_compiler_that_fails(tmp_path: Path) -> None:
    """It answers what it is asked at first, and refuses one kernel; the others still run."""
    code = """
        from portwright import Tensor
        from portwright.core.errors import CompileError
        from portwright.core.registry import open_device
        cpu, x = open_device("CPU"), Tensor([1.0, 2.0], device="CPU")
        real = cpu.compile
        cpu.compile = lambda source: real(source + "\\n#error refused")
        try:
            (x + 1).tolist()
        except CompileError as e:
            print(e, e.log, len(e.source) > 100)
        cpu.compile = real
        assert (x + 1).tolist() == [2, 3], "what failed is compiled anew"
    """
    said = in_process(code, PORTWRIGHT_CACHE=str(tmp_path))
    for word in ("the compiler ", "failed", "refused", "True"):
        assert word in said


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_cache_folder_that_takes_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    real = cache_module._replace

    def full(path: Path, data: bytes, executable: bool = False) -> Path:
        if path.is_relative_to(tmp_path):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, data, executable)

    monkeypatch.setenv("PORTWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache_module, "_replace", full)
    x = np.arange(7, dtype=np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (Tensor(x) * 7 + code).tolist() == (x * 7 + code).tolist()
    said = [str(w.message) for w in caught]
    if device == "CPU":
        assert len(said) == 1
        for word in (os.strerror(code), str(tmp_path), "PORTWRIGHT_CACHE"):
            assert word in said[0]
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_cache_folder_that_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code = "from portwright import Tensor; print((Tensor([1.0, 2.0]) + 1).tolist())"
    assert in_process(code, PORTWRIGHT_CACHE=str(tmp_path)) == "[2.0, 3.0]"


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_truncated_cache_files_are_made_anew(keep: int, tmp_path: Path) -> None:
    code = "from portwright import Tensor; print((Tensor([1.0, 2.0], device='CPU') + 1).tolist())"
    assert in_process(code, PORTWRIGHT_CACHE=str(tmp_path)) == "[2.0, 3.0]"
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) >= 4, "entries and libraries, of the runtime and of a kernel"
    whole = {p: p.read_bytes() for p in files}
    for p, data in whole.items():
        p.write_bytes(data[:keep])
    assert in_process(code, PORTWRIGHT_CACHE=str(tmp_path)) == "[2.0, 3.0]"
    assert all(len(p.read_bytes()) != len(whole[p][:keep]) for p in files)
