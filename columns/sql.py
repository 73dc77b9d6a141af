"""`sql` columns: a DuckDB scalar expression over the columns of a row group, all rows at once.

What an expression reads is known from DuckDB's own parser, its type from running it over no rows. A value depends on
its row alone, so what would break that is refused: aggregates, windows, subqueries, random numbers, the time of day.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from pydantic import Field, field_validator

from prefect_datagen.columns.base import ColumnConfig, Reference, TemplateSkip
from prefect_datagen.columns.build import BuildContext
from prefect_datagen.columns.dtypes import parse_dtype
from prefect_datagen.columns.references import skip_value_problems
from prefect_datagen.engine.errors import CellError, ConfigError
from prefect_datagen.engine.node import THREADS, Batch, ColumnNode, FullColumn, Strategy
from prefect_datagen.engine.values import from_numpy

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SQL_TYPES = {"int": "BIGINT", "float": "DOUBLE", "str": "VARCHAR", "bool": "BOOLEAN"}
_POSITION = "datagen position"  # lets an expression that reads nothing have a row for each row
_REFUSED = {
    "WINDOW": "window functions see a whole row group, and a row's value must not depend on its neighbours",
    "SUBQUERY": "subqueries are refused: an expression reads its own row only",
    "STAR": "`*` is refused: name the columns",
    "PARAMETER": "parameters are refused: write the value",
}


class SqlColumnConfig(ColumnConfig):
    """A value computed from other columns by a DuckDB expression."""

    column_type: Literal["sql"] = "sql"
    expr: str = Field(description="DuckDB scalar expression, such as `round(price * quantity, 2)`.")
    dtype: Literal["int", "float", "str", "bool"] | None = Field(
        default=None, description="Type that the result is cast to; DuckDB's own where none is given."
    )

    @field_validator("expr")
    @classmethod
    def _says_something(cls, expr: str) -> str:
        if not expr.strip():
            raise ValueError("must not be empty: write an expression such as round(price * quantity, 2)")
        return expr

    def references(self) -> Iterator[Reference]:
        """Columns that the expression reads."""
        return (Reference(column, "expr") for column in _parse(self.expr).columns)

    def check(self) -> Iterator[tuple[str, str]]:
        """Whether it parses, is one value of one row, and the skip value fits."""
        problem = _parse(self.expr).problem
        if problem is not None:
            yield "expr", problem
        if self.dtype is not None:
            yield from skip_value_problems(self, partial(parse_dtype, self.dtype))

    def types(self, upstream: Mapping[str, pa.DataType]) -> tuple[pa.DataType, ...]:
        """The type that DuckDB says the expression has, or that of `dtype`.

        Raises:
            ConfigError: DuckDB refuses the expression for columns of these types.
        """
        columns = _parse(self.expr).columns
        nothing = {name: pa.nulls(0, upstream[name]) for name in columns}  # `pa.array([])` imports pandas
        try:
            made = _evaluate(self._sql(), pa.table({_POSITION: pa.nulls(0, pa.int64()), **nothing}))
        except _errors_of_values() as error:
            raise ConfigError(f"column {self.name!r}: expr {self.expr!r}: {error}") from error
        if len(made) != 0:
            raise ConfigError(
                f"column {self.name!r}: expr {self.expr!r} aggregates rows; it must give one value per row"
            )
        return (made.type,)

    def build(self, context: BuildContext) -> ColumnNode:
        """A full column."""
        types = self.types(context.types)
        for field, message in skip_value_problems(self, lambda: types[0]):
            raise ConfigError(f"column {self.name!r}: {field}: {message}")
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=_parse(self.expr).columns,
            strategy=Strategy.FULL_COLUMN,
            resource=THREADS,
            generator=SqlGenerator(self.name, self._sql(), types[0]),
            types=types,
            skip=None if self.skip is None else TemplateSkip(self.skip),
            propagate_skip=self.propagate_skip,
        )

    def _sql(self) -> str:
        value = f"(\n{self.expr}\n)"  # on lines of its own: it may end in a comment
        return value if self.dtype is None else f"CAST({value} AS {_SQL_TYPES[self.dtype]})"


class SqlGenerator:
    """Evaluates an expression over row groups. Any number of threads may use it at once."""

    def __init__(self, column: str, sql: str, type_: pa.DataType) -> None:
        self._column = column
        self._sql = sql
        self._type = type_

    def generate_batch(self, batch: Batch) -> FullColumn:
        """The values of all rows; a row whose own values make DuckDB fail is rejected, the others are not."""
        positions = from_numpy(np.arange(len(batch.rows), dtype=np.int64))
        table = pa.table({_POSITION: positions, **batch.columns})
        rejected: dict[int, CellError] = {}
        parts = list(self._evaluate(table, 0, rejected))
        return FullColumn({self._column: pa.concat_arrays(parts) if parts else pa.array([], self._type)}, rejected)

    def _evaluate(self, table: pa.Table, start: int, rejected: dict[int, CellError]) -> Iterator[pa.Array]:
        """The values in order; where a part fails, its halves are tried, down to the rows that fail."""
        try:
            values = _evaluate(self._sql, table)
            yield values if values.type == self._type else values.cast(self._type)
        except _errors_of_values() as error:
            if len(table) == 1:
                rejected[start] = CellError(f"expr: {_first_line(error)}", reason="sql")
                yield pa.nulls(1, self._type)
                return
            half = len(table) // 2
            yield from self._evaluate(table.slice(0, half), start, rejected)
            yield from self._evaluate(table.slice(half), start + half, rejected)


@dataclass(frozen=True)
class _Expression:
    """What the text of an expression says before any row is there."""

    columns: tuple[str, ...] = ()
    problem: str | None = None


@lru_cache(maxsize=1024)
def _parse(expr: str) -> _Expression:
    try:
        _syntax(f"SELECT\n{expr}\n")  # without the parentheses `a, b` would be taken for a pair
        value = _syntax(f"SELECT (\n{expr}\n)")
    except ValueError as error:
        return _Expression(problem=str(error))
    columns: set[str] = set()
    problem = _walk(value, columns, frozenset())
    by_lower: dict[str, str] = {}
    for column in sorted(columns):
        twin = by_lower.setdefault(column.lower(), column)
        if twin != column:
            problem = f"reads {twin!r} and {column!r}, which are the same name to SQL"
    return _Expression(tuple(sorted(columns)), problem)


def _syntax(query: str) -> Any:
    """The syntax tree of the one value that a query selects.

    Raises:
        ValueError: it does not parse, or is more than one value.
    """
    row = _database().cursor().execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    tree = orjson.loads(row[0]) if row else {}
    if tree.get("error"):
        raise ValueError(f"does not parse: {tree.get('error_message')}")
    statements = tree["statements"]
    values = statements[0]["node"].get("select_list", [])
    if len(statements) != 1 or len(values) != 1 or values[0].get("alias"):
        raise ValueError("must be one expression, without SELECT, FROM or AS")
    return values[0]


def _walk(node: Any, columns: set[str], bound: frozenset[str]) -> str | None:
    """Collect the columns below a node of the syntax tree; return what is refused. `bound`: parameters of lambdas."""
    if isinstance(node, list):
        return next(filter(None, [_walk(item, columns, bound) for item in node]), None)
    if not isinstance(node, dict):
        return None
    kind = node.get("class")
    if kind in _REFUSED:
        return _REFUSED[kind]
    if kind == "COLUMN_REF":
        if node["column_names"][0] not in bound:
            columns.add(node["column_names"][0])  # what follows the first name is a field of a struct
        return None
    if kind == "FUNCTION" and not node["is_operator"]:
        refused = _function_problem(node["function_name"])
        if refused is not None:
            return refused
    if kind == "LAMBDA":
        parameters: set[str] = set()
        _walk(node["lhs"], parameters, frozenset())
        return _walk(node["expr"], columns, bound | parameters)
    return next(filter(None, [_walk(item, columns, bound) for item in node.values()]), None)


def _function_problem(name: str) -> str | None:
    kinds = _functions().get(name.lower())
    if kinds is None:
        return None  # unknown here: DuckDB says so, with a suggestion, once types are known
    if kinds <= {("aggregate", "CONSISTENT"), ("window", "CONSISTENT")}:
        return f"{name}() aggregates rows; an expression must give one value per row"
    if any(stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY") for _, stability in kinds):
        return f"{name}() gives another value each time; use a sampler column for random values and dates"
    return None


@lru_cache(maxsize=1)
def _functions() -> dict[str, set[tuple[str, str | None]]]:
    """Kind and stability of DuckDB's functions by name; one name may have several."""
    rows = (
        _database()
        .cursor()
        .execute("SELECT DISTINCT lower(function_name), function_type, stability FROM duckdb_functions()")
        .fetchall()
    )
    functions: dict[str, set[tuple[str, str | None]]] = {}
    for name, kind, stability in rows:
        functions.setdefault(name, set()).add((kind, stability))
    return functions


def _evaluate(sql: str, table: pa.Table) -> pa.Array:
    """One value per row of `table`, in order."""
    made = _database().cursor().from_arrow(table).project(f"{sql} AS value").to_arrow_table().column(0)
    # Without chunks Arrow makes the array by way of pandas.
    values = made.combine_chunks() if made.num_chunks else pa.nulls(0, made.type)
    if isinstance(values, pa.DictionaryArray):
        return values.dictionary_decode()  # an ENUM: its words
    return values.storage if isinstance(values, pa.ExtensionArray) else values


@lru_cache(maxsize=1)
def _database() -> DuckDBPyConnection:
    """An empty database in memory that reaches no file, no network and no Python variable. Used through cursors."""
    import duckdb  # a tenth of a second that only configs with a sql column pay for

    atexit.register(_database.cache_clear)  # DuckDB complains of a connection that outlives the interpreter
    return duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "lock_configuration": "true",
        },
    )


def _errors_of_values() -> tuple[type[Exception], ...]:
    """What DuckDB raises for an expression or a value; lack of memory and its own bugs are other errors."""
    import duckdb

    return (duckdb.DataError, duckdb.ProgrammingError, duckdb.NotSupportedError)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
