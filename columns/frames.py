"""Row groups as pandas users see them, and back: nothing is retyped on the way.

Imports pandas, a third of a second: only where a column hands rows to user code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from prefect_datagen.engine.errors import CellError
from prefect_datagen.engine.values import fitter, python_values


def to_frame(columns: Mapping[str, pa.Array], rows: int) -> pd.DataFrame:
    """The columns as a data frame with index 0 to `rows - 1`.

    Integers with missing values are pandas' nullable integers: as floats they would lose their last digits.
    """
    return pd.DataFrame({name: _series(array) for name, array in columns.items()}, index=pd.RangeIndex(rows))


def in_row_order(result: Any, rows: int) -> Any:
    """A frame or series whose index says that its rows were reordered, put back in order; anything else as it is."""
    if (
        not isinstance(result, (pd.DataFrame, pd.Series))
        or len(result) != rows
        or result.index.equals(pd.RangeIndex(rows))
    ):
        return result
    moved = pd.api.types.is_integer_dtype(result.index.dtype) and set(result.index) == set(range(rows))
    return result.loc[list(range(rows))] if moved else result


def to_values(result: Any) -> list[Any]:
    """Values of a series, array or list. pandas' several kinds of missing values are None.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(result, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        return [None if _is_missing(value) else value for value in result.tolist()]
    if isinstance(result, (pa.Array, pa.ChunkedArray)):
        return python_values(result.combine_chunks() if isinstance(result, pa.ChunkedArray) else result)
    if isinstance(result, np.ndarray) and result.dtype.kind in "mM":
        return to_values(pd.Series(result))  # NumPy itself gives times as plain integers
    if isinstance(result, np.ndarray):
        return result.tolist()  # type: ignore[no-any-return]
    if isinstance(result, (list, tuple)):
        return list(result)
    raise TypeError(f"a {type(result).__name__} is no column of values; return a DataFrame, Series, array or list")


def fit_values(
    values: Sequence[Any], type_: pa.DataType, prepare: Callable[[Any], Any] = lambda value: value
) -> tuple[pa.Array, dict[int, CellError]]:
    """The values as an array, shape as given, and why those that do not fit (null in the array) do not, by position.

    `prepare` changes each value before it is fitted; a `CellError` of it is a value that does not fit, too.
    """
    fit = fitter(type_)
    rejected: dict[int, CellError] = {}
    fitted: list[Any] = []
    for position, value in enumerate(values):
        try:
            fitted.append(fit(prepare(value)))
        except CellError as error:
            rejected[position] = error
            fitted.append(None)
    return pa.array(fitted, type=type_), rejected


def _series(array: pa.Array) -> pd.Series[Any]:
    if array.null_count and pa.types.is_integer(array.type):
        return array.to_pandas(types_mapper=_NULLABLE.get)  # type: ignore[no-any-return]
    return array.to_pandas()  # type: ignore[no-any-return]


_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)
