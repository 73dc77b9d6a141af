"""The sink of previews, as a Prefect block."""

from __future__ import annotations

from typing import Self

import pyarrow as pa
from prefect.filesystems import WritableFileSystem
from pydantic import HttpUrl, PrivateAttr

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage.memory import MemoryDataset, MemoryStore


class InMemoryRowGroupSink(WritableFileSystem):
    """
    Keeps a dataset in the memory of the process that builds it, and writes nothing to disk.

    Rows and results are there as long as the sink is. A copy that was loaded from the server, or has gone to another
    process, is empty.

    Example:
        Build into memory and read what was built:
        ```python
        import pyarrow as pa
        from prefect_datagen.blocks import InMemoryRowGroupSink

        sink = InMemoryRowGroupSink()
        sink.open(schema=pa.schema([("code", pa.string())])).close()
        print(sink.reader().load())
        ```
    """

    _block_type_name = "In-Memory Row Group Sink"
    _block_type_slug = "in-memory-row-group-sink"
    _logo_url = HttpUrl(
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
    )
    _documentation_url = HttpUrl("https://arrow.apache.org/docs/python/")

    _dataset: MemoryDataset = PrivateAttr(default_factory=MemoryDataset)
    _results: dict[str, bytes] = PrivateAttr(default_factory=dict)

    @property
    def location(self) -> str:
        """`memory`."""
        return "memory"

    def open(self, *, schema: pa.Schema, staged: bool = False) -> MemoryStore:
        """Open the dataset for writing.

        Args:
            schema: of the rows that will be committed.
            staged: whether after-generation processors will make the dataset of what is committed.

        Raises:
            SinkError: the schema has no Parquet form, so that a preview finds what a build would.
        """
        return MemoryStore(schema=schema, staged=staged, dataset=self._dataset)

    def join(self, *, writer: str, schema: pa.Schema, staged: bool = False) -> MemoryStore:
        """Refused: another process has no part in this one's memory.

        Raises:
            SinkError: always.
        """
        raise SinkError(
            "rows in memory cannot be written by another process; use task_runner: threads, or a ParquetRowGroupSink"
        )

    def anchored(self) -> Self:
        """This sink."""
        return self

    def reader(self) -> MemoryStore:
        """The dataset for reading."""
        store = MemoryStore(schema=self._dataset.schema, staged=self._dataset.staged, dataset=self._dataset)
        store.close()
        return store

    def saved(self) -> Self:
        """This sink, saved on the server: what Prefect asks of the `result_storage` of a task."""
        if self._block_document_id is None:
            self.save("in-memory", overwrite=True, _sync=True)  # type: ignore[call-arg]
        return self

    def read_path(self, path: str, *, _sync: bool | None = None) -> bytes:  # type: ignore[override]
        """A result. Raises `FileNotFoundError` where there is none."""
        try:
            return self._results[path]
        except KeyError as error:
            raise FileNotFoundError(f"no result {path!r} in memory") from error

    def write_path(self, path: str, content: bytes, *, _sync: bool | None = None) -> None:  # type: ignore[override]
        """Remember a result."""
        self._results[path] = content

    async def aread_path(self, path: str) -> bytes:
        """`read_path`."""
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """`write_path`."""
        self.write_path(path, content)
