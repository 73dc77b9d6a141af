"""The dataset directory: its files, its faults, and its readers."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from prefect_datagen.engine.errors import ResumeRefusedError, SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, RowGroupManifest
from prefect_datagen.storage import DatasetDirectory, DatasetReader, RowGroupCommit, RunRecord, local_files

Make = Callable[..., RowGroupCommit]
Disk = Callable[[str], Path]


@pytest.fixture
def dataset(tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make) -> Path:
    """A dataset of two row groups of ten rows."""
    with DatasetDirectory(tmp_path / "dataset", schema=schema) as store:
        store.write_run(run_record)
        store.commit(make_commit(0, rejects=True, trace=True))
        store.commit(make_commit(1))
    return tmp_path / "dataset"


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# -- Layout


def test_a_manifest_that_somebody_holds_is_not_parsed_again(dataset: Path) -> None:
    held = DatasetReader(dataset).committed()
    again = DatasetReader(dataset).committed()
    assert all(again[index] is held[index] for index in (0, 1))
    place = dataset / "manifests" / "part-00001.json"
    digest = str(held[1].part_sha256)
    place.write_text(place.read_text().replace(digest, digest[::-1]))
    changed = DatasetReader(dataset).committed()
    assert changed[0] is held[0]
    assert (held[1].part_sha256, changed[1].part_sha256) == (digest, digest[::-1])


def test_a_stamp_tells_that_nothing_was_committed_since(dataset: Path, schema: pa.Schema, make_commit: Make) -> None:
    folders = [dataset / "manifests", dataset / "data"]

    def settle(seconds: int) -> None:
        for folder in folders:
            os.utime(folder, times=(0, time.time() - seconds))

    reader = DatasetReader(dataset)
    assert reader.stamp() is None  # changed a moment ago: the time of the folder might not tell another change
    settle(3600)
    first = reader.stamp()
    assert first is not None
    assert reader.stamp() == first
    with DatasetDirectory(dataset, schema=schema) as store:
        assert store.stamp() == first
        store.commit(make_commit(2))
        assert store.stamp() is None
        settle(60)
        assert store.stamp() not in (None, first)
    os.utime(dataset / "data", times=(0, 0))  # a part that was taken away or put back counts, too
    assert reader.stamp() not in (None, first)


@pytest.mark.parametrize(("slow", "threads"), [(0.0, True), (3600.0, False)])
def test_many_files_are_read_in_order_by_threads_only_where_that_is_slow(
    slow: float, threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: set[int] = set()
    read = local_files._read

    def noted(paths: Sequence[str]) -> list[bytes]:
        here.add(threading.get_ident())
        return read(paths)

    monkeypatch.setattr(local_files, "_SLOW", slow)
    monkeypatch.setattr(local_files, "_read", noted)
    contents = [b"", b"x" * 200_000, *(str(number).encode() for number in range(300))]
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    names = [str(number) for number in range(len(contents))]
    assert local_files.LocalFiles(tmp_path).read_all(names) == contents
    assert (here != {threading.get_ident()}) is threads
    with pytest.raises(FileNotFoundError):
        local_files.LocalFiles(tmp_path).read_all([*names, "missing"])


def test_the_first_rows_are_read_from_the_row_groups_that_hold_them(dataset: Path) -> None:
    (dataset / "manifests" / "part-00001.json").write_text("not JSON")
    assert DatasetReader(dataset).head(5).num_rows == 5
    with pytest.raises(SinkError, match=r"part-00001\.json is damaged"):
        DatasetReader(dataset).head(15)


def test_the_layout_is_the_documented_one(dataset: Path) -> None:
    assert files_in(dataset) == {
        "run.json",
        "data/part-00000.parquet",
        "data/part-00001.parquet",
        "rejects/part-00000.parquet",
        "traces/part-00000.parquet",
        "manifests/part-00000.json",
        "manifests/part-00001.json",
        ".lock",
    }


def test_a_manifest_has_size_and_digest_of_its_part(dataset: Path) -> None:
    for manifest in DatasetReader(dataset).committed().values():
        assert manifest.part is not None
        data = (dataset / manifest.part).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (manifest.part_bytes, manifest.part_sha256)


def test_equal_tables_make_equal_files_however_they_are_chunked(
    tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    whole = make_commit(0).table
    chunked = pa.concat_tables([whole.slice(0, 3), whole.slice(3, 0), whole.slice(3)])
    digests = set()
    for name, table in (("a", whole), ("b", chunked)):
        with DatasetDirectory(tmp_path / name, schema=schema) as store:
            store.write_run(run_record)
            digests.add(store.commit(make_commit(0, table=table)).part_sha256)
    assert len(digests) == 1


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "none"])
def test_parts_are_compressed_as_asked_and_carry_statistics(
    tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make, compression: str
) -> None:
    with DatasetDirectory(tmp_path, schema=schema, compression=compression) as store:
        store.write_run(run_record)
        store.commit(make_commit(0))
    column = pq.ParquetFile(tmp_path / "data/part-00000.parquet").metadata.row_group(0).column(1)
    expected = {"none": "UNCOMPRESSED"}.get(compression, compression.upper())
    assert column.compression == expected
    assert (column.statistics.min, column.statistics.max, column.statistics.null_count) == (0, 9, 1)


def test_other_readers_read_it_as_it_is_and_text_is_text(dataset: Path) -> None:
    expected = DatasetReader(dataset).dataset().to_table()
    codes = expected["code"].to_pylist()
    assert codes[:10] == ["0E8", "00M", "1.10", "null", "true", "NA", "", "é", "0123", "0E8"]
    data = dataset / "data"
    assert ds.dataset(data).to_table().select(expected.column_names) == expected
    assert pd.read_parquet(data)["code"].tolist() == codes
    found = duckdb.sql(f"SELECT code, visits FROM '{data}/*.parquet'").fetchall()
    assert found == list(zip(codes, expected["visits"].to_pylist(), strict=True))


def test_polars_reads_it_as_it_is(dataset: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(dataset / "data" / "*.parquet")
    assert frame["code"].to_list() == DatasetReader(dataset).dataset().to_table()["code"].to_pylist()


def test_a_reader_without_a_schema_takes_that_of_the_parts(dataset: Path, schema: pa.Schema) -> None:
    reader = DatasetReader(dataset)
    assert reader.dataset().schema == schema
    assert reader.load().shape == (19, 3)
    assert DatasetReader(dataset / "nothing here").dataset().count_rows() == 0


def test_a_thousand_row_groups_are_read_in_order(dataset: Path) -> None:
    reader = DatasetReader(dataset)
    manifest = reader.committed()[1]
    for index in range(2, 1000):
        changed = manifest.model_copy(update={"index": index})
        (dataset / f"manifests/part-{index:05d}.json").write_text(changed.model_dump_json())
    assert list(reader.committed()) == list(range(1000))
    assert reader.committed()[999].index == 999


def test_row_groups_above_99999_keep_their_order(
    tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    with DatasetDirectory(tmp_path, schema=schema) as store:
        store.write_run(run_record)
        for index in (100_000, 99_999):
            store.commit(make_commit(index))
        assert list(store.committed()) == [99_999, 100_000]
        assert store.dataset().to_table()["visits"][0].as_py() == 9_999_900


# -- Opening


def test_leftovers_of_a_dead_writer_are_removed_and_nothing_else(dataset: Path, schema: pa.Schema) -> None:
    before = files_in(dataset)
    leftovers = [
        "data/.part-00009.parquet.abc.tmp",
        ".run.json.abc.tmp",
        "data/part-00009.parquet",
        "rejects/part-00009.parquet",
    ]
    kept = ["notes.md", "data/README.md", ".hidden", "artifacts/image.png"]
    for name in leftovers + kept:
        (dataset / name).parent.mkdir(exist_ok=True)
        (dataset / name).write_text("x")
    DatasetDirectory(dataset, schema=schema).close()
    assert files_in(dataset) == before | set(kept)


@pytest.mark.parametrize("name", ["data/part-00000.parquet", "row_groups/x", "manifests/part-00000.json"])
def test_a_folder_with_parts_of_somebody_else_is_refused_and_left_alone(
    tmp_path: Path, schema: pa.Schema, name: str
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(SinkError, match="no dataset of prefect-datagen"):
        DatasetDirectory(tmp_path, schema=schema)
    assert (tmp_path / name).read_text() == "somebody's"


@pytest.mark.parametrize("staged", [True, False])
def test_a_dataset_built_with_and_without_after_generation_is_not_mixed(
    tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make, staged: bool
) -> None:
    with DatasetDirectory(tmp_path, schema=schema, staged=staged) as store:
        store.write_run(run_record)
        store.commit(make_commit(0))
        if staged:
            store.publish([make_commit(0).table], schema=schema)
    before = files_in(tmp_path)
    with DatasetDirectory(tmp_path, schema=schema, staged=not staged) as store:
        assert list(store.committed()) == [0]
        with pytest.raises(ResumeRefusedError, match="--resume never") as caught:
            store.commit(make_commit(1))
        assert len(caught.value.differences) == 1
        assert files_in(tmp_path) == before | {".lock.json"}
        store.supersede()
        store.write_run(run_record)
        store.commit(make_commit(0))
        assert store.generated().count_rows() == 10


def test_supersede_numbers_what_it_sets_aside_and_keeps_the_journal_unless_asked(
    dataset: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    (dataset / "journal.sqlite").write_bytes(b"answers")
    (dataset / "notes.md").write_text("mine")
    with DatasetDirectory(dataset, schema=schema) as store:
        store.supersede()
        store.supersede()
        store.write_run(run_record)
        store.commit(make_commit(0))
        assert (dataset / "journal.sqlite").read_bytes() == b"answers"
        store.supersede(with_journal=True)
    assert (dataset / "notes.md").read_text() == "mine"
    assert not (dataset / "journal.sqlite").exists()
    assert (dataset / ".superseded/2/journal.sqlite").read_bytes() == b"answers"
    assert sorted(path.name for path in (dataset / ".superseded").iterdir()) == ["1", "2"]
    assert DatasetReader(dataset / ".superseded/1").dataset().count_rows() == 19
    assert DatasetReader(dataset / ".superseded/2").dataset().count_rows() == 10


# -- Damage


def test_a_missing_part_is_named_with_the_way_out(dataset: Path) -> None:
    (dataset / "data/part-00001.parquet").unlink()
    with pytest.raises(
        SinkError, match=r"row group 1: .* is missing; restore it, or delete manifests/part-00001"
    ) as caught:
        DatasetReader(dataset).committed()
    assert caught.value.context()["row_group"] == 1


def test_a_part_of_another_size_is_named(dataset: Path) -> None:
    part = dataset / "data/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(SinkError, match="bytes instead of"):
        DatasetReader(dataset).committed()


@pytest.mark.parametrize("name", ["manifests/part-00000.json", "run.json", "metadata.json"])
def test_a_damaged_record_is_named(dataset: Path, name: str) -> None:
    (dataset / name).write_text('{"index": ')
    reader = DatasetReader(dataset)
    with pytest.raises(SinkError, match=name):
        {"manifests": reader.committed, "run.json": reader.run_record, "metadata.json": reader.metadata}[
            name.partition("/")[0]
        ]()


# -- Disks that refuse


def test_a_full_disk_fails_the_commit_and_leaves_the_dataset_as_it_was(
    small_disk: Disk, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    place = small_disk("64k") / "dataset"
    large = make_commit(1, rows=60_000)
    with DatasetDirectory(place, schema=schema) as store:
        store.write_run(run_record)
        first = store.commit(make_commit(0))
        before = files_in(place)
        with pytest.raises(SinkError, match=r"row group 1: cannot write .*part-00001.parquet: No space left") as caught:
            store.commit(large)
        assert caught.value.context()["row_group"] == 1
        assert files_in(place) == before
        assert store.committed() == {0: first}
        small_disk("8m")
        store.commit(large)
        assert store.dataset().count_rows() == 60_010


def test_a_full_disk_while_publishing_leaves_the_published_dataset(
    small_disk: Disk, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    place = small_disk("1m") / "dataset"
    small, large = make_commit(0).table, make_commit(1, rows=60_000).table
    with DatasetDirectory(place, schema=schema, staged=True) as store:
        store.write_run(run_record)
        store.publish([small], schema=schema)
        before = files_in(place)
        with pytest.raises(SinkError, match="No space left on device"):
            store.publish([large] * 10, schema=schema)
        assert files_in(place) == before
        assert store.dataset().to_table() == small


def test_a_full_disk_fails_metadata_and_the_old_one_stays(
    small_disk: Disk, schema: pa.Schema, metadata: DatasetMetadata
) -> None:
    place = small_disk("64k") / "dataset"
    with DatasetDirectory(place, schema=schema) as store:
        store.write_metadata(metadata)
        with pytest.raises(SinkError, match=r"metadata.json: No space left on device"):
            store.write_metadata(metadata.model_copy(update={"reasons": ["x" * 100_000]}))
        assert store.metadata() == metadata


def test_a_read_only_dataset_is_read_and_not_opened_for_writing(
    dataset: Path, schema: pa.Schema, read_only: Callable[[Path], None]
) -> None:
    read_only(dataset)
    with pytest.raises(SinkError, match="Read-only file system"):
        DatasetDirectory(dataset, schema=schema)
    assert DatasetReader(dataset).dataset().count_rows() == 19


def test_a_disk_that_becomes_read_only_fails_the_commit(
    dataset: Path, schema: pa.Schema, make_commit: Make, read_only: Callable[[Path], None]
) -> None:
    with DatasetDirectory(dataset, schema=schema) as store:
        read_only(dataset / "manifests")
        with pytest.raises(SinkError, match=r"row group 2: cannot write .*manifests/part-00002.json: Read-only"):
            store.commit(make_commit(2))
        assert list(store.committed()) == [0, 1]
        assert not (dataset / "data/part-00002.parquet").exists()


def test_a_path_through_a_file_is_refused(tmp_path: Path, schema: pa.Schema) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot open .*file/dataset: Not a directory"):
        DatasetDirectory(tmp_path / "file" / "dataset", schema=schema)


def test_an_unknown_protocol_is_refused(schema: pa.Schema) -> None:
    with pytest.raises(SinkError, match="nosuch://bucket"):
        DatasetDirectory("nosuch://user:secret@bucket/x", schema=schema)


def test_a_remote_file_system_that_does_not_answer_is_a_sink_error(schema: pa.Schema) -> None:
    with pytest.raises(SinkError, match="cannot"):
        DatasetDirectory("http://127.0.0.1:9/dataset", schema=schema)


# -- Threads and processes


def test_row_groups_are_committed_from_many_threads(
    tmp_path: Path, schema: pa.Schema, run_record: RunRecord, make_commit: Make
) -> None:
    with DatasetDirectory(tmp_path, schema=schema) as store:
        store.write_run(run_record)
        start = threading.Barrier(8)

        def commit_some(first: int) -> None:
            start.wait()
            for index in range(first, 24, 8):
                store.commit(make_commit(index, rejects=True))

        threads = [threading.Thread(target=commit_some, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(store.committed()) == list(range(24))
        assert store.rejects().num_rows == 24


def test_a_reader_beside_a_writer_misses_no_part(dataset: Path) -> None:
    whole, stop = DatasetReader(dataset).committed(), threading.Event()

    def write_on() -> None:
        """What a commit does to the folder: a name that is there one moment and gone the next."""
        while not stop.is_set():
            temporary = dataset / "data" / ".part-00099.parquet.tmp"
            temporary.touch()
            os.replace(temporary, dataset / "data" / "part-00099.parquet")

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert all(DatasetReader(dataset).committed() == whole for _ in range(1_000))
    finally:
        stop.set()
        writer.join()


def test_a_process_that_joins_commits_under_the_lock_of_the_one_that_opened(
    dataset: Path, schema: pa.Schema, make_commit: Make
) -> None:
    code = """
import pickle, sys
from prefect_datagen.storage import DatasetDirectory
place, schema, commit, writer = pickle.load(sys.stdin.buffer)
with DatasetDirectory(place, schema=schema, joins=writer) as store:
    print(store.commit(commit).model_dump_json())
"""
    with DatasetDirectory(dataset, schema=schema) as store:
        work = pickle.dumps((dataset, schema, make_commit(2), store.writer))
        done = subprocess.run([sys.executable, "-c", code], input=work, capture_output=True, check=True)
        assert store.committed()[2] == RowGroupManifest.model_validate_json(done.stdout)
        with pytest.raises(SinkError, match="being written by process"):
            DatasetDirectory(dataset, schema=schema)


def test_a_worker_is_told_to_stop_and_writes_nothing_for_a_writer_that_is_gone(
    dataset: Path, schema: pa.Schema, make_commit: Make
) -> None:
    with DatasetDirectory(dataset, schema=schema) as store:
        joined = DatasetDirectory(dataset, schema=schema, joins=store.writer)
        held = joined.holder()
        assert held is not None
        assert (held.token, held.stopping) == (store.writer, None)
        store.tell_to_stop("enough", grace=2.0)
        told = joined.holder()
        assert told is not None
        assert (told.stopping, told.grace) == ("enough", 2.0)
        joined.commit(make_commit(7))
    assert joined.holder() is None
    with DatasetDirectory(dataset, schema=schema) as other:
        with pytest.raises(SinkError, match="does not hold the dataset any more"):
            joined.commit(make_commit(8))
        assert 8 not in other.committed()
