"""Uniform and gaussian samplers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from prefect_datagen.columns.samplers.base import Finite, Plan, Rows, SamplerParams, Target, open_unit
from prefect_datagen.columns.samplers.quantiles import normal_quantile
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.randomness import unit
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

DecimalPlaces = Annotated[int, Field(ge=-15, le=15)]

_EXACT = Context(prec=400)


class UniformSamplerParams(SamplerParams):
    """Numbers spread evenly over [low, high]."""

    sampler_type: Literal["uniform"] = "uniform"
    low: Finite = Field(description="Lower bound, inclusive.")
    high: Finite = Field(description="Upper bound; reached only by rounding.")
    decimal_places: DecimalPlaces | None = Field(default=None, description="Round to so many places, within bounds.")

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """Bounds in order, and a rounded number between them."""
        if self.low > self.high:
            yield "high", f"high {self.high!r} is below low {self.low!r}"
        elif not math.isfinite(self.high - self.low):
            yield "high", f"the span from {self.low!r} to {self.high!r} is no finite number"
        elif (bounds := self._rounded_bounds(convert_to)) is not None and bounds[0] > bounds[1]:
            places = _places(self.decimal_places, convert_to)
            yield "high", f"no number with {places} decimal places lies in [{self.low!r}, {self.high!r}]"

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        low, span = self.low, self.high - self.low
        places = _places(self.decimal_places, target.convert_to)
        bounds = self._rounded_bounds(target.convert_to) or (self.low, self.high)

        def draw(rows: Rows) -> pa.Array:
            values = low + span * unit(rows.words[:, 0])
            if places is not None:
                values = np.round(values, places)
            return from_numpy(np.clip(values, *bounds))

        return Plan(1, draw)

    def _rounded_bounds(self, convert_to: str | None) -> tuple[float, float] | None:
        """Smallest and largest rounded number within the bounds; rounding alone may step over them."""
        places = _places(self.decimal_places, convert_to)
        if places is None:
            return None
        step = Decimal(1).scaleb(-places)
        low = Decimal(repr(self.low)).quantize(step, ROUND_CEILING, _EXACT)
        high = Decimal(repr(self.high)).quantize(step, ROUND_FLOOR, _EXACT)
        return float(low), float(high)


class GaussianSamplerParams(SamplerParams):
    """Normally distributed numbers."""

    sampler_type: Literal["gaussian"] = "gaussian"
    mean: Finite = Field(description="Mean.")
    stddev: Finite = Field(ge=0.0, description="Standard deviation.")
    decimal_places: DecimalPlaces | None = Field(default=None, description="Round to so many places.")

    def plan(self, target: Target) -> Plan:
        """One word per row."""

        def draw(rows: Rows) -> pa.Array:
            values = self.mean + self.stddev * normal_quantile(open_unit(rows.words[:, 0]))
            return from_numpy(rounded(values, self.decimal_places))

        return Plan(1, draw)


def rounded(values: NDArray[np.float64], places: int | None) -> NDArray[np.float64]:
    """Values to so many decimal places, half to even; as they are for None."""
    return values if places is None else np.round(values, places)


def _places(decimal_places: int | None, convert_to: str | None) -> int | None:
    return 0 if convert_to == "int" else decimal_places
