"""All rows of a dataset in one temporary Parquet file, for processors that must go over them more than once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from prefect_datagen.storage.arrow import Dataset

POSITION = "__position"
_BATCH_ROWS = 1 << 16


class SpooledRows:
    """Rows that can be read again. The file goes with its folder."""

    def __init__(self, tables: Iterable[pa.Table], schema: pa.Schema, folder: Path) -> None:
        """Write the rows to a file in `folder`, a table at a time."""
        from pyarrow.parquet import ParquetWriter

        self._schema = schema
        self._path = Path(tempfile.mkdtemp(dir=folder)) / "rows.parquet"
        self.num_rows = 0
        with ParquetWriter(self._path, schema) as writer:
            for table in tables:
                writer.write_table(table)
                self.num_rows += table.num_rows

    def dataset(self) -> Dataset:
        """The rows for DuckDB: read as they are needed, as often as they are needed."""
        from prefect_datagen.storage.arrow import scan_files

        return scan_files([str(self._path)], schema=self._schema)

    def select(self, positions: Iterable[NDArray[np.int64]]) -> Iterator[pa.Table]:
        """The rows at these positions, in their own order, each once. One byte is held for each row there is."""
        kept = np.zeros(self.num_rows, dtype=bool)
        for some in positions:
            kept[some] = True
        at = 0
        for table in self._tables():
            yield table.filter(pa.array(kept[at : at + table.num_rows]))
            at += table.num_rows

    def _tables(self) -> Iterator[pa.Table]:
        from pyarrow.parquet import ParquetFile

        with ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                yield pa.Table.from_batches([batch]).cast(self._schema)


def with_position(table: pa.Table, first: int = 0) -> pa.Table:
    """The table with the position of each row, counted from `first`."""
    return table.append_column(POSITION, pa.array(np.arange(first, first + table.num_rows, dtype=np.int64)))


def numbered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables with the position of each row among all of them."""
    first = 0
    for table in tables:
        yield with_position(table, first)
        first += table.num_rows
