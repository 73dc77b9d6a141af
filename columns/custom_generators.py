"""Calls of a user's function for custom columns: for one row, in a thread or on the loop, or for a row group."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import pyarrow as pa
from pydantic import BaseModel, ValidationError

from prefect_datagen.columns.cell_models import BlockingCellModel, CellModel, LoopBridge
from prefect_datagen.columns.dtypes import parse_dtype
from prefect_datagen.columns.inference import RequestParameters
from prefect_datagen.engine.errors import CellError, ModelError, ProcessorError
from prefect_datagen.engine.node import Batch, Cell, FullColumn
from prefect_datagen.engine.values import json_text


@dataclass(frozen=True)
class Resized:
    """What a full-column function with `allow_resize` returns where it changed the number of rows.

    Attributes:
        values: as without a resize: a DataFrame, Series, array or list, of shape `(m,)`.
        parents: for each of the `m` rows, the position (from 0) of the row of the input that it comes from.
    """

    values: Any
    parents: Sequence[int]


class FunctionCall:
    """How a function is called: rows first, then what it asks for by the names `generator_params` and `models`.

    Raises:
        ValueError: it asks for something else, or its parameters do not fit its annotation.
    """

    def __init__(self, function: Callable[..., Any], params: Any) -> None:
        self.function = function
        start = inspect.unwrap(function)
        self.is_async = inspect.iscoroutinefunction(start) or inspect.iscoroutinefunction(type(start).__call__)
        _, *rest = _parameters(function)
        required = [each.name for each in rest if each.default is inspect.Parameter.empty]
        unknown = [name for name in required if name not in ("generator_params", "models")]
        if unknown:
            raise ValueError(
                f"has a parameter {unknown[0]!r}; after the row (or data frame) come only generator_params and models"
            )
        names = {each.name for each in rest}
        self.wants_models = "models" in names
        self._keywords = {"generator_params": _typed_params(function, params)} if "generator_params" in names else {}

    def __call__(self, rows: Any, models: Mapping[str, Any] | None = None) -> Any:
        more = {"models": models or {}} if self.wants_models else {}
        return self.function(rows, **self._keywords, **more)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = [each for each in inspect.signature(function).parameters.values() if each.kind not in kinds]
    except (TypeError, ValueError) as error:
        raise ValueError(f"has no signature to be read: {error}") from error
    if not parameters:
        raise ValueError("takes no parameter; the first one is the row, or the data frame")
    return parameters


def _typed_params(function: Callable[..., Any], params: Any) -> Any:
    """A mapping as the pydantic model that the function's annotation names, where it names one."""
    try:
        wanted = get_type_hints(inspect.unwrap(function)).get("generator_params")
    except (NameError, TypeError):  # annotations that only a type checker can resolve
        return params
    if not isinstance(params, dict) or not (inspect.isclass(wanted) and issubclass(wanted, BaseModel)):
        return params
    try:
        return wanted.model_validate(params)
    except ValidationError as error:
        raise ValueError(f"generator_params do not fit {wanted.__name__}: {error}") from error


class CustomCellGenerator:
    """Calls the function for one row: async ones on the event loop, others in a thread.

    `dtypes` has the columns that it makes, the main one first, with their types; `parameters` the models that it asks.
    """

    def __init__(
        self,
        call: FunctionCall,
        *,
        inputs: Sequence[str],
        dtypes: Mapping[str, str],
        parameters: Mapping[str, RequestParameters],
    ) -> None:
        self._call = call
        self._inputs = frozenset(inputs)
        self._dtypes = dict(dtypes)
        self._name = next(iter(dtypes))
        self._parameters = dict(parameters)

    async def generate(self, cell: Cell) -> tuple[Any, ...]:
        """The values of one row. The function gets a dict of its own.

        Raises:
            ModelError: a model that the function asked failed.
            CellError: reason "custom": the function raised, or returned what cannot be used; the cause is kept.
        """
        row = copy.deepcopy({name: value for name, value in cell.inputs.items() if name in self._inputs})
        models = {alias: CellModel(alias, cell, parameters) for alias, parameters in self._parameters.items()}
        try:
            result = await (self._call(row, models) if self._call.is_async else self._in_thread(row, models))
        except (ModelError, CellError):
            raise
        except Exception as error:
            raise CellError(self._described(error), reason="custom") from error
        return self._values(result)

    async def _in_thread(self, row: dict[str, Any], models: Mapping[str, CellModel]) -> Any:
        import asyncio  # with its network code, which the check of a config does not need

        bridge = LoopBridge(asyncio.get_running_loop())
        blocking = {alias: BlockingCellModel(model, bridge) for alias, model in models.items()}
        try:
            return await asyncio.to_thread(self._call, row, blocking)
        finally:
            bridge.close()

    def _values(self, result: Any) -> tuple[Any, ...]:
        if isinstance(result, dict) and self._name in result:
            made = result
        elif len(self._dtypes) == 1:
            made = {self._name: result}
        else:
            raise CellError(f"the function must return a dict with {', '.join(self._dtypes)}", reason="custom")
        missing = [name for name in self._dtypes if name not in made]
        unknown = [name for name in made if name not in self._dtypes and name not in self._inputs]
        if missing or unknown:
            what = f"without {missing[0]!r}" if missing else f"with {unknown[0]!r}, which is no column that it makes"
            raise CellError(f"the function returned a dict {what}", reason="custom")
        return tuple(_stored(made[name], dtype) for name, dtype in self._dtypes.items())

    def _described(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyError):
            given = ", ".join(sorted(self._inputs)) or "none"
            return f"{text} (the function is given the columns it declares: {given})"
        return text


class CustomColumnGenerator:
    """Calls the function for a row group, in a thread. `dtypes` as for `CustomCellGenerator`."""

    def __init__(
        self, call: FunctionCall, *, inputs: Sequence[str], dtypes: Mapping[str, str], allow_resize: bool
    ) -> None:
        self._call = call
        self._inputs = tuple(inputs)
        self._dtypes = dict(dtypes)
        self._name = next(iter(dtypes))
        self._allow_resize = allow_resize

    def generate_batch(self, batch: Batch) -> FullColumn:
        """The values of all rows; those that do not fit the type reject their rows.

        A series or frame whose index says that rows were reordered is put back in order.

        Raises:
            Exception: what the function raised.
            ProcessorError: it returned what cannot be used.
        """
        from prefect_datagen.columns.frames import in_row_order, to_frame

        rows = len(batch.rows)
        result = self._call(to_frame({name: batch.columns[name] for name in self._inputs}, rows))
        if isinstance(result, Resized):
            return self._resized(result, rows, batch.row_group)
        made, rejected = self._arrays(in_row_order(result, rows), batch.row_group)
        if self._allow_resize and len(made[self._name]) != rows:
            raise self._refused(
                f"returned {len(made[self._name])} rows for {rows}; return Resized(values, parents) to say which row "
                "each one comes from",
                batch.row_group,
            )
        return FullColumn(made, rejected)

    def _resized(self, result: Resized, rows: int, row_group: int) -> FullColumn:
        if not self._allow_resize:
            raise self._refused("returned Resized and does not declare allow_resize: true", row_group)
        made, rejected = self._arrays(result.values, row_group)
        parents = [int(parent) for parent in result.parents]
        if len(parents) != len(made[self._name]) or not all(0 <= parent < rows for parent in parents):
            raise self._refused(
                f"returned {len(made[self._name])} values with {len(parents)} parents; each value needs one, "
                f"from 0 to {rows - 1}",
                row_group,
            )
        if rejected:
            position, error = next(iter(rejected.items()))
            raise self._refused(f"returned a value that does not fit, in row {position}: {error.message}", row_group)
        return FullColumn(made, parents=parents)

    def _arrays(self, result: Any, row_group: int) -> tuple[dict[str, pa.Array], dict[int, CellError]]:
        from prefect_datagen.columns.frames import fit_values, to_values

        arrays: dict[str, pa.Array] = {}
        rejected: dict[int, CellError] = {}
        for name, dtype in self._dtypes.items():
            try:
                values = to_values(self._column(result, name))
            except (TypeError, ValueError) as error:
                raise self._refused(f"returned no usable {name!r}: {error}", row_group) from error
            arrays[name], misfits = fit_values(values, parse_dtype(dtype), partial(_stored, dtype=dtype))
            rejected = {**misfits, **rejected}
        sizes = {name: len(array) for name, array in arrays.items()}
        if len(set(sizes.values())) > 1:
            raise self._refused(f"returned columns of different lengths: {sizes}", row_group)
        return arrays, rejected

    def _column(self, result: Any, name: str) -> Any:
        """The values of one column: from a frame or mapping by name, else the result itself."""
        if isinstance(result, Mapping) or hasattr(result, "columns"):
            if name not in result:
                raise ValueError(f"there is no column {name!r} in it; it has {', '.join(map(str, result))}")
            return result[name]
        if len(self._dtypes) > 1:
            raise ValueError(f"a DataFrame or dict with {', '.join(self._dtypes)} is wanted")
        return result

    def _refused(self, why: str, row_group: int) -> ProcessorError:
        return ProcessorError(
            f"generate: the function of custom column {self._name!r} {why}",
            stage="generate",
            column=self._name,
            row_group=row_group,
        )


def _stored(value: Any, dtype: str) -> Any:
    """The value as `fit` takes it: for json its text, whatever it is."""
    if dtype != "json" or value is None:
        return value
    try:
        return json_text(value)
    except TypeError as error:
        raise CellError(f"{value!r} cannot be written as JSON: {error}", reason="type") from error
