"""What a dataset directory holds at this moment, read while somebody may still be writing it.

Manifests are believed, not file listings: a row group is there when its manifest is. Manifests already read are not
read again, so that following a build of thousands of row groups costs what is new.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, ModelUsage, RowGroupManifest, Verdict
from prefect_datagen.reports.manifest_tables import ManifestTables
from prefect_datagen.reports.packs import Packs
from prefect_datagen.storage import layout

_Signature = tuple[int, int]  # mtime in ns, bytes


@dataclass(frozen=True)
class DatasetState:
    """A dataset at one moment.

    Attributes:
        manifests: of all committed row groups, ascending.
        metadata: verdict of the last run that ended, or None while the first one runs.
        data_parts: Parquet files that hold the rows, in order. Absolute paths, as all here.
        packs: copies of parts where those are many and small; the same for all moments of a dataset.
        manifest_tables: makes tables of the manifests; likewise.
    """

    path: Path
    manifests: tuple[RowGroupManifest, ...]
    metadata: DatasetMetadata | None
    data_parts: tuple[str, ...]
    rejects_parts: tuple[str, ...]
    trace_parts: tuple[str, ...]
    packs: Packs = field(default_factory=Packs, compare=False)
    manifest_tables: ManifestTables = field(default_factory=ManifestTables, compare=False)

    @property
    def name(self) -> str:
        """The dataset's name: that of its config once a run has ended, that of its folder before."""
        return self.metadata.name if self.metadata else self.path.name

    @property
    def status(self) -> Verdict:
        """What a reader may expect."""
        return self.metadata.status if self.metadata else Verdict.BUILDING

    def schema(self) -> pa.Schema | None:
        """Columns of the rows as written, or None while there are none.

        Raises:
            SinkError: the first part cannot be read.
        """
        if not self.data_parts:
            return None
        try:
            return pq.read_schema(self.data_parts[0])
        except (OSError, pa.ArrowException) as error:
            raise SinkError(
                f"cannot read part {Path(self.data_parts[0]).name}: {error}", path=self.data_parts[0]
            ) from error

    def usage(self) -> dict[str, ModelUsage]:
        """Tokens, calls and cost by model, over all committed row groups."""
        total: dict[str, ModelUsage] = {}
        for manifest in self.manifests:
            for alias, spent in manifest.usage.items():
                total[alias] = total.get(alias, ModelUsage()) + spent
        return total


class DatasetFiles:
    """Reads a dataset directory again and again. `packs` are made of its parts where those are many and small.

    Raises:
        ConfigError: `path` is no dataset directory.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise ConfigError(f"{str(path)!r} is not a directory; give the folder of a dataset")
        known = (layout.MANIFESTS, layout.METADATA, layout.RUN, layout.CONFIG, layout.DATA)
        if not any((self.path / name).exists() for name in known):
            raise ConfigError(f"{str(path)!r} holds no dataset: none of {', '.join(known)} is in it")
        self.packs = Packs()
        self._manifest_tables = ManifestTables()
        self._lock = threading.Lock()
        self._manifests: dict[str, tuple[_Signature, RowGroupManifest]] = {}

    def version(self) -> str:
        """Changes with every commit, discard, publication and end of a run; costs one listing of names."""
        folder = self.path / layout.MANIFESTS
        try:
            count = len(os.listdir(folder))
        except FileNotFoundError:
            count = 0
        seen = (_signature(self.path / name) for name in (layout.MANIFESTS, layout.METADATA, layout.DATA))
        return ".".join([str(count), *(f"{changed:x}-{size:x}" for changed, size in seen)])

    def read(self) -> DatasetState:
        """The dataset as it is now.

        Raises:
            SinkError: a manifest or the metadata cannot be read.
        """
        with self._lock:
            manifests = tuple(sorted(self._read_manifests(), key=lambda manifest: manifest.index))
        return DatasetState(
            path=self.path,
            manifests=manifests,
            metadata=self._read_metadata(),
            data_parts=self._data_parts(manifests),
            rejects_parts=self._absolute(manifest.rejects_part for manifest in manifests),
            trace_parts=self._absolute(manifest.trace_part for manifest in manifests),
            packs=self.packs,
            manifest_tables=self._manifest_tables,
        )

    def _data_parts(self, manifests: Iterable[RowGroupManifest]) -> tuple[str, ...]:
        if (self.path / layout.STAGED_MARK).exists():
            # After-generation processors make `data/` of the row groups; until then those are all there is.
            published = sorted((self.path / layout.DATA).glob("part-*.parquet"))
            if published:
                return tuple(map(str, published))
        return self._absolute(manifest.part for manifest in manifests if manifest.written)

    def _absolute(self, parts: Iterable[str | None]) -> tuple[str, ...]:
        return tuple(f"{self.path}/{part}" for part in parts if part)  # pathlib takes 10 us for each

    def _read_manifests(self) -> Iterable[RowGroupManifest]:
        known, self._manifests = self._manifests, {}
        try:
            entries = list(os.scandir(self.path / layout.MANIFESTS))
        except FileNotFoundError:
            return ()
        for entry in entries:
            if layout.part_index(entry.name) is None:
                continue
            try:
                signature = _signature_of(entry.stat())
                before = known.get(entry.name)
                manifest = before[1] if before and before[0] == signature else _read_manifest(entry.path)
            except FileNotFoundError:  # taken back by the writer between listing and reading
                continue
            self._manifests[entry.name] = (signature, manifest)
        return [manifest for _, manifest in self._manifests.values()]

    def _read_metadata(self) -> DatasetMetadata | None:
        path = self.path / layout.METADATA
        try:
            return DatasetMetadata.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise SinkError(f"cannot read {layout.METADATA}: {error}", path=str(path)) from error


def _read_manifest(path: str) -> RowGroupManifest:
    try:
        return RowGroupManifest.model_validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValidationError) as error:
        raise SinkError(f"cannot read manifest {Path(path).name}: {error}", path=path) from error


def _signature(path: Path) -> _Signature:
    try:
        return _signature_of(path.stat())
    except FileNotFoundError:
        return (0, 0)


def _signature_of(found: os.stat_result) -> _Signature:
    return (found.st_mtime_ns, found.st_size)
