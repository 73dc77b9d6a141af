"""Files of a dataset on any file system that fsspec knows: object stores, SFTP, memory.

Object stores put an object whole or not at all, so files are put under their final names. They have no folders to
rename: a folder is replaced object by object, and a note (`SWAP`) that lists what belongs in it makes one step of that.
While the note is there, readers take the new folder from where it was built; it goes when its copy is in place. `recover`
finishes what the note says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import orjson

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage.arrow import first_rows, scan_files
from prefect_datagen.storage.files import Observer, unobserved
from prefect_datagen.storage.layout import BUILDING, DATA, SWAP
from prefect_datagen.storage.lock import RemoteLock

if TYPE_CHECKING:
    import pyarrow as pa

    from prefect_datagen.storage.arrow import Dataset

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "obs"})
"""They have no folders. Asked for one they make a bucket, which a slip of the pen is not to do."""


class RemoteFiles:
    """`Files` below the URL of an fsspec file system."""

    def __init__(
        self, url: str, *, storage_options: Mapping[str, Any] | None = None, on_step: Observer = unobserved
    ) -> None:
        try:
            self._fs, root = fsspec.url_to_fs(url, **(storage_options or {}))
        except (ImportError, ValueError, TypeError, OSError) as error:
            raise SinkError(f"cannot open {_public(url)}: {error}", path=_public(url)) from error
        self._root = str(root).rstrip("/")
        self._on_step = on_step
        self._made: set[str] = set()
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._is_object_store = not protocols.isdisjoint(_OBJECT_STORES)
        self.location = _public(url).rstrip("/")
        self.local_path: Path | None = None

    def __repr__(self) -> str:
        return f"RemoteFiles({self.location!r})"

    def prepare(self) -> None:
        self._make("")

    def lock(self) -> RemoteLock:
        return RemoteLock(self)

    def recover(self) -> None:
        note = self.read(SWAP)
        if note is not None:
            self._finish_swap(orjson.loads(note))
        self.delete_folder(BUILDING)

    def read(self, path: str) -> bytes | None:
        with self._asking(path):
            try:
                return bytes(self._fs.cat_file(self._full(path)))
            except FileNotFoundError:
                return None

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        if not paths:
            return []
        with self._asking(paths[0]):
            full = [self._full(path) for path in paths]
            found = self._fs.cat(full)  # asynchronous file systems fetch side by side
            return [bytes(found[path]) for path in full]

    def names(self, folder: str) -> list[str]:
        return list(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        with self._asking(folder):
            full = self._full(folder)
            self._fs.invalidate_cache(full)
            try:
                entries = self._fs.ls(full, detail=True)
            except FileNotFoundError:
                return {}
            files = [(posixpath.basename(entry["name"]), entry["size"]) for entry in entries if entry["type"] == "file"]
            return {name: int(size) for name, size in files if name}

    def stamp(self, folder: str) -> None:
        return None

    def exists(self, path: str) -> bool:
        with self._asking(path):
            full = self._full(path)
            self._fs.invalidate_cache(full)
            return bool(self._fs.exists(full))

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        self._make(posixpath.dirname(path))
        self._on_step(f"put {path}")
        with self._asking(path):
            self._fs.pipe_file(self._full(path), bytes(data))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that is not there yet; False, and nothing done, where it is. One step on S3 and GCS."""
        self._make(posixpath.dirname(path))
        self._on_step(f"create {path}")
        with self._asking(path):
            try:
                self._fs.pipe_file(self._full(path), data, mode="create")
            except FileExistsError:
                return False
            return True

    def delete(self, path: str) -> None:
        self._on_step(f"delete {path}")
        with self._asking(path):
            try:
                self._fs.rm_file(self._full(path))
            except FileNotFoundError:
                return

    def delete_folder(self, folder: str) -> None:
        if self.exists(folder):
            self._on_step(f"delete {folder}/")
            with self._asking(folder):
                self._fs.rm(self._full(folder), recursive=True)

    def move(self, source: str, target: str) -> None:
        with self._asking(source):
            self._fs.invalidate_cache()
            full = self._full(source)
            found: list[str] = list(self._fs.find(full)) if self._fs.exists(full) else []
        for name in found:
            self._move_file(source + name[len(full) :], target + name[len(full) :])

    def swap_in(self) -> None:
        names = self.names(BUILDING)
        self.write(SWAP, orjson.dumps(names))
        self._finish_swap(names)
        self.delete_folder(BUILDING)

    def published(self) -> list[str]:
        note = self.read(SWAP)
        if note is not None:
            return [f"{BUILDING}/{name}" for name in orjson.loads(note)]
        return [f"{DATA}/{name}" for name in self.names(DATA)]

    def first_rows(self, path: str, rows: int) -> pa.Table:
        with self._asking(path):
            return first_rows(self._full(path), rows, filesystem=self._fs)

    def dataset(self, paths: Sequence[str], *, schema: pa.Schema | None) -> Dataset:
        full = [self._full(path) for path in paths]
        with self._asking(paths[0]):
            return scan_files(full, schema=schema, filesystem=self._fs)

    def _finish_swap(self, names: list[str]) -> None:
        self._make(DATA)
        for name in names:
            self._on_step(f"copy {BUILDING}/{name} to {DATA}/{name}")
            with self._asking(name):
                self._fs.cp_file(self._full(f"{BUILDING}/{name}"), self._full(f"{DATA}/{name}"))
        for name in set(self.names(DATA)) - set(names):
            self.delete(f"{DATA}/{name}")
        self.delete(SWAP)

    def _move_file(self, source: str, target: str) -> None:
        self._make(posixpath.dirname(target))
        self._on_step(f"move {source} to {target}")
        with self._asking(source):
            self._fs.mv(self._full(source), self._full(target))

    def _make(self, folder: str) -> None:
        """Make a folder, on file systems that have them; once a process."""
        if folder in self._made or self._is_object_store:
            return
        with self._asking(folder):
            self._fs.makedirs(self._full(folder), exist_ok=True)
        self._made.add(folder)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Whatever a file system's own package raises becomes an `OSError`; the cause stays attached."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error} ({path})") from error


def _public(url: str) -> str:
    """The URL without the user and password that it may carry."""
    protocol, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}{separator}{host.rpartition('@')[2]}{slash}{path}"
