"""The sink of previews."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from prefect import flow, task

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.engine.errors import SinkError
from prefect_datagen.storage import RowGroupCommit, RunRecord

SCHEMA = pa.schema([("code", pa.string())])
RUN = RunRecord(
    seed=7, row_group_size=1, fingerprint="f", library_version="0.1.0", created_at=datetime(2025, 1, 1, tzinfo=UTC)
)


def commit_one(sink: InMemoryRowGroupSink) -> None:
    with sink.open(schema=SCHEMA) as store:
        store.write_run(RUN)
        table = pa.table({"code": ["0E8"]}, schema=SCHEMA)
        store.commit(RowGroupCommit(index=0, start_row=0, planned=1, requested=1, table=table))


def test_what_is_written_through_it_is_read_through_it() -> None:
    sink = InMemoryRowGroupSink()
    assert sink.reader().run_record() is None
    commit_one(sink)
    assert sink.reader().dataset().to_table().to_pylist() == [{"code": "0E8"}]
    assert sink.reader().run_record() == RUN
    assert sink.location == "memory"
    with pytest.raises(SinkError, match="closed"):
        sink.reader().write_config("")


def test_two_sinks_share_nothing() -> None:
    commit_one(InMemoryRowGroupSink())
    assert InMemoryRowGroupSink().reader().committed() == {}


def test_nothing_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = InMemoryRowGroupSink()
    commit_one(sink)
    sink.write_path("result", b"1", _sync=True)
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_told_why_it_cannot_join() -> None:
    sink = InMemoryRowGroupSink()
    commit_one(sink)
    copy = pickle.loads(pickle.dumps(sink))
    assert copy.reader().committed() == {}
    with pytest.raises(SinkError, match="another process"):
        copy.join(writer="", schema=SCHEMA)


def test_results_are_remembered() -> None:
    async def round_trip(sink: InMemoryRowGroupSink) -> bytes:
        await sink.awrite_path("b", b"2")
        return await sink.aread_path("b")

    sink = InMemoryRowGroupSink()
    sink.write_path("a", b"1", _sync=True)
    assert sink.read_path("a", _sync=True) == b"1"
    assert asyncio.run(round_trip(sink)) == b"2"
    with pytest.raises(FileNotFoundError):
        sink.read_path("c")


@task(persist_result=True, cache_result_in_memory=False, result_storage_key="two")
def two() -> int:
    return 2


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_it_is_a_result_storage() -> None:
    sink = InMemoryRowGroupSink().saved()

    @flow
    def ask() -> tuple[str, str]:
        keeping = two.with_options(result_storage=sink)
        return keeping(return_state=True).name, keeping(return_state=True).name

    assert ask() == ("Completed", "Cached")
    assert InMemoryRowGroupSink.load("in-memory").reader().committed() == {}
