"""The same program on two devices: random numbers to the bit, values as near as the primitives allow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tensors import on

from portwright import Tensor, nn

PROGRAMS: dict[str, Callable[[], Tensor]] = {
    "bits": lambda: Tensor.rand(1000),
    "integers": lambda: Tensor.randint(-100, 100, (50,)),
    "order": lambda: Tensor.randperm(70),
    "normal": lambda: Tensor.randn(200),
    "softmax": lambda: Tensor.randn(20, 30).softmax(),
    "scan": lambda: Tensor.randn(200).cumsum(),
    "index": lambda: Tensor.randn(9, 8)[[1, 5, -1], ::2],
    "convolution": lambda: Tensor.randn(1, 2, 6, 6).conv2d(Tensor.randn(3, 2, 3, 3), padding=1),
    "functions": lambda: Tensor.linspace(-3, 3, 100).tanh() + Tensor.linspace(-3, 3, 100).erf(),
}
EXACT = {"bits", "integers", "order"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_two_devices_agree(name: str) -> None:
    results = []
    for device in ("CPU", "NUMPY"):
        with on(device):
            Tensor.manual_seed(3)
            results.append(PROGRAMS[name]().numpy())
    if name in EXACT:
        np.testing.assert_array_equal(*results)
    else:
        np.testing.assert_allclose(*results, 1e-5, 1e-5)


def test_a_step_of_training_agrees() -> None:
    weights = []
    for device in ("CPU", "NUMPY"):
        with on(device):
            Tensor.manual_seed(3)
            model = nn.Sequential(nn.Linear(4, 6), Tensor.relu, nn.Dropout(0.3), nn.Linear(6, 2))
            opt = nn.optim.AdamW(nn.parameters(model), lr=0.1)
            with Tensor.train():
                loss = model(Tensor.randn(5, 4)).cross_entropy(Tensor([0, 1, 1, 0, 1]))
                loss.backward()
                opt.step(loss)
            weights.append([p.numpy() for p in nn.parameters(model)])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_tensors_move_with_their_gradients() -> None:
    with on("CPU"):
        x = Tensor([1.0, 2.0], requires_grad=True)
        (x.to("NUMPY") * 3).sum().backward()
        assert x.grad is not None
        assert x.grad.device == "CPU"
        assert x.grad.tolist() == [3, 3]


def test_one_divisor_of_many_is_inverted_once() -> None:
    with on("CPU"):
        x = Tensor(np.ones((64, 256), np.float32)).realize()
        (kernel,) = x.softmax().kernels()
        loops = kernel.source.split("void ")[-1]
        assert loops.count(" / ") <= 1  # before the loop over the row, not in it
