"""Bernoulli, binomial and Poisson samplers: 64-bit integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from prefect_datagen.columns.samplers.base import Finite, Plan, Rows, SamplerParams, Target, open_unit
from prefect_datagen.columns.samplers.quantiles import TableQuantile, normal_quantile
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.randomness import unit
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]

_MAX_TABLE = 1 << 20  # entries; 8 MiB of a distribution function
_MAX_COUNT = 10**15  # counts up to here are exact as floats and far from the end of 64-bit integers


class BernoulliSamplerParams(SamplerParams):
    """1 with probability p, else 0."""

    sampler_type: Literal["bernoulli"] = "bernoulli"
    p: Probability = Field(description="Probability of 1.")

    def drawn_type(self) -> pa.DataType:
        """64-bit integers."""
        return pa.int64()

    def plan(self, target: Target) -> Plan:
        """One word per row."""

        def draw(rows: Rows) -> pa.Array:
            return from_numpy((unit(rows.words[:, 0]) < self.p).astype(np.int64))

        return Plan(1, draw)


class BinomialSamplerParams(SamplerParams):
    """Number of successes in n independent trials."""

    sampler_type: Literal["binomial"] = "binomial"
    n: int = Field(ge=0, le=_MAX_COUNT, description="Number of trials.")
    p: Probability = Field(description="Probability of success of each trial.")

    def drawn_type(self) -> pa.DataType:
        """64-bit integers."""
        return pa.int64()

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        n, p = self.n, self.p
        if p == 1:
            return Plan(1, lambda rows: from_numpy(np.full(len(rows.index), n, dtype=np.int64)))
        return _count_plan(
            n * p, n * p * (1 - p), 1 - 2 * p, lambda counts: (n - counts + 1) / counts * (p / (1 - p)), largest=n
        )


class PoissonSamplerParams(SamplerParams):
    """Number of events in an interval."""

    sampler_type: Literal["poisson"] = "poisson"
    mean: Finite = Field(ge=0.0, le=_MAX_COUNT, description="Mean number of events.")

    def drawn_type(self) -> pa.DataType:
        """64-bit integers."""
        return pa.int64()

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        return _count_plan(self.mean, self.mean, 1.0, lambda counts: self.mean / counts)


def _count_plan(
    mean: float, variance: float, asymmetry: float, ratio: Callable[[_Floats], _Floats], *, largest: int | None = None
) -> Plan:
    """Counts by a table of their distribution function around the mean, or nearly normal ones where that were too long.

    `ratio` gives, for counts k > 0, the probability of k over that of k - 1: their logarithms add up to the table.

    Outside of the table there is less probability than one step of a 52-bit uniform. Twelve standard deviations see to
    that where the distribution is near normal (1e-32); the 40 on top of them where the mean is small and the upper tail
    falls like 1/k!.

    Without a table the standard deviation is above 40,000, and the Cornish-Fisher expansion (Abramowitz and Stegun
    26.2.49) with the third cumulant, `asymmetry * variance`, is within a thousandth of a count.
    """
    spread = math.sqrt(variance)
    low, high = max(0, math.floor(mean - 12 * spread - 40)), math.ceil(mean + 12 * spread + 40)
    if largest is not None:
        high = min(high, largest)
    if high - low < _MAX_TABLE:

        @cache
        def table() -> TableQuantile:
            with np.errstate(divide="ignore"):  # a ratio of 0
                steps = np.log(ratio(np.arange(low + 1, high + 1, dtype=np.float64)))
            heights = np.concatenate([[0.0], np.cumsum(steps)])
            cumulative = np.cumsum(np.exp(heights - heights.max()))
            return TableQuantile(cumulative / cumulative[-1])

        return Plan(1, lambda rows: from_numpy(low + table()(open_unit(rows.words[:, 0]))))

    def draw(rows: Rows) -> pa.Array:
        normal = normal_quantile(open_unit(rows.words[:, 0]))
        values = mean + spread * normal + asymmetry * (normal**2 - 1) / 6
        return from_numpy(np.clip(np.ceil(values - 0.5), low, high).astype(np.int64))

    return Plan(1, draw)
