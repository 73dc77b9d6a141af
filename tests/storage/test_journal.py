"""The journal of answers: what was committed is there after any death of the process."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage.journal import Journal, JournalStatistics

KILLED = """
import os, signal, sys
from prefect_datagen.storage.journal import Journal
journal = Journal.open(sys.argv[1])
for number in range(300):
    journal.put(b"committed %d" % number, b"answer %d" % number)
    if number % 3 == 2:
        journal.commit()
journal.put(b"not committed", b"lost")
os.kill(os.getpid(), signal.SIGKILL)
"""


def key(step: int = 0) -> bytes:
    return hashlib.blake2b(b"%d" % step, digest_size=16).digest()


def test_an_answer_is_found_before_and_after_its_commit_and_after_a_reopening(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        assert journal.get(key()) is None
        journal.put(key(), b"\x00 answer")
        assert journal.get(key()) == b"\x00 answer"
        journal.commit()
        assert journal.get(key()) == b"\x00 answer"
        journal.put(key(step=1), b"second")
    with Journal.open(path) as journal:
        assert journal.get(key()) == b"\x00 answer"
        assert journal.get(key(step=1)) == b"second"
        assert journal.get(key(step=2)) is None
    assert [file.name for file in tmp_path.iterdir()] == ["journal.sqlite"]


def test_a_later_answer_replaces_an_earlier_one(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        for answer in (b"first", b"second"):
            journal.put(key(), answer)
            journal.put(key(step=1), answer)
            journal.commit()
        assert (journal.get(key()), journal.get(key(step=1))) == (b"second", b"second")


def test_what_it_did_is_counted(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        journal.commit()
        for step in range(3):
            journal.put(key(step=step), b"a")
        journal.commit()
        journal.put(key(step=3), b"a")
        journal.get(key(step=0))
        journal.get(key(step=9))
        assert journal.statistics() == JournalStatistics(stored=3, pending=1, hits=1, misses=1, searches=1, commits=1)
        assert "stored=3" in repr(journal)


def test_a_killed_process_loses_only_what_it_had_not_committed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    with Journal.open(path) as journal:
        found = [journal.get(b"committed %d" % number) for number in range(300)]
        assert found == [b"answer %d" % number for number in range(300)]
        assert journal.get(b"not committed") is None


def test_two_processes_may_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as one, Journal.open(path) as other:
        for number in range(20):
            one.put(b"one %d" % number, b"1")
            one.commit()
            other.put(b"other %d" % number, b"2")
            other.commit()
        assert one.get(b"other 19") == b"2"
        assert other.get(b"one 19") == b"1"


def test_what_is_surely_not_there_is_not_searched_for(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        for step in range(100):
            assert journal.get(key(step)) is None
            journal.put(key(step), b"a")
            journal.commit()
        assert journal.statistics().searches == 0
        assert [journal.get(key(step)) for step in range(100)] == [b"a"] * 100
    with Journal.open(path) as again:
        assert [again.get(key(step)) for step in range(100)] == [b"a"] * 100
        assert again.get(key(step=100)) is None
        assert again.statistics().searches == 101


def test_what_another_process_stored_is_found_in_the_next_tick(tmp_path: Path) -> None:
    """A row group goes to another worker when the one that had it died."""
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as mine, Journal.open(path) as other:
        assert mine.get(key(step=0)) is None
        mine.put(key(step=0), b"mine")
        mine.commit()
        for step in range(1, 4):
            other.put(key(step), b"theirs")
            other.commit()
            mine.commit()  # the end of a tick, with nothing to store
            assert mine.get(key(step)) == b"theirs"
        assert mine.get(key(step=0)) == b"mine"


def test_copying_the_log_is_not_taken_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        for step in range(9):
            journal.put(key(step), os.urandom(1 << 20))
            journal.commit()
        deadline = time.monotonic() + 30
        while path.stat().st_size < 8 << 20:
            assert time.monotonic() < deadline
            os.sched_yield()
        assert journal.get(key(step=100)) is None
        assert journal.statistics().searches == 0


def test_the_log_is_copied_into_the_file_while_the_journal_is_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    answer = os.urandom(1 << 20)
    with Journal.open(path) as journal:
        for number in range(9):
            journal.put(b"%d" % number, answer)
            journal.commit()
        deadline = time.monotonic() + 30
        while path.stat().st_size < 8 << 20:
            assert time.monotonic() < deadline
            os.sched_yield()
        assert [journal.get(b"%d" % number) for number in range(9)] == [answer] * 9


def test_the_log_is_copied_when_the_journal_may_rest(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        journal.put(key(), os.urandom(100_000))  # little: nothing would be copied before the end
        journal.commit()
        journal.rest()
        deadline = time.monotonic() + 30
        while path.stat().st_size < 100_000:
            assert time.monotonic() < deadline
            os.sched_yield()
        assert journal.get(key(step=1)) is None
        assert journal.statistics().searches == 0


# -- Faults


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"somebody's notes " * 1000)
    with pytest.raises(SinkError, match=r"journal .*not a database; move it away .* --no-journal"):
        Journal.open(path)
    assert path.read_bytes() == b"somebody's notes " * 1000


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE answers (key, answer)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SinkError, match="no journal of this version"):
        Journal.open(path)
    assert path.read_bytes() == before


def test_a_damaged_journal_is_reported_and_not_read_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    keys = [os.urandom(16) for _ in range(500)]
    with Journal.open(path) as journal:
        for each in keys:
            journal.put(each, each * 50)
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    path.write_bytes(damaged)
    with pytest.raises(SinkError, match="malformed; move it away"), Journal.open(path) as journal:
        journal.get(keys[0])


def test_a_full_disk_fails_the_commit_and_the_answers_are_stored_when_there_is_room(
    small_disk: Callable[[str], Path],
) -> None:
    path = small_disk("512k") / "journal.sqlite"
    answers = {b"%d" % number: os.urandom(100_000) for number in range(20)}
    with Journal.open(path) as journal:
        for name, answer in answers.items():
            journal.put(name, answer)
        with pytest.raises(SinkError, match=r"journal .*full"):
            journal.commit()
        assert journal.statistics().pending == 20
        small_disk("16m")
        journal.commit()
        assert journal.statistics().stored == 20
    with Journal.open(path) as journal:
        assert {name: journal.get(name) for name in answers} == answers


def test_a_disk_that_fills_up_keeps_what_was_committed(small_disk: Callable[[str], Path]) -> None:
    path = small_disk("512k") / "journal.sqlite"
    journal = Journal.open(path)
    number = 0

    def store_one() -> bool:
        journal.put(b"%d" % number, b"x" * 10_000)
        journal.commit()
        return True

    with pytest.raises(SinkError, match="journal"):  # noqa: PT012 - it is not known which one fails
        while store_one():
            number += 1
    assert number > 5
    with pytest.raises(SinkError, match="journal"):
        journal.close()
    journal.close()
    with Journal.open(path) as again:
        assert all(again.get(b"%d" % each) == b"x" * 10_000 for each in range(number))


def test_a_read_only_place_is_refused(tmp_path: Path, read_only: Callable[[Path], None]) -> None:
    read_only(tmp_path)
    with pytest.raises(SinkError, match="journal"):
        Journal.open(tmp_path / "journal.sqlite")
    with pytest.raises(SinkError, match="Read-only"):
        Journal.open(tmp_path / "folder" / "journal.sqlite")


def test_the_journal_of_another_machine_is_absorbed(tmp_path: Path) -> None:
    other = tmp_path / "journals" / "host.sqlite"
    with Journal.open(other, run="worker", fingerprint="f") as journal:
        journal.put(key(1), b"one")
        journal.put(key(2), b"two")
        journal.put_usage(b"spent")
    with Journal.open(tmp_path / "journal.sqlite", run="run", fingerprint="f") as journal:
        journal.put(key(1), b"own")
        journal.commit()
        journal.absorb(other)
        assert (journal.get(key(1)), journal.get(key(2))) == (b"own", b"two")
        assert journal.usage() == [b"spent"]
    assert list(other.parent.iterdir()) == []


def test_a_damaged_journal_of_another_machine_is_named_and_kept(tmp_path: Path) -> None:
    other = tmp_path / "host.sqlite"
    other.write_bytes(b"no journal" * 500)
    with Journal.open(tmp_path / "journal.sqlite") as journal, pytest.raises(SinkError, match=r"host\.sqlite"):
        journal.absorb(other)
    assert other.exists()
