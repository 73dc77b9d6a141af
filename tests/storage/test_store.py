"""The contract of `RowGroupStore`, the same for every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import InternalError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, Outcome
from prefect_datagen.storage import RowGroupCommit, RowGroupStore, RunRecord
from prefect_datagen.storage.parts import rejected_rows

Open = Callable[..., RowGroupStore]
Make = Callable[..., RowGroupCommit]


@pytest.fixture
def store(open_store: Open, run_record: RunRecord) -> RowGroupStore:
    opened = open_store()
    opened.write_run(run_record)
    return opened


def test_an_empty_store_has_nothing_but_its_columns(open_store: Open, schema: pa.Schema) -> None:
    store = open_store()
    assert store.committed() == {}
    assert (store.config(), store.run_record(), store.metadata()) == (None, None, None)
    assert store.dataset().to_table() == store.head(5) == schema.empty_table()
    assert list(store.load().columns) == schema.names
    assert (store.rejects().num_rows, store.traces().num_rows) == (0, 0)


def test_what_is_committed_is_read_back_in_the_order_of_rows(store: RowGroupStore, make_commit: Make) -> None:
    manifests = {index: store.commit(make_commit(index)) for index in (2, 0, 1)}
    assert list(store.committed().items()) == sorted(manifests.items())
    expected = pa.concat_tables([make_commit(index).table for index in range(3)])
    assert store.dataset().to_table() == expected
    assert store.generated().to_table() == expected
    assert store.dataset().count_rows() == 30
    for rows in (0, 3, 10, 13, 40):
        assert store.head(rows) == expected.slice(0, rows)


def test_a_manifest_accounts_for_every_row(store: RowGroupStore, make_commit: Make) -> None:
    commit = make_commit(1, rejects=True, requested=12, filtered=2)
    manifest = store.commit(commit)
    assert (manifest.start_row, manifest.planned, manifest.requested) == (10, 10, 12)
    assert (manifest.written, manifest.rejected, manifest.filtered) == (9, 1, 2)
    assert manifest.rejected_by_reason == {"400": 1}
    assert manifest.outcome is Outcome.COMPLETED
    assert rejected_rows(store.rejects()) == commit.rejects


def test_counts_that_do_not_add_up_are_a_bug_and_nothing_is_committed(store: RowGroupStore, make_commit: Make) -> None:
    with pytest.raises(InternalError, match=r"row group 0 does not add up.*requested 11") as caught:
        store.commit(make_commit(0, requested=11))
    assert caught.value.context()["row_group"] == 0
    assert store.committed() == {}


def test_a_row_group_without_rows_is_dropped_and_committed(
    store: RowGroupStore, make_commit: Make, schema: pa.Schema
) -> None:
    manifest = store.commit(make_commit(0, rows=1, rejects=True))
    assert manifest.outcome is Outcome.DROPPED
    assert store.committed() == {0: manifest}
    assert store.dataset().to_table() == schema.empty_table()


def test_a_row_group_of_no_rows_at_all_is_completed(store: RowGroupStore, make_commit: Make) -> None:
    assert store.commit(make_commit(0, rows=0)).outcome is Outcome.COMPLETED
    assert len(store.load()) == 0


def test_committing_the_same_rows_again_changes_nothing(store: RowGroupStore, make_commit: Make) -> None:
    first = store.commit(make_commit(0, rejects=True))
    assert store.commit(make_commit(0, rejects=True)) == first
    assert store.committed() == {0: first}


def test_other_rows_for_a_committed_row_group_are_refused(store: RowGroupStore, make_commit: Make) -> None:
    first = store.commit(make_commit(0))
    with pytest.raises(InternalError, match="row group 0 is committed already"):
        store.commit(make_commit(0, table=make_commit(1).table))
    assert store.committed() == {0: first}


def test_a_discarded_row_group_can_be_made_anew(store: RowGroupStore, make_commit: Make) -> None:
    store.commit(make_commit(0, rejects=True, trace=True))
    store.commit(make_commit(1))
    store.discard(0)
    store.discard(0)
    assert list(store.committed()) == [1]
    assert (store.rejects().num_rows, store.traces().num_rows) == (0, 0)
    store.commit(make_commit(0))
    assert store.dataset().count_rows() == 20


def test_every_write_is_cast_to_the_schema(store: RowGroupStore, make_commit: Make, schema: pa.Schema) -> None:
    table = pa.table({"score": pa.array([1, 2], pa.int32()), "visits": pa.array([None, None]), "code": ["0E8", "NA"]})
    store.commit(make_commit(0, rows=2, table=table))
    assert store.dataset().to_table() == pa.table(
        {"code": ["0E8", "NA"], "visits": pa.array([None, None], pa.int64()), "score": [1.0, 2.0]}, schema=schema
    )


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (pa.table({"code": ["a"], "visits": ["many"], "score": [1.0]}), "visits"),
        (pa.table({"code": ["a"], "visits": [1.5], "score": [1.0]}), "visits"),
        (pa.table({"code": ["a"], "visits": [1]}), "score"),
        (pa.table({"code": ["a"], "visits": [1], "score": [1.0], "extra": [1]}), "extra"),
    ],
)
def test_what_does_not_fit_is_refused_by_column(
    store: RowGroupStore, make_commit: Make, table: pa.Table, column: str
) -> None:
    with pytest.raises(SinkError, match=column) as caught:
        store.commit(make_commit(0, rows=1, table=table))
    assert caught.value.context() == {"row_group": 0, "column": column}
    assert store.committed() == {}


def test_nulls_where_there_may_be_none_are_refused(open_store: Open, run_record: RunRecord, make_commit: Make) -> None:
    store = open_store(schema=pa.schema([pa.field("code", pa.string(), nullable=False)]))
    store.write_run(run_record)
    with pytest.raises(SinkError, match="'code' has 1 nulls"):
        store.commit(make_commit(0, rows=1, table=pa.table({"code": pa.array([None], pa.string())})))


def test_a_schema_that_parquet_cannot_hold_is_refused_at_open(open_store: Open) -> None:
    with pytest.raises(SinkError, match="Parquet"):
        open_store(schema=pa.schema([("nothing", pa.struct([]))]))


def test_records_are_read_back_as_written(open_store: Open, run_record: RunRecord, metadata: DatasetMetadata) -> None:
    store = open_store()
    store.write_config("columns: []  # é\n")
    store.write_run(run_record)
    store.write_metadata(metadata)
    assert store.config() == "columns: []  # é\n"
    assert store.run_record() == run_record
    assert store.metadata() == metadata


def test_a_commit_before_the_run_record_is_a_bug(open_store: Open, make_commit: Make) -> None:
    with pytest.raises(InternalError, match="write_run"):
        open_store().commit(make_commit(0))


def test_traces_are_read_back(store: RowGroupStore, make_commit: Make) -> None:
    for index in range(2):
        store.commit(make_commit(index, trace=True))
    assert store.traces().to_pylist() == [{"column": "score", "row_group": index} for index in range(2)]


def test_whole_numbers_stay_whole_in_pandas_where_some_are_missing(
    open_store: Open, run_record: RunRecord, make_commit: Make
) -> None:
    store = open_store(schema=pa.schema([("n", pa.int64()), ("code", pa.string())]))
    store.write_run(run_record)
    table = pa.table({"n": [2**53 + 1, None], "code": ["0E8", None]})
    store.commit(make_commit(0, rows=2, table=table))
    frame = store.load()
    assert frame["n"].tolist()[0] == 2**53 + 1
    assert frame["n"].isna().tolist() == [False, True]
    assert frame["code"].tolist()[0] == "0E8"


def test_supersede_leaves_an_empty_dataset(
    store: RowGroupStore, make_commit: Make, run_record: RunRecord, metadata: DatasetMetadata
) -> None:
    store.commit(make_commit(0, rejects=True))
    store.write_metadata(metadata)
    store.supersede()
    assert store.committed() == {}
    assert (store.config(), store.run_record(), store.metadata()) == (None, None, None)
    assert (store.dataset().count_rows(), store.rejects().num_rows) == (0, 0)
    store.write_run(run_record)
    store.commit(make_commit(0, table=make_commit(1).table))
    assert store.dataset().count_rows() == 10


def test_publish_replaces_what_readers_get_and_keeps_what_was_committed(
    open_store: Open, run_record: RunRecord, make_commit: Make
) -> None:
    store = open_store(staged=True)
    store.write_run(run_record)
    store.commit(make_commit(0))
    assert store.dataset().count_rows() == 0
    schema = pa.schema([("code", pa.string())])
    for times in (1, 2):
        batch = store.generated().to_table().select(["code"])
        store.publish(iter([batch] * times), schema=schema)
        assert store.dataset().to_table() == pa.concat_tables([batch] * times)
    assert store.dataset().schema == schema
    assert store.generated().count_rows() == 10
    assert list(store.committed()) == [0]


def test_publishing_nothing_leaves_a_dataset_of_no_rows_with_its_columns(
    open_store: Open, run_record: RunRecord
) -> None:
    store = open_store(staged=True)
    store.write_run(run_record)
    schema = pa.schema([("code", pa.string())])
    store.publish([], schema=schema)
    assert store.dataset().to_table() == schema.empty_table()


def test_a_processor_that_fails_while_publishing_leaves_the_dataset_as_it_was(
    open_store: Open, run_record: RunRecord, make_commit: Make
) -> None:
    store = open_store(staged=True)
    store.write_run(run_record)
    store.commit(make_commit(0))
    before = store.generated().to_table()
    store.publish([before], schema=before.schema)

    def failing() -> Iterator[pa.Table]:
        yield before.slice(0, 1)
        raise RuntimeError("a processor of the user's")

    with pytest.raises(RuntimeError, match="of the user's"):
        store.publish(failing(), schema=before.schema)
    with pytest.raises(SinkError, match="visits"):
        store.publish([before.set_column(1, "visits", pa.array(["x"] * 10))], schema=before.schema)
    assert store.dataset().to_table() == before


def test_only_a_staged_store_publishes(store: RowGroupStore, make_commit: Make) -> None:
    with pytest.raises(SinkError, match="staged"):
        store.publish([make_commit(0).table], schema=make_commit(0).table.schema)


def test_a_store_opened_again_finds_what_was_there(
    open_store: Open, run_record: RunRecord, metadata: DatasetMetadata, make_commit: Make
) -> None:
    with open_store() as store:
        store.write_run(run_record)
        manifest = store.commit(make_commit(0, rejects=True))
        store.write_metadata(metadata)
        rows = store.dataset().to_table()
    with open_store() as again:
        assert (again.run_record(), again.metadata()) == (run_record, metadata)
        assert again.committed() == {0: manifest}
        assert again.dataset().to_table() == rows
        assert again.commit(make_commit(0, rejects=True)) == manifest
        again.commit(make_commit(1))
        assert list(again.committed()) == [0, 1]


def test_a_closed_store_is_read_and_not_written(store: RowGroupStore, make_commit: Make) -> None:
    store.commit(make_commit(0))
    with store:
        pass
    store.close()
    assert store.dataset().count_rows() == 10
    for write in (lambda: store.commit(make_commit(1)), lambda: store.discard(0), store.supersede):
        with pytest.raises(SinkError, match="closed"):
            write()
