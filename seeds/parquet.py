"""Parquet seeds, read by row range: of a file of any size no more than a few row groups are ever decoded at a time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedTable, conform, plain_schema, same_schema
from prefect_datagen.seeds.files import SeedFile, content_fingerprint
from prefect_datagen.seeds.spool import spool
from prefect_datagen.storage.arrow import scan_files

_CACHED_ROW_GROUPS = 2
_LARGEST_ROW_GROUP = 128 << 20
_BATCH_ROWS = 1 << 16


def parquet_table(files: Sequence[SeedFile], *, fingerprint: str | None = None) -> SeedTable:
    """The rows of Parquet files, one file after the other.

    A part of the table is a row group. Files whose row groups are too large to be decoded whole (more than 128 MiB) are
    spooled instead, a batch at a time.

    Args:
        fingerprint: of the content, where it is known.

    Raises:
        ConfigError: a file is not Parquet, or its columns differ from those of the first file.
    """
    opened = [_Opened(file) for file in files]
    schema = opened[0].schema
    for other in opened[1:]:
        same_schema(schema, other.schema, origin=other.file.path, first=opened[0].file.path)
    if fingerprint is None:
        fingerprint = content_fingerprint([item.digest() for item in opened])
    if max((item.largest_row_group for item in opened), default=0) > _LARGEST_ROW_GROUP:
        return spool((conform(t, schema) for item in opened for t in item.batches()), schema, fingerprint=fingerprint)
    return SeedTable(
        schema,
        part_rows=[rows for item in opened for rows in item.row_group_rows],
        load=_RowGroups(opened, schema),
        fingerprint=fingerprint,
        random_access=False,
        relation=partial(scan_files, [file.path for file in files], schema=schema, filesystem=files[0].filesystem),
    )


class _Opened:
    """One open file and what its footer says."""

    def __init__(self, file: SeedFile) -> None:
        self.file = file
        self.identity = file.identity()
        # A remote file is read in the ranges that are asked for; a local one by the operating system's own buffering.
        source = file.path if file.filesystem is None else file.open()
        try:
            self.reader: Any = ParquetFile(source)
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"seed file {file.path}: not readable as Parquet: {error}") from error
        self.schema = plain_schema(self.reader.schema_arrow, origin=file.path)
        groups = [self.reader.metadata.row_group(number) for number in range(self.reader.metadata.num_row_groups)]
        self.row_group_rows = [group.num_rows for group in groups]
        self.largest_row_group = max((group.total_byte_size for group in groups), default=0)

    def digest(self) -> str:
        """SHA-256 of a local file. Of a remote one, that of its footer: sizes, places and bounds of all columns."""
        if self.file.filesystem is None:
            return self.file.digest()
        sink = pa.BufferOutputStream()
        self.reader.metadata.write_metadata_file(sink)
        return hashlib.sha256(memoryview(sink.getvalue())).hexdigest()

    def read(self, row_group: int) -> pa.Table:
        self._check_unchanged()
        return self._guarded(lambda: self.reader.read_row_group(row_group))

    def batches(self) -> Iterator[pa.Table]:
        iterator = self.reader.iter_batches(batch_size=_BATCH_ROWS)
        while (batch := self._guarded(lambda: next(iterator, None))) is not None:
            yield pa.Table.from_batches([batch])
        self._check_unchanged()

    def _guarded(self, read: Any) -> Any:
        try:
            return read()
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"seed file {self.file.path}: {error}") from error

    def _check_unchanged(self) -> None:
        if self.file.filesystem is None and self.file.identity() != self.identity:
            raise ConfigError(f"seed file {self.file.path} was changed while it was being read")


class _RowGroups:
    """Decoded row groups by number over all files, the last few kept: neighbouring row ranges share them."""

    def __init__(self, opened: Sequence[_Opened], schema: pa.Schema) -> None:
        self._places = [(item, number) for item in opened for number in range(len(item.row_group_rows))]
        self._schema = schema
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        self._lock = threading.Lock()  # a ParquetFile may not be read by two threads at once

    def __call__(self, numbers: Sequence[int]) -> Iterator[pa.Table]:
        for number in numbers:
            with self._lock:
                table = self._load(number)
            yield table

    def _load(self, number: int) -> pa.Table:
        if number not in self._kept:
            item, row_group = self._places[number]
            self._kept[number] = conform(item.read(row_group), self._schema)
            while len(self._kept) > _CACHED_ROW_GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]
