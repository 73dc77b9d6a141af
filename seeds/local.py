"""Seed rows out of files: on this machine; the rows of any files, for sources that find them elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import Field

from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable, same_schema
from prefect_datagen.seeds.files import FORMATS, SeedFile, content_fingerprint, files_identity, find_files, location
from prefect_datagen.seeds.records import records_table
from prefect_datagen.seeds.spool import spool
from prefect_datagen.seeds.text import count_csv_rows, csv_header, csv_tables, json_records


class LocalFileSeedSource(SeedSource):
    """Rows of a file, of all files in a folder, or of those that a wildcard pattern matches, one after the other."""

    seed_type: Literal["local"] = "local"
    path: str = Field(
        min_length=1,
        description="File, folder or wildcard pattern: .parquet, .csv, .json, .jsonl; text also as .gz. "
        "Relative to the config file's folder, then to the current one.",
    )

    def open(self, base_dir: Path) -> SeedTable:
        """The rows of the files, in the order of their paths."""
        return files_table(find_files(self.path, base_dir))

    def header(self, base_dir: Path) -> list[str] | None:
        """The first line of CSV."""
        files = find_files(self.path, base_dir)
        return csv_header(files[0]) if _formats(files) == [".csv"] else None

    def count_rows(self, base_dir: Path) -> int | None:
        """The lines of CSV."""
        files = find_files(self.path, base_dir)
        return count_csv_rows(files) if _formats(files) == [".csv"] else None

    def locations(self, base_dir: Path) -> list[str]:
        """The file, folder or pattern."""
        return [location(self.path, base_dir)]

    def identity(self, base_dir: Path) -> Hashable | None:
        """Paths, sizes and times of the files."""
        return files_identity(find_files(self.path, base_dir))


def files_table(files: Sequence[SeedFile]) -> SeedTable:
    """The rows of files of one format, one file after the other.

    Raises:
        ConfigError: formats are unknown or mixed, a file is unreadable, or columns differ from file to file.
    """
    formats = _formats(files)
    unknown = [file.path for file in files if file.format is None]
    if unknown:
        raise ConfigError(f"seed file {unknown[0]}: unknown format; known are {', '.join(FORMATS)}")
    if formats == [".parquet"]:
        from prefect_datagen.seeds.parquet import parquet_table

        return parquet_table(files)
    local = all(file.filesystem is None for file in files)
    fingerprint = content_fingerprint([file.digest() for file in files]) if local else None
    before = files_identity(files)
    if formats == [".csv"]:
        table = _csv_table(files, fingerprint)
    elif set(formats) <= {".json", ".jsonl"}:
        chunks = chain.from_iterable(json_records(file) for file in files)
        table = records_table(chunks, origin=f"seed file {files[0].path}", fingerprint=fingerprint)
    else:
        raise ConfigError(f"seed files of different formats: {', '.join(formats)}; use one, or several seeds in stages")
    if files_identity(files) != before:
        raise ConfigError(f"seed file {files[0].path} or one beside it was changed while it was being read")
    return table


def _formats(files: Sequence[SeedFile]) -> list[str]:
    return sorted({file.format or "?" for file in files})


def _csv_table(files: Sequence[SeedFile], fingerprint: str | None) -> SeedTable:
    first, rows = csv_tables(files[0])

    def tables() -> Iterator[pa.Table]:
        yield from rows
        for file in files[1:]:
            schema, more = csv_tables(file)
            same_schema(first, schema, origin=f"seed file {file.path}", first=files[0].path)
            yield from (table.select(first.names) for table in more)

    return spool(tables(), first, fingerprint=fingerprint)
