"""Programs that once gave a wrong result, as small as they could be made."""

from __future__ import annotations

import numpy as np
import pytest

from portwright import Tensor


@pytest.mark.parametrize(("n", "m"), [(1, 10**6), (2, 1000), (64, 1000), (3, 10**5)])
def test_a_sum_of_equal_terms_counts_each_once(n: int, m: int) -> None:
    """Unrolled copies of a partial sum that does not depend on the copy shared one accumulator."""
    x = Tensor(np.arange(1, n + 1, dtype=np.float32).reshape(n, 1)).expand(n, m)
    assert x.sum().item() == m * n * (n + 1) / 2
    assert x.sum(1).tolist() == [m * (i + 1) for i in range(n)]
