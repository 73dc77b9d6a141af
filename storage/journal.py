"""Every accepted model answer, on disk the moment it is accepted: what a resume does not pay for again.

A SQLite file in WAL mode with `synchronous=NORMAL`: a commit is a write to the page cache, without a flush. So a killed
process loses nothing that was committed; a machine that loses power may lose the last answers, never the file.

A connection belongs to one event-loop thread. Answers wait in memory until `commit`, which the driver calls once per
tick of its loop, and which puts them all into one transaction.

Beside them stands the *ledger*: what each run spent so far, written in the same transaction as the answers that it was
spent for. So what a dataset cost is known after a kill as well as its answers are. It is one row a run, changed in its
place each time.

What most look-ups ask for is not there: answers of this run, which were not made yet. While nobody but this connection
has written to the file, a *sketch* of the keys in it (`_Sketch`) tells so without asking SQLite. A journal that holds
answers when it is opened has none, and one that another process writes to loses it for good: whether one did is asked
before the first look-up after each `commit`, so an answer that another process stored is seen from the next tick on.

Checkpoints (copying the log into the main file, with its flushes of 5 to 100 ms) are made by a thread of its own with a
connection of its own. They are passive, so they never make the loop wait. Under an uninterrupted stream of answers they
never get to the end of the log either, and it would grow for ever; so SQLite's automatic checkpoint stays on at
`_LOG_PAGES`, where it only has to copy what the thread has not reached. Measured at 1,000 answers a second: at most
7 ms without a bound on the log, 14 ms with it. Whenever the engine has made all that it was given, as at the end of a run,
the thread copies what there is (`rest`), while the last row group is committed: to close is then to delete the log.

*Batches*: what was handed to a provider's batch endpoint and is not settled, by journal key. They are written with a flush,
since each stands for thousands of answers that are paid for and not here yet; a key is struck off in the transaction that
stores its answer.

Several processes of one machine may have the same journal open: SQLite lets one of them write at a time. SQLite's log
does not work between machines. So workers on another machine than the run's have a journal of that machine beside it
(`layout.JOURNALS`), which the next run of the dataset absorbs.

Keys that follow each other in time should do so in order, too, as the engine's do (they begin with the row's number):
then the answers of a tick touch one page of the index, and not one each.

Tried and dropped: `WITHOUT ROWID` (lookups four times slower at answers of this size), compression (zstd halves the
file for 20 µs an answer, a tenth of all that the engine may spend on a call).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prefect_datagen.engine.batches import BatchRecord
from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage.files import sink_errors

_APPLICATION_ID = 0x44475A4A
_VERSION = 3
_BUSY_SECONDS = 10.0
_LOG_PAGES = 16_384  # of 4 KiB: 64 MiB
_CHECKPOINT_EVERY = 8 << 20  # bytes of answers and pages written, estimated
_PAGES_PER_ANSWER = 3 << 12
_PAGES_PER_USAGE = 1 << 12
_SPEND = """
INSERT INTO ledger (run, fingerprint, usage) VALUES (?, ?, ?)
ON CONFLICT (run) DO UPDATE SET fingerprint = excluded.fingerprint, usage = excluded.usage
"""
_SKETCH_BITS = 1 << 26


@dataclass(frozen=True, slots=True)
class JournalStatistics:
    """What a journal did since it was opened.

    Attributes:
        stored: answers on disk that this journal put there.
        pending: answers put and not yet committed.
        hits: lookups that found an answer.
        misses: lookups that did not.
        searches: lookups that asked SQLite, the others were answered by memory.
        commits: transactions.
    """

    stored: int = 0
    pending: int = 0
    hits: int = 0
    misses: int = 0
    searches: int = 0
    commits: int = 0


class Journal:
    """The engine's `AnswerJournal` in a SQLite file. Every method is called from one thread at a time."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, *, run: str, fingerprint: str, sketch: _Sketch | None
    ) -> None:
        """Use `Journal.open`."""
        self._path = path
        self._connection = connection
        self._run = run
        self._fingerprint = fingerprint
        self._usage: bytes | None = None
        self._settled: list[tuple[str, bytes]] = []
        self._pending: dict[bytes, bytes] = {}
        self._statistics = dict.fromkeys(("stored", "hits", "misses", "searches", "commits"), 0)
        self._sketch = sketch
        self._checked = False
        self._written = 0
        self._checkpoints = _Checkpoints(path)
        self._is_open = True

    @classmethod
    def open(cls, path: str | Path, *, run: str = "", fingerprint: str = "") -> Journal:
        """Open a journal, or begin one. What a killed process committed is there.

        Args:
            path: the SQLite file.
            run: who spends, for the ledger: one name for each process of each run.
            fingerprint: of the dataset that is built; the runs of one dataset are summed.

        Raises:
            SinkError: the file is damaged, is no journal of this package, or cannot be written.
        """
        place = Path(path)
        with _journal_errors(place), sink_errors("open", str(place)):
            place.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(place)
            try:
                _prepare(connection, place)
                sketch = _Sketch.of(connection)
            except BaseException:
                connection.close()
                raise
        return cls(place, connection, run=run, fingerprint=fingerprint, sketch=sketch)

    def __repr__(self) -> str:
        return f"Journal({str(self._path)!r}, {self.statistics()!r})"

    def get(self, key: bytes) -> bytes | None:
        """The answer stored under a key, those not yet committed included.

        Raises:
            SinkError: the file cannot be read.
        """
        answer = self._pending.get(key)
        if answer is None and self._may_hold(key):
            self._statistics["searches"] += 1
            with _journal_errors(self._path):
                row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
            answer = None if row is None else row[0]
        self._statistics["misses" if answer is None else "hits"] += 1
        return answer

    def _may_hold(self, key: bytes) -> bool:
        """Whether the file must be asked."""
        if self._sketch is None:
            return True
        if not self._checked:
            with _journal_errors(self._path):
                if _data_version(self._connection) != self._sketch.data_version:
                    self._sketch = None
                    return True
            self._checked = True
        return key in self._sketch

    def put(self, key: bytes, answer: bytes) -> None:
        """Take an answer; the next `commit` stores it. A later answer replaces an earlier one of the same key."""
        self._pending[key] = answer

    def put_usage(self, usage: bytes) -> None:
        """Take what this run spent so far; the next `commit` stores it in the place of what it was before."""
        self._usage = usage

    def usage(self) -> list[bytes]:
        """What each other run of this dataset spent, as far as it is stored.

        Raises:
            SinkError: the file cannot be read.
        """
        with _journal_errors(self._path):
            rows = self._connection.execute(
                "SELECT usage FROM ledger WHERE fingerprint = ? AND run <> ?", (self._fingerprint, self._run)
            )
            return [row[0] for row in rows]

    def absorb(self, other: Path) -> None:
        """Take over the answers and the ledger of a journal that nobody has open any more, and delete it.

        Raises:
            SinkError: one of the two cannot be read or written; the other journal stays.
        """
        self._sketch = None
        with _journal_errors(other), sink_errors("absorb", str(other)):
            self._connection.execute("ATTACH ? AS other", (str(other),))
            try:
                self._connection.execute("INSERT OR IGNORE INTO answers SELECT key, answer FROM other.answers")
                self._connection.execute(
                    "INSERT OR IGNORE INTO ledger SELECT run, fingerprint, usage FROM other.ledger"
                )
            finally:
                self._connection.execute("DETACH other")
            for suffix in ("-wal", "-shm", ""):
                other.with_name(other.name + suffix).unlink(missing_ok=True)

    def commit(self) -> None:
        """Store what was put since the last time, in one transaction. Free where there is nothing.

        Raises:
            SinkError: the disk is full, or refuses. What was put is kept, and stored by the next commit that can.
        """
        self._checked = False
        if not self._pending and self._usage is None and not self._settled:
            return
        with _journal_errors(self._path), self._transaction():
            self._store(list(self._pending.items()), self._usage)
        self._statistics["stored"] += len(self._pending)
        self._statistics["commits"] += 1
        self._written += sum(len(answer) + _PAGES_PER_ANSWER for answer in self._pending.values()) + _PAGES_PER_USAGE
        if self._sketch is not None:
            self._sketch.add(self._pending)
        self._pending.clear()
        self._settled.clear()
        self._usage = None
        if self._written > _CHECKPOINT_EVERY:
            self.rest()

    def rest(self) -> None:
        """Nothing will be put for a while: a good time to copy the log into the file."""
        if self._written:
            self._written = 0
            self._checkpoints.ask()

    def batches(self, endpoint: str) -> list[BatchRecord]:
        """Batches of an endpoint with keys that are not settled, oldest first.

        Raises:
            SinkError: the file cannot be read.
        """
        with _journal_errors(self._path):
            found = self._connection.execute(
                "SELECT id, remote_id FROM batches WHERE endpoint = ? ORDER BY number", (endpoint,)
            ).fetchall()
            records = []
            for id, remote_id in found:
                keys = self._connection.execute("SELECT key FROM batch_requests WHERE batch = ?", (id,)).fetchall()
                if keys:
                    records.append(BatchRecord(id, remote_id, tuple(key for (key,) in keys)))
        return records

    def put_batch(self, id: str, endpoint: str, keys: Sequence[bytes]) -> None:
        """Write down that a batch will be submitted; it outlives a loss of power when this returns.

        Raises:
            SinkError: it cannot be written: the batch must not be submitted.
        """
        with self._flushed():
            self._connection.execute("INSERT INTO batches (id, endpoint) VALUES (?, ?)", (id, endpoint))
            self._connection.executemany(
                "INSERT INTO batch_requests (batch, key) VALUES (?, ?)", [(id, key) for key in keys]
            )

    def name_batch(self, id: str, remote_id: str) -> None:
        """Write down the provider's id of a batch.

        Raises:
            SinkError: it cannot be written.
        """
        with self._flushed():
            self._connection.execute("UPDATE batches SET remote_id = ? WHERE id = ?", (remote_id, id))

    def drop_batch(self, id: str) -> None:
        """Forget a batch that the provider does not have.

        Raises:
            SinkError: it cannot be written.
        """
        with self._flushed():
            self._connection.execute("DELETE FROM batch_requests WHERE batch = ?", (id,))
            self._connection.execute("DELETE FROM batches WHERE id = ?", (id,))

    def settle(self, id: str, key: bytes) -> None:
        """Strike a key off a batch, from the next `commit` on."""
        self._settled.append((id, key))

    @contextmanager
    def _flushed(self) -> Iterator[None]:
        """A transaction that is on the disk, not only in the page cache, when it has ended."""
        with _journal_errors(self._path):
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                with self._transaction():
                    yield
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")

    def statistics(self) -> JournalStatistics:
        """What was done since opening."""
        return JournalStatistics(pending=len(self._pending), **self._statistics)

    def close(self) -> None:
        """Commit and close. May be called twice. The file is closed even where the commit fails."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self.commit()
        finally:
            self._checkpoints.stop()
            self._sketch = None
            with _journal_errors(self._path):
                self._connection.close()  # the last connection copies the log into the file and deletes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _store(self, answers: list[tuple[bytes, bytes]], usage: bytes | None) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO answers (key, answer) VALUES (?, ?)", answers)
        if usage is not None:
            self._connection.execute(_SPEND, (self._run, self._fingerprint, usage))
        if self._settled:
            self._connection.executemany("DELETE FROM batch_requests WHERE batch = ? AND key = ?", self._settled)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                self._connection.execute("ROLLBACK")
            raise


class _Sketch:
    """Tells which keys were surely not added: one bit for each, at a place that its last bytes say (a Bloom filter with one
    hash). 8 MiB, touched as it fills; 1.5 % of a million answers' misses search in vain, 14 % of ten million's.

    `data_version` is that of the file when it was empty.
    """

    def __init__(self, data_version: int) -> None:
        self.data_version = data_version
        self._bits = bytearray(_SKETCH_BITS >> 3)

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> _Sketch | None:
        """That of a journal, None where it holds answers."""
        sketch = cls(_data_version(connection))  # first: who writes from now on is noticed
        holds = connection.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is not None
        return None if holds else sketch

    def add(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            at = int.from_bytes(key[-4:], "big") % _SKETCH_BITS
            self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: bytes) -> bool:
        at = int.from_bytes(key[-4:], "big") % _SKETCH_BITS
        return bool(self._bits[at >> 3] >> (at & 7) & 1)


class _Checkpoints:
    """The thread that copies the log into the main file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wanted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="journal-checkpoints", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        self._wanted.set()

    def stop(self) -> None:
        self._stopped = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._wanted.wait():
            self._wanted.clear()
            if self._stopped:
                break
            try:
                connection = connection or _connect(self._path)
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error:
                # Nothing is lost by a checkpoint that fails: the answers are in the log. What is wrong with the disk
                # will fail a commit, which raises.
                continue
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours. check_same_thread: opened by one thread, used by the loop's.
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _data_version(connection: sqlite3.Connection) -> int:
    """A number that changes whenever another connection has written."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    [(application,)] = connection.execute("PRAGMA application_id").fetchall()
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    [(tables,)] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if tables and (application, version) != (_APPLICATION_ID, _VERSION):
        raise SinkError(
            f"{path} is a SQLite file and no journal of this version of prefect-datagen; move it away, or run with "
            "--no-journal",
            path=str(path),
        )
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}").fetchone()
    if not tables:
        connection.executescript(
            f"""
            BEGIN IMMEDIATE;
            PRAGMA application_id = {_APPLICATION_ID};
            PRAGMA user_version = {_VERSION};
            CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB NOT NULL);
            CREATE TABLE IF NOT EXISTS ledger (run TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, usage BLOB NOT NULL);
            COMMIT;
            """
        )
    # Beside what older files of this version hold.
    connection.executescript(
        """
        CREATE TABLE IF NOT EXISTS batches (
            number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, endpoint TEXT NOT NULL, remote_id TEXT
        );
        CREATE TABLE IF NOT EXISTS batch_requests (batch TEXT, key BLOB, PRIMARY KEY (batch, key)) WITHOUT ROWID;
        """
    )


@contextmanager
def _journal_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        way_out = "; move it away to begin a new one, or run with --no-journal" if damaged else ""
        raise SinkError(f"journal {path}: {error}{way_out}", path=str(path)) from error
