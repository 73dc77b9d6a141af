"""Inverse distribution functions: right against SciPy's, at the edges too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from prefect_datagen.columns.samplers.quantiles import TableQuantile, normal_quantile


def test_normal_quantiles_are_right_from_the_middle_to_the_last_tail() -> None:
    random = np.random.default_rng(1)
    tails = 10.0 ** -random.uniform(0.3, 300, 2_000)
    u = np.concatenate(
        [random.random(100_000), tails, 1 - tails[tails > 1e-15], [0.075, 0.925, 2.0**-53, 1 - 2.0**-53]]
    )
    u = u[(u > 0) & (u < 1)]
    assert normal_quantile(u) == pytest.approx(ndtri(u), rel=2e-15, abs=2e-15)
    assert normal_quantile(np.array([0.5])).tolist() == [0.0]
    assert normal_quantile(1 - u[:1_000]) == pytest.approx(-normal_quantile(u[:1_000]), rel=1e-12)


@pytest.mark.parametrize("entries", [1, 2, 3, 94, 4_096, 4_097, 50_000])
def test_a_table_finds_what_a_search_finds(entries: int) -> None:
    random = np.random.default_rng(entries)
    weights = random.random(entries) ** 8  # most of the probability in few entries
    cumulative = np.cumsum(weights / weights.sum())
    u = np.concatenate([random.random(100_000), [0.0, 1 - 2.0**-53], cumulative[:-1][:1_000]])
    expected = np.minimum(np.searchsorted(cumulative, u), entries - 1)
    assert (TableQuantile(cumulative)(u) == expected).all()
