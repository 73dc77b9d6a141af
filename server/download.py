"""Whole tables as files, sent while they are read: memory holds one batch, whatever the size of the dataset."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import StrEnum
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from prefect_datagen.reports.query_cache import Cancellation
from prefect_datagen.server.encode import is_nested, plain, records_of
from prefect_datagen.server.rows import Selection

# Rows of a batch; small enough that making text of it in Python keeps other threads waiting for a moment only.
BATCH_ROWS = 2_000

# A row group of a Parquet download is closed at whichever comes first.
ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 32 << 20


class FileFormat(StrEnum):
    """What a download can be."""

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


CONTENT_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
    FileFormat.JSONL: "application/jsonl; charset=utf-8",
}


class _Writer(Protocol):
    def batch(self, batch: pa.RecordBatch) -> bytes: ...

    def end(self) -> bytes: ...


class _CSV:
    """Text is quoted and null is not, so an empty text and a null stay apart. Nested values are JSON text."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._header = True

    def batch(self, batch: pa.RecordBatch) -> bytes:
        sink = io.BytesIO()
        columns = [_csv_column(column) for column in batch.columns]
        options = pa_csv.WriteOptions(include_header=self._header)
        pa_csv.write_csv(pa.RecordBatch.from_arrays(columns, names=batch.schema.names), sink, options)
        self._header = False
        return sink.getvalue()

    def end(self) -> bytes:
        """The header, where there was no row to write it with."""
        empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in self._schema], schema=self._schema)
        return self.batch(empty) if self._header else b""


def _csv_column(column: pa.Array) -> pa.Array:
    if not is_nested(column.type) and not pa.types.is_binary(column.type):
        return column
    values = [plain(value) for value in column.to_pylist()]
    texts = [value if value is None or isinstance(value, str) else orjson.dumps(value).decode() for value in values]
    return pa.array(texts, pa.string())


class _JSONL:
    def __init__(self, schema: pa.Schema) -> None:
        pass

    def batch(self, batch: pa.RecordBatch) -> bytes:
        return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records_of(batch))

    def end(self) -> bytes:
        return b""


class _Parquet:
    """Batches are gathered into row groups that are worth their footer."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = _Drain()
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), schema, compression="zstd")
        self._gathered: list[pa.RecordBatch] = []

    def batch(self, batch: pa.RecordBatch) -> bytes:
        self._gathered.append(batch)
        rows, size = sum(each.num_rows for each in self._gathered), sum(each.nbytes for each in self._gathered)
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            self._flush()
        return self._sink.take()

    def end(self) -> bytes:
        self._flush()
        self._writer.close()
        return self._sink.take()

    def _flush(self) -> None:
        if self._gathered:
            self._writer.write_table(pa.Table.from_batches(self._gathered, self._schema))
            self._gathered = []


class _Drain(io.RawIOBase):
    """A file that is only written, and emptied again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


_WRITERS: dict[FileFormat, Callable[[pa.Schema], _Writer]] = {
    FileFormat.CSV: _CSV,
    FileFormat.PARQUET: _Parquet,
    FileFormat.JSONL: _JSONL,
}


class Download:
    """A file in the making. `chunks` is read once; closing it early interrupts the query.

    All work on the cursor happens in one thread of its own, in order: opening, reading, and closing at last.
    """

    def __init__(self, selection: Selection, file_format: FileFormat) -> None:
        self._selection = selection
        self._format = file_format
        self._open = ExitStack()
        self._cancel = Cancellation()
        self._interrupt: Callable[[], object] | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The file, piece by piece.

        Raises:
            duckdb.Error: the table cannot be read; the transfer then ends without its last piece.
        """
        loop = asyncio.get_running_loop()
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="download")
        try:
            reader, writer = await loop.run_in_executor(worker, self._begin)
            while (piece := await loop.run_in_executor(worker, _next_piece, reader, writer)) is not None:
                yield piece
            yield await loop.run_in_executor(worker, writer.end)
        finally:
            # The client may be gone and this coroutine cancelled: nothing may be awaited here.
            self._cancel.ask()
            if self._interrupt is not None:
                self._interrupt()
            worker.submit(self._open.close)
            worker.shutdown(wait=False)

    def _begin(self) -> tuple[pa.RecordBatchReader, _Writer]:
        text = self._selection.sql()
        cursor = self._open.enter_context(self._selection.snapshot.rows_source.cursor(text, self._cancel))
        self._interrupt = cursor.interrupt
        relation = cursor.sql(text, params=self._selection.condition.parameters)
        reader = relation.to_arrow_reader(BATCH_ROWS)
        return reader, _WRITERS[self._format](reader.schema)


def _next_piece(reader: pa.RecordBatchReader, writer: _Writer) -> bytes | None:
    try:
        batch = reader.read_next_batch()
    except StopIteration:
        return None
    return writer.batch(batch)
