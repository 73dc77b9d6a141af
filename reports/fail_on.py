"""Conditions on a comparison, for a pipeline that is to stop: `schema`, `rows>5%`, `removed`, `distance[price]>0.1`.

| measure    | is                                                              | with `%`             |
|------------|-----------------------------------------------------------------|----------------------|
| `schema`   | number of columns added, removed, or of another type            |                      |
| `rows`     | difference in the number of rows                                | of the base's rows   |
| `fewer`    | rows that the current dataset has less                          | of the base's rows   |
| `rejected` | rejected rows that the current dataset has more                 | of the base's rows   |
| `added`, `removed`, `changed` | rows, by the key                             | of the base's rows   |
| `missing`  | largest rise of a column's share of missing values              | the share in percent |
| `distance` | largest distance between a column's two distributions, 0 to 1   | in percent           |

`missing[column]` and `distance[column]` look at one column. Without a comparison, more than nothing fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from prefect_datagen.config.problems import did_you_mean
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.diff import ColumnDiff, DatasetDiff

MEASURES = ("schema", "rows", "fewer", "rejected", "added", "removed", "changed", "missing", "distance")
_OF_A_COLUMN = {"missing", "distance"}
_KEYED = {"added", "removed", "changed"}
_CONDITION = re.compile(r"([a-z]+)(?:\[([^\]]+)\])?(?:\s*(>=|>)\s*([0-9]*\.?[0-9]+)\s*(%?))?")


@dataclass(frozen=True)
class Condition:
    """One condition; `text` is how it was written."""

    text: str
    measure: str
    column: str | None = None
    at_least: bool = False
    limit: float = 0.0
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ConfigError: it is none.
        """
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            raise ConfigError(f"{text!r} is no condition; write one such as schema, 'rows>5%' or 'distance[price]>0.1'")
        measure, column, comparison, limit, percent = match.groups()
        if measure not in MEASURES:
            raise ConfigError(
                f"there is no measure {measure!r}{did_you_mean(measure, MEASURES)}; know {', '.join(MEASURES)}"
            )
        if column is not None and measure not in _OF_A_COLUMN:
            raise ConfigError(
                f"{measure!r} is of the whole dataset; only {' and '.join(sorted(_OF_A_COLUMN))} take a column"
            )
        return cls(text, measure, column, comparison == ">=", float(limit or 0), bool(percent))

    def violated(self, diff: DatasetDiff) -> str | None:
        """What is wrong, or None where the condition does not hold.

        Raises:
            ConfigError: it names a column that is not compared, or needs a key and there is none.
        """
        value, where = self._value(diff)
        limit = self.limit / 100 if self.percent else self.limit
        share = self.percent or self.measure in _OF_A_COLUMN
        if value < limit or (value == limit and not self.at_least) or value == 0:
            return None
        shown = f"{value:.2%}" if share else f"{value:,.0f}"
        return f"{self.text}: {self.measure}{where} is {shown}"

    def _value(self, diff: DatasetDiff) -> tuple[float, str]:
        if self.measure in _OF_A_COLUMN:
            return self._of_columns(diff)
        if self.measure in _KEYED:
            if diff.keyed is None:
                raise ConfigError(f"{self.text!r} compares rows, which needs --key")
            number = float(getattr(diff.keyed, self.measure))
        else:
            number = {
                "schema": float(len(diff.schema_changes)),
                "rows": float(abs(diff.current_rows - diff.base_rows)),
                "fewer": float(max(0, diff.base_rows - diff.current_rows)),
                "rejected": float(max(0, diff.current_rejected - diff.base_rejected)),
            }[self.measure]
        if not self.percent:
            return number, ""
        return (number / diff.base_rows if diff.base_rows else float(number > 0)), ""

    def _of_columns(self, diff: DatasetDiff) -> tuple[float, str]:
        found = [column for column in diff.columns if self.column in {None, column.column}]
        if self.column is not None and not found:
            raise ConfigError(f"{self.text!r}: column {self.column!r} is not in both datasets with one type")
        measured = [(_of_column(column, self.measure), f" of {column.column!r}") for column in found]
        return max(measured, default=(0.0, ""))


def _of_column(column: ColumnDiff, measure: str) -> float:
    if measure == "missing":
        return max(0.0, column.current.missing_share - column.base.missing_share)
    return column.distance or 0.0


def violations(diff: DatasetDiff, conditions: list[Condition]) -> list[str]:
    """What is wrong, a line for each condition that holds.

    Raises:
        ConfigError: as `Condition.violated`.
    """
    return [said for condition in conditions if (said := condition.violated(diff)) is not None]
