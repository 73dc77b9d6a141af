"""Processors and quality gates in whole builds: what they remove is counted, what they may not do is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ProcessorError, QualityError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.preview import preview_dataset
from prefect_datagen.flows.results import BuildResult
from tests.flows.configs import feedback, samplers

pytestmark = pytest.mark.usefixtures("prefect_api")


def build(config: dict[str, object], path: Path, rows: int, size: int) -> BuildResult:
    """Build with seed 7."""
    sink = ParquetRowGroupSink(path=path)
    return build_dataset(config, num_records=rows, sink=sink, run=RunConfig(seed=7, row_group_size=size))


def test_a_filter_after_generation_of_a_row_group_is_counted_and_no_shortfall(tmp_path: Path) -> None:
    keep = {"name": "keep", "processor_type": "filter", "condition": "mood <> 'sad'", "stage": "post_batch"}
    result = build(samplers(processors=[keep]), tmp_path / "d", 40, 10)
    metadata = result.metadata
    assert metadata.status is Verdict.COMPLETE
    assert 0 < metadata.filtered < 40
    assert metadata.actual_num_records + metadata.filtered == 40
    assert set(result.load_dataset()["mood"]) == {"glad", "0E8"}


def test_a_pre_batch_filter_must_declare_its_resize_in_build_and_preview_alike(tmp_path: Path) -> None:
    cut = {"name": "cut", "processor_type": "filter", "condition": "mood <> 'sad'", "stage": "pre_batch"}
    with pytest.raises(ProcessorError, match=r"pre_batch, row group \d: processor 'cut': \d+ rows went in"):
        build(feedback(processors=[cut]), tmp_path / "a", 20, 10)
    with pytest.raises(ProcessorError, match="processor 'cut'"):
        preview_dataset(feedback(processors=[cut]), num_records=10, run=RunConfig(seed=7))
    result = build(feedback(processors=[{**cut, "allow_resize": True}]), tmp_path / "b", 20, 10)
    rows = len(result.load_dataset())
    assert 0 < rows < 20
    assert result.metadata.usage["writer"].calls == 2 * rows  # everything downstream has the new size


def test_after_generation_output_replaces_the_data_and_the_parts_stay(tmp_path: Path) -> None:
    once = {"name": "once", "processor_type": "deduplicate", "columns": ["mood"], "stage": "after_generation"}
    result = build(samplers(processors=[once]), tmp_path / "d", 30, 10)
    assert sorted(result.load_dataset()["mood"]) == ["0E8", "glad", "sad"]
    assert len(pd.read_parquet(tmp_path / "d" / "data")) == 3
    assert len(pd.read_parquet(tmp_path / "d" / "row_groups")) == 30


def test_a_gate_that_rejects_rows_keeps_them_with_their_values(tmp_path: Path) -> None:
    gate = {"name": "no sadness", "check_type": "sql", "expr": "mood <> 'sad'", "on_fail": "reject_row"}
    config = samplers(checks=[gate])
    run = RunConfig(seed=7, row_group_size=10, on_shortfall="warn")
    result = build_dataset(config, num_records=30, sink=ParquetRowGroupSink(path=tmp_path / "d"), run=run)
    rejects = result.rejects().to_pylist()
    assert result.metadata.actual_num_records + len(rejects) == 30
    assert {reject["reason"] for reject in rejects} == {"check no sadness"}
    whole = build(samplers(), tmp_path / "e", 30, 10).load_dataset()
    assert sorted(reject["row_index"] for reject in rejects) == list(whole.index[whole["mood"] == "sad"])


def test_a_gate_that_fails_the_run_stops_it_after_its_sample(tmp_path: Path) -> None:
    gate = {
        "name": "short titles",
        "check_type": "length",
        "column": "title",
        "max": 3,
        "on_fail": "fail_run",
        "minimum_sample": 100,
    }
    with pytest.raises(QualityError, match=r"quality gate 'short titles' failed: 1[0-9]0 of 1[0-9]0 rows fail"):
        build(samplers(checks=[gate]), tmp_path / "d", 5_000, 10)
    metadata = ParquetRowGroupSink(path=tmp_path / "d").reader().metadata()
    assert metadata is not None
    assert metadata.status is Verdict.FAILED
    assert metadata.actual_num_records < 300
