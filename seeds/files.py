"""Files that hold seed rows: where they are, what their content is, and which reader they need."""

from __future__ import annotations

import functools
import glob
import gzip
import hashlib
import io
import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from prefect_datagen.engine.errors import ConfigError

FORMATS = (".parquet", ".csv", ".json", ".jsonl")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class SeedFile:
    """One file. Without a `filesystem` it is local; otherwise `filesystem` is that of fsspec."""

    path: str
    filesystem: Any = None

    @property
    def format(self) -> str | None:
        """One of `FORMATS`, or None. Text may be compressed by gzip (`.csv.gz`)."""
        name = self.path.lower()
        if name.endswith(".gz") and not name.endswith(".parquet.gz"):
            name = name.removesuffix(".gz")
        return next((suffix for suffix in FORMATS if name.endswith(suffix)), None)

    def open(self) -> IO[bytes]:
        """The bytes as they are stored.

        Raises:
            ConfigError: the file cannot be opened.
        """
        try:
            return open(self.path, "rb") if self.filesystem is None else self.filesystem.open(self.path, "rb")
        except Exception as error:  # each of fsspec's file systems has errors of its own
            raise ConfigError(f"seed file {self.path}: {error}") from error

    @contextmanager
    def open_content(self) -> Iterator[IO[bytes]]:
        """The bytes, decompressed."""
        with self.open() as raw:
            if self.path.lower().endswith(".gz"):
                with gzip.open(raw) as content:
                    yield cast(IO[bytes], content)
            else:
                yield raw

    @contextmanager
    def open_text(self) -> Iterator[io.TextIOWrapper]:
        """The text, which is UTF-8, decompressed, line ends as they are; a byte order mark is left out."""
        with self.open_content() as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as text:
            yield text

    def identity(self) -> Hashable | None:
        """Path, size in bytes and time of the last change; None for a remote file, which has no reliable one.

        Raises:
            ConfigError: the file is not there any more.
        """
        if self.filesystem is not None:
            return None
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise ConfigError(f"seed file {self.path}: {error}") from error
        return (self.path, stat.st_size, stat.st_mtime_ns)

    def digest(self) -> str:
        """SHA-256 of the content of a local file, streamed; kept until size or time of the file change.

        Raises:
            ConfigError: the file cannot be read.
        """
        return _digest(self, self.identity())


@functools.lru_cache(maxsize=4096)
def _digest(file: SeedFile, identity: Hashable) -> str:
    del identity
    try:
        with file.open() as content:
            return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise ConfigError(f"seed file {file.path}: {error}") from error


def content_fingerprint(parts: Sequence[str]) -> str:
    """One digest of the digests of several files, in order. Names do not matter: a renamed file has the same rows."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def files_identity(files: Sequence[SeedFile]) -> Hashable | None:
    """The identities of all files, or None where one has none."""
    identities = tuple(file.identity() for file in files)
    return None if None in identities else identities


def resolve(path: str, base_dir: Path) -> Path:
    """The existing file or folder that `path` means: relative to the config's folder first, then to the current one.

    Raises:
        ConfigError: there is none. Names what was tried.
    """
    candidates = _candidates(path, base_dir)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ConfigError(f"seed path {path!r} does not exist (tried {', '.join(map(str, candidates))})")


def location(path: str, base_dir: Path) -> str:
    """Where a path or a pattern leads, whether or not something is there; a URL as it is."""
    if "://" in path:
        return path
    candidates = _candidates(path, base_dir)
    return str(next((each for each in candidates if each.exists()), candidates[0]))


def find_files(path: str, base_dir: Path) -> list[SeedFile]:
    """Files that `path` means: a file, all files of a known format below a folder, or a glob (`**` for any depth).

    Returns:
        Local files, sorted by path.

    Raises:
        ConfigError: there is none. Names what was tried.
    """
    candidates = _candidates(path, base_dir)
    for candidate in candidates:
        if candidate.is_file():
            return [SeedFile(str(candidate))]
        if candidate.is_dir():
            inside = [item for item in sorted(candidate.rglob("*")) if item.is_file() and not _hidden(item, candidate)]
            return _nonempty([file for item in inside if (file := SeedFile(str(item))).format], path, candidates)
    for root in (base_dir.absolute(), Path.cwd()):
        # Only what was given is a pattern: the folder's own name may hold brackets.
        names = glob.glob(str(Path(path).expanduser()), root_dir=root, recursive=True)
        if found := sorted(root / name for name in names if (root / name).is_file()):
            return [SeedFile(str(item)) for item in found]
    return _nonempty([], path, candidates)


def _candidates(path: str, base_dir: Path) -> list[Path]:
    given = Path(path).expanduser()
    return list(dict.fromkeys([(base_dir / given).absolute(), given.absolute()]))


def _hidden(item: Path, folder: Path) -> bool:
    return any(part.startswith((".", "_")) for part in item.relative_to(folder).parts)


def _nonempty(files: list[SeedFile], path: str, candidates: Sequence[Path]) -> list[SeedFile]:
    if not files:
        tried = ", ".join(map(str, candidates))
        raise ConfigError(f"seed path {path!r}: no file found (tried {tried}; formats are {', '.join(FORMATS)})")
    return files
