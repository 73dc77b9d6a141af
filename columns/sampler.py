"""Sampler columns: values drawn from a distribution, without a model, before anything else is made.

The families of samplers stand in `columns/samplers/`; how the columns of a config are drawn together, with conditions
and constraints, in `columns/sampling.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from prefect_datagen.columns.base import ColumnConfig, Reference
from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.columns.samplers.base import Kind, SamplerParams
from prefect_datagen.columns.samplers.conditions import Condition
from prefect_datagen.columns.samplers.conversion import as_number, conversion_mistake, number_type, text_type
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError

SamplerType = Literal[
    "bernoulli",
    "bernoulli_mixture",
    "binomial",
    "category",
    "datetime",
    "gaussian",
    "person",
    "person_from_faker",
    "poisson",
    "scipy",
    "subcategory",
    "timedelta",
    "uniform",
    "uuid",
]

_SAMPLERS = "prefect_datagen.columns.samplers."
AnySamplerParams = Annotated[
    SamplerParams,
    Kinds(
        "sampler_type",
        {
            "bernoulli": _SAMPLERS + "counts:BernoulliSamplerParams",
            "bernoulli_mixture": _SAMPLERS + "distributions:BernoulliMixtureSamplerParams",
            "binomial": _SAMPLERS + "counts:BinomialSamplerParams",
            "category": _SAMPLERS + "categorical:CategorySamplerParams",
            "datetime": _SAMPLERS + "temporal:DatetimeSamplerParams",
            "gaussian": _SAMPLERS + "numeric:GaussianSamplerParams",
            "person": _SAMPLERS + "people:PersonSamplerParams",
            "person_from_faker": _SAMPLERS + "people:PersonFromFakerSamplerParams",
            "poisson": _SAMPLERS + "counts:PoissonSamplerParams",
            "scipy": _SAMPLERS + "distributions:ScipySamplerParams",
            "subcategory": _SAMPLERS + "categorical:SubcategorySamplerParams",
            "timedelta": _SAMPLERS + "temporal:TimeDeltaSamplerParams",
            "uniform": _SAMPLERS + "numeric:UniformSamplerParams",
            "uuid": _SAMPLERS + "identifiers:UUIDSamplerParams",
        },
    ),
]
"""Params of any sampler."""


class SamplerColumnConfig(ColumnConfig):
    """A column drawn by a sampler."""

    at_seed_stage: ClassVar[bool] = True

    column_type: Literal["sampler"] = "sampler"
    sampler_type: SamplerType = Field(description="Which sampler.")
    params: AnySamplerParams = Field(description="Its parameters; `sampler_type` in them may be left out.")
    conditional_params: dict[str, AnySamplerParams] = Field(
        default_factory=dict,
        description="Condition to parameters of the same sampler; the first condition that holds for a row decides.",
    )
    convert_to: str | None = Field(
        default=None, description="int, float or str for numbers and categories; a strftime format for times."
    )

    @model_validator(mode="before")
    @classmethod
    def _params_know_their_sampler(cls, data: Any) -> Any:
        """The sampler's name stands on the column; the params of serialized configs repeat it, and must agree."""
        if not isinstance(data, Mapping) or not isinstance(data.get("sampler_type"), str):
            return data
        kind = str(getattr(data["sampler_type"], "value", data["sampler_type"]))
        named = {**data, "sampler_type": kind, "params": _with_sampler(data.get("params", {}), kind, "params")}
        if isinstance(conditional := data.get("conditional_params"), Mapping):
            named["conditional_params"] = {
                condition: _with_sampler(params, kind, f"conditional_params[{condition}]")
                for condition, params in conditional.items()
            }
        return named

    def branches(self) -> Iterator[tuple[str, SamplerParams]]:
        """(field, params) of the params and of each of the conditional params."""
        yield "params", self.params
        for condition, params in self.conditional_params.items():
            yield f"conditional_params[{condition}]", params

    def references(self) -> Iterable[Reference]:
        """Columns that params and conditions read."""
        for field, params in self.branches():
            for reference in params.references():
                yield Reference(reference.column, f"{field}.{reference.field}")
        for text in self.conditional_params:
            try:
                names = Condition(text).references
            except ConfigError:  # reported by `check`
                continue
            for name in names:
                yield Reference(name, f"conditional_params[{text}]")

    def check(self) -> Iterable[tuple[str, str]]:
        """Mistakes of params, conditions, `convert_to` and `skip`."""
        for field, params in self.branches():
            for inner, message in params.check(self.convert_to):
                yield f"{field}.{inner}", message
        for text in self.conditional_params:
            try:
                Condition(text)
            except ConfigError as error:
                yield f"conditional_params[{text}]", error.message
        if self.conditional_params and self._mixes_truth_values():
            yield "conditional_params", "mix truth values with others; write the truth values as text or as 0 and 1"
        if mistake := conversion_mistake(self.params.conversion, self.convert_to):
            yield "convert_to", mistake
        elif self.skip and not _fits(self.skip.value, self.types({})[0]):
            yield "skip.value", f"{self.skip.value!r} is no {self.types({})[0]}, which this column holds"

    def _mixes_truth_values(self) -> bool:
        types = {params.drawn_type() for _, params in self.branches()}
        return pa.bool_() in types and len(types) > 1

    def possible_values(self) -> tuple[Kind, list[Any]]:
        """All values that constraints and other samplers may see, and their kind; none where they are in no list."""
        from prefect_datagen.columns.samplers.categorical import values_array, values_kind  # only they have lists

        values = [value for _, params in self.branches() for value in params.listed()]
        if values and self.convert_to in ("int", "float"):
            return Kind.NUMBER, as_number(values_array(values, self.drawn_type()), self.convert_to).to_pylist()
        kind = values_kind(values)
        return kind, [str(value) for value in values] if kind is Kind.TEXT else values

    def drawn_type(self) -> pa.DataType:
        """Arrow type that holds the values of all branches as they are drawn."""
        types = {params.drawn_type() for _, params in self.branches()}
        if len(types) == 1:
            return types.pop()
        return pa.float64() if types <= {pa.int64(), pa.float64()} else pa.string()

    def compared_type(self) -> pa.DataType:
        """Arrow type that constraints and other samplers see: numbers converted, times not yet formatted."""
        return number_type(self.drawn_type(), self.convert_to)

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """One type, whatever is upstream."""
        return (text_type(self.compared_type(), self.convert_to),)


def _with_sampler(params: Any, kind: str, field: str) -> Any:
    written = params.get("sampler_type") if isinstance(params, Mapping) else getattr(params, "sampler_type", kind)
    written = getattr(written, "value", written)
    if written not in (None, kind):
        raise ValueError(f"{field}.sampler_type {written!r} is not the column's sampler_type {kind!r}")
    return {**params, "sampler_type": kind} if isinstance(params, Mapping) else params


def _fits(value: Any, data_type: pa.DataType) -> bool:
    """Whether a skipped cell of this type can hold the value without guessing."""
    if value is None:
        return True
    if isinstance(value, str):
        return bool(pa.types.is_string(data_type))
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(data_type))
    return bool(pa.types.is_floating(data_type) or (isinstance(value, int) and pa.types.is_integer(data_type)))
