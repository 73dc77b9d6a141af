"""One writer per dataset.

On this machine the kernel keeps the lock: it is gone when the process is, however that died. A JSON file beside it says
who holds it. On a remote file system the lock is an object that the writer keeps fresh; see `RemoteLock` for what that
can and cannot promise.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout
from pydantic import ValidationError

from prefect_datagen.engine.errors import DatasetLockedError, SinkError
from prefect_datagen.engine.outcomes import Record
from prefect_datagen.storage.files import Files, sink_errors
from prefect_datagen.storage.layout import HOLDER, LOCK

if TYPE_CHECKING:
    from prefect_datagen.storage.remote_files import RemoteFiles

HEARTBEAT_SECONDS = 30.0
STALE_AFTER_SECONDS = 150.0
"""A remote lock whose holder has not been heard of for so long is taken over. Well above the clock differences between
hosts, and several heartbeats."""


class Holder(Record):
    """Who writes a dataset."""

    pid: int
    host: str
    since: datetime
    command: str
    token: str
    seen: datetime
    stopping: str | None = None  # why the writer's workers are to stop
    grace: float | None = None  # seconds that their calls in flight may take to come back

    @classmethod
    def this_process(cls) -> Holder:
        now = datetime.now(UTC)
        return cls(
            pid=os.getpid(), host=socket.gethostname(), since=now, command=_command(), token=uuid.uuid4().hex, seen=now
        )


class WriterLock(Protocol):
    """A held lock."""

    @property
    def token(self) -> str:
        """What tells this holder from all others."""
        ...

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Note for the workers that look at the lock that they are to stop."""
        ...

    def check(self) -> None:
        """Raise `SinkError` where the lock is no longer ours."""
        ...

    def release(self) -> None:
        """Let the next writer in. May be called twice."""
        ...


class LocalLock:
    """An OS lock on `.lock`, with its holder's description in `.lock.json`."""

    def __init__(self, files: Files, *, folder: Path) -> None:
        self._files = files
        # thread_local=False: opened in one thread, closed in another.
        self._lock = FileLock(str(folder / LOCK), timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise _locked(files.location, _read_holder(files, HOLDER)) from error
        self._holder = Holder.this_process()
        try:
            self._write()
        except BaseException:
            self._lock.release()
            raise

    @property
    def token(self) -> str:
        """What tells this holder from all others."""
        return self._holder.token

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Note for the workers that look at the lock that they are to stop."""
        self._holder = self._holder.model_copy(update={"stopping": reason, "grace": grace})
        self._write()

    def _write(self) -> None:
        self._files.write(HOLDER, self._holder.model_dump_json().encode())

    def check(self) -> None:
        """Nothing to do: the kernel takes this lock from nobody."""

    def release(self) -> None:
        """Let the next writer in. May be called twice."""
        if self._lock.is_locked:
            with suppress(OSError):  # a description without a lock misleads nobody: the next writer replaces it
                self._files.delete(HOLDER)
            self._lock.release()


class RemoteLock:
    """A lock object with a heartbeat, for file systems without locks.

    It is created with a conditional put where the file system has one (S3, GCS), so that of two writers who start at
    the same moment one wins. A lock is taken over when its process is known to be dead (same host) or has not been
    heard of for `stale_after` seconds. What it cannot promise: that a writer which was suspended for longer than that
    stops at once. It finds out at its next commit, because `check` reads the lock before each manifest is written.
    """

    def __init__(
        self,
        files: RemoteFiles,
        *,
        heartbeat: float = HEARTBEAT_SECONDS,
        stale_after: float = STALE_AFTER_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = files
        self._now = now
        self._holder = Holder.this_process().model_copy(update={"seen": now()})
        if not files.create(LOCK, self._text()):
            other = _read_holder(files, LOCK)
            if other is not None and not _is_gone(other, now=now(), stale_after=stale_after):
                raise _locked(files.location, other)
            files.write(LOCK, self._text())
        self.check()
        self._writing = threading.Lock()
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, args=(heartbeat,), name="dataset-lock", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """What tells this holder from all others."""
        return self._holder.token

    def tell_to_stop(self, reason: str, *, grace: float | None) -> None:
        """Note for the workers that look at the lock that they are to stop."""
        with self._writing:
            self._holder = self._holder.model_copy(update={"stopping": reason, "grace": grace})
            self._files.write(LOCK, self._text())

    def check(self) -> None:
        """Read the lock.

        Raises:
            DatasetLockedError: another writer has taken it over.
            SinkError: somebody deleted it.
        """
        with sink_errors("read", f"{self._files.location}/{LOCK}"):
            other = _read_holder(self._files, LOCK)
        if other is None:
            raise SinkError(
                f"the lock {self._files.location}/{LOCK} was deleted while this process was writing; nothing more is "
                "written, start again with --resume always",
                path=self._files.location,
            )
        if other.token != self._holder.token:
            raise _locked(self._files.location, other)

    def release(self) -> None:
        """Let the next writer in. May be called twice."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        with suppress(OSError):  # what cannot be deleted goes stale: no reason to fail a run that has ended well
            other = _read_holder(self._files, LOCK)
            if other is not None and other.token == self._holder.token:
                self._files.delete(LOCK)

    def _keep_fresh(self, heartbeat: float) -> None:
        while not self._released.wait(heartbeat):
            try:
                other = _read_holder(self._files, LOCK)
                if other is None or other.token != self._holder.token:
                    return  # lost: `check` tells the writer at its next commit
                with self._writing:
                    self._holder = self._holder.model_copy(update={"seen": self._now()})
                    self._files.write(LOCK, self._text())
            except OSError:
                continue  # tried again after the next heartbeat; a lock gone stale meanwhile is noticed by `check`

    def _text(self) -> bytes:
        return self._holder.model_dump_json().encode()


def holder_of(files: Files) -> Holder | None:
    """Who has the dataset open for writing, as its workers see it; None where nobody has."""
    return _read_holder(files, LOCK if files.local_path is None else HOLDER)


def _read_holder(files: Files, path: str) -> Holder | None:
    """Who the lock says holds it; None where nothing readable is there (its holder is just writing it)."""
    text = files.read(path)
    try:
        return None if text is None else Holder.model_validate_json(text)
    except ValidationError:
        return None


def _is_gone(holder: Holder, *, now: datetime, stale_after: float) -> bool:
    if holder.host == socket.gethostname() and not _is_running(holder.pid):
        return True
    return (now - holder.seen).total_seconds() > stale_after


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def _locked(location: str, holder: Holder | None) -> DatasetLockedError:
    advice = "wait for it to end, or write to another directory"
    if holder is None:
        return DatasetLockedError(f"{location} is being written by another process; {advice}", path=location)
    return DatasetLockedError(
        f"{location} is being written by process {holder.pid} on host {holder.host} since "
        f"{holder.since:%Y-%m-%d %H:%M:%S} UTC ({holder.command}); {advice}",
        path=location,
        pid=holder.pid,
        host=holder.host,
        since=holder.since,
    )


def _command() -> str:
    """The command line up to its first option: options may hold secrets."""
    words = [Path(sys.argv[0]).name] if sys.argv else [Path(sys.executable).name]
    for word in sys.argv[1:]:
        if word.startswith("-"):
            break
        words.append(word)
    return " ".join(words)
