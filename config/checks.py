"""Quality gates: what the data must be like, judged as row groups land and at the end.

Every check but `mean_score` is a condition that a row fails or not, and a share of failing rows that is too much. Checks
run as DuckDB conditions over the finished rows of a row group; what they counted goes into the row group's manifest, so
that the verdict of a resumed or distributed run is the sum of its manifests.

While rows land, a share is judged by the lower end of its 95 % interval (Wilson), so that a gate never closes by
accident; at the end it is judged as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from prefect_datagen.columns.base import Config
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.health import wilson_lower_bound
from prefect_datagen.engine.outcomes import CheckResult, CheckTally

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset


class OnFail(StrEnum):
    """What a failed check means."""

    WARN = "warn"  # the dataset's verdict is `degraded`
    REJECT_ROW = "reject_row"  # rows that fail the condition are rejected
    FAIL_RUN = "fail_run"  # the run stops


class Check(Config):
    """What all checks have in common."""

    judges_rows: ClassVar[bool] = True

    name: str = Field(min_length=1, description="Name, unique among the checks.")
    on_fail: OnFail = Field(default=OnFail.WARN, description="What to do when the check fails.")
    minimum_sample: int = Field(default=100, ge=1, description="Rows before the check may stop a run.")
    max_share: float = Field(default=0.0, ge=0, le=1, description="Share of failing rows that is still right.")

    @property
    def rejects_rows(self) -> bool:
        """Whether rows that fail are no rows of the dataset."""
        return self.on_fail is OnFail.REJECT_ROW

    def columns(self) -> Iterable[str]:
        """Columns that the check reads, where it names them."""
        return ()

    def condition(self) -> str:
        """DuckDB condition that is true for rows that fail."""
        raise NotImplementedError

    def judge(self, tally: CheckTally, *, final: bool) -> CheckResult:
        """The verdict on what was counted; `final` where no more rows will come."""
        share = tally.failing / tally.rows if tally.rows else 0.0
        surely = share if final else wilson_lower_bound(tally.failing, tally.rows)
        enough = final or tally.rows >= self.minimum_sample
        return CheckResult(
            name=self.name,
            passed=not (enough and surely > self.max_share),
            on_fail=self.on_fail.value,
            observed=round(share, 6),
            limit=f"at most {100 * self.max_share:g} % of the rows may fail",
            rows=tally.rows,
            message=f"{tally.failing:,} of {tally.rows:,} rows fail {self.name!r} ({100 * share:.1f} %)",
        )


class ColumnCheck(Check):
    """A check of one column; `column` may lead into a struct, such as `rating.stars`."""

    column: str = Field(min_length=1, description="Column, or path into a struct: rating.stars.")

    def columns(self) -> Iterable[str]:
        """The column."""
        return (self.column.partition(".")[0],)

    def sql_column(self) -> str:
        """The column as DuckDB names it."""
        return ".".join(f'"{part}"' for part in self.column.replace('"', '""').split("."))


class NullShareCheck(ColumnCheck):
    """Rows where the column is null, or empty text."""

    check_type: Literal["null_share"] = "null_share"

    def condition(self) -> str:
        """Null, or an empty rendering."""
        return f"{self.sql_column()} IS NULL OR CAST({self.sql_column()} AS VARCHAR) = ''"


class RangeCheck(ColumnCheck):
    """Rows where the number lies outside `[min, max]`."""

    check_type: Literal["range"] = "range"
    min: float | None = Field(default=None, description="Lowest value that is right.")
    max: float | None = Field(default=None, description="Highest value that is right.")

    def condition(self) -> str:
        """Below or above."""
        return _outside(self.sql_column(), self.min, self.max)


class LengthCheck(ColumnCheck):
    """Rows where the text's length, in characters, lies outside `[min, max]`."""

    check_type: Literal["length"] = "length"
    min: int | None = Field(default=None, ge=0, description="Fewest characters.")
    max: int | None = Field(default=None, ge=0, description="Most characters.")

    def condition(self) -> str:
        """Shorter or longer."""
        return _outside(f"length({self.sql_column()})", self.min, self.max)


class ValidShareCheck(ColumnCheck):
    """Rows whose validation column says that they are not valid."""

    check_type: Literal["valid_share"] = "valid_share"

    def condition(self) -> str:
        """The verdict of a validation column."""
        return f"NOT coalesce({self.sql_column()}.is_valid, false)"


class UniqueCheck(ColumnCheck):
    """Rows whose value was there before in the same row group while rows land; in the whole dataset at the end."""

    check_type: Literal["unique"] = "unique"

    def condition(self) -> str:
        """Not the first of its kind."""
        return f"row_number() OVER (PARTITION BY {self.sql_column()} ORDER BY __row) > 1"


class SqlCheck(Check):
    """Rows for which a DuckDB condition is not true."""

    check_type: Literal["sql"] = "sql"
    expr: str = Field(min_length=1, description="DuckDB condition that every row should fulfil.")

    def condition(self) -> str:
        """The negation; null counts as not fulfilled."""
        return f"NOT coalesce(({self.expr}), false)"


class MeanScoreCheck(ColumnCheck):
    """The mean of a number, such as a judge's score, lies outside `[min, max]`. It rejects no rows."""

    judges_rows: ClassVar[bool] = False

    check_type: Literal["mean_score"] = "mean_score"
    min: float | None = Field(default=None, description="Lowest mean that is right.")
    max: float | None = Field(default=None, description="Highest mean that is right.")

    def condition(self) -> str:
        """No row fails by itself."""
        return "false"

    def judge(self, tally: CheckTally, *, final: bool) -> CheckResult:
        """The verdict on the mean of the rows so far."""
        mean = tally.total / tally.valued if tally.valued else None
        low = mean is not None and self.min is not None and mean < self.min
        high = mean is not None and self.max is not None and mean > self.max
        enough = final or tally.valued >= self.minimum_sample
        return CheckResult(
            name=self.name,
            passed=not (enough and (low or high)),
            on_fail=self.on_fail.value,
            observed=mean,
            limit=f"mean between {self.min} and {self.max}",
            rows=tally.valued,
            message=f"the mean of {self.column} over {tally.valued:,} rows is {mean if mean is None else round(mean, 4)}",
        )


def tally(checks: Sequence[Check], table: pa.Table) -> tuple[dict[str, CheckTally], dict[str, list[bool]]]:
    """Run all checks over finished rows.

    Returns:
        What each counted, and for each that rejects rows, whether each row fails, shape `(n,)`.

    Raises:
        ConfigError: DuckDB cannot run a condition on these columns.
    """
    import duckdb

    rows = table.append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    tallies: dict[str, CheckTally] = {}
    failing: dict[str, list[bool]] = {}
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        for check in checks:
            value = f"CAST({check.sql_column()} AS DOUBLE)" if isinstance(check, MeanScoreCheck) else "NULL::DOUBLE"
            query = (
                f"SELECT coalesce({check.condition()}, false) AS bad, {value} AS number, __row FROM rows ORDER BY __row"
            )
            try:
                found: pa.Table = connection.sql(query).to_arrow_table()
            except duckdb.Error as error:
                raise ConfigError(f"check {check.name!r}: {error}") from error
            bad: list[bool] = found.column("bad").to_pylist()
            numbers = [number for number in found.column("number").to_pylist() if number is not None]
            tallies[check.name] = CheckTally(
                rows=table.num_rows, failing=sum(bad), total=float(sum(numbers)), valued=len(numbers)
            )
            if check.rejects_rows and check.judges_rows:
                failing[check.name] = bad
    return tallies, failing


def recount(check: UniqueCheck, dataset: Dataset) -> CheckTally:
    """Rows of a whole dataset whose value stands in another row before them; only the column is read."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("rows", dataset)
        column = check.sql_column()
        repeated = f"count({column}) - count(DISTINCT {column}) + greatest(count(*) - count({column}) - 1, 0)"
        query = f"SELECT count(*), {repeated} FROM rows"
        found = connection.execute(query).fetchone()
    assert found is not None
    return CheckTally(rows=found[0], failing=found[1])


def merge(tallies: Iterable[Mapping[str, CheckTally]]) -> dict[str, CheckTally]:
    """Sum of what row groups counted, by check."""
    merged: dict[str, CheckTally] = {}
    for each in tallies:
        for name, counted in each.items():
            merged[name] = merged.get(name, CheckTally()) + counted
    return merged


def verify(checks: Sequence[Check], schema: pa.Schema) -> None:
    """Try all conditions on no rows.

    Raises:
        ConfigError: one does not run on these columns.
    """
    tally(checks, schema.empty_table())


def _outside(value: str, low: Any, high: Any) -> str:
    below = "false" if low is None else f"{value} < {low}"
    above = "false" if high is None else f"{value} > {high}"
    return f"{below} OR {above}"
