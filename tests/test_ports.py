"""Every port that ships: the seed runs on it and agrees with the reference, and the page of ports is true."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tensors import on

from portwright import Tensor, jit, nn
from portwright.core.errors import DeviceError
from portwright.core.registry import open_device

DOCS = Path(__file__).parent.parent / "docs"
MOST_LINES = 200
PORTS = ("CPU", "OPENCL", "ADRENO", "CUDA:sim", "METAL:sim")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def softmax() -> Tensor:
    return Tensor(draw(6, 50)).softmax(1)


def attention() -> Tensor:
    q, k, v = (Tensor(draw(2, 4, 16, 8)[..., ::step].copy()) for step in (1, 1, -1))
    return q.scaled_dot_product_attention(k, v, is_causal=True)


def broadcast_matmul() -> Tensor:
    return Tensor(draw(3, 1, 16, 24)) @ Tensor(draw(5, 24, 12)) + Tensor(draw(12))


def digits() -> Tensor:
    """What a small network for handwritten digits says after a few steps of training."""
    images, labels = load_digits(return_X_y=True)
    images = (images[:64].reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    Tensor.manual_seed(1)
    conv, linear = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(64, 10)
    optimizer = nn.optim.Adam([*nn.parameters(conv), *nn.parameters(linear)], lr=5e-3)

    def scores(x: Tensor) -> Tensor:
        return linear(conv(x).relu().max_pool2d(2).flatten(1))

    @jit
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = scores(x).cross_entropy(y)
        loss.backward()
        optimizer.step()
        return loss

    for at in range(0, 64, 16):
        step(Tensor(images[at : at + 16]), Tensor(labels[at : at + 16].astype(np.int32)))
    return scores(Tensor(images[:16]))


SEED: dict[str, Callable[[], Tensor]] = {
    f.__name__: f for f in (softmax, attention, broadcast_matmul, digits)
}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with on("NUMPY"):
        return {name: program().numpy() for name, program in SEED.items()}


def usable(port: str) -> None:
    try:
        open_device(port)
    except DeviceError as e:
        pytest.skip(f"{port} does not open here: {e}")


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name", SEED)
def test_the_seed_agrees_with_the_reference(port: str, name: str, expected: dict[str, np.ndarray]) -> None:
    usable(port)
    with on(port):
        got = SEED[name]().numpy()
    np.testing.assert_allclose(got, expected[name], rtol=2e-4, atol=2e-5)


# ----------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def ports() -> dict[str, object]:
    return runpy.run_path(str(DOCS / "ports.py"))


def test_the_page_of_ports_is_what_their_certificates_say(ports):
    assert (DOCS / "ports.md").read_text(encoding="utf-8") == ports["page"](), "run `python docs/ports.py`"


def test_a_port_with_its_dialect_is_short(ports):
    assert {p.name: p.lines for p in ports["PORTS"] if p.lines > MOST_LINES} == {}


def test_kept_certificates_are_of_whole_runs_that_passed(ports):
    for port in ports["PORTS"]:
        if port.certificate.exists():
            document = ports["certificate"].load(port.certificate)
            assert document["verdict"] == "passed"
            assert document["suite"]["complete"]
            assert document["port"]["opened_as"] == port.name
