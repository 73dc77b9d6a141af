"""Seed rows out of files: on this machine, or wherever fsspec reaches."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_serializer

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedSource, SeedTable, same_schema
from prefect_datagen.seeds.files import FORMATS, SeedFile, content_fingerprint, files_identity, find_files, location
from prefect_datagen.seeds.records import records_table
from prefect_datagen.seeds.spool import spool
from prefect_datagen.seeds.text import csv_tables, json_records

# Tokens of the hub start with `hf_`: never the name of a variable.
_VARIABLE = re.compile(r"(?!hf_)[A-Za-z_]\w*")


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

    def locations(self, base_dir: Path) -> list[str]:
        """The file, folder or pattern."""
        return [location(self.path, base_dir)]

    def identity(self, base_dir: Path) -> Hashable | None:
        """Paths, sizes and times of the files."""
        return files_identity(find_files(self.path, base_dir))


class HuggingFaceSeedSource(SeedSource):
    """Rows of files on Hugging Face, or at any other URL that fsspec knows (`s3://`, `gs://`, `https://`, ...)."""

    seed_type: Literal["hf"] = "hf"
    path: str = Field(
        min_length=1,
        description="Such as datasets/name/dataset/data/*.parquet, or a URL with its protocol. Wildcards are allowed.",
    )
    token: str | None = Field(
        default=None, description="Name of the environment variable that holds the access token, not the token itself."
    )
    endpoint: str | None = Field(default=None, description="Base URL of the hub, where it is not the public one.")

    @field_serializer("token")
    def _store_names_only(self, token: str | None) -> str | None:
        return token if token is None or _VARIABLE.fullmatch(token) else "(not stored)"

    def open(self, base_dir: Path) -> SeedTable:
        """The rows of the files, in the order of their paths. Parquet is read by ranges, text is streamed once."""
        del base_dir
        return files_table(self._files())

    def locations(self, base_dir: Path) -> list[str]:
        """The pattern, at the hub where it has no protocol."""
        return [self.path if "://" in self.path else f"hf://{self.path}"]

    def _files(self) -> list[SeedFile]:
        protocol, _, rest = self.path.rpartition("://")
        filesystem = _filesystem(protocol or "hf", self._options() if protocol in ("", "hf") else {})
        path = rest if protocol in ("", "hf") else filesystem._strip_protocol(self.path)
        try:
            if re.search(r"[*?\[]", path):
                found = filesystem.glob(path)
            else:
                found = [path] if filesystem.exists(path) else []
        except Exception as error:  # each of fsspec's file systems has errors of its own
            raise ConfigError(f"seed path {self.path!r}: {type(error).__name__}: {error}") from error
        if not found:
            raise ConfigError(f"seed path {self.path!r}: no file found")
        return [SeedFile(item, filesystem) for item in sorted(found)]

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {} if self.endpoint is None else {"endpoint": self.endpoint}
        if self.token is not None:
            # Not when the model is validated: pydantic's errors show the value, which would be the token.
            if not _VARIABLE.fullmatch(self.token):
                raise ConfigError("seed token: write the name of an environment variable, not the token itself")
            if self.token not in os.environ:
                raise ConfigError(f"seed token: environment variable {self.token!r} is not set")
            options["token"] = os.environ[self.token]
        return options


def files_table(files: Sequence[SeedFile]) -> SeedTable:
    """The rows of files of one format, one file after the other.

    Raises:
        ConfigError: formats are unknown or mixed, a file is unreadable, or columns differ from file to file.
    """
    formats = sorted({file.format or "?" for file in files})
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


def _csv_table(files: Sequence[SeedFile], fingerprint: str | None) -> SeedTable:
    first, rows = csv_tables(files[0])

    def tables() -> Iterator[pa.Table]:
        yield from rows
        for file in files[1:]:
            schema, more = csv_tables(file)
            same_schema(first, schema, origin=f"seed file {file.path}", first=files[0].path)
            yield from (table.select(first.names) for table in more)

    return spool(tables(), first, fingerprint=fingerprint)


def _filesystem(protocol: str, options: dict[str, Any]) -> Any:
    import fsspec  # a tenth of a second that local files do not need

    try:
        return fsspec.filesystem(protocol, **options)
    except (ImportError, ValueError) as error:
        wanted = "pip install 'prefect-datagen[hf]'" if protocol == "hf" else "install the fsspec package for it"
        raise ConfigError(f"seed path with protocol {protocol}://: {error}; {wanted}") from error
