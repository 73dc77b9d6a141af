"""The handful of file operations that a dataset is made of, each of which happens wholly or not at all.

Two implementations: `LocalFiles` (temporary file, fsync, rename) and `RemoteFiles` (any fsspec file system). Paths are
relative to the dataset's root. Failures are `OSError`; the dataset directory makes `SinkError` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from prefect_datagen.engine.errors import SinkError

if TYPE_CHECKING:
    import pyarrow as pa

    from prefect_datagen.storage.arrow import Dataset
    from prefect_datagen.storage.lock import WriterLock

Observer = Callable[[str], None]
"""Is told each step before it is taken, such as `"rename manifests/part-00000.json"`: the points at which a process may
die. It runs in the thread that takes the step, and what it raises stops it."""


def unobserved(_: str) -> None:
    """The observer that ignores every step."""


class Files(Protocol):
    """File operations below one root. Safe to use from several threads on different paths."""

    @property
    def location(self) -> str:
        """The root, for people: a path or URL without credentials."""
        ...

    @property
    def local_path(self) -> Path | None:
        """The root on this machine, or None."""
        ...

    def prepare(self) -> None:
        """Make the root where it is not there yet."""
        ...

    def lock(self) -> WriterLock:
        """The writer's lock, at once or not at all.

        Raises:
            DatasetLockedError: another writer holds it; carries `pid`, `host` and `since`.
        """
        ...

    def recover(self) -> None:
        """Finish or undo what a dead writer left half done. Only for the one writer."""
        ...

    def read(self, path: str) -> bytes | None:
        """Content of a file, or None where there is none."""
        ...

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Contents of many files, in order, read side by side. A missing one is an error."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, in no order; subfolders are left out. Empty where it is missing."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file in a folder by name; subfolders are left out. Empty where it is missing."""
        ...

    def stamp(self, folder: str) -> Hashable | None:
        """Equal stamps of a folder: no name in it came, went or was replaced in between. None where nothing tells."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder of this path."""
        ...

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        """Write a file whole, over any of that name. When it returns the file survives a crash."""
        ...

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        ...

    def delete_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it, if it is there."""
        ...

    def move(self, source: str, target: str) -> None:
        """Move a file or folder, if it is there. Calling it again after a crash finishes the work."""
        ...

    def swap_in(self) -> None:
        """Put the folder `BUILDING` in the place of `DATA` and delete what was there: in one step for `published`."""
        ...

    def published(self) -> list[str]:
        """Paths of the files that `swap_in` put in place last, in any order."""
        ...

    def first_rows(self, path: str, rows: int) -> pa.Table:
        """The first rows of a Parquet file."""
        ...

    def dataset(self, paths: Sequence[str], *, schema: pa.Schema | None) -> Dataset:
        """The rows of Parquet files in the order of `paths`. Nothing is loaded."""
        ...


def open_files(
    location: str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    on_step: Observer | None = None,
) -> Files:
    """File operations for a local path, a `file://` URL or the URL of any file system that fsspec knows.

    Raises:
        SinkError: fsspec knows no such protocol, its package is not installed, or it refuses the options.
    """
    text = str(location)
    protocol, separator, path = text.partition("://")
    if not separator or protocol in ("file", "local"):
        from prefect_datagen.storage.local_files import LocalFiles

        return LocalFiles(Path(path if separator else text), on_step=on_step or unobserved)
    from prefect_datagen.storage.remote_files import RemoteFiles

    return RemoteFiles(text, storage_options=storage_options, on_step=on_step or unobserved)


@contextmanager
def sink_errors(doing: str, path: str, *, row_group: int | None = None) -> Iterator[None]:
    """Make a `SinkError` of any `OSError` inside: what could not be done, where, and the system's reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        where = "" if row_group is None else f"row group {row_group}: "
        raise SinkError(f"{where}cannot {doing} {path}: {reason}", path=path, row_group=row_group) from error
