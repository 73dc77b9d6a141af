"""The Parquet sink as a Prefect block: declared, saved, and used as the place where results are kept."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import prefect
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from prefect import State, flow, get_client, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import ValidationError

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.engine.errors import DatasetLockedError, SinkError
from prefect_datagen.engine.outcomes import RowGroupManifest
from prefect_datagen.storage import DatasetDirectory, RowGroupCommit, RunRecord
from prefect_datagen.storage.layout import result_key

SCHEMA = pa.schema([("code", pa.string())])
RUN = RunRecord(
    seed=7, row_group_size=1, fingerprint="f", library_version="0.1.0", created_at=datetime(2025, 1, 1, tzinfo=UTC)
)


def make_commit(index: int) -> RowGroupCommit:
    table = pa.table({"code": ["0E8"]}, schema=SCHEMA)
    return RowGroupCommit(index=index, start_row=index, planned=1, requested=1, table=table, fingerprint="f")


def open_store(sink: ParquetRowGroupSink) -> DatasetDirectory:
    store = sink.open(schema=SCHEMA)
    if store.run_record() is None:
        store.write_run(RUN)
    return store


# -- As a declaration


def test_declaring_a_sink_touches_nothing(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path / "dataset"))
    assert sink.location == str(tmp_path / "dataset")
    assert list(tmp_path.iterdir()) == []


def test_a_path_object_is_a_path(tmp_path: Path) -> None:
    assert ParquetRowGroupSink(path=tmp_path).path == str(tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"path": ""}, {"path": "x", "compression": "zip"}, {}])
def test_a_wrong_declaration_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ParquetRowGroupSink(**fields)


def test_what_is_written_through_it_is_read_through_it(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path), compression="gzip")
    with open_store(sink) as store:
        store.commit(make_commit(0))
        with pytest.raises(DatasetLockedError):
            sink.open(schema=SCHEMA)
    assert sink.reader().dataset().to_table().to_pylist() == [{"code": "0E8"}]


def test_storage_options_reach_the_file_system(tmp_path: Path) -> None:
    place = f"dir://{uuid.uuid4().hex}"
    options = {"target_protocol": "memory", "path": "/" + uuid.uuid4().hex}
    sink = ParquetRowGroupSink(path=place, storage_options=options)  # type: ignore[arg-type]
    with open_store(sink) as store:
        store.commit(make_commit(0))
    assert sink.reader().dataset().count_rows() == 1
    assert ParquetRowGroupSink(path="memory:/" + options["path"]).reader().dataset().count_rows() == 0


def test_a_pickled_sink_joins_the_run_that_has_it_open(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path))
    with open_store(sink) as store:
        with pickle.loads(pickle.dumps(sink)).join(writer=store.writer, schema=SCHEMA) as worker:
            worker.commit(make_commit(3))
        assert list(store.committed()) == [3]


# -- As a file system for results


def test_results_are_kept_apart_from_the_rows(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path))
    with open_store(sink) as store:
        store.commit(make_commit(0))
    sink.write_path("a/result", b"1", _sync=True)
    sink.write_path("a/result", b"2", _sync=True)
    assert sink.read_path("a/result", _sync=True) == b"2"
    assert (tmp_path / ".results/a/result").read_bytes() == b"2"
    assert ds.dataset(tmp_path / "data").count_rows() == 1


async def _round_trip(sink: ParquetRowGroupSink) -> bytes:
    await sink.awrite_path("result", b"async")
    return await sink.aread_path("result")


def test_results_are_kept_from_async_code_too(tmp_path: Path) -> None:
    assert asyncio.run(_round_trip(ParquetRowGroupSink(path=str(tmp_path)))) == b"async"


@pytest.mark.parametrize("key", ["../run.json", "/etc/passwd", "a/../../x"])
def test_a_key_that_leads_out_of_the_dataset_is_refused(tmp_path: Path, key: str) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path))
    with pytest.raises(SinkError, match="leads out"):
        sink.write_path(key, b"")
    with pytest.raises(SinkError, match="leads out"):
        sink.read_path(key)


def test_a_missing_result_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ParquetRowGroupSink(path=str(tmp_path)).read_path("nothing")


def test_the_result_of_a_row_group_is_found_only_while_it_is_committed(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path))
    key = result_key(0, fingerprint="f")
    with open_store(sink) as store:
        sink.write_path(key, b"manifest")
        with pytest.raises(FileNotFoundError):
            sink.read_path(key)
        store.commit(make_commit(0))
        assert sink.read_path(key) == b"manifest"
        store.discard(0)
        with pytest.raises(FileNotFoundError):
            sink.read_path(key)


# -- With Prefect's API


@pytest.fixture
def secret() -> str:
    return f"secret-{uuid.uuid4().hex}"


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_a_saved_sink_is_loaded_as_it_was_and_its_secret_is_not_shown(tmp_path: Path, secret: str) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path), compression="lz4", storage_options={"secret": secret})  # type: ignore[arg-type]
    name = f"sink-{uuid.uuid4().hex}"
    sink.save(name)
    loaded = ParquetRowGroupSink.load(name)
    assert loaded.model_dump() == sink.model_dump()
    assert loaded.storage_options is not None
    assert loaded.storage_options.get_secret_value() == {"secret": secret}
    with get_client(sync_client=True) as client:
        shown = client.read_block_document_by_name(name, "parquet-row-group-sink", include_secrets=False)
    for text in (repr(sink), str(sink), sink.model_dump_json(), shown.model_dump_json(), repr(loaded), sink.location):
        assert secret not in text


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_a_sink_is_saved_once_for_its_path(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=str(tmp_path)).saved()
    assert sink.saved() is sink
    again = ParquetRowGroupSink(path=str(tmp_path)).saved()
    assert again._block_document_id == sink._block_document_id
    changed = ParquetRowGroupSink(path=str(tmp_path), compression="gzip").saved()
    assert changed._block_document_id == sink._block_document_id
    assert ParquetRowGroupSink.load(str(changed._block_document_name)).compression == "gzip"
    other = ParquetRowGroupSink(path=str(tmp_path / "other")).saved()
    assert other._block_document_id != sink._block_document_id


class _Overloaded(BaseHTTPRequestHandler):
    """Prefect's server with more to do than it can: it tells its version, and nothing else."""

    def do_GET(self) -> None:
        version = self.path.endswith("/admin/version")
        body = json.dumps(prefect.__version__).encode() if version else b""
        self.send_response(200 if version else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_server_that_does_not_take_a_sink_is_an_error_of_that_sink(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Overloaded) as overloaded:
        threading.Thread(target=overloaded.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{overloaded.server_address[1]}/api"
        with (
            temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
            pytest.raises(SinkError, match=rf"block of the sink {tmp_path}: .*503.*overloaded"),
        ):
            ParquetRowGroupSink(path=str(tmp_path)).saved()
        overloaded.shutdown()


def _key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return result_key(parameters["index"], fingerprint="f")


@task(cache_policy=CacheKeyFnPolicy(cache_key_fn=_key), persist_result=True, cache_result_in_memory=False)
def commit_row_group(commit: Callable[[int], RowGroupManifest], index: int) -> RowGroupManifest:
    """A row group that commits in its body; the manifest it returns is the result."""
    return commit(index)


@task(persist_result=True, cache_result_in_memory=False)
async def answer() -> str:
    return "from an async task"


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_a_committed_row_group_is_cached_on_the_next_run_and_a_discarded_one_is_not(tmp_path: Path) -> None:
    made: list[int] = []

    @flow
    def build() -> list[State[RowGroupManifest]]:
        sink = ParquetRowGroupSink(path=str(tmp_path)).saved()
        process = commit_row_group.with_options(result_storage=sink)
        with open_store(sink) as store:

            def commit(index: int) -> RowGroupManifest:
                made.append(index)
                return store.commit(make_commit(index))

            states = [process(commit, index, return_state=True) for index in range(3)]
            assert {state.result().index: state.result() for state in states} == store.committed()
        return [state.name for state in states]  # type: ignore[misc]

    assert build() == ["Completed"] * 3
    assert build() == ["Cached"] * 3
    with open_store(ParquetRowGroupSink(path=str(tmp_path))) as store:
        store.discard(1)
    assert build() == ["Cached", "Completed", "Cached"]
    with open_store(ParquetRowGroupSink(path=str(tmp_path))) as store:
        store.supersede()
    assert build() == ["Completed"] * 3
    assert made == [0, 1, 2, 1, 0, 1, 2]
    assert ds.dataset(tmp_path / "data").count_rows() == 3


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_api")
def test_async_tasks_keep_their_results_in_it(tmp_path: Path) -> None:
    @flow
    def ask(sink: ParquetRowGroupSink) -> str:
        keeping = answer.with_options(result_storage=sink, result_storage_key="answer")
        return keeping.submit().result()

    sink = ParquetRowGroupSink(path=str(tmp_path)).saved()
    assert ask(sink) == "from an async task"
    assert (tmp_path / ".results/answer").is_file()
