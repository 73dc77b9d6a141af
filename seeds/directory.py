"""Seed rows out of the files of a folder: a row a file, or several records a file."""

from __future__ import annotations

import codecs
import fnmatch
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from prefect_datagen.columns.user_code import load_function
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable
from prefect_datagen.seeds.files import SeedFile, content_fingerprint, files_identity, location, resolve
from prefect_datagen.seeds.records import records_table

_CHUNK_ROWS = 1 << 12


class FileSystemSeedSource(SeedSource):
    """Base of sources that take the files of a folder one by one.

    A subclass says in `records` which rows a file gives: one, several, or none. All of them stand in one table before
    the first row group is cut, so each record is used once, whatever the row-group size.
    """

    path: str = Field(
        min_length=1, description="Folder. Relative to the config file's folder, then to the current one."
    )
    file_pattern: str = Field(
        default="*",
        min_length=1,
        description="Wildcard pattern of file names; case matters, folders are no part of it.",
    )
    recursive: bool = Field(default=True, description="Whether to look into the folders inside, too.")

    @field_validator("file_pattern")
    @classmethod
    def _names_only(cls, value: str) -> str:
        if "/" in value or "\\" in value:
            raise ValueError(f"{value!r} is to match file names, not paths")
        return value

    def records(self, file: Path, *, root: Path, base_dir: Path) -> Iterable[Mapping[str, Any]]:
        """Rows that one file gives.

        Args:
            file: the file.
            root: the folder of the source.
            base_dir: folder of the config file.
        """
        raise NotImplementedError

    def open(self, base_dir: Path) -> SeedTable:
        """The records of all files, in the order of their relative paths."""
        root = self._root(base_dir)
        files = self._files(root)
        if not files:
            raise ConfigError(f"seed folder {root}: no file matches {self.file_pattern!r}")
        names = [file.relative_to(root).as_posix() for file in files]
        digests = [SeedFile(str(file)).digest() for file in files]
        return records_table(
            _chunks(record for file in files for record in self.records(file, root=root, base_dir=base_dir)),
            origin=f"seed folder {root}",
            fingerprint=content_fingerprint([str(root), *names, *digests]),
        )

    def locations(self, base_dir: Path) -> list[str]:
        """The folder."""
        return [location(self.path, base_dir)]

    def identity(self, base_dir: Path) -> Hashable | None:
        """Paths, sizes and times of the files."""
        return files_identity([SeedFile(str(file)) for file in self._files(self._root(base_dir))])

    def _root(self, base_dir: Path) -> Path:
        root = resolve(self.path, base_dir)
        if not root.is_dir():
            raise ConfigError(f"seed path {str(root)!r} is a file; a {self.seed_type} source takes a folder")
        return root

    def _files(self, root: Path) -> list[Path]:
        found = root.rglob("*") if self.recursive else root.glob("*")
        return sorted(file for file in found if fnmatch.fnmatchcase(file.name, self.file_pattern) and file.is_file())


class DirectorySeedSource(FileSystemSeedSource):
    """A row a file: `source_kind`, `source_path`, `relative_path` and `file_name`."""

    seed_type: Literal["directory"] = "directory"

    def records(self, file: Path, *, root: Path, base_dir: Path) -> Iterable[Mapping[str, Any]]:
        """Where the file is."""
        del base_dir
        return [_description(file, root, "directory_file")]


class FileContentsSeedSource(FileSystemSeedSource):
    """A row a file: the columns of `directory`, and the file's text as `content`."""

    seed_type: Literal["file_contents"] = "file_contents"
    encoding: str = Field(default="utf-8", description="Text encoding of the files, by its Python name.")

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            codecs.lookup(value)
        except LookupError as error:
            raise ValueError(f"unknown encoding {value!r}; use the name of a Python codec") from error
        return value

    def records(self, file: Path, *, root: Path, base_dir: Path) -> Iterable[Mapping[str, Any]]:
        """Where the file is, and its text as it stands, line ends included."""
        del base_dir
        try:
            content = file.read_bytes().decode(self.encoding)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"seed file {file}: {error}") from error
        return [{**_description(file, root, "file_contents"), "content": content}]


class FileRecordsSeedSource(FileSystemSeedSource):
    """Several rows a file: what a function of yours yields for it."""

    seed_type: Literal["file_records"] = "file_records"
    function: str = Field(
        min_length=1,
        description="`package.module:function` or `path/to/file.py:function`: takes a pathlib.Path, yields dicts.",
    )

    def records(self, file: Path, *, root: Path, base_dir: Path) -> Iterator[Mapping[str, Any]]:
        """The function's records for the file, with `source_path` and `relative_path` unless it gives them itself."""
        function = load_function(self.function, base_dir)
        place = {"source_path": str(file), "relative_path": file.relative_to(root).as_posix()}
        try:
            for record in function(file):
                yield {**place, **record}
        except Exception as error:
            raise ConfigError(f"seed file {file}: {self.function}: {type(error).__name__}: {error}") from error


def _description(file: Path, root: Path, kind: str) -> dict[str, str]:
    return {
        "source_kind": kind,
        "source_path": str(file),
        "relative_path": file.relative_to(root).as_posix(),
        "file_name": file.name,
    }


def _chunks(records: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(records)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        yield chunk
