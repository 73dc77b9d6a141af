"""The validators of `validation` columns: each gives one verdict per row of a row group, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from prefect_datagen.columns.code_checks import PYTHON_VERDICT, SQL_VERDICT, check_python, check_sql
from prefect_datagen.columns.json_answer import SchemaCheck
from prefect_datagen.columns.json_shape import Shape, shape_of_schema
from prefect_datagen.engine.errors import CellError, ConfigError, ProcessorError
from prefect_datagen.engine.values import json_text, python_values

if TYPE_CHECKING:
    from prefect_datagen.columns.remote_validator import RemoteValidator

Verdict = dict[str, Any]

_SQLGLOT_NAMES = {"ansi": ""}


class Validator(Protocol):
    """Judges the rows of a row group, in a worker thread."""

    @property
    def type(self) -> pa.DataType:
        """The struct that a verdict is stored as."""
        ...

    def verdicts(self, columns: Mapping[str, pa.Array], rows: int) -> Sequence[Verdict | CellError]:
        """One verdict per row, or why that row has none and is rejected."""
        ...


class CodeValidator:
    """Judges each column by itself. With several, a verdict has a field for each, and `is_valid` is about all."""

    def __init__(self, code_lang: str, columns: Sequence[str]) -> None:
        self._code_lang = code_lang
        self._columns = tuple(columns)
        self._one = PYTHON_VERDICT if code_lang == "python" else SQL_VERDICT

    @property
    def type(self) -> pa.DataType:
        """That of the language, or one of these for each column."""
        if len(self._columns) == 1:
            return self._one
        return pa.struct([("is_valid", pa.bool_()), *((name, self._one) for name in self._columns)])

    def verdicts(self, columns: Mapping[str, pa.Array], rows: int) -> Sequence[Verdict]:
        """One verdict per row; null where there is no code."""
        judged = {name: self._of_column(python_values(columns[name])) for name in self._columns}
        if len(self._columns) == 1:
            return judged[self._columns[0]]
        return [_together({name: verdicts[row] for name, verdicts in judged.items()}) for row in range(rows)]

    def _of_column(self, codes: Sequence[str | None]) -> list[Verdict]:
        present = [position for position, code in enumerate(codes) if code is not None]
        verdicts: list[Verdict] = [{"is_valid": None} for _ in codes]
        for position, verdict in zip(present, self._check([codes[at] or "" for at in present]), strict=True):
            verdicts[position] = verdict
        return verdicts

    def _check(self, codes: Sequence[str]) -> list[Verdict]:
        if not codes:
            return []
        if self._code_lang == "python":
            return check_python(codes)
        dialect = self._code_lang.partition(":")[2]
        return check_sql(codes, _SQLGLOT_NAMES.get(dialect, dialect))


class CallableValidator:
    """Asks a function, a batch of rows at a time, each a DataFrame of the target columns."""

    def __init__(self, function: Callable[..., Any], form: VerdictForm, batch_size: int) -> None:
        self._function = function
        self._form = form
        self._batch_size = batch_size
        self.type = form.type

    def verdicts(self, columns: Mapping[str, pa.Array], rows: int) -> Sequence[Verdict | CellError]:
        """One verdict per row.

        Raises:
            Exception: what the function raised.
            ProcessorError: it returned no frame with `is_valid` and as many rows as it was given.
        """
        verdicts: list[Verdict | CellError] = []
        for start in range(0, rows, self._batch_size):
            part = {name: array.slice(start, self._batch_size) for name, array in columns.items()}
            verdicts += self._of_batch(part, min(self._batch_size, rows - start))
        return verdicts

    def _of_batch(self, columns: Mapping[str, pa.Array], rows: int) -> list[Verdict | CellError]:
        from prefect_datagen.columns.frames import in_row_order, to_frame, to_values

        result = in_row_order(self._function(to_frame(columns, rows)), rows)
        names = [str(name) for name in getattr(result, "columns", ())]
        if "is_valid" not in names or len(result) != rows:
            raise ProcessorError(
                f"the validation function must return a DataFrame with a column is_valid and {rows} rows, "
                f"not {type(result).__name__} with columns {names}"
            )
        values = [to_values(result[name]) for name in names]
        return [self._form.read(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]


class RemoteService:
    """Asks an HTTP service, a batch of rows at a time, several batches at once."""

    def __init__(self, client: RemoteValidator, form: VerdictForm, batch_size: int, parallel: int) -> None:
        self._client = client
        self._form = form
        self._batch_size = batch_size
        self._parallel = parallel
        self.type = form.type

    def verdicts(self, columns: Mapping[str, pa.Array], rows: int) -> Sequence[Verdict | CellError]:
        """One verdict per row; the rows of a batch that the service did not judge have an error each."""
        values = {name: python_values(array) for name, array in columns.items()}
        records = [{name: column[row] for name, column in values.items()} for row in range(rows)]
        batches = [records[start : start + self._batch_size] for start in range(0, rows, self._batch_size)]
        with ThreadPoolExecutor(self._parallel) as pool:
            return [verdict for verdicts in pool.map(self._of_batch, batches) for verdict in verdicts]

    def _of_batch(self, records: Sequence[dict[str, Any]]) -> list[Verdict | CellError]:
        try:
            return [self._form.read(verdict) for verdict in self._client.verdicts(records)]
        except CellError as error:
            return [error] * len(records)


class VerdictForm:
    """What verdicts of a function or a service look like, and how they are stored.

    With a schema, of one verdict or of `{"data": [verdict, ...]}`, they are checked and have its fields. Without, they
    have `is_valid`, and whatever else there was is kept in `details` as JSON text.
    """

    def __init__(self, schema: Mapping[str, Any] | None) -> None:
        """Read the schema.

        Raises:
            ConfigError: it is none, or has no boolean `is_valid`.
        """
        self._check: SchemaCheck | None = None
        self._shape: Shape | None = None
        self.type = pa.struct([("is_valid", pa.bool_()), ("details", pa.string())])
        if schema is None:
            return
        one = _schema_of_one(schema)
        self._check = SchemaCheck(one)
        self._shape = shape_of_schema({**one, "additionalProperties": False})
        self.type = self._shape.type
        fields = {field.name: field.type for field in self.type} if pa.types.is_struct(self.type) else {}
        if fields.get("is_valid") != pa.bool_():
            raise ConfigError("a verdict must be an object with is_valid, a boolean")

    def read(self, verdict: Any) -> Verdict | CellError:
        """The verdict as it is stored, or why it cannot be."""
        if not isinstance(verdict, dict) or not isinstance(verdict.get("is_valid"), (bool, type(None))):
            return CellError(f"{verdict!r:.200} has no is_valid that is true, false or null", reason="verdict")
        if self._check is None or self._shape is None:
            return self._with_details(verdict)
        problems = self._check.problems(verdict)
        if problems:
            return CellError(f"the verdict does not fit output_schema: {'; '.join(problems)}", reason="verdict")
        stored: Verdict = self._shape.store(verdict)
        return stored

    def _with_details(self, verdict: Verdict) -> Verdict | CellError:
        rest = {name: value for name, value in verdict.items() if name != "is_valid"}
        try:
            return {"is_valid": verdict.get("is_valid"), "details": json_text(rest) if rest else None}
        except TypeError as error:
            return CellError(f"the verdict cannot be written as JSON: {error}", reason="verdict")


def _schema_of_one(schema: Mapping[str, Any]) -> dict[str, Any]:
    data = schema.get("properties", {}).get("data")
    if not isinstance(data, Mapping) or "is_valid" in schema["properties"]:
        return dict(schema)
    one = data.get("items")
    if not isinstance(one, Mapping):
        raise ConfigError("data must be an array of verdicts, with `items`")
    return {**one, **({"$defs": schema["$defs"]} if "$defs" in schema else {})}


def _together(verdicts: Mapping[str, Verdict]) -> Verdict:
    """A verdict about several columns: false if one is false, else null if one is null, else true."""
    single = [verdict["is_valid"] for verdict in verdicts.values()]
    return {"is_valid": False if False in single else None if None in single else True, **verdicts}
