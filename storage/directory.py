"""A dataset directory, open for writing: the one place that decides in which order files come into being.

Commit: rejects, traces, part, manifest. The manifest is the commit; whatever has none is removed at the next open.
Discard: manifest first. Supersede: a note of all moves, metadata, manifests, the rest, the note away; an unfinished one
is finished at the next open. Publish: all parts beside `data/`, then one swap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa

from prefect_datagen.engine.errors import DatasetLockedError, InternalError, ResumeRefusedError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, Record, RowGroupManifest
from prefect_datagen.storage import layout
from prefect_datagen.storage.arrow import no_rows
from prefect_datagen.storage.files import Files, Observer, open_files, sink_errors
from prefect_datagen.storage.lock import Holder, WriterLock, holder_of
from prefect_datagen.storage.parts import encode, fit, rejects_table
from prefect_datagen.storage.reader import DatasetReader
from prefect_datagen.storage.store import RowGroupCommit, RunRecord, refuse_other_rows


class DatasetDirectory(DatasetReader):
    """The `RowGroupStore` of a local folder or of any fsspec URL. Making one opens it: lock, recovery, checks.

    Example:
        ```python
        with DatasetDirectory("out/airports", schema=schema) as store:
            store.write_run(record)
            store.commit(RowGroupCommit(index=0, start_row=0, planned=10, requested=10, table=table))
        ```
    """

    def __init__(
        self,
        location: str | Path | Files,
        *,
        schema: pa.Schema,
        staged: bool = False,
        compression: str = "zstd",
        storage_options: Mapping[str, Any] | None = None,
        joins: str | None = None,
        on_step: Observer | None = None,
    ) -> None:
        """Open a dataset, new or not, for writing.

        Args:
            location: path or fsspec URL of the dataset, or the `Files` of it.
            schema: of the rows that will be committed.
            staged: whether after-generation processors will make the dataset of what is committed.
            compression: of Parquet files, one of `parts.COMPRESSIONS`.
            storage_options: passed to fsspec.
            joins: token of the writer that has the dataset open: write beside it, under its lock, as long as it
                holds that. What a worker of a task runner does. Each row group is written by one process at a time.
            on_step: is told of each change on disk before it is made.

        Raises:
            DatasetLockedError: another writer has it open.
            SinkError: it cannot be written, holds files that are not ours, or the schema has no Parquet form.
        """
        if isinstance(location, (str, Path)):
            location = open_files(location, storage_options=storage_options, on_step=on_step)
        super().__init__(location)
        self._schema_given = schema
        self._compression = compression
        self._staged = staged
        self._joins = joins
        encode(no_rows(schema), compression=compression)
        with sink_errors("open", self.location):
            self._files.prepare()
        with sink_errors("lock", self.location):
            self._lock: WriterLock | None = None if joins is not None else self._files.lock()
        self._is_open = True
        try:
            with sink_errors("recover", self.location):
                if joins is None:
                    self._recover()
                self._look_at_layout()
        except BaseException:
            self.close()
            raise

    # -- Opening and closing

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows that are committed."""
        return self._schema_given

    @property
    def staged(self) -> bool:
        """Whether what is committed is raw material that `publish` makes the dataset of."""
        return self._staged

    @property
    def writer(self) -> str:
        """Token of the writer that holds the lock: what workers need to join it."""
        assert self._lock is not None
        return self._lock.token

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Have workers that joined stop their row groups; `grace` are seconds for calls in flight."""
        if self._lock is not None:
            with sink_errors("write", f"{self.location}/{layout.LOCK}"):
                self._lock.tell_to_stop(reason, grace=grace)

    def holder(self) -> Holder | None:
        """Who holds the lock now; None where nobody does."""
        with sink_errors("read", f"{self.location}/{layout.LOCK}"):
            return holder_of(self._files)

    def close(self) -> None:
        """Let the next writer in. May be called twice."""
        self._is_open = False
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recover(self) -> None:
        """Leave the folder as it was before, or after, whatever a dead writer was doing."""
        self._files.recover()
        self._finish_superseding()
        if self._files.exists(layout.RUN):
            self._delete_uncommitted()
        else:
            self._refuse_foreign_files()
            self._files.delete(layout.STAGED_MARK)

    def _look_at_layout(self) -> None:
        self._has_run = self._files.exists(layout.RUN)
        self._staged_on_disk = self._files.exists(layout.STAGED_MARK) if self._has_run else self._staged

    def _delete_uncommitted(self) -> None:
        committed = set(self._committed_indices())
        generated = layout.ROW_GROUPS if self._files.exists(layout.STAGED_MARK) else layout.DATA
        for folder in (generated, layout.REJECTS, layout.TRACES):
            for name in self._files.names(folder):
                index = layout.part_index(name)
                if index is not None and index not in committed:
                    self._files.delete(f"{folder}/{name}")

    def _refuse_foreign_files(self) -> None:
        """Every dataset has a run record before it has parts: without one, parts are somebody else's."""
        for folder in (layout.MANIFESTS, *layout.PART_FOLDERS):
            foreign = [name for name in self._files.names(folder) if not name.startswith(".")]
            if foreign:
                raise SinkError(
                    f"{self.location} has {folder}/{min(foreign)} and no {layout.RUN}: it is no dataset of "
                    "prefect-datagen and is left alone; write to another directory",
                    path=self.location,
                )

    def _writable(self) -> None:
        if not self._is_open:
            raise SinkError(f"{self.location} is closed", path=self.location)
        if self._staged != self._staged_on_disk:
            was, now = ("with", "without") if self._staged_on_disk else ("without", "with")
            difference = f"built {was} after-generation processors, now {now}"
            raise ResumeRefusedError(
                f"{self.location} was {difference}; use --resume never to set it aside, or write to another directory",
                differences=[difference],
                path=self.location,
            )

    # -- Row groups

    def commit(self, commit: RowGroupCommit) -> RowGroupManifest:
        """Store a row group; when this returns it survives a crash. Storing the same one again changes nothing.

        Raises:
            SinkError: it cannot be written, or a column does not fit the schema (`column` names it). Nothing of the
                row group is committed.
            InternalError: the counts do not add up, the row group is there with other rows, or `write_run` was never
                called.
        """
        self._writable()
        if not self._has_run:
            raise InternalError("write_run comes before the first commit", row_group=commit.index)
        parts, manifest = self._encoded(commit)
        path = layout.manifest_path(commit.index)
        before = self._record(RowGroupManifest, path)
        if before is not None:
            refuse_other_rows(before, manifest)
            return before
        try:
            for part, data in parts.items():
                with self._writing(part, row_group=commit.index):
                    self._files.write(part, data)
            self._check_lock()
            with self._writing(path, row_group=commit.index):
                self._files.write(path, _json(manifest))
        except DatasetLockedError:
            raise  # files of these names may be the other writer's by now
        except Exception:
            self._take_back(path, parts)
            raise
        return manifest

    def _take_back(self, manifest: str, parts: Iterable[str]) -> None:
        """Delete what a failed commit left, as far as that is possible; the next open removes the rest."""
        for path in (manifest, *parts):
            with suppress(OSError):
                if path == manifest or not self._files.exists(manifest):
                    self._files.delete(path)

    def discard(self, index: int) -> None:
        """Take a committed row group back, so that it can be made anew. Nothing happens where there is none."""
        self._writable()
        with sink_errors("discard", f"{self.location}/{layout.manifest_path(index)}", row_group=index):
            self._files.delete(layout.manifest_path(index))
            for folder in (self._committed_folder, layout.REJECTS, layout.TRACES):
                self._files.delete(layout.part_path(folder, index))

    @property
    def _committed_folder(self) -> str:
        return layout.ROW_GROUPS if self._staged else layout.DATA

    def _encoded(self, commit: RowGroupCommit) -> tuple[dict[str, pa.Buffer], RowGroupManifest]:
        """The files of a row group by path, in the order they are written, and its manifest."""
        index = commit.index
        rejects = layout.part_path(layout.REJECTS, index) if commit.rejects else None
        trace = layout.part_path(layout.TRACES, index) if commit.trace is not None else None
        part = layout.part_path(self._committed_folder, index)
        data = encode(fit(commit.table, self.schema, row_group=index), compression=self._compression)
        manifest = commit.manifest(
            part=part,
            part_bytes=data.size,
            part_sha256=hashlib.sha256(data).hexdigest(),
            rejects_part=rejects,
            trace_part=trace,
        )
        parts = {}
        if rejects is not None:
            parts[rejects] = encode(rejects_table(commit.rejects), compression=self._compression)
        if trace is not None:
            parts[trace] = encode(commit.trace, compression=self._compression)
        parts[part] = data
        return parts, manifest

    # -- The dataset as a whole

    def supersede(self, *, with_journal: bool = False) -> None:
        """Set everything aside in `.superseded/<n>/`. The dataset is then empty; nothing is deleted.

        Args:
            with_journal: also the answers that were paid for, so that all are asked for again. The journal must not be
                open.
        """
        if not self._is_open:
            raise SinkError(f"{self.location} is closed", path=self.location)
        with sink_errors("set aside", self.location):
            entries = [*layout.SET_ASIDE, *(layout.JOURNAL_FILES if with_journal else ())]
            entries = [entry for entry in entries if self._files.exists(entry)]
            if entries:
                number = 1
                while self._files.exists(f"{layout.SUPERSEDED}/{number}"):
                    number += 1
                note = {f"{layout.SUPERSEDED}/{number}/{entry}": entry for entry in entries}
                self._files.write(layout.SUPERSEDING, orjson.dumps(note))
                self._finish_superseding()
        self._staged_on_disk = self._staged
        self._has_run = False

    def _finish_superseding(self) -> None:
        note = self._files.read(layout.SUPERSEDING)
        if note is None:
            return
        for target, entry in orjson.loads(note).items():
            self._files.move(entry, target)
        self._files.delete(layout.SUPERSEDING)

    def publish(self, parts: Iterable[pa.Table], *, schema: pa.Schema) -> None:
        """Make the dataset of `parts`, all at once: readers see the old one until the last part is written.

        Where there are no parts, one of no rows is written, so that readers know the columns.

        Raises:
            SinkError: it cannot be written, a part does not fit `schema`, or the store is not staged.
            Exception: whatever iterating over `parts` raises. The dataset is as before.
        """
        self._writable()
        if not self._staged:
            raise SinkError(f"{self.location} was not opened as staged: its rows are what was committed")
        with sink_errors("clear", f"{self.location}/{layout.BUILDING}"):
            self._files.delete_folder(layout.BUILDING)
        try:
            for number, table in enumerate(_at_least_one(parts, schema)):
                path = layout.part_path(layout.BUILDING, number)
                with self._writing(path):
                    self._files.write(path, encode(fit(table, schema), compression=self._compression))
        except Exception:
            with suppress(OSError):
                self._files.delete_folder(layout.BUILDING)
            raise
        self._check_lock()
        with sink_errors("publish", f"{self.location}/{layout.DATA}"):
            self._files.swap_in()

    def write_config(self, text: str) -> None:
        """Store what was asked for, as YAML."""
        self._write(layout.CONFIG, text.encode())

    def write_run(self, record: RunRecord) -> None:
        """Store what a resume is compared with. Comes before the first commit."""
        if self._staged:
            self._write(layout.STAGED_MARK, b"")  # before the run record: with that, the layout is settled
        self._write(layout.RUN, _json(record, indent=2))
        self._has_run = True

    def write_metadata(self, metadata: DatasetMetadata) -> None:
        """Store the run's verdict. Comes last."""
        self._write(layout.METADATA, _json(metadata, indent=2))

    @property
    def journal_path(self) -> Path | None:
        """Where the journal of answers belongs, or None where the dataset is not on this machine."""
        return None if self.local_path is None else self.local_path / layout.JOURNAL

    def _schema(self, *, published: bool) -> pa.Schema | None:
        return None if published else self._schema_given

    def _write(self, path: str, data: bytes) -> None:
        self._writable()
        with self._writing(path):
            self._files.write(path, data)

    def _check_lock(self) -> None:
        if self._lock is not None:
            self._lock.check()
        elif self._joins is not None:
            holder = self.holder()
            if holder is None or holder.token != self._joins:
                raise SinkError(
                    f"{self.location}: the run that this worker works for does not hold the dataset any more; nothing "
                    "more is written",
                    path=self.location,
                )

    @contextmanager
    def _writing(self, path: str, *, row_group: int | None = None) -> Iterator[None]:
        with sink_errors("write", f"{self.location}/{path}", row_group=row_group):
            yield


def _at_least_one(parts: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    rest = iter(parts)
    yield next(rest, no_rows(schema))
    yield from rest


def _json(record: Record, *, indent: int | None = None) -> bytes:
    return record.model_dump_json(indent=indent).encode() + b"\n"
