"""The interpreter against the graph's meaning, and every stage of a kernel against both."""

from __future__ import annotations

import numpy as np
import pytest
import support as t
from hypothesis import HealthCheck, given, settings

from portwright.core import pack

WIDTHS = pytest.mark.parametrize("vector_bytes", [0, 16, 64])


@WIDTHS
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots=t.programs())
def test_every_stage_of_a_program_means_the_same(vector_bytes, roots):
    expected = t.meaning(*roots)
    for stage, results in t.by_stage(roots, t.spec(vector_bytes)).items():
        for root, got, want in zip(roots, results, expected, strict=True):
            assert np.array_equal(got, want), f"{stage} of {root}"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots=t.programs())
def test_operands_laid_out_anew_are_the_same(monkeypatch, roots):
    """Every contraction is packed here, however small it is."""
    monkeypatch.setattr(pack, "WORK", 0)
    monkeypatch.setattr(pack, "REUSE", 1)
    expected = t.meaning(*roots)
    for stage, results in t.by_stage(roots, t.spec(16)).items():
        for root, got, want in zip(roots, results, expected, strict=True):
            assert np.array_equal(got, want), f"{stage} of {root}"


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots=t.programs(most=10))
def test_the_cpu_computes_what_a_program_means(roots):
    expected = t.meaning(*roots)
    for root, got, want in zip(roots, t.realized(*roots), expected, strict=True):
        assert np.array_equal(got, want), root
