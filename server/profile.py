"""What the values of each column are like, found in one pass by DuckDB."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from prefect_datagen.reports.query_cache import Query
from prefect_datagen.server.dataset import DatasetSnapshot, DatasetTable
from prefect_datagen.server.encode import plain
from prefect_datagen.server.filters import FilterError, ValueKind, kind_of
from prefect_datagen.server.source import sql_name

TOP = 20


def profile_query(snapshot: DatasetSnapshot, table: DatasetTable) -> Query:
    """One row that holds every measure of every column; `profile_of` takes it apart."""
    measures = [
        f'{sql} AS "{position}.{measure}"'
        for position, (name, column_type) in enumerate(table.columns.items())
        for measure, sql in _measures(sql_name(name), column_type).items()
    ]
    text = f"SELECT {', '.join(measures)} FROM {table.name}"
    return Query(snapshot.rows_source, text, name=f"profile of {table.name}")


def profile_of(table: DatasetTable, measured: pa.Table) -> list[dict[str, Any]]:
    """The measures by column: `name`, `type`, `kind`, and what `_measures` names."""
    columns: list[dict[str, Any]] = [
        {"name": name, "type": column_type, "kind": kind_of(column_type)} for name, column_type in table.columns.items()
    ]
    for key, value in measured.slice(0, 1).to_pylist()[0].items():
        position, _, measure = key.partition(".")
        columns[int(position)][measure] = plain(value)
    return columns


def top_values_query(snapshot: DatasetSnapshot, table: DatasetTable, column: str) -> Query:
    """The most frequent values of a column as text, and their number of rows.

    Raises:
        FilterError: there is no such column.
    """
    if column not in table.columns:
        raise FilterError(f"there is no column {column!r} in {table.name!r}")
    text = (
        f"SELECT CAST({sql_name(column)} AS VARCHAR) AS value, count(*) AS rows FROM {table.name} "
        f"GROUP BY value ORDER BY rows DESC, value NULLS LAST LIMIT {TOP}"
    )
    return Query(snapshot.rows_source, text, name=f"top values of {table.name}")


def _measures(column: str, column_type: str) -> dict[str, str]:
    """SQL by measure. Extremes of numbers and times are text, which holds them exactly."""
    measures = {
        "rows": "count(*)",
        "nulls": f"count(*) - count({column})",
        "distinct_about": f"least(approx_count_distinct({column}), count({column}))",
    }
    kind = kind_of(column_type)
    if kind is ValueKind.NUMBER:
        number = f"CAST({column} AS DOUBLE)"
        if column_type in {"FLOAT", "DOUBLE"}:
            measures["not_finite"] = f"count(*) FILTER (NOT isfinite({column}))"
            number = f"CASE WHEN isfinite({column}) THEN {number} END"
        quartiles = ("quarter", 0.25), ("median", 0.5), ("three_quarters", 0.75)
        measures |= {
            "minimum": f"CAST(min({column}) AS VARCHAR)",
            "maximum": f"CAST(max({column}) AS VARCHAR)",
            "mean": f"avg({number})",
            "deviation": f"stddev_samp({number})",
            **{name: f"approx_quantile({number}, {share})" for name, share in quartiles},
        }
    elif kind is ValueKind.TEXT:
        length = f"length(CAST({column} AS VARCHAR))"
        measures |= {
            "empty": f"count(*) FILTER ({length} = 0)",
            "shortest": f"min({length})",
            "length_mean": f"avg({length})",
            "longest": f"max({length})",
        }
    elif kind is ValueKind.BOOLEAN:
        measures["true"] = f"count(*) FILTER ({column})"
    elif kind is ValueKind.TIME:
        measures |= {"minimum": f"CAST(min({column}) AS VARCHAR)", "maximum": f"CAST(max({column}) AS VARCHAR)"}
    return measures
