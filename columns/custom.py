"""`custom` columns: values made by a user's function, for each row or for a row group at once.

    def shout(row): return row["review"].upper()                       # cell_by_cell, in a thread
    async def ask(row, generator_params, models): ...                  # cell_by_cell, on the event loop
    def ranks(df): return df["score"].rank()                           # full_column, pandas in and out

A function gets its columns by name. It returns the cell's value or, where it makes side columns too, a dict that has
the column's name and theirs. What raises in one cell rejects that row; what raises in a full column ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa
from pydantic import BaseModel, Field, field_serializer, field_validator

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.custom_generators import (
    CustomCellGenerator,
    CustomColumnGenerator,
    FunctionCall,
    Resized,
)
from prefect_datagen.columns.dtypes import parse_dtype
from prefect_datagen.columns.inference import RequestParameters, model_for
from prefect_datagen.columns.references import name_of_function, skip_value_problems
from prefect_datagen.columns.user_code import load_function, source_of
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.node import LOOP, THREADS, ColumnNode, Strategy
from prefect_datagen.models.config import ChatInferenceParameters

__all__ = ["CustomColumnConfig", "Resized", "custom_column_generator"]

Function = TypeVar("Function", bound=Callable[..., Any])

_METADATA = "custom_column_metadata"


def custom_column_generator(
    required_columns: Sequence[str] = (),
    side_effect_columns: Sequence[str] = (),
    model_aliases: Sequence[str] = (),
) -> Callable[[Function], Function]:
    """Say of a function which columns it reads, which it makes besides its own, and which models it asks."""

    def declare(function: Function) -> Function:
        declared = {
            "required_columns": list(required_columns),
            "side_effect_columns": list(side_effect_columns),
            "model_aliases": list(model_aliases),
        }
        setattr(function, _METADATA, declared)
        return function

    return declare


class CustomColumnConfig(ColumnConfig):
    """Values made by a function."""

    column_type: Literal["custom"] = "custom"
    generator_function: Any = Field(description="Function: package.module:name, file.py:name, or in Python itself.")
    generation_strategy: Strategy = Field(
        default=Strategy.CELL, description="cell_by_cell: called for each row. full_column: called for a row group."
    )
    generator_params: Any = Field(default=None, description="Parameters: a mapping, or a pydantic model in Python.")
    dtype: str = Field(
        default="str", description="str, int, float, bool, datetime, json, list<...>, struct<...>, or an Arrow type."
    )
    input_columns: list[str] = Field(
        default_factory=list, description="Columns that the function reads, besides those it declares."
    )
    side_effect_columns: dict[str, str] = Field(
        default_factory=dict, description="Further columns that it makes, with their types; a list is all text."
    )
    allow_resize: bool = Field(default=False, description="full_column: the function may change the number of rows.")

    @field_validator("generator_function")
    @classmethod
    def _is_a_function_or_names_one(cls, value: Any) -> Any:
        if callable(value) or (isinstance(value, str) and ":" in value):
            return value
        raise ValueError("must name a function as package.module:name or path/to/file.py:name")

    @field_validator("generator_params")
    @classmethod
    def _are_parameters(cls, value: Any) -> Any:
        if value is None or isinstance(value, (dict, BaseModel)):
            return value
        raise ValueError("must be a mapping")

    @field_validator("side_effect_columns", mode="before")
    @classmethod
    def _a_list_is_all_text(cls, value: Any) -> Any:
        return dict.fromkeys(value, "str") if isinstance(value, list) else value

    @field_validator("dtype")
    @classmethod
    def _is_a_type(cls, value: str) -> str:
        parse_dtype(value)
        return value

    @field_validator("side_effect_columns")
    @classmethod
    def _are_types(cls, value: dict[str, str]) -> dict[str, str]:
        for dtype in value.values():
            parse_dtype(dtype)
        return value

    @field_serializer("generator_function", when_used="json")
    def _name_of_function(self, value: Any) -> str:
        return name_of_function(value)

    def function(self) -> Callable[..., Any]:
        """The function.

        Raises:
            ConfigError: it cannot be imported.
        """
        if isinstance(self.generator_function, str):
            return load_function(self.generator_function, self._folder)
        return self.generator_function  # type: ignore[no-any-return]

    def dtypes(self) -> dict[str, str]:
        """The column, then its side columns, those that the function declares first, with their types."""
        declared = dict.fromkeys(self._declared("side_effect_columns"), "str")
        return {self.name: self.dtype, **declared, **self.side_effect_columns}

    def produces(self) -> tuple[str, ...]:
        """The column, then its side columns."""
        return tuple(self.dtypes())

    def references(self) -> Iterator[Reference]:
        """Columns that the function reads."""
        names = dict.fromkeys([*self._declared("required_columns"), *self.input_columns])
        return (
            Reference(name, "input_columns" if name in self.input_columns else "generator_function") for name in names
        )

    def model_aliases(self) -> Iterator[Reference]:
        """Models that the function declares."""
        return (Reference(alias, "generator_function") for alias in self._declared("model_aliases"))

    def asks_from_thread(self) -> bool:
        """Whether the function waits for models in a thread. False where the function is wrong, which `check` reports."""
        try:
            call = FunctionCall(self.function(), self.generator_params)
        except (ConfigError, ValueError):
            return False
        return call.wants_models and not call.is_async

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the function is there and can be called so."""
        try:
            function = self.function()
        except ConfigError as error:
            yield "generator_function", error.message
            return
        try:
            call = FunctionCall(function, self.generator_params)
        except ValueError as error:
            yield "generator_function", str(error)
            return
        full = self.generation_strategy is Strategy.FULL_COLUMN
        if full and call.is_async:
            yield "generator_function", "is async; a full_column function runs in a thread: write it without async"
        if full and call.wants_models:
            yield "generator_function", "takes models, which only cell_by_cell functions get"
        if self.allow_resize and not full:
            yield "allow_resize", "needs generation_strategy full_column"
        if self.allow_resize and self.skip is not None:
            yield "skip", "a column that may change the number of rows sees all rows, and skips none"
        yield from skip_value_problems(self, partial(parse_dtype, self.dtype))

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """As declared."""
        return tuple(parse_dtype(dtype) for dtype in self.dtypes().values())

    def build(self, context: BuildContext) -> ColumnNode:
        """Cells in a thread or on the loop, or a full column."""
        call = FunctionCall(self.function(), self.generator_params)
        inputs = tuple(reference.column for reference in self.references())
        generator: CustomCellGenerator | CustomColumnGenerator
        if self.generation_strategy is Strategy.FULL_COLUMN:
            generator = CustomColumnGenerator(call, inputs=inputs, dtypes=self.dtypes(), allow_resize=self.allow_resize)
        else:
            generator = CustomCellGenerator(
                call, inputs=inputs, dtypes=self.dtypes(), parameters=self._request_parameters(context)
            )
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=inputs,
            strategy=self.generation_strategy,
            resource=LOOP if call.is_async else THREADS,
            generator=generator,
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
            allow_resize=self.allow_resize,
        )

    def source_code(self) -> Iterable[str]:
        """The function's source."""
        return [source_of(self.function())]

    def _declared(self, what: str) -> list[str]:
        try:
            function = self.function()
        except ConfigError:
            return []  # reported by `check`
        return list(getattr(function, _METADATA, {}).get(what, []))

    def _request_parameters(self, context: BuildContext) -> dict[str, RequestParameters]:
        return {
            alias.column: RequestParameters(
                model_for(context, alias.column, column=self.name, kind=ChatInferenceParameters),
                column=f"{self.name}\x1e{alias.column}",  # two models draw their temperatures independently
                seed=context.seed,
            )
            for alias in self.model_aliases()
        }
