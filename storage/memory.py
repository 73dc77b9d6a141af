"""The store of previews: everything in this process, nothing on disk."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from prefect_datagen.engine.errors import InternalError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, RowGroupManifest
from prefect_datagen.storage.arrow import scan_table
from prefect_datagen.storage.parts import REJECTS_SCHEMA, encode, fit, rejects_table, to_frame
from prefect_datagen.storage.store import RowGroupCommit, RunRecord, refuse_other_rows

if TYPE_CHECKING:
    import pandas as pd

    from prefect_datagen.storage.arrow import Dataset


@dataclass(frozen=True, slots=True)
class _Stored:
    manifest: RowGroupManifest
    table: pa.Table
    rejects: pa.Table
    trace: pa.Table | None


@dataclass(slots=True)
class _Contents:
    row_groups: dict[int, _Stored] = field(default_factory=dict)
    published: list[pa.Table] | None = None
    published_schema: pa.Schema | None = None
    config: str | None = None
    run: RunRecord | None = None
    metadata: DatasetMetadata | None = None


@dataclass(slots=True)
class MemoryDataset:
    """What a `MemoryStore` writes to. A store opened on it later finds what an earlier one left, as on a disk.

    `schema` and `staged` are those of the last store. A pickled copy is empty: rows stay in their process.
    """

    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    staged: bool = False
    contents: _Contents = field(default_factory=_Contents)
    superseded: list[_Contents] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[type[MemoryDataset], tuple[()]]:
        return MemoryDataset, ()

    def __repr__(self) -> str:
        return f"MemoryDataset(row_groups={len(self.contents.row_groups)}, superseded={len(self.superseded)})"


class MemoryStore:
    """The `RowGroupStore` of a `MemoryDataset`."""

    location = "memory"
    local_path: Path | None = None
    journal_path: Path | None = None
    writer = ""

    def __init__(self, *, schema: pa.Schema, staged: bool = False, dataset: MemoryDataset | None = None) -> None:
        """Raises `SinkError` where the schema has no Parquet form, so that a preview finds what a build would."""
        encode(schema.empty_table())
        self.schema = schema
        self.staged = staged
        self._dataset = dataset or MemoryDataset()
        self._dataset.schema, self._dataset.staged = schema, staged
        self._is_open = True

    def __repr__(self) -> str:
        return f"MemoryStore({self._dataset!r}, staged={self.staged})"

    def committed(self) -> dict[int, RowGroupManifest]:
        """Manifests by row group, ascending."""
        return {stored.manifest.index: stored.manifest for stored in self._in_order()}

    def stamp(self) -> None:
        """Nothing tells; there is little to read."""

    def manifest(self, index: int) -> RowGroupManifest | None:
        """The manifest of a row group, or None where it is not committed."""
        return self.committed().get(index)

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Nobody else writes here."""

    def commit(self, commit: RowGroupCommit) -> RowGroupManifest:
        """Keep a row group. Keeping the same one again changes nothing.

        Raises:
            SinkError: a column does not fit the schema (`column` names it).
            InternalError: the counts do not add up, the row group is there with other rows, or `write_run` was never
                called.
        """
        self._writable()
        if self._dataset.contents.run is None:
            raise InternalError("write_run comes before the first commit", row_group=commit.index)
        table = fit(commit.table, self.schema, row_group=commit.index)
        manifest = commit.manifest(part_bytes=table.nbytes, part_sha256=_digest(table))
        stored = _Stored(manifest, table, rejects_table(commit.rejects), commit.trace)
        with self._dataset.lock:
            there = self._dataset.contents.row_groups.setdefault(commit.index, stored)
        if there is not stored:
            refuse_other_rows(there.manifest, manifest)
        return there.manifest

    def discard(self, index: int) -> None:
        """Forget a row group. Nothing happens where there is none."""
        self._writable()
        self._dataset.contents.row_groups.pop(index, None)

    def supersede(self, *, with_journal: bool = False) -> None:
        """Set everything aside; the dataset is then empty. Nothing is deleted, and there is no journal."""
        self._writable()
        self._dataset.superseded.append(self._dataset.contents)
        self._dataset.contents = _Contents()

    def publish(self, parts: Iterable[pa.Table], *, schema: pa.Schema) -> None:
        """Make the dataset of `parts`, all at once.

        Raises:
            SinkError: a part does not fit `schema`, or the store is not staged.
            Exception: whatever iterating over `parts` raises. The dataset is as before.
        """
        self._writable()
        if not self.staged:
            raise SinkError("the store was not opened as staged: its rows are what was committed")
        encode(schema.empty_table())
        tables = [fit(table, schema) for table in parts]
        self._dataset.contents.published, self._dataset.contents.published_schema = tables, schema

    def write_config(self, text: str) -> None:
        """Keep what was asked for."""
        self._writable()
        self._dataset.contents.config = text

    def config(self) -> str | None:
        """What was asked for, or None."""
        return self._dataset.contents.config

    def write_run(self, record: RunRecord) -> None:
        """Keep what a resume is compared with. Comes before the first commit."""
        self._writable()
        self._dataset.contents.run = record

    def run_record(self) -> RunRecord | None:
        """What a resume is compared with, or None."""
        return self._dataset.contents.run

    def write_metadata(self, metadata: DatasetMetadata) -> None:
        """Keep the run's verdict."""
        self._writable()
        self._dataset.contents.metadata = metadata

    def metadata(self) -> DatasetMetadata | None:
        """The verdict of the last run that ended, or None."""
        return self._dataset.contents.metadata

    def generated(self) -> Dataset:
        """The rows as committed, in order of row groups."""
        return scan_table(pa.concat_tables([self.schema.empty_table(), *(stored.table for stored in self._in_order())]))

    def dataset(self) -> Dataset:
        """The rows that readers get: as committed, or what was published of them."""
        if not self.staged:
            return self.generated()
        schema = self._dataset.contents.published_schema or pa.schema([])
        return scan_table(pa.concat_tables([schema.empty_table(), *(self._dataset.contents.published or [])]))

    def head(self, rows: int) -> pa.Table:
        """The first rows of `dataset()`."""
        return self.dataset().head(rows)

    def load(self) -> pd.DataFrame:
        """`dataset()` in pandas. Text stays text; whole numbers stay whole where some are missing."""
        return to_frame(self.dataset().to_table())

    def rejects(self) -> pa.Table:
        """Rejected rows of all row groups; `parts.rejected_rows` makes records."""
        return pa.concat_tables([REJECTS_SCHEMA.empty_table(), *(stored.rejects for stored in self._in_order())])

    def traces(self) -> pa.Table:
        """Trace records of all row groups; no rows and no columns where nothing was traced."""
        traces = [stored.trace for stored in self._in_order() if stored.trace is not None]
        return pa.concat_tables(traces) if traces else pa.schema([]).empty_table()

    def close(self) -> None:
        """Refuse further writes; what is in memory can still be read."""
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_order(self) -> list[_Stored]:
        with self._dataset.lock:
            return [stored for _, stored in sorted(self._dataset.contents.row_groups.items())]

    def _writable(self) -> None:
        if not self._is_open:
            raise SinkError("the store is closed", path=self.location)


def _digest(table: pa.Table) -> str:
    """SHA-256 of the table's Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()
