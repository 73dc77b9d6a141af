"""Samplers of any `scipy.stats` distribution, alone or mixed with zeros.

A row's value is the inverse distribution function at the row's uniform. Where SciPy knows it in closed form, it is used
as it is. Where it does not, its root search costs about a millisecond per row, so:

* a continuous distribution gets a table by polynomial interpolation (PINV; Derflinger, Hörmann and Leydold, "Random
  variate generation by numerical inversion when only the density is known", ACM TOMACS 2010), right to 1e-12 in u;
* a discrete one gets a table of its first 65,536 probabilities, if they hold all but 1e-12;
* what is left (stable distributions, Zipf with a heavy tail) is drawn one row at a time by SciPy's own algorithm from a
  generator keyed by the row's words: about 50 to 200 microseconds per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from prefect_datagen.columns.samplers.base import Plan, Rows, SamplerParams, Target, open_unit
from prefect_datagen.columns.samplers.counts import Probability
from prefect_datagen.columns.samplers.numeric import DecimalPlaces, rounded
from prefect_datagen.columns.samplers.quantiles import TableQuantile
from prefect_datagen.engine.randomness import unit
from prefect_datagen.engine.values import from_numpy

_TABLE_ENTRIES = 65_536
_LOST = 1e-12  # probability that a table may leave out
_MADE_FROM_DATA = {"rv_histogram": "histogram", "rv_discrete": "values"}  # class to the parameter that holds its data

_Result = TypeVar("_Result")
_Words = NDArray[np.uint64]
_Values = NDArray[np.float64]


class _Distribution(SamplerParams):
    """What names a distribution of `scipy.stats` and its parameters."""

    dist_name: str = Field(description="Name of a distribution in scipy.stats, such as `beta` or `lognorm`.")
    dist_params: dict[str, Any] = Field(description="Its parameters by SciPy's names, such as {a: 2, b: 5, scale: 3}.")

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """That SciPy has the distribution and takes the parameters."""
        yield from _mistakes(self.dist_name, self.dist_params)

    def drawn_type(self) -> pa.DataType:
        """64-bit integers for discrete distributions, else floats."""
        if any(_mistakes(self.dist_name, self.dist_params)):
            return pa.float64()
        return pa.int64() if _is_integer(_distribution(self.dist_name, self.dist_params)) else pa.float64()


class ScipySamplerParams(_Distribution):
    """Numbers from any distribution of `scipy.stats`."""

    sampler_type: Literal["scipy"] = "scipy"
    decimal_places: DecimalPlaces | None = Field(default=None, description="Round to so many places.")

    def plan(self, target: Target) -> Plan:
        """Two words per row."""
        inverse = _inverse(_distribution(self.dist_name, self.dist_params))

        def draw(rows: Rows) -> pa.Array:
            return from_numpy(rounded(inverse(rows.words[:, :2]), self.decimal_places)).cast(target.type)

        return Plan(2, draw)


class BernoulliMixtureSamplerParams(_Distribution):
    """A draw from a distribution with probability p, else 0."""

    sampler_type: Literal["bernoulli_mixture"] = "bernoulli_mixture"
    p: Probability = Field(description="Probability of a draw from the distribution.")

    def plan(self, target: Target) -> Plan:
        """Three words per row: which, and two for the distribution."""
        inverse = _inverse(_distribution(self.dist_name, self.dist_params))

        def draw(rows: Rows) -> pa.Array:
            drawn = np.flatnonzero(unit(rows.words[:, 0]) < self.p)
            values = np.zeros(len(rows.index))
            values[drawn] = inverse(rows.words[drawn, 1:3])
            return pa.array(values).cast(target.type)

        return Plan(3, draw)


def _mistakes(name: str, params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    from scipy import stats

    found = getattr(stats, name, None)
    if not isinstance(found, (stats.rv_continuous, stats.rv_discrete)) and name not in _MADE_FROM_DATA:
        yield "dist_name", f"{name!r} is no univariate distribution of scipy.stats"
        return
    if _MADE_FROM_DATA.get(name, "") not in {"", *params}:
        yield "dist_params", f"scipy.stats.{name} needs {_MADE_FROM_DATA[name]!r}"
        return
    try:
        low, high = _distribution(name, params).support()
    except (TypeError, ValueError, IndexError) as error:
        yield "dist_params", f"scipy.stats.{name} does not take {params!r}: {error}"
        return
    if np.ndim(low) or np.ndim(high):
        yield "dist_params", f"{params!r} makes several distributions of scipy.stats.{name}; a parameter is one number"
    elif np.isnan(low) or np.isnan(high):
        yield "dist_params", f"{params!r} is outside of what scipy.stats.{name} is defined for"


def _distribution(name: str, params: dict[str, Any]) -> Any:
    from scipy import stats

    return getattr(stats, name)(**params)


def _is_integer(distribution: Any) -> bool:
    from scipy.stats import rv_discrete

    family = getattr(distribution, "dist", distribution)
    if not isinstance(family, rv_discrete):
        return False
    points = getattr(family, "xk", None)  # those of an rv_discrete made from data may be anything
    return points is None or bool(np.all(np.asarray(points) == np.rint(points)))


def _inverse(distribution: Any) -> Callable[[_Words], _Values]:
    """Two words per row, shape `(n, 2)`, to values, shape `(n,)`."""
    from scipy.stats import rv_continuous, rv_discrete

    family = getattr(distribution, "dist", distribution)
    if type(family)._ppf not in (rv_continuous._ppf, rv_discrete._ppf):
        return _quiet(lambda words: np.asarray(distribution.ppf(open_unit(words[:, 0])), dtype=np.float64))
    table = _discrete_table if isinstance(family, rv_discrete) else _continuous_table
    return _quiet(_quiet(table)(distribution) or _row_by_row(distribution))


def _quiet(function: Callable[[Any], _Result]) -> Callable[[Any], _Result]:
    """SciPy's formulas pass through infinities on their way to finite values; its warnings of that say nothing."""

    def silenced(argument: Any) -> _Result:
        with np.errstate(all="ignore"):
            return function(argument)

    return silenced


def _discrete_table(distribution: Any) -> Callable[[_Words], _Values] | None:
    low, high = distribution.support()
    if not np.isfinite(low):
        low = distribution.ppf(_LOST / 2)
    values = np.arange(low, min(high, low + _TABLE_ENTRIES - 1) + 1)
    cumulative = np.cumsum(distribution.pmf(values))
    if not cumulative[-1] >= 1 - _LOST:
        return None
    positions = TableQuantile(cumulative)
    return lambda words: values[positions(open_unit(words[:, 0]))]


def _continuous_table(distribution: Any) -> Callable[[_Words], _Values] | None:
    from scipy.stats.sampling import NumericalInversePolynomial, UNURANError

    low, high = distribution.support()
    loc, scale = distribution.kwds.get("loc", 0.0), distribution.kwds.get("scale", 1.0)
    if distribution.dist.name == "vonmises":
        # SciPy lets the angle run over all numbers; its inverse function stays within one turn around `loc`.
        low, high = loc - np.pi * scale, loc + np.pi * scale
    mean = distribution.mean()
    center = mean if low < mean < high else max(loc, low + scale)
    try:
        table = NumericalInversePolynomial(distribution, center=center, domain=(low, high), u_resolution=1e-12)
    except (UNURANError, TypeError):  # a density that is not smooth enough, or one that SciPy cannot evaluate singly
        return None
    return lambda words: np.asarray(table.ppf(open_unit(words[:, 0])), dtype=np.float64)


def _row_by_row(distribution: Any) -> Callable[[_Words], _Values]:
    def draw(words: _Words) -> _Values:
        keys = (int(low) | int(high) << 64 for low, high in words.tolist())
        generators = (np.random.Generator(np.random.Philox(key=key)) for key in keys)
        return np.array([distribution.rvs(random_state=generator) for generator in generators], dtype=np.float64)

    return draw
