"""The calls into pyarrow that storage needs, typed: pyarrow publishes no types for them.

They import what they need when they are called: `pyarrow.dataset` brings pandas along, a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset as Dataset


def scan_files(paths: Sequence[str], *, schema: pa.Schema | None, filesystem: Any = None) -> Dataset:
    """The rows of Parquet files, in the order of `paths`; nothing is loaded. `schema` None takes the first file's."""
    from pyarrow.dataset import dataset

    return dataset(list(paths), schema=schema, format="parquet", filesystem=filesystem)


def scan_table(table: pa.Table) -> Dataset:
    """A table in memory, as a dataset."""
    from pyarrow.dataset import dataset

    return dataset(table)


def first_rows(path: str, rows: int, *, filesystem: Any = None) -> pa.Table:
    """The first rows of a Parquet file; no more of it is read. Spares the import of `pyarrow.dataset`."""
    from pyarrow.parquet import ParquetFile

    batches: list[pa.RecordBatch] = []
    with ParquetFile(path, filesystem=filesystem) as file:
        for batch in file.iter_batches(batch_size=rows):
            batches.append(batch)
            if sum(each.num_rows for each in batches) >= rows:
                break
        return pa.Table.from_batches(batches, file.schema_arrow).slice(0, rows)


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table of no rows. `schema.empty_table()` makes it by way of pandas."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def write_parquet(table: pa.Table, sink: pa.BufferOutputStream, **options: Any) -> None:
    """`pyarrow.parquet.write_table`."""
    from pyarrow.parquet import write_table

    write_table(table, sink, **options)


def distinct_values(values: pa.Array) -> int | None:
    """How many different values there are, nulls left out; None for a type that Arrow does not tell it of."""
    from pyarrow._compute import CountOptions, call_function  # `pyarrow.compute` takes ten times as long to import

    try:
        different: int = call_function("count_distinct", [values], CountOptions(mode="only_valid")).as_py()
    except pa.ArrowNotImplementedError:
        return None
    return different
