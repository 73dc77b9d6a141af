"""The sink that keeps datasets as Parquet files, as a Prefect block."""

from __future__ import annotations

import hashlib
import posixpath
import re
from pathlib import Path
from typing import Any, Literal, Self, cast

import httpx
import pyarrow as pa
from anyio import to_thread
from prefect.filesystems import WritableFileSystem
from prefect.types import SecretDict
from pydantic import Field, HttpUrl, field_validator

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage import layout
from prefect_datagen.storage.directory import DatasetDirectory
from prefect_datagen.storage.files import Files, open_files, sink_errors
from prefect_datagen.storage.reader import DatasetReader


class ParquetRowGroupSink(WritableFileSystem):
    """
    Keeps a dataset as one Parquet file a row group, in a local folder or at any URL that fsspec knows.

    It is also a result storage: what tasks return is kept in `.results/` of the dataset, apart from the rows. A result
    under a key of `storage.layout.result_key` is found only while its row group is committed.

    Attributes:
        path: Folder or URL of the dataset. `data/` in it is what readers read.
        compression: Compression of the Parquet files.
        storage_options: Passed to fsspec: credentials, endpoint, region. Stored as a secret.

    Example:
        Save a sink, and load it elsewhere to read the dataset that was built with it:
        ```python
        from prefect_datagen.blocks import ParquetRowGroupSink

        ParquetRowGroupSink(path="out/airports").save("airports", overwrite=True)

        sink = ParquetRowGroupSink.load("airports")
        print(sink.reader().dataset().count_rows())
        ```
    """

    _block_type_name = "Parquet Row Group Sink"
    _block_type_slug = "parquet-row-group-sink"
    _logo_url = HttpUrl(
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
    )
    _documentation_url = HttpUrl("https://parquet.apache.org/docs/")

    path: str = Field(min_length=1, description="Folder of the dataset, or its URL (s3://, gs://, abfs://, ...).")
    compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = Field(
        default="zstd", description="Compression of the Parquet files."
    )
    storage_options: SecretDict | None = Field(
        default=None, description="Options of the fsspec file system, such as key, secret and endpoint_url."
    )

    @field_validator("path", mode="before")
    @classmethod
    def _accept_path_objects(cls, value: Any) -> Any:
        return str(value) if isinstance(value, Path) else value

    @property
    def location(self) -> str:
        """Where the dataset is, for people: an absolute path, or a URL without credentials."""
        return self._files().location

    def open(self, *, schema: pa.Schema, staged: bool = False) -> DatasetDirectory:
        """Open the dataset for writing, new or not.

        Args:
            schema: of the rows that will be committed.
            staged: whether after-generation processors will make the dataset of what is committed.

        Raises:
            DatasetLockedError: another writer has it open.
            SinkError: it cannot be written.
        """
        return DatasetDirectory(
            self.path, schema=schema, staged=staged, compression=self.compression, storage_options=self._options()
        )

    def join(self, *, writer: str, schema: pa.Schema, staged: bool = False) -> DatasetDirectory:
        """Open the dataset in another process of a run, beside the one that has it open, and under its lock.

        Args:
            writer: token of the one that has it open, `DatasetDirectory.writer`.
            schema: as in `open`.
            staged: as in `open`.

        Raises:
            SinkError: it cannot be written.
        """
        return DatasetDirectory(
            self.path,
            schema=schema,
            staged=staged,
            compression=self.compression,
            storage_options=self._options(),
            joins=writer,
        )

    def anchored(self) -> Self:
        """This sink with a path that means the same in every process, whatever its working directory."""
        local = self._files().local_path
        return self if local is None else self.model_copy(update={"path": str(local)})

    def reader(self) -> DatasetReader:
        """The dataset for reading: takes no lock, changes nothing."""
        return DatasetReader(self.path, storage_options=self._options())

    def saved(self) -> Self:
        """This sink as the server knows it: what Prefect asks of the `result_storage` of a task.

        A sink that was loaded or saved before stays as it is. Any other is saved under a name made of its path, with
        its `storage_options` as the secret they are. One request to the server where it was there already, else four
        to six: call it once a run.

        Raises:
            SinkError: the server does not take it, however often it is asked.
        """
        if self._block_document_id is not None:
            return self
        try:
            known = self._known(self._name())
            if known is not None and known.model_dump() == self.model_dump():
                return known
            self.save(self._name(), overwrite=True, _sync=True)  # type: ignore[call-arg]
        except httpx.HTTPError as error:
            raise SinkError(
                f"Prefect's server does not keep the block of the sink {self.location}: {error}; no row was made. Is the "
                "server overloaded, or being restarted? Run again when it answers.",
                path=self.location,
            ) from error
        return self

    def read_path(self, path: str, *, _sync: bool | None = None) -> bytes:  # type: ignore[override]
        """A result.

        Raises:
            FileNotFoundError: there is none, or its row group is not committed (any more).
            SinkError: it cannot be read.
        """
        files, place = self._files(), _result_path(path)
        with sink_errors("read", f"{self.location}/{place}"):
            content = files.read(place)
            index = layout.result_index(posixpath.basename(place))
            is_gone = index is not None and not files.exists(layout.manifest_path(index))
        if content is None or is_gone:
            raise FileNotFoundError(f"{self.location} has no result {path!r}")
        return content

    def write_path(self, path: str, content: bytes, *, _sync: bool | None = None) -> None:  # type: ignore[override]
        """Keep a result; it is there whole or not at all.

        Raises:
            SinkError: it cannot be written.
        """
        place = _result_path(path)
        with sink_errors("write", f"{self.location}/{place}"):
            self._files().write(place, content)

    async def aread_path(self, path: str) -> bytes:
        """`read_path`, in a thread."""
        return await to_thread.run_sync(self.read_path, path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """`write_path`, in a thread."""
        await to_thread.run_sync(self.write_path, path, content)

    def _options(self) -> dict[str, Any]:
        return {} if self.storage_options is None else dict(self.storage_options.get_secret_value())

    def _files(self) -> Files:
        return open_files(self.path, storage_options=self._options())

    def _known(self, name: str) -> Self | None:
        try:
            return cast(Self, self.load(name, _sync=True))  # type: ignore[call-arg]
        except ValueError:  # Prefect's way to say that there is none
            return None

    def _name(self) -> str:
        """Name of the block: readable, and the same for the same place only."""
        location = self.location
        readable = re.sub(r"[^a-z0-9]+", "-", posixpath.basename(location).lower()).strip("-")[:40]
        return f"{readable or 'dataset'}-{hashlib.blake2b(location.encode(), digest_size=6).hexdigest()}"


def _result_path(path: str) -> str:
    place = posixpath.normpath(path)
    if place.startswith(("/", "..")):
        raise SinkError(f"result key {path!r} leads out of the dataset", path=path)
    return f"{layout.RESULTS}/{place}"
