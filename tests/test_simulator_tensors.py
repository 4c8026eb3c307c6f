"""Tensors on the simulated ports: what core makes of them runs, and agrees with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from portwright import Tensor
from portwright.core.registry import adopt
from portwright.devices.cuda_sim import CUDASim
from portwright.devices.metal_sim import MetalSim
from portwright.devices.simulator import Simulator


@pytest.fixture(scope="module", params=[CUDASim, MetalSim], ids=["CUDA", "METAL"])
def sim(request: pytest.FixtureRequest) -> Simulator:
    device: Simulator = request.param()
    device.opened_as = f"{device.spec.name}:sim"
    adopt(device)
    return device


@pytest.fixture
def sources(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are compiled."""
    seen: list[str] = []
    compile_ = sim.compile

    def compile_and_keep(source: str) -> bytes:
        seen.append(source)
        return compile_(source)

    monkeypatch.setattr(sim, "compile", compile_and_keep)
    return seen


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_few_results_of_long_sums_meet_at_barriers(sim: Simulator, sources: list[str]) -> None:
    x = np.random.default_rng(0).integers(-99, 99, (3, 5000)).astype(np.float32)
    assert (Tensor(x, device=sim.name).sum(1).numpy() == x.sum(1)).all()
    assert any(sim.dialect.barrier in s for s in sources)


def test_softmax(sim: Simulator) -> None:
    x = normal(6, 333)
    e = np.exp(x - x.max(1, keepdims=True), dtype=np.float64)
    got = Tensor(x, device=sim.name).softmax(1).numpy()
    assert np.abs(got - e / e.sum(1, keepdims=True)).max() < 1e-7


def test_attention(sim: Simulator) -> None:
    q, k, v = normal(2, 16, 8), normal(2, 24, 8), normal(2, 24, 12)
    x, y, z = (Tensor(t, device=sim.name) for t in (q, k, v))
    got = ((x @ y.transpose(1, 2)) * 0.3).softmax(2) @ z
    scores = np.einsum("bik,bjk->bij", q, k, dtype=np.float64) * 0.3
    e = np.exp(scores - scores.max(2, keepdims=True))
    assert np.abs(got.numpy() - (e / e.sum(2, keepdims=True)) @ v).max() < 1e-5


def test_a_broadcast_product_with_an_epilogue(sim: Simulator) -> None:
    a, b, c = normal(3, 1, 20, 33), normal(1, 4, 33, 17), normal(17)
    x, y, z = (Tensor(t, device=sim.name) for t in (a, b, c))
    got = (x @ y + z).relu().numpy()
    exact = np.maximum(a.astype(np.float64) @ b + c, 0)
    assert got.shape == (3, 4, 20, 17)
    assert np.abs(got - exact).max() < 1e-4


@pytest.mark.parametrize("shape", [(32, 32, 32), (48, 64, 40), (17, 33, 9)])
def test_a_product_of_halves_is_exact_on_integers(
    sim: Simulator, sources: list[str], shape: tuple[int, int, int]
) -> None:
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = (rng.integers(-4, 5, s).astype(np.float16) for s in ((m, k), (k, n)))
    got = (Tensor(a, device=sim.name) @ Tensor(b, device=sim.name)).numpy()
    assert (got == a.astype(np.float32) @ b.astype(np.float32)).all()
    tiled = any(f"{t.name}(" in s for t in sim.spec.tiles for s in sources)
    assert tiled == (shape != (17, 33, 9))


def test_a_step_of_training(sim: Simulator) -> None:
    """A convolution, a pool and a linear layer: the gradients are the CPU port's."""
    x, w, u = normal(4, 1, 8, 8), normal(3, 1, 3, 3), normal(27, 5)
    found = []
    for device in (sim.name, "CPU"):
        kernel, weight = (Tensor(t, device=device, requires_grad=True) for t in (w, u))
        y = Tensor(x, device=device).conv2d(kernel).relu().max_pool2d(2).reshape(4, -1) @ weight
        (y * y).mean().backward()
        found.append([t.grad.numpy() for t in (kernel, weight) if t.grad is not None])
    for got, wanted in zip(*found, strict=True):
        assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()
