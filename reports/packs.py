"""Small parts put together in larger files, so that a scan opens a few files instead of ten thousand.

DuckDB takes about 0.2 ms to open a part and to read its footer, for every query anew: with 10,000 parts, two seconds
for each chart. A *pack* is a Parquet file in a temporary folder that holds the rows of consecutive parts, in their
order. It is made once, by the first queries that need it: each waiting query makes the next pack that nobody makes.
A committed part never changes, so a dataset that grows only needs packs for what is new; a part that a repair has made
again has another signature, hence another pack.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from prefect_datagen.reports.duckdb_query import CONFIG, literal, parquet
from prefect_datagen.reports.query import Cancellation

logger = logging.getLogger("prefect_datagen.reports")

FEW_PARTS = 256
"""Up to here parts are read as they are."""

SMALL_PART = 256 * 2**10
"""Bytes of the mean part from which on opening it is no longer what takes the time."""

MOST_BYTES = 2 * 2**30
"""Bytes of a dataset of which packs are made; it bounds the temporary folder."""

PACK_PARTS = 500
PACK_BYTES = 64 * 2**20
"""A pack is full with this many parts, or bytes of them."""

_LOOK = 0.05
"""Seconds between two looks at whether a query that waits for others' packs is still wanted."""

_PREFIX = "prefect-datagen-packs-"


@dataclass(frozen=True)
class Pack:
    """Parts that belong together; `key` names their content."""

    key: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class PackPlan:
    """Parts as packs, and those behind the last full one. More parts at the end change no pack before them."""

    packs: tuple[Pack, ...]
    rest: tuple[str, ...]

    @classmethod
    def of(cls, parts: Sequence[str]) -> PackPlan | None:
        """The plan where there are so many parts, and so small ones, that packs pay; else None."""
        if len(parts) <= FEW_PARTS:
            return None
        signatures = [_signature(part) for part in parts]
        if sum(size for _, size in signatures) > min(MOST_BYTES, SMALL_PART * len(parts)):
            return None
        packs: list[Pack] = []
        begin = size = 0
        digest = hashlib.blake2b(digest_size=12)
        for at, (part, (changed, length)) in enumerate(zip(parts, signatures, strict=True)):
            size += length
            digest.update(f"{part}\0{changed}\0{length}\0".encode())
            if at + 1 - begin >= PACK_PARTS or size >= PACK_BYTES:
                packs.append(Pack(digest.hexdigest(), tuple(parts[begin : at + 1])))
                begin, size, digest = at + 1, 0, hashlib.blake2b(digest_size=12)
        return cls(tuple(packs), tuple(parts[begin:]))


class Packs:
    """The packs of one dataset. They are removed with it, or by `close`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._folder: str | None = None
        self._remove: Callable[[], object] = lambda: None
        self._made: dict[str, str] = {}
        self._making: set[str] = set()
        self._usable = True

    def __repr__(self) -> str:
        return f"<Packs made={len(self._made)} making={len(self._making)}>"

    def folder(self) -> str:
        """Where packs are; made when it is first asked for."""
        with self._changed:
            if self._folder is None:
                _remove_leftovers()
                self._folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
                # Also where nobody calls `close`, and at the end of the process.
                self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            return self._folder

    def read(self, plan: PackPlan, cancel: Cancellation) -> list[str]:
        """Files that hold the rows of all parts, in order: packs, and the parts that are in none.

        It waits until all packs there should be are made, and helps to make them. Where that fails (no space is left,
        say) the parts themselves are returned from then on.

        Raises:
            QueryCancelledError: nobody waits any more. Packs made so far stay.
        """
        while (pack := self._next(plan.packs, cancel)) is not None:
            self._make(pack, cancel)
        if not self._usable:
            return [part for pack in plan.packs for part in pack.parts] + list(plan.rest)
        return [self._made[pack.key] for pack in plan.packs] + list(plan.rest)

    def close(self) -> None:
        """Remove all packs. Queries that read them fail."""
        with self._changed:
            self._usable = False
            self._remove()

    def _next(self, packs: Sequence[Pack], cancel: Cancellation) -> Pack | None:
        """A pack that the caller is to make; None once all are made, or none can be."""
        while True:
            cancel.check()
            with self._changed:
                missing = [pack for pack in packs if pack.key not in self._made]
                if not missing or not self._usable:
                    return None
                free = next((pack for pack in missing if pack.key not in self._making), None)
                if free is not None:
                    self._making.add(free.key)
                    return free
                self._changed.wait(_LOOK)

    def _make(self, pack: Pack, cancel: Cancellation) -> None:
        path = os.path.join(self.folder(), f"{pack.key}.parquet")
        made = False
        try:
            _write(pack, path, cancel)
            made = True
        except duckdb.Error as error:
            cancel.check()
            logger.warning("parts are read one by one, they cannot be put together: %s", error)
            self._usable = False
        finally:
            with self._changed:
                self._making.discard(pack.key)
                if made:
                    self._made[pack.key] = path
                self._changed.notify_all()


def _write(pack: Pack, path: str, cancel: Cancellation) -> None:
    # One thread: other queries make the other packs at the same time.
    with (
        closing(duckdb.connect(config={**CONFIG, "threads": 1})) as connection,
        cancel.interrupting(connection.interrupt),
    ):
        connection.execute(
            f"COPY (SELECT * FROM {parquet(pack.parts)}) TO {literal(path)} (FORMAT parquet, COMPRESSION lz4_raw)"
        )


def _signature(part: str) -> tuple[int, int]:
    """Time of change in ns and bytes; of a part that is gone nothing, and the query will say so."""
    try:
        found = os.stat(part)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _remove_leftovers() -> None:
    """Remove the packs of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not _alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
