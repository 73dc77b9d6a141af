"""Category and subcategory samplers: values from a list, or from the list that belongs to a parent's value.

The type of the column follows from the values as they are written: all integers, integers and floats, all truth values,
or text. A list that mixes text with numbers is text, each number as Python writes it. Nothing is read out of text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.base import Reference
from prefect_datagen.columns.samplers.base import Kind, Plan, Rows, SamplerParams, Target, kind_of, pick
from prefect_datagen.columns.samplers.quantiles import TableQuantile
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.randomness import unit
from prefect_datagen.engine.values import from_numpy, int32_values, text_array

if TYPE_CHECKING:
    from prefect_datagen.columns.sampler import SamplerColumnConfig

Value = StrictBool | StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)] | StrictStr


def _text_keys(value: object) -> object:
    # JSON writes every key as text; YAML need not.
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else value


class CategorySamplerParams(SamplerParams):
    """One of a list of values, evenly or by weight."""

    sampler_type: Literal["category"] = "category"
    values: list[Value] = Field(min_length=1, description="What to choose from: text, numbers or truth values.")
    weights: list[float] | None = Field(default=None, description="One per value; they need not sum to 1.")

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """Weights that fit the values, and values of one column."""
        yield from _value_mistakes("values", self.values, convert_to)
        if self.weights is None:
            return
        if len(self.weights) != len(self.values):
            yield "weights", f"{len(self.weights)} weights for {len(self.values)} values; there must be one per value"
        wrong = [weight for weight in self.weights if not (math.isfinite(weight) and weight >= 0)]
        if wrong:
            yield "weights", f"{wrong[0]!r} is no weight; a weight is a finite number, 0 or more"
        elif not 0 < sum(self.weights) < math.inf:
            yield "weights", f"the weights sum to {sum(self.weights)!r}; at least one must be above 0"

    def listed(self) -> list[Value]:
        """The values."""
        return self.values

    def drawn_type(self) -> pa.DataType:
        """The type that holds all values."""
        return values_type(self.values)

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        if self.weights is None:
            table = values_array(self.values, target.type)
            count = len(table)
            return Plan(1, lambda rows: pc.take(table, from_numpy(pick(rows.words[:, 0], count))))
        # Values of weight 0 are left out, so that no rounding of the sums can ever choose one.
        weighed = [(value, weight) for value, weight in zip(self.values, self.weights, strict=True) if weight]
        table = values_array([value for value, _ in weighed], target.type)
        weights = np.array([weight for _, weight in weighed])
        positions = TableQuantile(np.cumsum(weights / weights.sum()))
        return Plan(1, lambda rows: pc.take(table, from_numpy(positions(unit(rows.words[:, 0])))))


class SubcategorySamplerParams(SamplerParams):
    """One of the values that belong to the value of another column, evenly."""

    sampler_type: Literal["subcategory"] = "subcategory"
    category: str = Field(description="Column whose value decides: a category, or any other column.")
    values: Annotated[dict[str, list[Value]], BeforeValidator(_text_keys)] = Field(
        description="For each value of that column (as text, if it is a number) the values to choose from."
    )

    def references(self) -> Iterable[Reference]:
        """The parent column."""
        yield Reference(self.category, "category")

    def check_read(self, samplers: Mapping[str, SamplerColumnConfig]) -> Iterable[tuple[str, str]]:
        """A list for each value of the parent, where these can be told; others are seen when they are drawn."""
        if self.category in samplers:
            kind, possible = samplers[self.category].possible_values()
            known = set(self._keys(kind)) if possible else set()
            if missing := [value for value in dict.fromkeys(possible) if value not in known]:
                yield "values", f"has no list for {', '.join(map(repr, missing))} of column {self.category!r}"

    def check(self, convert_to: str | None) -> Iterable[tuple[str, str]]:
        """A list for each key, and values of one column."""
        if not self.values:
            yield "values", "is empty; it needs a list for each value of the parent column"
        for key, values in self.values.items():
            if not values:
                yield f"values.{key}", "the list is empty; it needs at least one value"
        yield from _value_mistakes("values", self.listed(), convert_to)

    def drawn_type(self) -> pa.DataType:
        """The type that holds the values of all lists."""
        return values_type(self.listed())

    def plan(self, target: Target) -> Plan:
        """One word per row."""
        table = values_array(self.listed(), target.type)
        counts = np.array([len(values) for values in self.values.values()], dtype=np.int64)
        starts = np.cumsum(counts) - counts

        def draw(rows: Rows) -> pa.Array:
            parent = rows.columns[self.category]
            codes = self._codes(parent)
            if codes.null_count > parent.null_count:
                unknown = parent.filter(pc.and_(codes.is_null(), parent.is_valid()))[0].as_py()
                raise ConfigError(
                    f"column {target.column!r}: params.values has no list for {unknown!r} of column {self.category!r}",
                    column=target.column,
                )
            missing = codes.is_null().to_numpy(zero_copy_only=False) if codes.null_count else None
            code = int32_values(codes if missing is None else codes.fill_null(0))
            chosen = starts[code] + pick(rows.words[:, 0], counts[code])
            return pc.take(table, from_numpy(chosen) if missing is None else pa.array(chosen, mask=missing))

        return Plan(1, draw)

    def listed(self) -> list[Value]:
        """The values of all lists, one list after the other."""
        return [value for values in self.values.values() for value in values]

    def _codes(self, parent: pa.Array) -> pa.Array:
        """Position of the list of each row, int32, null where there is none. Numbers are compared as numbers: 1 is "1.0"."""
        if pa.types.is_dictionary(parent.type):
            parent = parent.dictionary_decode()
        kind = kind_of(parent.type)
        keys = self._keys(kind)
        if kind is Kind.NUMBER:
            parent = parent.cast(pa.float64())
        known = [position for position, key in enumerate(keys) if key is not None]
        listed = [keys[position] for position in known]
        texts = kind is Kind.TEXT and parent.type == pa.string()
        found = pc.index_in(parent, text_array(listed) if texts else pa.array(listed, parent.type))
        return found if len(known) == len(keys) else pc.take(pa.array(known, pa.int32()), found)

    def _keys(self, kind: Kind) -> list[Any]:
        """The keys of the lists as values of a parent column of this kind, None for one that it cannot hold."""
        if kind is Kind.NUMBER:
            return [_number(key) for key in self.values]
        if kind is Kind.TRUTH:
            return [{"true": True, "false": False}.get(key.lower()) for key in self.values]
        if kind is Kind.TEXT:
            return list(self.values)
        raise ConfigError(
            f"params.category {self.category!r} holds values of kind {kind}; text, numbers and truth values have lists"
        )


def values_kind(values: Sequence[Value]) -> Kind:
    """What the values of a column that holds these are compared with: text, where there is one among them."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return Kind.TRUTH
    return Kind.NUMBER if kinds and kinds <= {int, float} else Kind.TEXT


def values_type(values: Sequence[Value]) -> pa.DataType:
    """The Arrow type of a column that holds these values."""
    kind = values_kind(values)
    if kind is Kind.NUMBER:
        return pa.int64() if all(type(value) is int for value in values) else pa.float64()
    return pa.bool_() if kind is Kind.TRUTH else pa.string()


def values_array(values: Sequence[Value], data_type: pa.DataType) -> pa.Array:
    """The values as a column of this type holds them; text holds a number as Python writes it."""
    if data_type == pa.string():
        return text_array([str(value) for value in values])
    return pa.array(values, data_type)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value_mistakes(field: str, values: Sequence[Value], convert_to: str | None) -> Iterable[tuple[str, str]]:
    kinds = {type(value) for value in values}
    if bool in kinds and len(kinds) > 1:
        yield field, f"{values!r} mixes truth values with others; write the truth values as text ('yes') or as 0 and 1"
    for value in values:
        if type(value) is int and not -(2**63) <= value < 2**63:
            yield field, f"{value!r} does not fit 64 bits; write it as text"
        elif isinstance(value, str) and not _converts(value, convert_to):
            yield field, f"{value!r} cannot be made {convert_to} (convert_to)"


def _converts(text: str, convert_to: str | None) -> bool:
    if convert_to not in ("int", "float"):
        return True
    try:
        pa.array([text]).cast(pa.int64() if convert_to == "int" else pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
