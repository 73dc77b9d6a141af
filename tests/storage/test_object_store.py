"""On a real S3 server over HTTP. The contract of stores is tested there, too: `test_store.py`."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from prefect_datagen.storage import DatasetDirectory, DatasetReader, RowGroupCommit, RunRecord
from prefect_datagen.storage.remote_files import RemoteFiles
from tests.object_store import ObjectStore


def test_a_reader_sees_the_old_dataset_or_the_new_one_at_every_step_of_a_publication(
    s3: ObjectStore, schema: pa.Schema, run_record: RunRecord, make_commit: Callable[..., RowGroupCommit]
) -> None:
    url = s3.new_url()
    seen: list[list[int]] = []

    def look(step: str) -> None:
        reader = DatasetReader(url, storage_options=s3.options)
        seen.append(reader.dataset().to_table().column(0).to_pylist() if reader.dataset().schema.names else [])

    final = pa.schema([("number", pa.int64())])
    old = [pa.table({"number": [number]}, schema=final) for number in range(3)]
    new = [pa.table({"number": [10 + number]}, schema=final) for number in range(2)]
    files = RemoteFiles(url, storage_options=s3.options, on_step=look)
    with DatasetDirectory(files, schema=schema, staged=True) as store:
        store.write_run(run_record)
        store.commit(make_commit(0))
        seen.clear()
        store.publish(old, schema=final)
        assert seen[0] == []
        assert {tuple(each) for each in seen} == {(), (0, 1, 2)}
        seen.clear()
        store.publish(new, schema=final)
        assert {tuple(each) for each in seen} == {(0, 1, 2), (10, 11)}
        look("end")
    assert seen[-1] == [10, 11]


def test_a_part_without_a_manifest_is_not_in_the_dataset(
    s3: ObjectStore, schema: pa.Schema, run_record: RunRecord, make_commit: Callable[..., RowGroupCommit]
) -> None:
    """What a worker leaves that is killed between the two."""
    url = s3.new_url()
    counts: list[int] = []

    def look(step: str) -> None:
        counts.append(DatasetReader(url, storage_options=s3.options).dataset().count_rows())

    files = RemoteFiles(url, storage_options=s3.options, on_step=look)
    with DatasetDirectory(files, schema=schema) as store:
        store.write_run(run_record)
        store.commit(make_commit(0, trace=True))
        counts.clear()
        store.commit(make_commit(1, trace=True))
        assert len(counts) >= 3
        assert set(counts) == {10}
        look("end")
    assert counts[-1] == 20
