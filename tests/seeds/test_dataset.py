"""The dataset of an earlier build as a seed: what its manifests say, and only when it is finished."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.outcomes import DatasetMetadata, RowGroupManifest, Verdict
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed
from prefect_datagen.storage import layout


def commit(folder: Path, index: int, codes: list[str]) -> None:
    """A committed row group, as the layout of a dataset directory says."""
    part = folder / layout.part_path(layout.DATA, index)
    manifest = folder / layout.manifest_path(index)
    for path in (part, manifest):
        path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"code": codes}), part)
    record = RowGroupManifest(
        index=index,
        start_row=0,
        planned=len(codes),
        requested=len(codes),
        written=len(codes),
        part=layout.part_path(layout.DATA, index),
        part_bytes=part.stat().st_size,
    )
    manifest.write_text(record.model_dump_json())


def finish(folder: Path, status: Verdict) -> None:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    metadata = DatasetMetadata(
        name="d",
        status=status,
        target_num_records=4,
        actual_num_records=4,
        row_group_size=2,
        seed=1,
        fingerprint="f",
        started_at=now,
        ended_at=now,
        seconds=0.0,
    )
    (folder / layout.METADATA).write_text(metadata.model_dump_json())


def read(base_dir: Path, *, allow_unfinished: bool = False) -> SeedReader:
    source = {"seed_type": "dataset", "path": "out", "allow_unfinished": allow_unfinished}
    return open_seed(SeedConfig.model_validate({"source": source}), base_dir=base_dir, run_seed=1)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    commit(tmp_path / "out", 0, ["0E8", "NA"])
    commit(tmp_path / "out", 1, ["00M", ""])
    return tmp_path


@pytest.mark.parametrize("status", [Verdict.COMPLETE, Verdict.PARTIAL, Verdict.DEGRADED])
def test_a_finished_dataset_gives_its_rows_in_order(dataset: Path, status: Verdict) -> None:
    finish(dataset / "out", status)
    reader = read(dataset)
    assert reader.read(0, 4).column("code").to_pylist() == ["0E8", "NA", "00M", ""]


def test_a_part_without_a_manifest_is_not_read(dataset: Path) -> None:
    finish(dataset / "out", Verdict.COMPLETE)
    (dataset / "out" / layout.manifest_path(1)).unlink()
    assert read(dataset).num_rows == 2


@pytest.mark.parametrize("status", [None, Verdict.BUILDING, Verdict.FAILED, Verdict.INTERRUPTED])
def test_an_unfinished_dataset_is_refused_unless_it_is_asked_for(dataset: Path, status: Verdict | None) -> None:
    if status is not None:
        finish(dataset / "out", status)
    with pytest.raises(ConfigError, match="allow_unfinished"):
        read(dataset)
    assert read(dataset, allow_unfinished=True).num_rows == 4


def test_a_damaged_or_missing_dataset_is_refused(dataset: Path) -> None:
    finish(dataset / "out", Verdict.COMPLETE)
    (dataset / "out" / layout.part_path(layout.DATA, 0)).unlink()
    with pytest.raises(ConfigError, match="is missing"):
        read(dataset)
    with pytest.raises(ConfigError, match="does not exist"):
        read(dataset / "out")


def test_a_dataset_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    finish(tmp_path / "out", Verdict.PARTIAL)
    with pytest.raises(ConfigError, match="has no rows"):
        read(tmp_path)
