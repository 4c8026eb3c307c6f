"""Programs that once gave a wrong result, as small as they could be made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from portwright import Tensor


@pytest.mark.parametrize(("n", "m"), [(1, 10**6), (2, 1000), (64, 1000), (3, 10**5)])
def test_a_sum_of_equal_terms_counts_each_once(n: int, m: int) -> None:
    """Unrolled copies of a partial sum that does not depend on the copy shared one accumulator."""
    x = Tensor(np.arange(1, n + 1, dtype=np.float32).reshape(n, 1)).expand(n, m)
    assert x.sum().item() == m * n * (n + 1) / 2
    assert x.sum(1).tolist() == [m * (i + 1) for i in range(n)]


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x.roll(3, 0),
        lambda x: x.cumsum(1),
        lambda x: x.cummax(1)[0],
        lambda x: x.pad([(0, 0), (0, 0)], mode="reflect"),
        lambda x: x.cat(dim=0),
        lambda x: x.dropout(0.5),
        lambda x: x.cast("int32").round(2),
        lambda x: x**1,
        lambda x: +x,
    ],
)
def test_a_result_that_equals_its_operand_is_a_tensor_of_its_own(same: Callable[[Tensor], Tensor]) -> None:
    """Operations with nothing to do gave the operand itself, and assignment to one changed the other."""
    x = Tensor([[1.0], [2.0], [3.0]])
    y = same(x)
    y[0] = 9
    assert x.tolist() == [[1.0], [2.0], [3.0]]
    y = same(x)
    x.assign(x.flip(0))
    assert y.tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    ("value", "dtype"), [(0.1, "float32"), (1e300, "float32"), (1e5, "float16"), (2.0**-150, "float32")]
)
def test_a_constant_is_rounded_to_its_dtype(value: float, dtype: str) -> None:
    """A constant kept its Python value: it was cast unrounded, and what is inf did not compile."""
    with np.errstate(over="ignore"):
        want = float(np.array(value).astype(dtype))
    assert Tensor(value, dtype=dtype).cast("float64").item() == want
    assert (Tensor([0.0], dtype=dtype) + value).tolist() == [want]


@pytest.mark.parametrize("dtype", [">f4", ">i2", ">f8", "<f4"])
def test_an_array_in_another_order_of_bytes_keeps_its_values(dtype: str) -> None:
    """The bytes were taken as they lay."""
    assert Tensor(np.array([1, 2, 300], dtype)).tolist() == [1, 2, 300]


def test_rows_are_kept_at_two_depths_of_one_kernel() -> None:
    """Both were called row0."""
    x = np.arange(2.0)
    e = np.exp(x - x.max())
    centred = e / e.sum() - (e / e.sum()).mean()
    t = Tensor(x).softmax(0)
    t = (t - t.mean(0, keepdim=True)).unsqueeze(1).expand(2, 66)
    np.testing.assert_allclose(t.softmax(1).numpy(), 1 / 66, rtol=1e-12)
    want = np.exp(centred[:, None] * np.arange(66))
    got = (t * Tensor(np.arange(66.0))).softmax(1).numpy()
    np.testing.assert_allclose(got, want / want.sum(1, keepdims=True), rtol=1e-12)
