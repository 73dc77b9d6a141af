"""`validation` columns: whether other columns' values are valid, as a struct with `is_valid` and what was found.

* `code`: Python by ruff, SQL by sqlglot. Each target column is judged by itself; with several, the struct has a field
  of verdicts for each, and `is_valid` says whether all are.
* `local_callable`: a function from a DataFrame of the target columns to a DataFrame with `is_valid`.
* `remote`: an HTTP service.

A verdict belongs to its row: a row that was rejected or skipped before is not in the batch, and moves no other verdict.
Where there is no code to judge (null), `is_valid` is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field, field_serializer, field_validator, model_validator

from prefect_datagen.columns.base import ColumnConfig, Config, Reference, TemplateSkip
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.references import name_of_function, skip_value_problems
from prefect_datagen.columns.user_code import load_function, source_of
from prefect_datagen.columns.validators import CallableValidator, CodeValidator, RemoteService, Validator, VerdictForm
from prefect_datagen.engine.errors import CellError, ConfigError
from prefect_datagen.engine.node import THREADS, Batch, ColumnNode, FullColumn, Strategy
from prefect_datagen.engine.values import fitter

ValidatorType = Literal["code", "local_callable", "remote"]


class CodeValidatorParams(Config):
    """Code is judged by its syntax and by a linter; it is never run."""

    validator_type: Literal["code"] = "code"
    code_lang: Literal["python", "sql:ansi", "sql:bigquery", "sql:mysql", "sql:postgres", "sql:sqlite", "sql:tsql"] = (
        Field(description="python, or sql: with a dialect.")
    )


class LocalCallableValidatorParams(Config):
    """A function judges."""

    validator_type: Literal["local_callable"] = "local_callable"
    validation_function: Any = Field(description="Function: package.module:name, file.py:name, or in Python itself.")
    output_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema of a verdict, or of {data: [verdict, ...]}: gives the column its fields."
    )

    @field_validator("validation_function")
    @classmethod
    def _is_a_function_or_names_one(cls, value: Any) -> Any:
        if callable(value) or (isinstance(value, str) and ":" in value):
            return value
        raise ValueError("must name a function as package.module:name or path/to/file.py:name")

    @field_serializer("validation_function", when_used="json")
    def _name_of_function(self, value: Any) -> str:
        return name_of_function(value)


class RemoteValidatorParams(Config):
    """A service judges."""

    validator_type: Literal["remote"] = "remote"
    endpoint_url: str = Field(pattern=r"^https?://", description="URL that {data: [record, ...]} is posted to.")
    output_schema: dict[str, Any] | None = Field(
        default=None, description="JSON schema of a verdict, or of {data: [verdict, ...]}: gives the column its fields."
    )
    timeout: float = Field(default=30.0, gt=0, description="Seconds of one request.")
    max_retries: int = Field(default=3, ge=0, description="Further tries after 429, 5xx and broken connections.")
    retry_backoff: float = Field(default=2.0, gt=1, description="How many times longer each retry waits.")
    max_parallel_requests: int = Field(default=4, ge=1, description="Requests at once.")


ValidatorParams = Annotated[
    CodeValidatorParams | LocalCallableValidatorParams | RemoteValidatorParams, Field(discriminator="validator_type")
]


class ValidationColumnConfig(ColumnConfig):
    """Verdicts on other columns."""

    column_type: Literal["validation"] = "validation"
    target_columns: list[str] = Field(min_length=1, description="Columns that are judged.")
    validator_type: ValidatorType = Field(description="code, local_callable or remote.")
    validator_params: ValidatorParams = Field(description="Parameters of the validator.")
    batch_size: int = Field(
        default=10, ge=1, description="Rows that a function or a service gets at once; code needs no batches."
    )

    @model_validator(mode="before")
    @classmethod
    def _say_the_type_once(cls, data: Any) -> Any:
        """The type of the parameters need not be repeated in them."""
        if isinstance(data, Mapping) and isinstance(data.get("validator_params"), Mapping):
            params = {"validator_type": data.get("validator_type"), **data["validator_params"]}
            return {**data, "validator_params": params}
        return data

    @model_validator(mode="after")
    def _types_agree(self) -> ValidationColumnConfig:
        if self.validator_params.validator_type != self.validator_type:
            raise ValueError(
                f"validator_params are for {self.validator_params.validator_type!r}, not for {self.validator_type!r}"
            )
        return self

    def references(self) -> Iterator[Reference]:
        """The target columns."""
        return (Reference(column, f"target_columns[{at}]") for at, column in enumerate(self.target_columns))

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether the validator is there, and the skip value fits."""
        for at, column in enumerate(self.target_columns):
            if column in self.target_columns[:at]:
                yield f"target_columns[{at}]", f"{column!r} is named twice"
            if column == "is_valid" and len(self.target_columns) > 1:
                yield f"target_columns[{at}]", "a verdict has a field is_valid of its own; validate this one by itself"
        params = self.validator_params
        try:
            VerdictForm(None if isinstance(params, CodeValidatorParams) else params.output_schema)
        except ConfigError as error:
            yield "validator_params.output_schema", error.message
            return
        try:
            validator = self._validator()
            yield from skip_value_problems(self, lambda: validator.type)
        except ConfigError as error:
            yield "validator_params.validation_function", error.message

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """A struct with `is_valid`.

        Raises:
            ConfigError: code is to be found in a column that holds no text.
        """
        if isinstance(self.validator_params, CodeValidatorParams):
            for column in self.target_columns:
                type_ = upstream[column]
                if not (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
                    raise ConfigError(f"column {self.name!r}: target column {column!r} is of type {type_}, not text")
        return (self._validator().type,)

    def build(self, context: BuildContext) -> ColumnNode:
        """A full column: validators are asked about many rows at once."""
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=tuple(self.target_columns),
            strategy=Strategy.FULL_COLUMN,
            resource=THREADS,
            generator=ValidationGenerator(self.name, self.target_columns, self._validator()),
            types=self.types(context.types),
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )

    def source_code(self) -> Iterable[str]:
        """The source of the function."""
        if isinstance(self.validator_params, LocalCallableValidatorParams):
            return [source_of(self._function(self.validator_params))]
        return ()

    def _function(self, params: LocalCallableValidatorParams) -> Callable[..., Any]:
        if isinstance(params.validation_function, str):
            return load_function(params.validation_function, self._folder)
        return params.validation_function  # type: ignore[no-any-return]

    def _validator(self) -> Validator:
        params = self.validator_params
        if isinstance(params, CodeValidatorParams):
            return CodeValidator(params.code_lang, self.target_columns)
        form = VerdictForm(params.output_schema)
        if isinstance(params, LocalCallableValidatorParams):
            return CallableValidator(self._function(params), form, self.batch_size)
        from prefect_datagen.columns.remote_validator import RemoteValidator  # with it comes urllib

        client = RemoteValidator(
            params.endpoint_url,
            timeout=params.timeout,
            max_retries=params.max_retries,
            retry_backoff=params.retry_backoff,
        )
        return RemoteService(client, form, self.batch_size, params.max_parallel_requests)


class ValidationGenerator:
    """Asks a validator about a row group."""

    def __init__(self, column: str, targets: Iterable[str], validator: Validator) -> None:
        self._column = column
        self._targets = tuple(targets)
        self._validator = validator
        self._fit = fitter(validator.type)

    def generate_batch(self, batch: Batch) -> FullColumn:
        """The verdicts of all rows, in order; rows that could not be judged are rejected."""
        columns = {name: batch.columns[name] for name in self._targets}
        verdicts = self._validator.verdicts(columns, len(batch.rows))
        rejected: dict[int, CellError] = {}
        values = [self._value(position, verdict, rejected) for position, verdict in enumerate(verdicts)]
        return FullColumn({self._column: pa.array(values, self._validator.type)}, rejected)

    def _value(self, position: int, verdict: dict[str, Any] | CellError, rejected: dict[int, CellError]) -> Any:
        try:
            if isinstance(verdict, CellError):
                raise verdict
            return self._fit(verdict)
        except CellError as error:
            rejected[position] = error
            return None
