"""Charts for a column by its type. All counting is done by DuckDB; what comes back has a few dozen rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from prefect_datagen.reports.duckdb_query import literal

BINS = 30
TOP = 20
SAMPLE_ROWS = 1_000

_FEW = 50
_SHORT = 40
_SHOWN_TEXT = 400

Chart = dict[str, Any]
"""A chart of a `ReportSpec`, not validated yet."""


@dataclass(frozen=True)
class ColumnCharts:
    """What is shown of one column. `texts` says that it is free text, whose lengths are of interest."""

    name: str
    charts: list[Chart]
    texts: bool = False


def quoted(name: str) -> str:
    """A column's name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def column_charts(name: str, kind: pa.DataType, sample: pa.ChunkedArray) -> ColumnCharts:
    """The charts of one column; `sample` are its values in the first rows, to tell categories from free text."""
    makers: list[tuple[Callable[[pa.DataType], bool], Callable[[str], list[Chart]]]] = [
        (pa.types.is_boolean, _values),
        (pa.types.is_integer, _integers),
        (lambda each: pa.types.is_floating(each) or pa.types.is_decimal(each), _numbers),
        (lambda each: pa.types.is_timestamp(each) or pa.types.is_date(each), _times),
        (_is_list, _list_lengths),
    ]
    if _is_text(kind):
        free = is_free_text(sample)
        return ColumnCharts(name, _text_lengths(name) if free else _values(name), texts=free)
    scores = score_fields(kind)
    if scores:
        return ColumnCharts(name, [_scores(name, scores)])
    return ColumnCharts(name, next((make(name) for fits, make in makers if fits(kind)), []))


def score_fields(kind: pa.DataType) -> list[str]:
    """Names of the scores in a judge's answer: fields that hold a `score` and a `reasoning`."""
    if not pa.types.is_struct(kind):
        return []
    found = []
    for number in range(kind.num_fields):
        field = kind.field(number)
        inner = (
            {field.type.field(each).name for each in range(field.type.num_fields)} if _is_struct(field.type) else set()
        )
        if {"score", "reasoning"} <= inner:
            found.append(field.name)
    return found


def columns_table(names: list[str]) -> Chart:
    """A table of all columns: type, missing values and their share."""
    counted = ", ".join(f"count({quoted(name)}) AS c{number}" for number, name in enumerate(names))
    listed = ", ".join(f"({literal(name)}, c{number})" for number, name in enumerate(names))
    sql = (
        f"WITH counted AS (SELECT count(*) AS n, {counted} FROM data), "
        'filled AS (SELECT n, col0 AS "column", col1 AS filled FROM counted, '
        f"LATERAL (VALUES {listed})) "
        'SELECT "column", type, n - filled AS missing, (n - filled) / nullif(n, 0) AS share '
        'FROM filled LEFT JOIN columns ON columns.name = "column" ORDER BY position'
    )
    labels = {"share": "share missing"}
    return {
        "type": "table",
        "title": "Columns",
        "sql": sql,
        "labels": labels,
        "formats": {"share": ".1%"},
        "rows": 1_000,
    }


def text_lengths_table(names: list[str]) -> Chart:
    """A table of how long the texts of some columns are."""
    parts = []
    for name in names:
        length = f"length({quoted(name)})"
        words = f"len(string_split_regex(trim({quoted(name)}), '\\s+'))"
        parts.append(
            f'SELECT {literal(name)} AS "column", avg({length}) AS mean, median({length}) AS median, '
            f"quantile_cont({length}, 0.95) AS p95, max({length}) AS longest, avg({words}) AS words FROM data"
        )
    return {
        "type": "table",
        "title": "Length of texts",
        "description": "In characters; words are counted between blanks.",
        "sql": " UNION ALL ".join(parts),
        "formats": dict.fromkeys(("mean", "median", "p95", "longest", "words"), ",.0f"),
    }


def sample_table(schema: pa.Schema) -> Chart:
    """A table of the first rows; only the beginning of a long text is sent."""
    listed = ", ".join(_shown_column(field) for field in schema)
    return {"type": "table", "title": "Rows", "sql": f"SELECT {listed} FROM data LIMIT 20", "rows": 20}


def _shown_column(field: pa.Field) -> str:
    name = quoted(field.name)
    if _is_text(field.type):
        cut = f"left({name}, {_SHOWN_TEXT}) || '…'"
        return f"CASE WHEN length({name}) > {_SHOWN_TEXT} THEN {cut} ELSE {name} END AS {name}"
    if pa.types.is_binary(field.type):
        return f"octet_length({name}) AS {name}"
    return name


def _values(name: str) -> list[Chart]:
    column = quoted(name)
    sql = (
        f"SELECT coalesce(CAST({column} AS VARCHAR), '(missing)') AS value, count(*) AS rows FROM data "
        f"GROUP BY {column} ORDER BY rows DESC, value LIMIT {TOP}"
    )
    return [{"type": "bar", "title": name, "sql": sql, "x": "value", "y": "rows"}]


def _integers(name: str) -> list[Chart]:
    return [_whole(name, quoted(name))]


def _whole(title: str, value: str) -> Chart:
    """Bins are whole numbers wide, so that none holds more of them than another, and begin half a unit below one."""
    step = f"greatest(1, ceil((high - low + 1) / {BINS}))"
    # Wider than 64 bits, because the step beyond the largest number is one of them.
    bins = _bins_sql(f"CAST({value} AS HUGEINT)", step=step, end="high + 1")
    half = ", ".join(f"CAST({end} AS DOUBLE) - 0.5 AS {end}" for end in ("low", "high"))
    sql = f"SELECT {half}, rows FROM ({bins})"
    return {"type": "histogram", "title": title, "sql": sql, "x": "low", "x_end": "high", "y": "rows"}


def _numbers(name: str) -> list[Chart]:
    sql = _bins_sql(f"CAST({quoted(name)} AS DOUBLE)", step=_equal_parts(), end="high")
    return [{"type": "histogram", "title": name, "sql": sql, "x": "low", "x_end": "high", "y": "rows"}]


def _times(name: str) -> list[Chart]:
    sql = _bins_sql(f"epoch({quoted(name)})", step=_equal_parts(), end="high")
    sql = f"SELECT to_timestamp(low) AS low, to_timestamp(high) AS high, rows FROM ({sql})"
    return [{"type": "histogram", "title": name, "sql": sql, "x": "low", "x_end": "high", "y": "rows"}]


def _text_lengths(name: str) -> list[Chart]:
    return [_whole(f"{name}: length in characters", f"length({quoted(name)})")]


def _list_lengths(name: str) -> list[Chart]:
    return [_whole(f"{name}: number of items", f"len({quoted(name)})")]


def _equal_parts() -> str:
    return f"CASE WHEN high > low THEN (high - low) / {BINS}.0 ELSE 1.0 END"


def _bins_sql(value: str, *, step: str, end: str) -> str:
    """Low end, high end and count of each bin that is not empty. `step` and `end` may use `low` and `high`."""
    return (
        f"WITH given AS (SELECT {value} AS v FROM data), "
        "valued AS (SELECT v FROM given WHERE v IS NOT NULL AND isfinite(CAST(v AS DOUBLE))), "
        "bounds AS (SELECT min(v) AS low, max(v) AS high FROM valued), "
        f"steps AS (SELECT low, {end} AS stop, {step} AS step FROM bounds), "
        f"placed AS (SELECT low, step, least(floor((v - low) / step), greatest(0, ceil((stop - low) / step) - 1)) AS k "
        "FROM valued, steps) "
        "SELECT low + k * step AS low, low + (k + 1) * step AS high, count(*) AS rows FROM placed "
        "GROUP BY ALL ORDER BY 1"
    )


def _scores(name: str, scores: list[str]) -> Chart:
    parts = [
        f"SELECT {literal(score)} AS score, CAST({quoted(name)}.{quoted(score)}.score AS VARCHAR) AS given FROM data"
        for score in scores
    ]
    sql = (
        "SELECT score, given, count(*) AS rows FROM "
        f"(SELECT score, coalesce(given, '(missing)') AS given FROM ({' UNION ALL '.join(parts)})) "
        "GROUP BY score, given ORDER BY score, TRY_CAST(given AS DOUBLE), given"
    )
    return {
        "type": "bar",
        "title": f"{name}: scores given",
        "sql": sql,
        "x": "score",
        "y": "rows",
        "color": "given",
        "stack": "share",
        "horizontal": True,
    }


def is_free_text(sample: pa.ChunkedArray) -> bool:
    """Many different and long values: a count of each would say nothing."""
    values = sample.drop_null()
    if len(values) == 0:
        return False
    texts = values.to_pylist()
    different = len(set(texts))
    mean = sum(map(len, texts)) / len(texts)
    return (different > _FEW and mean > _SHORT) or (different > 0.9 * len(texts) and mean > 2 * _SHORT)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
