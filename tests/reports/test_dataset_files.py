"""Reading a dataset that somebody may be writing."""

from __future__ import annotations

import pytest

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.reports.dataset_files import DatasetFiles
from tests.reports.datasets import commit, rows, write_dataset


def test_manifests_are_read_in_order_and_the_metadata_last(tmp_path):
    state = DatasetFiles(write_dataset(tmp_path / "ds", groups=12, size=10)).read()
    assert [manifest.index for manifest in state.manifests] == list(range(12))
    assert (state.name, state.status) == ("reviews", Verdict.PARTIAL)
    assert state.usage()["writer"].calls == 120


def test_a_dataset_without_metadata_is_being_built(tmp_path):
    state = DatasetFiles(write_dataset(tmp_path / "ds", groups=1, size=10, finished=False)).read()
    assert (state.name, state.status, state.metadata) == ("ds", Verdict.BUILDING, None)


def test_a_commit_and_a_repair_change_the_version_and_reading_does_not(tmp_path):
    path = write_dataset(tmp_path / "ds", groups=1, size=10)
    files = DatasetFiles(path)
    first = files.version()
    files.read()
    assert files.version() == first
    commit(path, 1, rows(10, 5), start_row=10)
    second = files.version()
    assert second != first
    commit(path, 1, rows(10, 6), start_row=10)
    assert files.version() != second
    assert files.read().manifests[1].written == 6


def test_a_row_group_that_was_taken_back_is_gone(tmp_path):
    path = write_dataset(tmp_path / "ds", groups=2, size=10)
    files = DatasetFiles(path)
    assert len(files.read().manifests) == 2
    (path / "manifests/part-00000.json").unlink()
    assert [manifest.index for manifest in files.read().manifests] == [1]


def test_what_processors_made_of_the_row_groups_is_the_data(tmp_path):
    path = write_dataset(tmp_path / "ds", groups=2, size=10)
    (path / "data").rename(path / "row_groups")
    for manifest in (path / "manifests").iterdir():
        manifest.write_text(manifest.read_text().replace('"data/', '"row_groups/'))
    (path / "row_groups/.staged").touch()
    files = DatasetFiles(path)
    assert [part.rsplit("/", 2)[1] for part in files.read().data_parts] == ["row_groups", "row_groups"]
    (path / "data").mkdir()
    (path / "row_groups/part-00001.parquet").rename(path / "data/part-00000.parquet")
    assert [part.rsplit("/", 2)[1] for part in files.read().data_parts] == ["data"]


@pytest.mark.parametrize("name", ["manifests/part-00000.json", "metadata.json"])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path, name):
    path = write_dataset(tmp_path / "ds", groups=1, size=10)
    (path / name).write_text("{")
    with pytest.raises(SinkError, match=name.rsplit("/", 1)[-1]):
        DatasetFiles(path).read()


def test_the_schema_is_that_of_the_first_part(tmp_path):
    path = write_dataset(tmp_path / "ds", groups=1, size=10)
    assert DatasetFiles(path).read().schema().names[:2] == ["id", "code"]
    (path / "data/part-00000.parquet").write_bytes(b"no parquet")
    with pytest.raises(SinkError, match="part-00000"):
        DatasetFiles(path).read().schema()
