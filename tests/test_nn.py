"""Layers, and finding and loading a model's tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tensors import on, same

from portwright import Tensor, nn
from portwright.core.errors import ArgumentError, ShapeError
from portwright.core.graph import GraphOp


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        Tensor.manual_seed(0)
        yield


def test_linear() -> None:
    layer = nn.Linear(3, 5)
    x = np.ones((2, 3), np.float32)
    assert layer.bias is not None
    same(layer(Tensor(x)), x @ layer.weight.numpy().T + layer.bias.numpy(), 1e-6, 1e-7)
    assert np.abs(layer.weight.numpy()).max() <= 3**-0.5
    assert nn.Linear(3, 5, bias=False).bias is None


def test_conv2d() -> None:
    layer = nn.Conv2d(4, 6, (3, 1), stride=2, padding=1, groups=2)
    assert layer.weight.shape == (6, 2, 3, 1)
    assert layer(Tensor.ones(1, 4, 5, 5)).shape == (1, 6, 3, 4)
    with pytest.raises(ArgumentError):
        nn.Conv2d(4, 6, 3, groups=4)


def test_batchnorm_learns_in_training_only() -> None:
    layer = nn.BatchNorm2d(3)
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32) * 2 + 1
    assert layer.running_mean is not None
    assert layer.running_var is not None
    with Tensor.train():
        out = layer(Tensor(x)).numpy()
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(out.var((0, 2, 3)), 1, 1e-4)
    assert layer.running_mean.node.op is GraphOp.BUFFER  # computed with the output, so that nothing piles up
    same(layer.running_mean, 0.1 * x.mean((0, 2, 3)), 1e-5)
    same(layer.running_var, (0.9 + 0.1 * x.var((0, 2, 3), ddof=1)).astype(np.float32), 1e-5)
    before = layer.running_mean.numpy()
    mean, var = layer.running_mean.numpy(), layer.running_var.numpy()
    want = (x - mean.reshape(1, -1, 1, 1)) / np.sqrt(var.reshape(1, -1, 1, 1) + 1e-5)
    same(layer(Tensor(x)), want, 1e-4, 1e-5)
    np.testing.assert_array_equal(layer.running_mean.numpy(), before)
    with pytest.raises(ShapeError):
        layer(Tensor(x[:, :2]))


def test_other_layers() -> None:
    x = Tensor.randn(2, 4, 3)
    np.testing.assert_allclose(nn.LayerNorm(3)(x).numpy().mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(nn.GroupNorm(2, 4)(x).numpy().reshape(2, 2, -1).var(-1), 1, 1e-3)
    table = nn.Embedding(5, 2)
    same(table(Tensor([[1, 4]])), table.weight.numpy()[[[1, 4]]])
    drop = nn.Dropout(0.5)
    assert drop(x).node is x.node
    with Tensor.train():
        assert (drop(Tensor.ones(100)).numpy() == 0).any()
    with pytest.raises(ArgumentError):
        nn.Dropout(2)


class Model:
    def __init__(self) -> None:
        self.body = nn.Sequential(nn.Linear(3, 4), Tensor.relu, nn.BatchNorm2d(2))
        self.heads = {"a": nn.Linear(4, 1), "b": [nn.Linear(4, 2)]}
        self.tied = self.body[0]
        self.name = "a model"


NAMES = [
    "body.layers.0.weight", "body.layers.0.bias", "body.layers.2.weight", "body.layers.2.bias",
    "body.layers.2.running_mean", "body.layers.2.running_var", "heads.a.weight", "heads.a.bias",
    "heads.b.0.weight", "heads.b.0.bias",
]  # fmt: skip


def test_a_models_tensors_are_found_once_by_path() -> None:
    model = Model()
    state = nn.state_dict(model)
    assert list(state) == NAMES
    assert [id(p) for p in nn.parameters(model)] == [id(state[n]) for n in NAMES if "running" not in n]


def test_loading_gives_the_values_to_the_same_tensors() -> None:
    a, b = Model(), Model()
    kept = nn.state_dict(b)
    nn.load_state_dict(b, {k: t.numpy() for k, t in nn.state_dict(a).items()})
    for name, t in nn.state_dict(a).items():
        same(kept[name], t.numpy())
        assert kept[name].requires_grad == t.requires_grad


def test_loading_what_does_not_match_changes_nothing() -> None:
    model = Model()
    before = {k: t.numpy() for k, t in nn.state_dict(model).items()}
    with pytest.raises(ArgumentError, match=r"missing heads\.a\.bias; unknown extra"):
        nn.load_state_dict(
            model, {**{k: v for k, v in before.items() if k != "heads.a.bias"}, "extra": before[NAMES[0]]}
        )
    with pytest.raises(ShapeError, match=r"heads\.a\.bias"):
        nn.load_state_dict(model, {**before, "heads.a.bias": np.zeros(7), NAMES[0]: before[NAMES[0]] + 1})
    same(nn.state_dict(model)[NAMES[0]], before[NAMES[0]])
    nn.load_state_dict(model, {NAMES[0]: before[NAMES[0]] + 1}, strict=False)
    same(nn.state_dict(model)[NAMES[0]], before[NAMES[0]] + 1)


def test_a_network_learns() -> None:
    with on("CPU"):  # compiled, since it is many steps
        learn()


def learn() -> None:
    Tensor.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    model = nn.Sequential(nn.Linear(2, 16), Tensor.tanh, nn.Linear(16, 2))
    opt = nn.optim.Adam(nn.parameters(model), lr=0.05)
    for _ in range(60):
        opt.zero_grad()
        loss = model(Tensor(x)).cross_entropy(Tensor(y))
        loss.backward()
        opt.step(loss)
    accuracy = (model(Tensor(x)).argmax(1).numpy() == y).mean()
    assert accuracy > 0.95
    assert loss.item() < 0.2
