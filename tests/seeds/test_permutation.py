"""The shuffle is a permutation in every cycle, the same however it is cut, and looks like one drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prefect_datagen.seeds.permutation import Shuffle

SIZES = [1, 2, 3, 10, 3_376, 16_384, 16_385, 65_537, 300_000]


@pytest.mark.parametrize("size", SIZES)
def test_each_cycle_holds_every_row_once(size: int) -> None:
    shuffle = Shuffle(seed=7, size=size)
    for cycle in range(2):
        found = shuffle.positions(cycle * size, size)
        assert np.array_equal(np.sort(found), np.arange(size))


@pytest.mark.parametrize("size", [10, 3_376, 20_000])
def test_cycles_and_seeds_have_orders_of_their_own(size: int) -> None:
    shuffle = Shuffle(seed=7, size=size)
    first = shuffle.positions(0, size)
    assert not np.array_equal(first, shuffle.positions(size, size))
    assert not np.array_equal(first, Shuffle(seed=8, size=size).positions(0, size))
    assert not np.array_equal(first, np.arange(size))


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from(SIZES), start=st.integers(0, 10**7), rows=st.integers(0, 200), cut=st.integers(0, 200))
def test_a_range_is_the_same_however_it_is_cut(size: int, start: int, rows: int, cut: int) -> None:
    shuffle = Shuffle(seed=1, size=size)
    cut = min(cut, rows)
    pieces = [shuffle.positions(start, cut), shuffle.positions(start + cut, rows - cut)]
    assert np.array_equal(np.concatenate(pieces), shuffle.positions(start, rows))


def test_the_order_of_a_seed_never_changes_between_versions() -> None:
    """A resume with a later version must find the same rows: these values may not change."""
    assert Shuffle(seed=7, size=5).positions(0, 10).tolist() == [0, 1, 4, 2, 3, 3, 4, 0, 1, 2]
    assert Shuffle(seed=7, size=10_000_000).positions(123_456, 4).tolist() == [7304438, 7382269, 9483232, 7547435]


def test_every_permutation_of_four_rows_is_equally_likely() -> None:
    cycles = 24_000
    orders = Shuffle(seed=3, size=4).positions(0, 4 * cycles).reshape(cycles, 4)
    _, counts = np.unique(orders @ np.array([64, 16, 4, 1]), return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("size", [16_385, 300_000])
def test_positions_of_a_large_seed_are_spread_evenly_and_independent_of_their_neighbours(size: int) -> None:
    found = Shuffle(seed=5, size=size).positions(0, size)
    sample = found[:10_000]
    assert stats.kstest((sample + 0.5) / size, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 5 / np.sqrt(size)
    assert abs(np.corrcoef(found, np.arange(size))[0, 1]) < 5 / np.sqrt(size)
