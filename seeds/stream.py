"""Seed rows of a dataset that is still being built: those of its committed row groups, in order, as they come.

    writer: add(manifest)* ─► end() | fail(why)          reader: rows, read(), wait_until(), prefix()

While a stream is offered, an ordered seed of its dataset is read through it, by everything in this process that opens the
seed. The rows are the same as those of the finished dataset, so a resume may read them from there; which of them a dataset
was made of is told by a `SeedPrefix`, which goes into its run record and grows with it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from prefect_datagen.engine.outcomes import RowGroupManifest, SeedPrefix
from prefect_datagen.seeds.base import SeedTable, conform, plain_schema

_TABLES_KEPT = 4


class SeedStream:
    """See the module's docstring. Any thread may call anything.

    Attributes:
        location: the dataset.
        schema: of its rows.
        fingerprint: says which dataset, and not what is in it: that is what `prefix` is for.
        expected: rows that the dataset is to have, which may turn out to be fewer.
    """

    def __init__(self, name: str, *, location: str, schema: pa.Schema, load: Callable[[str], pa.Table]) -> None:
        """A stream without rows.

        Args:
            name: of the stage that builds the dataset.
            load: the rows of a part, by its path in the dataset.
        """
        self.location = location
        self.schema = plain_schema(schema, origin=location)
        self.fingerprint = f"rows of stage {name}"
        self.expected = 0
        self._load = load
        self._changed = threading.Condition()
        self._waiting: dict[int, RowGroupManifest] = {}
        self._parts: list[tuple[str, int]] = []
        self._prefixes = [SeedPrefix(row_groups=0, rows=0, digest="")]
        self._next_row = 0
        self._ended = False
        self._error: str | None = None
        self._table: SeedTable | None = None
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._loading = threading.Lock()
        self._listeners: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        state = "ended" if self._ended else self._error or "open"
        return f"SeedStream({self.location!r}, {self.rows} rows, {state})"

    # --- the writer's side

    def add(self, manifests: Iterable[RowGroupManifest]) -> None:
        """Row groups that are committed, in any order; known ones are passed over."""
        with self._changed:
            self._waiting |= {each.index: each for each in manifests if each.index >= len(self._prefixes) - 1}
            while (manifest := self._waiting.get(len(self._prefixes) - 1)) is not None:
                if manifest.start_row != self._next_row:
                    break
                self._take(manifest)
        self._tell()

    def end(self) -> None:
        """There are no more rows than those that were added."""
        with self._changed:
            self._ended = True
        self._tell()

    def fail(self, why: str) -> None:
        """There will be no more rows, and there should have been; has no effect on a stream that has ended."""
        with self._changed:
            if not self._ended:
                self._error = why
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()

    def _take(self, manifest: RowGroupManifest) -> None:
        del self._waiting[manifest.index]
        self._next_row += manifest.planned
        last = self._prefixes[-1]
        if manifest.part is not None and manifest.written:
            self._parts.append((manifest.part, manifest.written))
            self._table = None
        digest = hashlib.blake2b(f"{last.digest} {manifest.part_sha256}".encode(), digest_size=12).hexdigest()
        self._prefixes.append(
            SeedPrefix(row_groups=last.row_groups + 1, rows=last.rows + manifest.written, digest=digest)
        )

    # --- the reader's side

    @property
    def rows(self) -> int:
        """Rows that can be read now."""
        return self._prefixes[-1].rows

    @property
    def num_rows(self) -> int:
        """Rows of the whole dataset: counted once it has ended, expected before."""
        return self.rows if self._ended else max(self.rows, self.expected)

    @property
    def is_open(self) -> bool:
        """Whether there are rows to begin with and more to come. Of a dataset about to end, its verdict is awaited."""
        return not self._ended and self._error is None and self.rows > 0 and self._next_row < self.expected

    @property
    def ended(self) -> bool:
        """Whether all rows are there."""
        return self._ended

    @property
    def error(self) -> str | None:
        """Why there will be no more rows, where that is so."""
        return self._error

    def prefix(self, row_groups: int | None = None) -> SeedPrefix | None:
        """What tells the first row groups, all that are there by default; None where there are not so many."""
        if row_groups is None:
            return self._prefixes[-1]
        return self._prefixes[row_groups] if row_groups < len(self._prefixes) else None

    def fits(self, recorded: SeedPrefix) -> bool:
        """Whether the rows that a dataset was made of are still the first ones here.

        Where it needed them all, these must be all: with more of them, rows that begin a new cycle are others.
        """
        same = self.prefix(recorded.row_groups)
        if same is None or same != recorded.model_copy(update={"whole": False}):
            return False
        return not recorded.whole or (self._ended and recorded.row_groups == len(self._prefixes) - 1)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on this stream holds, or no more rows come."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._ended or self._error is not None)

    @contextmanager
    def watched(self, on_change: Callable[[], object]) -> Iterator[None]:
        """Call `on_change` after each change, from the thread that made it."""
        self._listeners.append(on_change)
        try:
            yield
        finally:
            self._listeners.remove(on_change)

    def read(self, start: int, rows: int) -> pa.Table:
        """Seed rows of dataset rows `start` to `start + rows`, shape `(rows,)`; a new cycle begins after the last one.

        Raises:
            IndexError: the stream has not come so far.
            SinkError: a part cannot be read.
        """
        chosen = np.arange(start, start + rows, dtype=np.int64)
        with self._changed:
            if self._ended and self.rows:
                chosen %= self.rows
            elif start + rows > self.rows:
                raise IndexError(f"seed rows up to {start + rows} of {self.location}: there are {self.rows} so far")
            table = self._table = self._table or self._seed_table(tuple(self._parts))
        return table.take(chosen)

    def _seed_table(self, parts: Sequence[tuple[str, int]]) -> SeedTable:
        def load(numbers: Sequence[int]) -> Iterator[pa.Table]:
            for number in numbers:
                yield self._loaded(parts[number][0])

        return SeedTable(
            self.schema,
            part_rows=[rows for _, rows in parts],
            load=load,
            fingerprint=self.fingerprint,
            random_access=False,
            relation=lambda: None,
        )

    def _loaded(self, part: str) -> pa.Table:
        with self._loading:
            if part not in self._tables:
                self._tables[part] = conform(self._load(part), self.schema)
                while len(self._tables) > _TABLES_KEPT:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(part)
            return self._tables[part]
