"""Inequalities between a sampler column and a number, a time or another column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from prefect_datagen.columns import compute as pc
from prefect_datagen.columns.base import Reference
from prefect_datagen.columns.constraints import Constraint
from prefect_datagen.columns.samplers.base import Finite, Kind, TimeText, kind_of, parse_time, time_type
from prefect_datagen.engine.arrays import np, pa
from prefect_datagen.engine.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Operator = Literal["lt", "le", "gt", "ge"]

_OPERATORS: dict[Operator, tuple[str, str]] = {
    "lt": ("<", "less"),
    "le": ("<=", "less_equal"),
    "gt": (">", "greater"),
    "ge": (">=", "greater_equal"),
}


class _Inequality(Constraint):
    operator: Operator = Field(description="lt, le, gt or ge: below, at most, above, at least.")

    def _holds(self, left: pa.Array, right: Any) -> NDArray[np.bool_]:
        """Where the inequality holds, and where a cell was skipped: what is not there breaks no constraint."""
        result = getattr(pc, _OPERATORS[self.operator][1])(left, right).fill_null(True)
        return np.asarray(result.to_numpy(zero_copy_only=False), dtype=np.bool_)

    def _unlike(self, left: Any, right: Any) -> ConfigError:
        return ConfigError(f"constraint {self}: cannot compare a {left} with a {right}", column=self.target_column)


class ScalarInequalityConstraint(_Inequality):
    """A column compared with a number, or with a time in ISO 8601."""

    constraint_type: Literal["scalar_inequality"] = "scalar_inequality"
    rhs: Finite | TimeText = Field(union_mode="left_to_right", description="Number, or a time such as 2024-01-31.")

    def references(self) -> Iterable[Reference]:
        """The constrained column."""
        yield Reference(self.target_column, "target_column")

    def satisfied(self, columns: Mapping[str, pa.Array]) -> NDArray[np.bool_]:
        """Which rows satisfy it, shape `(n,)`.

        Raises:
            ConfigError: the column's values cannot be compared with the right-hand side.
        """
        left = columns[self.target_column]
        kind = kind_of(left.type)
        if kind is Kind.TIME and isinstance(self.rhs, str):
            try:
                return self._holds(left.cast(time_type(), safe=False), pa.scalar(parse_time(self.rhs), time_type()))
            except ValueError as error:
                raise ConfigError(f"constraint {self}: {error}", column=self.target_column) from error
        if kind is not Kind.NUMBER or isinstance(self.rhs, str):
            raise self._unlike(kind, "text" if isinstance(self.rhs, str) else Kind.NUMBER)
        return self._holds(left, pa.scalar(self.rhs))

    def __str__(self) -> str:
        return f"{self.target_column} {_OPERATORS[self.operator][0]} {self.rhs}"


class ColumnInequalityConstraint(_Inequality):
    """A column compared with another column."""

    constraint_type: Literal["column_inequality"] = "column_inequality"
    rhs: str = Field(description="Column on the right-hand side.")

    def references(self) -> Iterable[Reference]:
        """Both columns."""
        yield Reference(self.target_column, "target_column")
        yield Reference(self.rhs, "rhs")

    def satisfied(self, columns: Mapping[str, pa.Array]) -> NDArray[np.bool_]:
        """Which rows satisfy it, shape `(n,)`.

        Raises:
            ConfigError: the values of the two columns cannot be compared.
        """
        left, right = columns[self.target_column], columns[self.rhs]
        kind = kind_of(left.type)
        if kind is not kind_of(right.type) or kind is Kind.RECORD:
            raise self._unlike(kind, kind_of(right.type))
        if kind is Kind.TIME:
            left, right = left.cast(time_type(), safe=False), right.cast(time_type(), safe=False)
        return self._holds(left, right)

    def __str__(self) -> str:
        return f"{self.target_column} {_OPERATORS[self.operator][0]} {self.rhs}"
