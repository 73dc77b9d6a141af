"""The comparison of two datasets as a report, so that it can be drawn, written and streamed like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect_datagen.reports import diff_sql
from prefect_datagen.reports.auto_columns import Chart, quoted
from prefect_datagen.reports.diff import SAMPLE_ROWS, Comparison
from prefect_datagen.reports.diff_sql import Compared, Kind
from prefect_datagen.reports.duckdb_query import literal
from prefect_datagen.reports.duckdb_sources import BASE, CURRENT, PairSource
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec import ReportSpec

_PAIR = "pair"


def diff_report(base: PairSource | Path | str, current: Path | str | None = None, *, key: Sequence[str] = ()) -> Report:
    """The report that compares two datasets: counts, schema, every column side by side, and the rows by a key.

    Raises:
        ConfigError: a path is no dataset.
        SinkError: a dataset cannot be read.
    """
    pair = base if isinstance(base, PairSource) else PairSource(base, current or "")
    return Report(diff_spec(pair, key=key), {_PAIR: pair}, name="diff")


def diff_spec(pair: PairSource, *, key: Sequence[str] = ()) -> ReportSpec:
    """The specification for two datasets as they are now. Its one source is called `pair`.

    Raises:
        SinkError: a dataset cannot be read.
    """
    states = pair.states()
    comparison = Comparison.of(pair)
    charts: dict[str, Chart] = {}
    layout: list[Any] = [{"row": _counts(charts)}]
    if comparison.schema_changes:
        charts["schema"] = _schema_table(comparison)
        layout.append("schema")
    if all(state.data_parts for state in states.values()) and comparison.columns:
        charts["columns"] = _columns_table(comparison.columns)
        layout.append("columns")
        if key:
            layout += _keyed(charts, list(key), comparison.columns)
        shown = [column for column in comparison.columns if column.kind is not Kind.OTHER]
        names = [f"column_{number}" for number in range(len(shown))]
        charts |= {name: _overlay(column) for name, column in zip(names, shown, strict=True)}
        layout.append({"heading": "Columns side by side"})
        layout += [{"row": names[at : at + 2]} for at in range(0, len(names), 2)]
    return ReportSpec.model_validate(
        {
            "title": f"{states[CURRENT].name}: what changed",
            "description": f"{states[BASE].path.name} (base) against {states[CURRENT].path.name} (current).",
            "sources": {_PAIR: {"type": "dataset", "path": "."}},
            "charts": charts,
            "layout": layout,
        }
    )


def _counts(charts: dict[str, Chart]) -> list[str]:
    for name, title, column in (
        ("rows", "Rows", "written"),
        ("rejected", "Rejected", "rejected"),
        ("size", "Size", "bytes"),
    ):
        charts[name] = {
            "type": "kpi",
            "title": title,
            "sql": f"SELECT c.{column} AS value, b.{column} AS before, 'base: ' || b.{column} AS note "
            "FROM current.dataset AS c, base.dataset AS b",
            "value": "value",
            "compare": "before",
            "better": "lower" if name == "rejected" else None,
            "format": "bytes" if column == "bytes" else None,
            "note": None if column == "bytes" else "note",
        }
    return ["rows", "rejected", "size"]


def _schema_table(comparison: Comparison) -> Chart:
    def text(value: str | None) -> str:
        return "NULL" if value is None else literal(value)

    rows = ", ".join(
        f"({literal(change.column)}, {text(change.base)}, {text(change.current)})"
        for change in comparison.schema_changes
    )
    sql = f'SELECT col0 AS "column", col1 AS base, col2 AS current FROM (VALUES {rows})'
    return {"type": "table", "title": "Changes of the schema", "sql": sql, "rows": 1_000}


def _columns_table(compared: list[Compared]) -> Chart:
    """One row a column: missing values, different values, mean, and how far the distributions are apart."""
    parts = []
    for number, column in enumerate(compared):
        distinct, mean = (
            [f"{side}.{name}_{number}" if there else "NULL" for side in ("b", "c")]
            for name, there in (
                ("distinct", column.kind is not Kind.OTHER),
                ("mean", column.kind in {Kind.NUMBERS, Kind.LENGTHS}),
            )
        )
        inner = diff_sql.distribution(column)
        distance = "NULL" if inner is None else f"(SELECT any_value(distance) FROM ({inner}))"
        parts.append(
            f'SELECT {number} AS position, {literal(column.name)} AS "column", '
            f"1 - b.filled_{number} / nullif(b.n, 0) AS missing_base, 1 - c.filled_{number} / nullif(c.n, 0) AS missing, "
            f"{distinct[0]} AS distinct_base, {distinct[1]} AS distinct_, {mean[0]} AS mean_base, {mean[1]} AS mean, "
            f"{distance} AS distance FROM b, c"
        )
    profiles = f"b AS ({diff_sql.profile(BASE, compared)}), c AS ({diff_sql.profile(CURRENT, compared)})"
    sql = f"WITH {profiles} SELECT * EXCLUDE (position) FROM ({' UNION ALL '.join(parts)}) ORDER BY position"
    return {
        "type": "table",
        "title": "Columns",
        "description": "Distance is 0 where two distributions are alike and 1 where they have nothing in common.",
        "sql": sql,
        "labels": {
            "missing_base": "missing, base",
            "distinct_base": "different values, base",
            "distinct_": "different values",
            "mean_base": "mean, base",
        },
        "formats": {
            "missing_base": ".1%",
            "missing": ".1%",
            "distinct_base": ",",
            "distinct_": ",",
            "mean_base": ",.4g",
            "mean": ",.4g",
            "distance": ".3f",
        },
        "rows": 1_000,
    }


def _keyed(charts: dict[str, Chart], key: list[str], compared: list[Compared]) -> list[str]:
    others = [column for column in compared if column.name not in key]
    counted = diff_sql.keyed_counts(key, others)
    sql = (
        f"WITH counted AS ({counted}) SELECT 'removed' AS change, removed AS rows FROM counted "
        "UNION ALL SELECT 'added', added FROM counted UNION ALL SELECT 'changed', changed FROM counted"
    )
    title = f"Rows by {', '.join(key)}"
    charts["keyed"] = {"type": "bar", "title": title, "sql": sql, "x": "change", "y": "rows", "horizontal": True}
    sample = diff_sql.keyed_sample(key, others, limit=SAMPLE_ROWS)
    names = ", ".join(map(quoted, key))
    charts["keyed_sample"] = {
        "type": "table",
        "title": "Rows that differ",
        "description": f"The first {SAMPLE_ROWS} of each kind.",
        "sql": f'SELECT change, {names}, each."column" AS "column", each.base AS base, each.current AS current FROM '
        f"(SELECT * EXCLUDE (differences), unnest(if(len(differences) = 0, [NULL], differences)) AS each FROM ({sample}))",
        "rows": 1_000,
    }
    return ["keyed", "keyed_sample"]


def _overlay(column: Compared) -> Chart:
    """Shares of both datasets in the same ranges, or with the same values."""
    inner = diff_sql.distribution(column)
    shares = (
        f"SELECT *, base / nullif(sum(base) OVER (), 0) AS base_share, "
        f"current / nullif(sum(current) OVER (), 0) AS current_share FROM ({inner})"
    )
    title = f"{column.name}: length in characters" if column.kind is Kind.LENGTHS else column.name
    if column.kind is Kind.VALUES:
        sql = (
            "SELECT coalesce(label, '(missing)') AS label, dataset, share FROM "
            f"(SELECT row_number() OVER () AS position, * FROM ({shares})), "
            "LATERAL (VALUES ('base', base_share), ('current', current_share)) AS sides(dataset, share) "
            "ORDER BY position, dataset"
        )
        return {
            "type": "bar",
            "title": title,
            "sql": sql,
            "x": "label",
            "y": "share",
            "color": "dataset",
            "stack": "grouped",
            "format": ".1%",
        }
    sql = (
        f"SELECT low AS at, base_share AS base, current_share AS current FROM ({shares}) "
        "WHERE low IS NOT NULL ORDER BY low"
    )
    return {"type": "line", "title": title, "sql": sql, "x": "at", "y": ["base", "current"], "format": ".1%"}
