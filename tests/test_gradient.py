"""Gradients: every rule against finite differences in float64, ties and corners by what is promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tensors import check_gradient, on

from portwright import Tensor
from portwright.core.errors import GradientError, ShapeError
from portwright.core.gradient_rules import RULES
from portwright.core.graph import GraphOp
from portwright.core.ops import Op

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _reference() -> Iterator[None]:
    with on("NUMPY"):
        yield


def r(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> Any:
    return RNG.random(shape) + 0.5


def test_every_operation_has_a_rule() -> None:
    assert set(RULES) == set(Op) | set(GraphOp) - {GraphOp.COMPOUND}, "compounds are in plans only"


INDEX = np.array([[0, 2, 1], [3, 3, 0]])
CASES: dict[str, tuple[Callable[..., Tensor], list[Any]]] = {
    "add and broadcast": (lambda x, y: x + y, [r(3, 1), r(4)]),
    "sub": (lambda x, y: x - y, [r(3), r(3)]),
    "mul": (lambda x, y: x * y, [r(2, 3), r(3)]),
    "div": (lambda x, y: x / y, [r(3), positive(3)]),
    "neg": (lambda x: -x, [r(3)]),
    "maximum": (lambda x, y: x.maximum(y), [r(5), r(5)]),
    "minimum": (lambda x, y: x.minimum(y), [r(5), r(5)]),
    "pow": (lambda x, y: x**y, [positive(4), r(4)]),
    "pow scalar": (lambda x: x**3 + x**-2 + x**2.5, [positive(4)]),
    "where": (lambda x, y: (x > 0).where(x, y), [r(6), r(6)]),
    "fmod": (lambda x, y: x.fmod(y), [np.array([5.3, -7.2]), np.array([2.0, 3.1])]),
    "mod": (lambda x, y: x % y, [np.array([5.3, -7.2]), np.array([2.0, 3.1])]),
    "copysign": (lambda x, y: x.copysign(y), [r(4), r(4)]),
    "clip": (lambda x: x.clip(-0.5, 0.5), [r(8)]),
    "cast": (lambda x: x.cast("float64").exp(), [r(3)]),
    "sum": (lambda x: x.sum((0, 2)), [r(2, 3, 2)]),
    "max": (lambda x: x.max(1), [r(3, 4)]),
    "min": (lambda x: x.min(0), [r(3, 4)]),
    "prod": (lambda x: x.prod(1), [r(3, 4)]),
    "prod with zeros": (lambda x: x.prod(1), [np.array([[0.0, 2, 3], [0, 0, 3], [1, 2, 3]])]),
    "var": (lambda x: x.var(1), [r(2, 4)]),
    "logsumexp": (lambda x: x.logsumexp(1), [r(2, 4)]),
    "norm": (lambda x: x.norm(dim=1) + x.norm(3, 1), [r(2, 4)]),
    "softmax": (lambda x: x.softmax(1), [r(2, 4)]),
    "log_softmax": (lambda x: x.log_softmax(0), [r(2, 4)]),
    "cumsum": (lambda x: x.cumsum(0), [r(70)]),
    "cumprod": (lambda x: x.cumprod(0), [np.array([1.0, 0.0, 2.0, 3.0])]),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), [r(2, 4)]),
    "cummax": (lambda x: x.cummax(1)[0], [r(2, 5)]),
    "movement": (lambda x: x.reshape(3, 4).permute(1, 0).pad((1, 2)).flip(0)[1:, ::2], [r(2, 6)]),
    "expand": (lambda x: x.expand(3, 2, 4), [r(2, 1)]),
    "cat": (lambda x, y: Tensor.cat([x, y, x], dim=1), [r(2, 3), r(2, 1)]),
    "windows": (lambda x: x.unfold(1, 3, 2), [r(2, 8)]),
    "windows apart": (lambda x: x.unfold(1, 2, 3), [r(2, 9)]),
    "index": (lambda x: x[INDEX, 1:, None, ::-1], [r(4, 3, 2)]),
    "index arrays": (lambda x: x[[0, 2, 2], [1, 1, 1]], [r(3, 2)]),
    "gather": (lambda x: x.gather(0, Tensor(INDEX)), [r(4, 3)]),
    "scatter": (lambda x, s: x.scatter(0, Tensor(INDEX), s), [r(4, 3), r(2, 3)]),
    "scatter sum": (lambda x, s: x.scatter_reduce(0, Tensor(INDEX), s, "sum"), [r(4, 3), r(2, 3)]),
    "scatter mean": (lambda x, s: x.scatter_reduce(0, Tensor(INDEX), s, "mean"), [r(4, 3), r(2, 3)]),
    "scatter prod": (lambda x, s: x.scatter_reduce(0, Tensor(INDEX), s, "prod"), [r(4, 3), r(2, 3)]),
    "scatter amax": (lambda x, s: x.scatter_reduce(0, Tensor(INDEX), s, "amax"), [r(4, 3), r(2, 3)]),
    "scatter amin": (lambda x, s: x.scatter_reduce(0, Tensor(INDEX), s, "amin"), [r(4, 3), r(2, 3)]),
    "sort": (lambda x: x.sort(1, descending=True)[0], [r(2, 5)]),
    "matmul": (lambda x, y: x @ y, [r(2, 3, 4), r(4, 2)]),
    "einsum": (lambda x, y: Tensor.einsum("ij,kj->ik", x, y), [r(2, 3), r(4, 3)]),
    "conv2d": (lambda x, w, b: x.conv2d(w, b, 2, 1), [r(1, 2, 5, 5), r(3, 2, 3, 2), r(3)]),
    "conv2d dilated": (lambda x, w: x.conv2d(w, dilation=2, groups=2), [r(1, 2, 6, 5), r(2, 1, 2, 2)]),
    "conv_transpose2d": (lambda x, w: x.conv_transpose2d(w, stride=2), [r(1, 2, 3, 3), r(2, 2, 2, 2)]),
    "max_pool2d": (lambda x: x.max_pool2d(3, 2, 1), [r(1, 1, 6, 6)]),
    "avg_pool2d": (lambda x: x.avg_pool2d(2), [r(1, 2, 4, 4)]),
    "interpolate": (lambda x: x.interpolate((5, 3), mode="bicubic"), [r(1, 1, 3, 4)]),
    "layernorm": (lambda x, w, b: x.layernorm(4, w, b), [r(3, 4), r(4), r(4)]),
    "attention": (
        lambda q, k, v: q.scaled_dot_product_attention(k, v, is_causal=True),
        [r(1, 3, 4), r(1, 3, 4), r(1, 3, 2)],
    ),
    "cross_entropy": (lambda x: x.cross_entropy(Tensor([0, 2, 1]), label_smoothing=0.1), [r(3, 4)]),
    "assign": (lambda x, y: (x * 1).assign(y * y), [r(3), r(3)]),
    "setitem": (lambda x, y: written(x, y), [r(4, 3), r(2)]),
    "cholesky": (lambda x: (x @ x.T + Tensor.eye(3, dtype="float64") * 3).cholesky(), [r(3, 3)]),
    "solve": (lambda a, b: a.solve(b), [r(3, 3) + 3 * np.eye(3), r(3, 2)]),
    "atan2": (lambda y, x: y.atan2(x), [r(4), r(4)]),
    "logaddexp": (lambda x, y: x.logaddexp(y), [r(4), r(4)]),
}


def written(x: Tensor, y: Tensor) -> Tensor:
    z = x * 1
    z[1:3, 0] = y
    z[[0, 3], 2] = y * 2
    return z


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    f, arrays = CASES[name]
    check_gradient(f, *arrays)


UNARY = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal",
    "sin", "cos", "tan",
    "atan", "sinh", "cosh", "tanh", "asinh", "erf", "sigmoid", "abs", "square", "relu", "elu", "gelu", "silu",
    "mish", "softplus", "logsigmoid", "hardswish", "softsign",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_elementary(name: str) -> None:
    check_gradient(lambda x: getattr(x, name)(), positive(4))
    if name not in ("log", "log2", "log10", "sqrt", "rsqrt"):
        check_gradient(lambda x: getattr(x, name)(), -positive(4) * 0.6)


@pytest.mark.parametrize("name", ["asin", "acos", "atanh", "acosh"])
def test_inverse_functions(name: str) -> None:
    x = RNG.uniform(1.5, 3, 4) if name == "acosh" else RNG.uniform(-0.9, 0.9, 4)
    check_gradient(lambda x: getattr(x, name)(), x)


def gradient_of(f: Callable[[Tensor], Tensor], values: Any) -> list[float]:
    x = Tensor(values, requires_grad=True)
    f(x).sum().backward()
    assert x.grad is not None
    out: list[float] = x.grad.tolist()
    return out


def test_corners() -> None:
    assert gradient_of(Tensor.relu, [-1.0, 0.0, 2.0]) == [0, 0, 1]
    assert gradient_of(Tensor.abs, [-1.0, 0.0, 2.0]) == [-1, 0, 1]
    assert gradient_of(lambda x: x.clip(0.0, 1.0), [-1.0, 0.0, 1.0, 2.0]) == [0, 1, 1, 0]
    assert gradient_of(lambda x: x.maximum(0.0), [-1.0, 0.0, 1.0]) == [0, 0.5, 1]
    assert gradient_of(lambda x: x.floor() + x.round() + x.sign(), [0.5, 1.0]) == [0, 0]
    assert gradient_of(lambda x: x.max(), [3.0, 3.0, 1.0]) == [0.5, 0.5, 0]
    assert gradient_of(lambda x: x.norm(), [0.0, 0.0]) == [0, 0]
    assert gradient_of(lambda x: x.std(), [2.0, 2.0]) == [0, 0]
    assert gradient_of(lambda x: x.hardtanh(), [-1.0, 0.0, 1.0]) == [0, 1, 0]
    assert gradient_of(lambda x: x.softmax(0)[0], [0.0, float("-inf")]) == [0, 0]


def test_relu_and_maximum_of_one_tensor_keep_their_own_corners() -> None:
    x = Tensor([0.0], requires_grad=True)
    (x.relu() + x.maximum(0.0) + x.clip(min=0.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.5]


def test_gradients_add_up_until_they_are_forgotten() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for n in (1, 2):
        (x * 3).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [3 * n, 3 * n]


def test_leaves_with_equal_values_are_not_one() -> None:
    a, b = Tensor.ones(2, requires_grad=True), Tensor.ones(2, requires_grad=True)
    (a * 2 + b * 3).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    assert (a.grad.tolist(), b.grad.tolist()) == ([2, 2], [3, 3])


def test_detach_stops_it() -> None:
    x = Tensor([2.0], requires_grad=True)
    (x * (x * x).detach()).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 4
    assert not x.detach().requires_grad


def test_gradients_of_gradients() -> None:
    x = Tensor(np.array([0.3, -0.7]), requires_grad=True)
    (g,) = (x.exp() * x.sin()).sum().gradient(x)
    (h,) = g.sum().gradient(x)
    np.testing.assert_allclose(h.numpy(), 2 * np.exp(x.numpy()) * np.cos(x.numpy()), 1e-12)


def test_functional_gradients_need_no_leaves() -> None:
    x = Tensor([1.0, 2.0])
    y = x * x
    x.realize()
    (g,) = y.sum().gradient(x)
    assert g.tolist() == [2, 4]
    (g,) = (y * y).sum().gradient(y)
    assert g.tolist() == [2, 8]
    with pytest.raises(GradientError, match="target 0"):
        y.sum().gradient(Tensor([5.0]))


def test_a_gradient_given_from_outside() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).backward(Tensor([1.0, 10.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [2, 40]
    with pytest.raises(ShapeError):
        (x * x).backward(Tensor([1.0]))


def test_half_precision_leaves_get_half_precision_gradients() -> None:
    x = Tensor([1.0, 2.0], dtype="float16", requires_grad=True)
    (x.float() * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype.name == "float16"


def test_what_has_no_gradient_says_so() -> None:
    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="int32"):
        x.cast("int32").gradient(x)
