"""Reading a dataset directory: for everybody, at any time, beside a running writer too; no lock, no change."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import pyarrow as pa
from pydantic import ValidationError

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.engine.garbage import no_collection
from prefect_datagen.engine.outcomes import DatasetMetadata, Record, RowGroupManifest
from prefect_datagen.storage import layout
from prefect_datagen.storage.arrow import scan_table
from prefect_datagen.storage.files import Files, open_files, sink_errors
from prefect_datagen.storage.parts import REJECTS_SCHEMA, to_frame
from prefect_datagen.storage.store import RunRecord

if TYPE_CHECKING:
    import pandas as pd

    from prefect_datagen.storage.arrow import Dataset
_R = TypeVar("_R", bound=Record)

_parsed: WeakValueDictionary[tuple[type[Record], bytes], Record] = WeakValueDictionary()
"""Records that somebody holds, by their text. A run reads every manifest three times: to plan, again under the lock, and
for its summary; parsing them is most of the time that a resume of a complete dataset takes. They are frozen."""


class DatasetReader:
    """A dataset directory, as its manifests tell it.

    Example:
        ```python
        reader = DatasetReader("out/airports")
        reader.metadata().status
        reader.dataset().count_rows()
        ```
    """

    def __init__(self, location: str | Path | Files, *, storage_options: Mapping[str, Any] | None = None) -> None:
        """Nothing is read yet, nor checked to exist.

        Args:
            location: path or fsspec URL of the dataset, or the `Files` of it.
            storage_options: passed to fsspec.
        """
        if isinstance(location, (str, Path)):
            location = open_files(location, storage_options=storage_options)
        self._files: Files = location

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    @property
    def location(self) -> str:
        """Where the dataset is, for people: a path or URL without credentials."""
        return self._files.location

    @property
    def local_path(self) -> Path | None:
        """The dataset's folder on this machine, or None."""
        return self._files.local_path

    @property
    def staged(self) -> bool:
        """Whether what is committed is raw material for after-generation processors."""
        with sink_errors("read", self.location):
            return self._files.exists(layout.STAGED_MARK)

    def committed(self) -> dict[int, RowGroupManifest]:
        """Manifests by row group, ascending. 10,000 of them take well under a second on a local disk.

        Raises:
            SinkError: a manifest is unreadable, or its part is not there in the size it says.
        """
        with sink_errors("read", f"{self.location}/{layout.MANIFESTS}"):
            indices = self._committed_indices()
            texts = self._files.read_all([layout.manifest_path(index) for index in indices])
            sizes = {folder: self._files.sizes(folder) for folder in (layout.DATA, layout.ROW_GROUPS)}
        manifests: dict[int, RowGroupManifest] = {}
        with no_collection():
            for index, text in zip(indices, texts, strict=True):
                manifest = self._parse(RowGroupManifest, text, layout.manifest_path(index))
                self._check_part(manifest, sizes)
                manifests[index] = manifest
        return manifests

    def stamp(self) -> Hashable | None:
        """Equal stamps, not None: `committed` says the same. Takes microseconds; only folders of this machine have one."""
        with sink_errors("read", f"{self.location}/{layout.MANIFESTS}"):
            folders = [self._files.stamp(folder) for folder in (layout.MANIFESTS, layout.DATA, layout.ROW_GROUPS)]
        return None if None in folders else tuple(folders)

    def config(self) -> str | None:
        """What was asked for, as YAML, or None."""
        text = self._read(layout.CONFIG)
        return None if text is None else text.decode()

    def run_record(self) -> RunRecord | None:
        """What a resume is compared with, or None."""
        return self._record(RunRecord, layout.RUN)

    def metadata(self) -> DatasetMetadata | None:
        """The verdict of the last run that ended, or None."""
        return self._record(DatasetMetadata, layout.METADATA)

    def part(self, path: str) -> pa.Table:
        """The rows of one part, by its path in the dataset, as a manifest tells it."""
        with sink_errors("read", f"{self.location}/{path}"):
            return self._parts([path]).to_table()

    def generated(self) -> Dataset:
        """The rows as committed, in order of row groups. Nothing is loaded."""
        return self._parts(manifest.part for manifest in self.committed().values())

    def dataset(self) -> Dataset:
        """The rows that readers get: as committed, or what was published of them. Nothing is loaded.

        A staged dataset that was never published has none.
        """
        if not self.staged:
            return self.generated()
        with sink_errors("read", f"{self.location}/{layout.DATA}"):
            parts = {layout.part_index(path.rpartition("/")[2]): path for path in self._files.published()}
        return self._parts(
            (parts[number] for number in sorted(number for number in parts if number is not None)), published=True
        )

    def head(self, rows: int) -> pa.Table:
        """The first rows of `dataset()`; only the manifests and parts that hold them are read."""
        if self.staged:
            return self.dataset().head(rows)
        tables: list[pa.Table] = []
        for index in self._committed_indices():
            missing = rows - sum(table.num_rows for table in tables)
            if missing <= 0:
                break
            manifest = self._record(RowGroupManifest, layout.manifest_path(index))
            if manifest is not None and manifest.part is not None:
                with sink_errors("read", f"{self.location}/{manifest.part}"):
                    tables.append(self._files.first_rows(manifest.part, missing))
        return pa.concat_tables(tables) if tables else self._parts([]).to_table()

    def load(self) -> pd.DataFrame:
        """`dataset()` in memory. Text stays text; whole numbers stay whole where some are missing."""
        dataset = self.dataset()
        with sink_errors("read", self.location):
            return to_frame(dataset.to_table())

    def rejects(self) -> pa.Table:
        """Rejected rows of all committed row groups, shape `(rejected, 9)`; `parts.rejected_rows` makes records."""
        return self._side_parts([manifest.rejects_part for manifest in self.committed().values()], REJECTS_SCHEMA)

    def traces(self) -> pa.Table:
        """Trace records of all committed row groups; no rows and no columns where nothing was traced."""
        return self._side_parts([manifest.trace_part for manifest in self.committed().values()], None)

    def _committed_indices(self) -> list[int]:
        names = self._files.names(layout.MANIFESTS)
        return sorted(index for name in names if (index := layout.part_index(name)) is not None)

    def _schema(self, *, published: bool) -> pa.Schema | None:
        """Schema to read parts with; None takes that of the first one."""
        return None

    def _parts(self, paths: Iterable[str | None], *, published: bool = False) -> Dataset:
        found = [path for path in paths if path is not None]
        schema = self._schema(published=published)
        if not found:
            return scan_table((schema or pa.schema([])).empty_table())
        with sink_errors("read", f"{self.location}/{found[0]}"):
            return self._files.dataset(found, schema=schema)

    def _side_parts(self, paths: list[str | None], schema: pa.Schema | None) -> pa.Table:
        found = [path for path in paths if path is not None]
        if not found:
            return (schema or pa.schema([])).empty_table()
        with sink_errors("read", f"{self.location}/{found[0]}"):
            return self._files.dataset(found, schema=schema).to_table()

    def manifest(self, index: int) -> RowGroupManifest | None:
        """The manifest of a row group, or None where it is not committed."""
        return self._record(RowGroupManifest, layout.manifest_path(index))

    def _record(self, kind: type[_R], path: str) -> _R | None:
        text = self._read(path)
        return None if text is None else self._parse(kind, text, path)

    def _read(self, path: str) -> bytes | None:
        with sink_errors("read", f"{self.location}/{path}"):
            return self._files.read(path)

    def _parse(self, kind: type[_R], text: bytes, path: str) -> _R:
        known = _parsed.get((kind, text))
        if isinstance(known, kind):
            return known
        try:
            record = kind.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"])
            raise SinkError(
                f"{self.location}/{path} is damaged or of another version of prefect-datagen "
                f"({field}: {problem['msg']}); restore it, or set the dataset aside with --resume never",
                path=f"{self.location}/{path}",
            ) from error
        _parsed[kind, text] = record
        return record

    def _check_part(self, manifest: RowGroupManifest, sizes: Mapping[str, Mapping[str, int]]) -> None:
        """`sizes` are those of files, by folder and name."""
        if manifest.part is None:
            return
        folder, _, name = manifest.part.rpartition("/")
        found = sizes[folder].get(name) if folder in sizes else None
        if found == manifest.part_bytes:
            return
        state = "is missing" if found is None else f"has {found:,} bytes instead of {manifest.part_bytes:,}"
        raise SinkError(
            f"row group {manifest.index}: {self.location}/{manifest.part} {state}; restore it, or delete "
            f"{layout.manifest_path(manifest.index)} and resume to have this row group made again",
            path=f"{self.location}/{manifest.part}",
            row_group=manifest.index,
        )
