"""One writer per dataset, between real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import DatasetLockedError, SinkError
from prefect_datagen.storage import DatasetDirectory, DatasetReader, RowGroupCommit, RunRecord
from prefect_datagen.storage.lock import Holder, RemoteLock
from prefect_datagen.storage.remote_files import RemoteFiles

Hold = Callable[[Path], "subprocess.Popen[str]"]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that has a dataset open."""
    processes: list[subprocess.Popen[str]] = []

    def start(dataset: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("holder.py")), str(dataset), "--set", "api_key=secret"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_second_writer_is_refused_and_told_who_holds_it(tmp_path: Path, schema: pa.Schema, hold: Hold) -> None:
    process = hold(tmp_path)
    with pytest.raises(DatasetLockedError) as caught:
        DatasetDirectory(tmp_path, schema=schema)
    context = caught.value.context()
    assert (context["pid"], context["host"]) == (process.pid, socket.gethostname())
    assert f"process {process.pid} on host {socket.gethostname()}" in str(caught.value)
    assert f"holder.py {tmp_path}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "secret" not in (tmp_path / ".lock.json").read_text()


def test_a_reader_needs_no_lock(tmp_path: Path, hold: Hold) -> None:
    hold(tmp_path)
    assert DatasetReader(tmp_path).committed() == {}


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path, schema: pa.Schema, hold: Hold) -> None:
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with DatasetDirectory(tmp_path, schema=schema):
        assert Holder.model_validate_json((tmp_path / ".lock.json").read_text()).pid == os.getpid()
    assert not (tmp_path / ".lock.json").exists()


def test_a_second_writer_in_the_same_process_is_refused_until_the_first_is_closed(
    tmp_path: Path, schema: pa.Schema
) -> None:
    first = DatasetDirectory(tmp_path, schema=schema)
    with pytest.raises(DatasetLockedError, match=f"process {os.getpid()} "):
        DatasetDirectory(tmp_path, schema=schema)
    first.close()
    DatasetDirectory(tmp_path, schema=schema).close()


def test_an_open_that_fails_lets_the_next_one_in(tmp_path: Path, schema: pa.Schema) -> None:
    foreign = tmp_path / "data" / "part-00000.parquet"
    foreign.parent.mkdir()
    foreign.write_text("not ours")
    with pytest.raises(SinkError, match="no dataset of"):
        DatasetDirectory(tmp_path, schema=schema)
    foreign.unlink()
    DatasetDirectory(tmp_path, schema=schema).close()


# -- Remote file systems


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2025, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def remote() -> RemoteFiles:
    return RemoteFiles(f"memory://{uuid.uuid4().hex}")


def write_lock(files: RemoteFiles, *, pid: int, host: str, seen: datetime) -> None:
    holder = Holder(pid=pid, host=host, since=seen, command="prefect-datagen build", token="other", seen=seen)
    files.write(".lock", holder.model_dump_json().encode())


def test_a_remote_lock_refuses_a_second_writer_until_it_is_released(remote: RemoteFiles) -> None:
    first = RemoteLock(remote)
    with pytest.raises(DatasetLockedError, match=f"process {os.getpid()} "):
        RemoteLock(remote)
    first.release()
    first.release()
    RemoteLock(remote).release()
    assert remote.read(".lock") is None


def test_a_remote_lock_not_heard_of_is_taken_over_and_its_old_holder_stops(remote: RemoteFiles) -> None:
    clock = Clock()
    old = RemoteLock(remote, now=clock, stale_after=150, heartbeat=3600)
    clock.moment += timedelta(seconds=151)
    # Same process, so it is known to run: only its silence counts.
    new = RemoteLock(remote, now=clock, stale_after=150, heartbeat=3600)
    new.check()
    with pytest.raises(DatasetLockedError):
        old.check()
    old.release()
    new.check()
    new.release()


def test_a_remote_lock_of_a_live_host_is_respected_until_it_is_stale(remote: RemoteFiles) -> None:
    clock = Clock()
    write_lock(remote, pid=1, host="elsewhere", seen=clock.moment)
    clock.moment += timedelta(seconds=149)
    with pytest.raises(DatasetLockedError, match="process 1 on host elsewhere"):
        RemoteLock(remote, now=clock, stale_after=150)


def test_a_remote_lock_of_a_dead_process_on_this_host_is_taken_over_at_once(remote: RemoteFiles) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_lock(remote, pid=dead.pid, host=socket.gethostname(), seen=datetime.now(UTC))
    RemoteLock(remote).release()


def test_a_remote_lock_is_kept_fresh(remote: RemoteFiles) -> None:
    beaten = []

    class Beats(RemoteFiles):
        def write(self, path: str, data: bytes | pa.Buffer) -> None:
            super().write(path, data)
            beaten.append(path)

    lock = RemoteLock(Beats(remote.location), heartbeat=0.001)
    while len(beaten) < 3:
        lock.check()
    lock.release()
    assert remote.read(".lock") is None


def test_a_writer_that_lost_a_remote_dataset_commits_nothing_and_touches_nothing(
    remote: RemoteFiles, schema: pa.Schema, run_record: RunRecord, make_commit: Callable[..., RowGroupCommit]
) -> None:
    store = DatasetDirectory(remote, schema=schema)
    store.write_run(run_record)
    write_lock(remote, pid=1, host="elsewhere", seen=datetime.now(UTC))
    with pytest.raises(DatasetLockedError, match="elsewhere"):
        store.commit(make_commit(0))
    assert DatasetReader(remote).committed() == {}
    assert remote.sizes("data")
    store.close()
    assert b"elsewhere" in (remote.read(".lock") or b"")


def test_a_deleted_remote_lock_stops_the_writer(remote: RemoteFiles) -> None:
    lock = RemoteLock(remote)
    remote.delete(".lock")
    with pytest.raises(SinkError, match="deleted"):
        lock.check()
    lock.release()
