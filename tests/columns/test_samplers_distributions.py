"""Distributions: 100,000 rows at a fixed seed agree with the distribution that was asked for.

Seeds are fixed, so each test always gives the same p-value; a wrong distribution of this many rows has one below 1e-6.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.base import open_unit
from prefect_datagen.columns.sampling import SeedStageSampler
from prefect_datagen.engine.randomness import RowStream

ROWS = 100_000
LIKELY = 1e-3


def config(name: str, sampler_type: str, params: dict[str, Any], **more: Any) -> SamplerColumnConfig:
    return SamplerColumnConfig.model_validate({"name": name, "sampler_type": sampler_type, "params": params, **more})


def draw(sampler_type: str, params: dict[str, Any], *, rows: int = ROWS, seed: int = 11, **more: Any) -> pa.Array:
    return SeedStageSampler([config("x", sampler_type, params, **more)], seed=seed).sample(0, rows, {}).arrays["x"]


def numbers(sampler_type: str, params: dict[str, Any], **more: Any) -> NDArray[Any]:
    return np.asarray(draw(sampler_type, params, **more).to_numpy())


def fits_counts(values: NDArray[Any], distribution: Any) -> float:
    """p-value of a chi-square test of integers, rare values taken together."""
    counts = np.bincount(values - values.min())
    support = np.arange(values.min(), values.max() + 1)
    expected = distribution.pmf(support) * len(values)
    usual = expected >= 10
    rest = len(values) - expected[usual].sum()
    observed = [*counts[usual], counts[~usual].sum()]
    if rest < 1:  # hardly anything is expected there: join it to the largest cell
        observed[0] += observed.pop()
        return float(stats.chisquare(observed, expected[usual] * len(values) / expected[usual].sum()).pvalue)
    return float(stats.chisquare(observed, [*expected[usual], rest]).pvalue)


@pytest.mark.parametrize(
    ("sampler_type", "params", "expected"),
    [
        ("uniform", {"low": -3.0, "high": 5.0}, stats.uniform(-3, 8)),
        ("gaussian", {"mean": 10.0, "stddev": 2.5}, stats.norm(10, 2.5)),
        ("scipy", {"dist_name": "beta", "dist_params": {"a": 2, "b": 5}}, stats.beta(2, 5)),
        ("scipy", {"dist_name": "lognorm", "dist_params": {"s": 0.7, "scale": 3}}, stats.lognorm(0.7, scale=3)),
        ("scipy", {"dist_name": "cauchy", "dist_params": {"loc": 1}}, stats.cauchy(1)),
        ("scipy", {"dist_name": "exponnorm", "dist_params": {"K": 1.5}}, stats.exponnorm(1.5)),
        ("scipy", {"dist_name": "argus", "dist_params": {"chi": 1.0}}, stats.argus(1.0)),
        ("scipy", {"dist_name": "foldnorm", "dist_params": {"c": 1.95, "loc": 2}}, stats.foldnorm(1.95, loc=2)),
        ("scipy", {"dist_name": "vonmises", "dist_params": {"kappa": 4, "loc": 7}}, stats.vonmises(4, loc=7)),
        (
            "scipy",
            {"dist_name": "rv_histogram", "dist_params": {"histogram": [[1, 3, 2], [0, 1, 2, 4]], "density": False}},
            stats.rv_histogram((np.array([1, 3, 2]), np.array([0, 1, 2, 4])), density=False),
        ),
    ],
)
def test_continuous_samplers_follow_their_distribution(
    sampler_type: str, params: dict[str, Any], expected: Any
) -> None:
    values = numbers(sampler_type, params)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert stats.kstest(values, expected.cdf).pvalue > LIKELY
    low, high = expected.support()
    assert low <= values.min()
    assert values.max() <= high


@pytest.mark.parametrize(
    ("sampler_type", "params", "expected"),
    [
        ("bernoulli", {"p": 0.3}, stats.bernoulli(0.3)),
        ("binomial", {"n": 20, "p": 0.25}, stats.binom(20, 0.25)),
        ("binomial", {"n": 1_000_000, "p": 0.001}, stats.binom(1_000_000, 0.001)),
        ("binomial", {"n": 10**15, "p": 3e-15}, stats.poisson(3)),
        ("poisson", {"mean": 0.2}, stats.poisson(0.2)),
        ("poisson", {"mean": 30}, stats.poisson(30)),
        ("poisson", {"mean": 5_000}, stats.poisson(5_000)),
        ("scipy", {"dist_name": "geom", "dist_params": {"p": 0.2}}, stats.geom(0.2)),
        ("scipy", {"dist_name": "logser", "dist_params": {"p": 0.6}}, stats.logser(0.6)),
        ("scipy", {"dist_name": "skellam", "dist_params": {"mu1": 15, "mu2": 8}}, stats.skellam(15, 8)),
        ("scipy", {"dist_name": "hypergeom", "dist_params": {"M": 30, "n": 12, "N": 6}}, stats.hypergeom(30, 12, 6)),
        ("scipy", {"dist_name": "zipf", "dist_params": {"a": 6.5, "loc": 3}}, stats.zipf(6.5, loc=3)),
        (
            "scipy",
            {"dist_name": "poisson_binom", "dist_params": {"p": [0.1, 0.6, 0.7]}},
            stats.poisson_binom([0.1, 0.6, 0.7]),
        ),
    ],
)
def test_discrete_samplers_follow_their_distribution(sampler_type: str, params: dict[str, Any], expected: Any) -> None:
    values = numbers(sampler_type, params)
    assert values.dtype == np.int64
    assert fits_counts(values, expected) > LIKELY
    assert abs(values.mean() - expected.mean()) < 5 * expected.std() / ROWS**0.5
    kurtosis = float(expected.stats("k"))
    assert abs(values.var() / expected.var() - 1) < 5 * ((kurtosis + 2) / ROWS) ** 0.5  # standard errors


@pytest.mark.parametrize(
    ("sampler_type", "params", "expected"),
    [
        ("poisson", {"mean": 1e13}, stats.poisson(1e13)),
        ("binomial", {"n": 10**14, "p": 0.5}, stats.binom(10**14, 0.5)),
        ("scipy", {"dist_name": "yulesimon", "dist_params": {"alpha": 1.5}}, stats.yulesimon(1.5)),
        (
            "scipy",
            {"dist_name": "levy_stable", "dist_params": {"alpha": 1.8, "beta": -0.5}},
            stats.levy_stable(1.8, -0.5),
        ),
    ],
)
def test_what_fits_no_table_follows_its_distribution_too(
    sampler_type: str, params: dict[str, Any], expected: Any
) -> None:
    values = numbers(sampler_type, params, rows=2_000)
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    cuts = np.quantile(values, levels)
    shares = np.array([expected.cdf(cut) for cut in cuts])
    below = np.array([expected.cdf(cut - 1e-9) for cut in cuts])  # a discrete distribution jumps at its cuts
    assert (shares > levels - 0.05).all()
    assert (below < levels + 0.05).all()


@pytest.mark.parametrize(
    ("sampler_type", "params", "expected"),
    [
        ("poisson", {"mean": 30.0}, stats.poisson(30)),
        ("poisson", {"mean": 3e9}, stats.poisson(3e9)),
        ("binomial", {"n": 500, "p": 0.9}, stats.binom(500, 0.9)),
        ("binomial", {"n": 10**11, "p": 0.2}, stats.binom(10**11, 0.2)),
    ],
)
def test_counts_are_the_inverse_function_of_the_rows_uniforms(
    sampler_type: str, params: dict[str, Any], expected: Any
) -> None:
    uniforms = open_unit(RowStream(11, "x").words(0, 500, 1)[:, 0])
    assert (numbers(sampler_type, params, rows=500) == expected.ppf(uniforms)).all()


@pytest.mark.parametrize(
    ("params", "only"),
    [
        ({"n": 0, "p": 0.5}, 0),
        ({"n": 7, "p": 0.0}, 0),
        ({"n": 7, "p": 1.0}, 7),
    ],
)
def test_a_certain_binomial_is_certain(params: dict[str, Any], only: int) -> None:
    assert set(numbers("binomial", params, rows=1_000)) == {only}


def test_certainty_and_nothing_at_all() -> None:
    assert set(numbers("bernoulli", {"p": 0.0})) == {0}
    assert set(numbers("bernoulli", {"p": 1.0})) == {1}
    assert set(numbers("poisson", {"mean": 0})) == {0}
    assert set(numbers("gaussian", {"mean": 3, "stddev": 0})) == {3.0}
    assert set(numbers("uniform", {"low": 2, "high": 2})) == {2.0}


def test_a_mixture_is_zero_or_its_distribution() -> None:
    params = {"p": 0.4, "dist_name": "gamma", "dist_params": {"a": 2.0, "scale": 3.0}}
    values = numbers("bernoulli_mixture", params)
    drawn = values[values != 0]
    assert stats.binomtest(len(drawn), ROWS, 0.4).pvalue > LIKELY
    assert stats.kstest(drawn, stats.gamma(2, scale=3).cdf).pvalue > LIKELY
    counts = numbers("bernoulli_mixture", {"p": 0.5, "dist_name": "geom", "dist_params": {"p": 0.5}})
    assert counts.dtype == np.int64
    assert fits_counts(counts[counts > 0], stats.geom(0.5)) > LIKELY


def test_decimal_places_round_and_stay_within_bounds() -> None:
    values = numbers("uniform", {"low": 0.04, "high": 0.96, "decimal_places": 1})
    assert set(values) == {round(k / 10, 1) for k in range(1, 10)}
    whole = numbers("uniform", {"low": 0.6, "high": 6.4}, convert_to="int")
    assert set(whole) == set(range(1, 7))
    tens = numbers("uniform", {"low": 0, "high": 100, "decimal_places": -1})
    assert set(tens) == {10.0 * k for k in range(11)}
    assert all(round(value, 2) == value for value in numbers("gaussian", {"mean": 0, "stddev": 9, "decimal_places": 2}))
    tenths = Counter(numbers("uniform", {"low": 0.1, "high": 0.7, "decimal_places": 1}))
    assert set(tenths) == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}  # the bounds count, though they are no binary fractions
    beta = numbers("scipy", {"dist_name": "beta", "dist_params": {"a": 1, "b": 1}, "decimal_places": 1})
    assert set(beta) == {round(k / 10, 1) for k in range(11)}


def test_categories_come_by_weight() -> None:
    values = draw("category", {"values": ["a", "b", "never", "c"], "weights": [1, 2, 0, 5]}).to_pylist()
    counts = Counter(values)
    assert set(counts) == {"a", "b", "c"}
    expected = [ROWS / 8, 2 * ROWS / 8, 5 * ROWS / 8]
    assert stats.chisquare([counts["a"], counts["b"], counts["c"]], expected).pvalue > LIKELY


def test_categories_without_weights_come_evenly() -> None:
    counts = Counter(numbers("category", {"values": list(range(17))}).tolist())
    assert stats.chisquare([counts[value] for value in range(17)]).pvalue > LIKELY


@pytest.mark.parametrize(
    ("unit", "start", "end", "steps"),
    [
        ("Y", "2000-01-01", "2020-01-01", [datetime(year, 1, 1) for year in range(2000, 2020)]),
        (
            "M",
            "2023-11-01",
            "2024-03-01",
            [datetime(2023, 11, 1), datetime(2023, 12, 1), datetime(2024, 1, 1), datetime(2024, 2, 1)],
        ),
        (
            "M",
            "2024-01-31",
            "2024-05-01",
            [datetime(2024, 1, 31), datetime(2024, 2, 29), datetime(2024, 3, 31), datetime(2024, 4, 30)],
        ),
        ("Y", "2024-02-29", "2027-02-28", [datetime(2024, 2, 29), datetime(2025, 2, 28), datetime(2026, 2, 28)]),
        (
            "D",
            "2024-02-27T10:30",
            "2024-03-01T10:31",
            [datetime(2024, 2, 27, 10, 30) + timedelta(days=k) for k in range(4)],
        ),
        (
            "h",
            "1969-12-31T22:00",
            "1970-01-01T02:00",
            [datetime(1969, 12, 31, 22) + timedelta(hours=k) for k in range(4)],
        ),
        ("m", "2024-01-01", "2024-01-01T00:05", [datetime(2024, 1, 1, 0, k) for k in range(5)]),
        (
            "s",
            "2024-01-01T00:00:00.25",
            "2024-01-01T00:00:04",
            [datetime(2024, 1, 1, 0, 0, k, 250_000) for k in range(4)],
        ),
    ],
)
def test_datetimes_are_the_whole_steps_from_start_and_stay_before_end(
    unit: str, start: str, end: str, steps: list[datetime]
) -> None:
    counts = Counter(draw("datetime", {"start": start, "end": end, "unit": unit}).to_pylist())
    assert sorted(counts) == steps
    assert stats.chisquare([counts[step] for step in steps]).pvalue > LIKELY


def test_datetimes_spread_evenly_over_a_long_range() -> None:
    values = draw("datetime", {"start": "2001-02-03", "end": "2024-05-06T07:08:09", "unit": "s"})
    seconds = np.asarray(values.cast(pa.int64()).to_numpy()) / 1e6
    start, end = (datetime.fromisoformat(text) - datetime(1970, 1, 1) for text in ("2001-02-03", "2024-05-06T07:08:09"))
    span = (end - start).total_seconds()
    assert stats.kstest(seconds, stats.uniform(start.total_seconds(), span).cdf).pvalue > LIKELY
    assert seconds.max() < end.total_seconds()


def test_timedeltas_are_whole_units_from_least_to_largest_exclusive() -> None:
    columns = [
        config("t", "datetime", {"start": "2024-01-01", "end": "2024-06-01", "unit": "h"}),
        config("x", "timedelta", {"dt_min": 2, "dt_max": 6, "reference_column_name": "t", "unit": "m"}),
    ]
    sampled = SeedStageSampler(columns, seed=3).sample(0, ROWS, {}).arrays
    counts = Counter(
        (later - earlier) for later, earlier in zip(sampled["x"].to_pylist(), sampled["t"].to_pylist(), strict=True)
    )
    assert sorted(counts) == [timedelta(minutes=k) for k in range(2, 6)]
    assert stats.chisquare(list(counts.values())).pvalue > LIKELY


def test_columns_and_neighbouring_rows_are_independent() -> None:
    columns = [config(name, "uniform", {"low": 0, "high": 1}) for name in ("a", "b")]
    sampled = SeedStageSampler(columns, seed=5).sample(0, ROWS, {}).arrays
    one, two = (np.asarray(sampled[name].to_numpy()) for name in ("a", "b"))
    bound = 4 / ROWS**0.5
    assert abs(np.corrcoef(one, two)[0, 1]) < bound
    for lag in (1, 2, 1_000):
        assert abs(np.corrcoef(one[lag:], one[:-lag])[0, 1]) < bound
    other_seed = np.asarray(SeedStageSampler(columns, seed=6).sample(0, ROWS, {}).arrays["a"].to_numpy())
    assert abs(np.corrcoef(one, other_seed)[0, 1]) < bound
