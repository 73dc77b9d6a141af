"""Constraints between sampler columns: inequalities with a number, a time or another column.

They are met by drawing whole rows until one fits (`columns/sampling.py`), so that what is left is the joint
distribution of the columns, given that the constraints hold. The inequalities are in `columns/inequalities.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from prefect_datagen.columns.base import Config, Reference
from prefect_datagen.columns.kinds import Kinds

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Constraint(Config):
    """What a sampled row is to satisfy."""

    target_column: str = Field(description="Sampler column that is constrained; the left-hand side.")
    constraint_type: str

    def references(self) -> Iterable[Reference]:
        """Columns that are compared."""
        raise NotImplementedError

    def satisfied(self, columns: Mapping[str, pa.Array]) -> NDArray[np.bool_]:
        """Which rows satisfy it, shape `(n,)`.

        Raises:
            ConfigError: the values cannot be compared.
        """
        raise NotImplementedError


def _by_right_hand_side(value: Mapping[str, Any]) -> str:
    """Which constraint is meant where it is not said: older configs tell by their right-hand side alone."""
    rhs = value.get("rhs")
    return "column_inequality" if isinstance(rhs, str) and not _is_scalar(rhs) else "scalar_inequality"


def _is_scalar(text: str) -> bool:
    for parse in (float, datetime.fromisoformat):
        try:
            parse(text)
        except ValueError:
            continue
        return True
    return False


AnyConstraint = Annotated[
    Constraint,
    Kinds(
        "constraint_type",
        {
            "scalar_inequality": "prefect_datagen.columns.inequalities:ScalarInequalityConstraint",
            "column_inequality": "prefect_datagen.columns.inequalities:ColumnInequalityConstraint",
        },
        untold=_by_right_hand_side,
    ),
]
"""Any constraint, as configs hold them."""
