"""SQL that compares the datasets `base.data` and `current.data`; all counting is done by DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from prefect_datagen.reports.auto_columns import is_free_text, quoted
from prefect_datagen.reports.duckdb_query import literal

BINS = 30
TOP = 20


class Kind(StrEnum):
    """How a column is compared: by ranges of numbers or times, by its values, or by the lengths of its texts."""

    NUMBERS = "numbers"
    TIMES = "times"
    VALUES = "values"
    LENGTHS = "lengths"
    OTHER = "other"


@dataclass(frozen=True)
class Compared:
    """A column that both datasets have with the same type."""

    name: str
    kind: Kind

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return quoted(self.name)

    @property
    def measured(self) -> str:
        """What is put into ranges."""
        if self.kind is Kind.TIMES:
            return f"epoch({self.sql})"
        if self.kind is Kind.LENGTHS:
            return f"length({self.sql})"
        return f"CAST({self.sql} AS DOUBLE)"


def kind_of(arrow_type: pa.DataType, sample: pa.ChunkedArray) -> Kind:
    """How a column of this type is compared; `sample` are its first values, to tell categories from free text."""
    if pa.types.is_dictionary(arrow_type):
        return kind_of(arrow_type.value_type, sample)
    if pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        return Kind.NUMBERS
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type):
        return Kind.TIMES
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        return Kind.LENGTHS if is_free_text(sample) else Kind.VALUES
    return Kind.VALUES if pa.types.is_boolean(arrow_type) else Kind.OTHER


def profile(schema: str, columns: Sequence[Compared]) -> str:
    """One row: `n`, and for each column number `i` `filled_i`, `distinct_i` (approximate), `low_i`, `high_i`,
    `mean_i`."""
    parts = ["count(*) AS n"]
    for number, column in enumerate(columns):
        parts.append(f"count({column.sql}) AS filled_{number}")
        if column.kind is Kind.OTHER:
            continue
        # The approximation may lie above the number of values there are.
        parts.append(f"least(approx_count_distinct({column.sql}), count({column.sql})) AS distinct_{number}")
        if column.kind is Kind.VALUES:
            continue
        value = f"CASE WHEN isfinite(CAST({column.measured} AS DOUBLE)) THEN {column.measured} END"
        parts += [
            f"{name}({value}) AS {label}_{number}" for name, label in (("min", "low"), ("max", "high"), ("avg", "mean"))
        ]
    return f"SELECT {', '.join(parts)} FROM {schema}.data"


def distribution(column: Compared) -> str | None:
    """SQL for the rows of each dataset in each range (`low`, `high`) or with each value (`label`): `base`, `current`.

    Ranges are the same for both; of values the `TOP` most frequent are returned. Every row carries the `distance` of the
    whole: the total variation distance, half the sum of the differences of the shares. None where a column is not
    compared so.
    """
    if column.kind is Kind.OTHER:
        return None
    counted, order = _values(column) if column.kind is Kind.VALUES else _ranges(column)
    limit = f" LIMIT {TOP}" if column.kind is Kind.VALUES else ""
    return (
        f"WITH counted AS ({counted}), total AS (SELECT sum(base) AS b, sum(current) AS c FROM counted), "
        "apart AS (SELECT CASE WHEN min(b) = 0 AND min(c) = 0 THEN 0.0 WHEN min(b) = 0 OR min(c) = 0 THEN 1.0 "
        "ELSE sum(abs(base / b - current / c)) / 2 END AS distance FROM counted, total) "
        f"SELECT counted.*, distance FROM counted, apart ORDER BY {order}{limit}"
    )


def _values(column: Compared) -> tuple[str, str]:
    counted = (
        "SELECT coalesce(b.v, c.v) AS label, coalesce(b.n, 0) AS base, coalesce(c.n, 0) AS current "
        f"FROM (SELECT CAST({column.sql} AS VARCHAR) AS v, count(*) AS n FROM base.data GROUP BY ALL) AS b "
        f"FULL OUTER JOIN (SELECT CAST({column.sql} AS VARCHAR) AS v, count(*) AS n FROM current.data GROUP BY ALL) AS c "
        "ON b.v IS NOT DISTINCT FROM c.v"
    )
    return counted, "greatest(base, current) DESC, label"


def _ranges(column: Compared) -> tuple[str, str]:
    whole = column.kind is Kind.LENGTHS
    step = f"greatest(1, ceil((high - low + 1) / {BINS}))" if whole else f"(high - low) / {BINS}.0"
    bounds = "low + k * step AS low, low + (k + 1) * step AS high"
    if column.kind is Kind.TIMES:
        bounds = "to_timestamp(low + k * step) AS low, to_timestamp(low + (k + 1) * step) AS high"
    counted = (
        f"WITH given AS (SELECT 1 AS side, {column.measured} AS v FROM base.data "
        f"UNION ALL SELECT 2, {column.measured} FROM current.data), "
        "valued AS (SELECT side, CASE WHEN isfinite(CAST(v AS DOUBLE)) THEN v END AS v FROM given), "
        "ends AS (SELECT min(v) AS low, max(v) AS high FROM valued), "
        f"steps AS (SELECT low, CASE WHEN high > low THEN {step} ELSE 1 END AS step FROM ends), "
        # `least` passes over a missing value, which belongs into no range.
        f"placed AS (SELECT side, low, step, CASE WHEN v IS NOT NULL THEN least({BINS - 1}, floor((v - low) / step)) END "
        "AS k FROM valued, steps) "
        f"SELECT {bounds}, count(*) FILTER (side = 1) AS base, count(*) FILTER (side = 2) AS current "
        "FROM placed GROUP BY placed.low, step, k"
    )
    return counted, "low NULLS LAST"


def key_problem(schema: str, key: Sequence[str]) -> str:
    """One row of `missing, repeated`: rows without a whole key, and keys that more than one row has."""
    columns = ", ".join(map(quoted, key))
    empty = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    return (
        f"SELECT (SELECT count(*) FROM {schema}.data WHERE {empty}) AS missing, "
        f"(SELECT count(*) FROM (SELECT 1 FROM {schema}.data GROUP BY {columns} HAVING count(*) > 1)) AS repeated"
    )


def keyed_counts(key: Sequence[str], columns: Sequence[Compared]) -> str:
    """One row of `removed, added, changed, changed_0, changed_1, ...`, the latter by column."""
    changed = [f"(both_there AND {_differs(column)})" for column in columns]
    anywhere = " OR ".join(changed) or "false"
    counts = "".join(f", count(*) FILTER ({each}) AS changed_{number}" for number, each in enumerate(changed))
    return (
        f"SELECT count(*) FILTER (NOT there_now) AS removed, count(*) FILTER (NOT there_before) AS added, "
        f"count(*) FILTER ({anywhere}) AS changed{counts} FROM {_joined(key)}"
    )


def keyed_sample(key: Sequence[str], columns: Sequence[Compared], *, limit: int) -> str:
    """Rows of `change` (removed, added or changed), the key, and the columns that changed with both values as text.

    At most `limit` rows of each change, in the order of the key.
    """
    changes = ", ".join(
        f"CASE WHEN both_there AND {_differs(column)} THEN "
        f'struct_pack("column" := {literal(column.name)}, base := CAST(b.{column.sql} AS VARCHAR), '
        f"current := CAST(c.{column.sql} AS VARCHAR)) END"
        for column in columns
    )
    keys = ", ".join(f"coalesce(b.{quoted(name)}, c.{quoted(name)}) AS {quoted(name)}" for name in key)
    names = ", ".join(map(quoted, key))
    differences = f"list_filter([{changes}], lambda each: each IS NOT NULL)" if columns else "[]"
    return (
        f"WITH compared AS (SELECT CASE WHEN NOT there_now THEN 'removed' WHEN NOT there_before THEN 'added' "
        f"ELSE 'changed' END AS change, {keys}, {differences} AS differences FROM {_joined(key)}) "
        "SELECT * FROM compared WHERE change <> 'changed' OR len(differences) > 0 "
        f"QUALIFY row_number() OVER (PARTITION BY change ORDER BY {names}) <= {limit} ORDER BY change, {names}"
    )


def _joined(key: Sequence[str]) -> str:
    on = " AND ".join(f"b.{quoted(name)} = c.{quoted(name)}" for name in key)
    first = quoted(key[0])
    # A key has no missing values, so a missing one says that the row is on the other side only.
    sides = (
        f"SELECT b, c, b.{first} IS NOT NULL AS there_before, c.{first} IS NOT NULL AS there_now, "
        "there_before AND there_now AS both_there "
        f"FROM base.data AS b FULL OUTER JOIN current.data AS c ON {on}"
    )
    return f"({sides})"


def _differs(column: Compared) -> str:
    return f"b.{column.sql} IS DISTINCT FROM c.{column.sql}"
