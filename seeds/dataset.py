"""Seed rows out of a dataset that an earlier build made: what chains stages."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Literal

from pydantic import Field

from prefect_datagen.engine.errors import ConfigError, SinkError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.seeds.base import SeedSource, SeedTable
from prefect_datagen.seeds.files import SeedFile, files_identity, location, resolve

_FINISHED = (Verdict.COMPLETE, Verdict.PARTIAL, Verdict.DEGRADED)


class DatasetSeedSource(SeedSource):
    """The rows of a dataset directory, in the order of its row groups, as its manifests tell it."""

    seed_type: Literal["dataset"] = "dataset"
    path: str = Field(
        min_length=1,
        description="Directory of an earlier build, relative to the config file's folder, then to the current one; "
        "or its URL.",
    )
    allow_unfinished: bool = Field(
        default=False,
        description="Take what is committed of a build that failed, was interrupted or is still going on.",
    )

    def open(self, base_dir: Path) -> SeedTable:
        """The committed rows; the build is to be finished."""
        from prefect_datagen.seeds.parquet import parquet_table

        return parquet_table(self._files(base_dir))

    def locations(self, base_dir: Path) -> list[str]:
        """The directory."""
        return [location(self.path, base_dir)]

    def identity(self, base_dir: Path) -> Hashable | None:
        """Paths, sizes and times of the parts."""
        return files_identity(self._files(base_dir))

    def _files(self, base_dir: Path) -> list[SeedFile]:
        from prefect_datagen.storage.reader import DatasetReader

        location = self.path if "://" in self.path else resolve(self.path, base_dir)
        reader = DatasetReader(location)
        try:
            metadata = reader.metadata()
            if not self.allow_unfinished and (metadata is None or metadata.status not in _FINISHED):
                state = "has no metadata" if metadata is None else f"is {metadata.status.value}"
                raise ConfigError(
                    f"seed dataset {reader.location} {state}: build it to its end first, "
                    "or set allow_unfinished: true to take what is committed"
                )
            dataset = reader.dataset()
        except SinkError as error:
            raise ConfigError(f"seed dataset: {error}") from error
        files = list(getattr(dataset, "files", []))
        if not files:
            raise ConfigError(f"seed dataset {reader.location} has no rows")
        remote = None if reader.local_path is not None else dataset.filesystem.handler.fs
        return [SeedFile(path, remote) for path in files]
