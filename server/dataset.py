"""One version of a dataset, ready to be asked: its records, its parts, and a source of queries over them."""

from __future__ import annotations

import itertools
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.reports.dataset_files import DatasetState
from prefect_datagen.reports.duckdb_query import lock, parquet
from prefect_datagen.reports.duckdb_sources import DatasetSource
from prefect_datagen.reports.part_views import PartViews
from prefect_datagen.reports.query_cache import SourceLimits
from prefect_datagen.server.source import SnapshotSource, connect, sql_name
from prefect_datagen.server.startup import StartupTracker
from prefect_datagen.storage import layout

# A version names its data, so rows never grow old: `ttl` is off.
ROWS_LIMITS = SourceLimits(max_running=4, timeout=120.0, ttl=None)

PART_COLUMN = "__part__"
ROW_COLUMN = "__row__"
"""Names of the two columns of each view that no dataset has: where a row stands."""


@dataclass(frozen=True)
class PartSlice:
    """Rows `offset` to `offset + limit` of a table, as rows of the few parts that hold them."""

    parts: list[str]
    offset: int


@dataclass(frozen=True)
class DatasetTable:
    """One table of a dataset: its rows, its rejected rows, or its traces.

    Attributes:
        name: the view's name in SQL: `data`, `rejects` or `traces`.
        columns: DuckDB's type of each column by name, in order; empty where there is no part yet.
        parts: paths of the Parquet parts in the order of their rows.
        ends: number of rows up to and including each part; empty where the manifests do not tell.
    """

    name: str
    columns: Mapping[str, str]
    parts: tuple[str, ...]
    ends: tuple[int, ...] = ()

    @property
    def rows(self) -> int | None:
        """Number of rows, where the manifests tell it."""
        if not self.parts:
            return 0
        return self.ends[-1] if self.ends else None

    def locate(self, offset: int, limit: int) -> PartSlice | None:
        """The parts that hold these rows; None where the manifests do not tell."""
        if not self.ends:
            return None
        # Past the end it is the last part, of which nothing is left.
        first = min(bisect_right(self.ends, offset), len(self.ends) - 1)
        last = bisect_right(self.ends, offset + limit - 1)
        skipped = self.ends[first - 1] if first else 0
        return PartSlice(list(self.parts[first : last + 1]), offset - skipped)


class PinnedDatasetSource(DatasetSource):
    """A dataset for reports, as it was when this was made: a later commit is shown by the next one.

    So a reload that fails leaves everything as it was, and all charts of a page show the same rows.
    """

    def __init__(self, path: Path, *, previous: PinnedDatasetSource | None = None) -> None:
        super().__init__(path)
        if previous is not None and previous.files.path == self.files.path:
            self.files = previous.files  # it knows the manifests that were read already
        # Taken before anything is read: a commit in between is then seen as one more change, never overlooked.
        self._pinned = self.files.version()

    def version(self) -> str:
        """The version that this source shows for ever."""
        return self._pinned


@dataclass(frozen=True)
class DatasetSnapshot:
    """One version of one dataset.

    Attributes:
        name: `current` or `base`.
        state: its records.
        tables: by name.
        source: answers reports.
        rows_source: answers who pages through tables, with slots of its own: a page of rows never waits for charts.
    """

    name: str
    state: DatasetState
    tables: Mapping[str, DatasetTable]
    source: PinnedDatasetSource
    rows_source: SnapshotSource

    @property
    def version(self) -> str:
        """Changes whenever the dataset does."""
        return self.source.version()

    def summary(self) -> dict[str, Any]:
        """What a page shows of it at once."""
        metadata, manifests = self.state.metadata, self.state.manifests
        return {
            "name": self.name,
            "title": self.state.name,
            "version": self.version,
            "status": self.state.status,
            "reasons": metadata.reasons if metadata else [],
            "target_rows": metadata.target_num_records if metadata else None,
            "seconds": metadata.seconds if metadata else None,
            "row_groups": len(manifests),
            "rows": sum(manifest.written for manifest in manifests),
            "rejected": sum(manifest.rejected for manifest in manifests),
            "filtered": sum(manifest.filtered for manifest in manifests),
            "tables": {
                table.name: {"rows": table.rows, "columns": dict(table.columns)} for table in self.tables.values()
            },
        }


def load_dataset(
    name: str, directory: Path, *, tracker: StartupTracker, previous: DatasetSnapshot | None
) -> DatasetSnapshot:
    """Read a dataset as it is now. Manifests that `previous` has read already are not read again.

    Raises:
        ConfigError: there is no dataset.
        SinkError: its records are damaged.
    """
    with tracker.phase(f"{name}.records"):
        source = PinnedDatasetSource(directory, previous=previous.source if previous else None)
        state = source.state()
        _check_parts(state.path, (*state.data_parts, *state.rejects_parts, *state.trace_parts))
    with tracker.phase(f"{name}.tables"):
        connection = connect()
        views = PartViews(connection)
        tables = {table: _table(connection, views, state, table, parts) for table, parts in _parts(state).items()}
        lock(connection, folders=[str(state.path), *views.folders()])
        rows_source = SnapshotSource(
            identity=f"rows of {source.identity}",
            version=source.version(),
            connection=connection,
            views=views,
            limits=ROWS_LIMITS,
        )
    snapshot = DatasetSnapshot(name, state, tables, source, rows_source)
    tracker.size(f"{name}.row_groups", len(state.manifests))
    tracker.size(f"{name}.rows", snapshot.summary()["rows"])
    return snapshot


def _parts(state: DatasetState) -> dict[str, list[tuple[str, int | None]]]:
    """The parts of each table, with their number of rows where the manifests tell it."""
    root = state.path
    written = {f"{root}/{item.part}": item.written for item in state.manifests if item.part}
    rejected = {f"{root}/{item.rejects_part}": item.rejected for item in state.manifests if item.rejects_part}
    return {
        "data": [(part, written.get(part)) for part in state.data_parts],
        "rejects": [(part, rejected.get(part)) for part in state.rejects_parts],
        "traces": [(part, None) for part in state.trace_parts],
    }


def _table(
    connection: duckdb.DuckDBPyConnection,
    views: PartViews,
    state: DatasetState,
    name: str,
    parts: Sequence[tuple[str, int | None]],
) -> DatasetTable:
    """Offer the view of a table whose rows are known by file and position, so that every order is a total one."""
    if not parts:
        return DatasetTable(name, {}, ())
    paths = [part for part, _ in parts]
    counts = [rows for _, rows in parts if rows is not None]
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {parquet(paths[:1])}").fetchall()
        columns = {row[0]: row[1] for row in described}
        place = f"file_index AS {PART_COLUMN}, file_row_number AS {ROW_COLUMN}"
        views.offer(name, paths, state.packs, columns=f"{', '.join(map(sql_name, columns))}, {place}")
    except duckdb.Error as error:
        raise SinkError(f"cannot read the parts of table {name!r}: {error}", path=str(state.path)) from error
    ends = tuple(itertools.accumulate(counts)) if len(counts) == len(paths) else ()
    return DatasetTable(name, columns, tuple(paths), ends)


def _check_parts(root: Path, paths: Iterable[str]) -> None:
    """A manifest is data like any other: no part may lead out of the dataset. Each folder is listed once.

    Raises:
        SinkError: one does, or is missing.
    """
    plain: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in plain:
            plain[folder] = _plain_files(root, folder)
        if name in plain[folder]:
            continue
        if not _holds_parts(root, folder):
            raise SinkError(f"a manifest names the part {name!r}, which is in no folder of the dataset", path=path)
        try:
            os.lstat(path)
        except OSError as error:
            raise SinkError(f"part {name!r} of a row group cannot be read: {error.strerror}", path=path) from error
        raise SinkError(f"part {name!r} is a link or no file; only plain files of the dataset are read", path=path)


def _plain_files(root: Path, folder: str) -> set[str]:
    """Names of the parts in a folder of the dataset that are neither links nor behind one."""
    if not _holds_parts(root, folder) or os.path.islink(folder) or not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if layout.part_index(entry.name) is not None and entry.is_file(follow_symlinks=False)
        }


def _holds_parts(root: Path, folder: str) -> bool:
    return os.path.dirname(folder) == str(root) and os.path.basename(folder) in layout.PART_FOLDERS
