"""Files of a dataset on this machine.

A file is written under a name that starts with a dot (which readers of the folder skip), flushed to the disk, renamed,
and then its folder is flushed: after a crash, of the process or the machine, it is there whole or not at all. The order
is the one of Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014).

A folder is replaced by exchanging it with another in one system call (`renameat2` with `RENAME_EXCHANGE`, Linux). Where
kernel or file system have none, two renames do it, and `recover` undoes a swap that got no further than the first.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import time
import uuid
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from prefect_datagen.storage.arrow import first_rows, scan_files
from prefect_datagen.storage.files import Observer, unobserved
from prefect_datagen.storage.layout import (
    BUILDING,
    DATA,
    MANIFESTS,
    PART_FOLDERS,
    RESULTS,
    SUPERSEDED,
    SWAPPED_OUT,
    is_temporary,
)
from prefect_datagen.storage.lock import LocalLock

if TYPE_CHECKING:
    import pyarrow as pa

    from prefect_datagen.storage.arrow import Dataset
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV)
_SETTLED = 2.0
"""Seconds after which a folder's time tells one change from the next. File systems count in steps of up to two seconds."""

_READERS = 8
_BATCH = 64
_SLOW = 0.0003
"""Seconds for a small file that is not in memory: a network file system takes a millisecond. Only such files are read by
several threads, which wait for each other where there is nothing else to wait for."""

_CHUNK = 1 << 16
_READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class LocalFiles:
    """`Files` below a folder of this machine."""

    def __init__(self, root: Path, *, on_step: Observer = unobserved, exchange: bool = True) -> None:
        """`exchange=False` never tries the one-call exchange of folders, as on a file system that has none."""
        self._root = Path(os.path.abspath(root.expanduser()))  # the working directory may change later
        self._on_step = on_step
        self._exchange = exchange

    @property
    def location(self) -> str:
        return str(self._root)

    @property
    def local_path(self) -> Path | None:
        return self._root

    def __repr__(self) -> str:
        return f"LocalFiles({self.location!r})"

    def prepare(self) -> None:
        self._make(self._root)

    def lock(self) -> LocalLock:
        return LocalLock(self, folder=self._root)

    def recover(self) -> None:
        if self.exists(SWAPPED_OUT) and not self.exists(DATA):
            self.move(SWAPPED_OUT, DATA)
        for leftover in (SWAPPED_OUT, BUILDING):
            self.delete_folder(leftover)
        for folder in (".", MANIFESTS, RESULTS, SUPERSEDED, *PART_FOLDERS):
            for name in filter(is_temporary, self.names(folder)):
                self.delete(f"{folder}/{name}")

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        full = [f"{self._root}{os.sep}{path}" for path in paths]
        batches = [full[start : start + _BATCH] for start in range(0, len(full), _BATCH)]
        contents: list[bytes] = []
        for number, batch in enumerate(batches, start=1):
            began = time.perf_counter()
            contents += _read(batch)
            if time.perf_counter() - began > _SLOW * len(batch):
                with ThreadPoolExecutor(_READERS) as pool:
                    return contents + list(chain.from_iterable(pool.map(_read, batches[number:])))
        return contents

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._root / folder) as entries:
                return [entry.name for entry in entries if entry.is_file()]
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        found = {}
        with suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            for entry in filter(os.DirEntry.is_file, entries):
                try:
                    found[entry.name] = entry.stat().st_size
                except FileNotFoundError:  # a writer renamed it meanwhile: the file was not finished, or is taken back
                    continue
        return found

    def stamp(self, folder: str) -> Hashable | None:
        try:
            found = os.stat(self._root / folder)
        except FileNotFoundError:
            return ()
        return (found.st_ino, found.st_mtime_ns) if abs(time.time() - found.st_mtime) > _SETTLED else None

    def exists(self, path: str) -> bool:
        return os.path.lexists(self._root / path)

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        target = self._root / path
        self._make(target.parent)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            self._on_step(f"create {path}")
            with open(temporary, "xb", buffering=0) as file:
                self._on_step(f"fill {path}")
                _write_all(file.fileno(), memoryview(data))
                self._on_step(f"flush {path}")
                os.fsync(file.fileno())
            self._on_step(f"rename {path}")
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell; the next open removes what stays
                temporary.unlink()
            raise
        self._flush(target.parent)

    def delete(self, path: str) -> None:
        self._on_step(f"delete {path}")
        try:
            (self._root / path).unlink()
        except FileNotFoundError:
            return
        self._flush((self._root / path).parent)

    def delete_folder(self, folder: str) -> None:
        if self.exists(folder):
            self._on_step(f"delete {folder}/")
            shutil.rmtree(self._root / folder)

    def move(self, source: str, target: str) -> None:
        if not self.exists(source):
            return
        self._make((self._root / target).parent)
        self._on_step(f"move {source} to {target}")
        os.replace(self._root / source, self._root / target)
        self._flush((self._root / target).parent)
        self._flush((self._root / source).parent)

    def swap_in(self) -> None:
        self._make(self._root / DATA)
        self._on_step(f"exchange {DATA}/")
        if self._exchange and _exchange_paths(self._root / DATA, self._root / BUILDING):
            self._flush(self._root)
        else:
            self.move(DATA, SWAPPED_OUT)
            self.move(BUILDING, DATA)
        for old in (SWAPPED_OUT, BUILDING):
            self.delete_folder(old)

    def published(self) -> list[str]:
        return [f"{DATA}/{name}" for name in self.names(DATA)]

    def first_rows(self, path: str, rows: int) -> pa.Table:
        return first_rows(str(self._root / path), rows)

    def dataset(self, paths: Sequence[str], *, schema: pa.Schema | None) -> Dataset:
        return scan_files([str(self._root / path) for path in paths], schema=schema)

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it; each new name survives a crash."""
        if folder.is_dir():
            return
        if folder.parent != folder:
            self._make(folder.parent)
        self._on_step(f"make {folder.name}/")
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
        self._flush(folder.parent)

    def _flush(self, folder: Path) -> None:
        self._on_step(f"flush {folder.name}/")
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(paths: Sequence[str]) -> list[bytes]:
    """By system calls: Python's file objects take as long again, and there is a file for each row group."""
    contents = []
    for path in paths:
        descriptor = os.open(path, _READ_ONLY)
        try:
            content = os.read(descriptor, _CHUNK)
            while more := os.read(descriptor, _CHUNK):
                content += more
        finally:
            os.close(descriptor)
        contents.append(content)
    return contents


def _write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte: one call may take fewer, at 2 GB for one and where the disk is nearly full."""
    rest = data.cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _exchange_paths(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False, and nothing done, where kernel or file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one))
