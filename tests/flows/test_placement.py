"""Versions, extension and partitions of a dataset through the flow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.target import Target
from prefect_datagen.engine.errors import ConfigError, EarlyShutdownError, ResumeRefusedError, ShortfallError, SinkError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.partitions import backfill_dataset, existing
from prefect_datagen.flows.placement import latest_version
from prefect_datagen.flows.results import BuildResult
from tests.flows.configs import feedback, samplers
from tests.mock_server import MockServer
from tests.prefect_api import task_run_states

pytestmark = pytest.mark.usefixtures("prefect_api")

DAYS = ["2026-01-01", "2026-01-02"]


def daily(url: str | None = None) -> dict[str, Any]:
    """`feedback` with the day of the partition in a column and in a prompt."""
    config = feedback(url)
    config["columns"][2]["expr"] = "{{ mood }} {{ number }} ${date}"
    return config


def build(config: Any, path: Path, rows: int, target: Target, **run: Any) -> BuildResult:
    """Build with run seed 7."""
    settings = RunConfig.model_validate({"seed": 7, "row_group_size": 5, **run})
    result = build_dataset(config, num_records=rows, sink=ParquetRowGroupSink(path=path), run=settings, target=target)
    assert isinstance(result, BuildResult)
    return result


def test_each_run_is_a_version_and_latest_points_to_the_last_finished_one(
    tmp_path: Path, mock_server: MockServer
) -> None:
    versions = Target.model_validate({"mode": "version"})
    config = feedback(mock_server.url)
    first = build(config, tmp_path, 6, versions)
    assert (tmp_path / "latest").resolve() == Path(first.path)
    second = build(config, tmp_path, 6, versions)
    assert first.path != second.path
    assert (
        os.readlink(tmp_path / "latest") == Path(second.path).name == latest_version(ParquetRowGroupSink(path=tmp_path))
    )
    assert len(pd.read_parquet(tmp_path / "latest" / "data")) == 6

    mock_server.become(fail_prompt_regex="sad", fail_prompt_code="400")
    with pytest.raises(ShortfallError):
        build(config, tmp_path, 20, versions, disable_early_shutdown=True)
    assert len(list(tmp_path.glob("2*"))) == 3
    assert os.readlink(tmp_path / "latest") == Path(second.path).name


def test_latest_never_replaces_something_else(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(SinkError, match="latest is there and is no link to a version; move it away"):
        build(samplers(), tmp_path, 2, Target.model_validate({"mode": "version"}))


def test_each_run_may_add_rows_and_never_sets_a_dataset_aside(tmp_path: Path) -> None:
    extend = Target.model_validate({"mode": "extend"})
    assert build(feedback(), tmp_path, 6, extend).metadata.target_num_records == 6
    assert build(feedback(), tmp_path, 6, extend).metadata.target_num_records == 12
    whole = build(feedback(), tmp_path.with_name("whole"), 12, Target()).load_dataset()
    pd.testing.assert_frame_equal(ParquetRowGroupSink(path=tmp_path).reader().load(), whole)
    changed = feedback()
    changed["columns"][3]["prompt"] = "Else: {{ title }}"
    with pytest.raises(ResumeRefusedError, match="column text changed"):
        build(changed, tmp_path, 6, extend)
    assert len(ParquetRowGroupSink(path=tmp_path).reader().load()) == 12


def test_an_extension_that_did_not_end_is_finished_before_the_next_one(tmp_path: Path, mock_server: MockServer) -> None:
    extend = Target.model_validate({"mode": "extend"})
    config = feedback(mock_server.url)
    build(config, tmp_path, 5, extend)
    with pytest.raises(EarlyShutdownError, match="max_total_tokens=1 reached"):
        build(config, tmp_path, 20, extend, max_total_tokens=1)
    assert build(config, tmp_path, 20, extend).metadata.target_num_records == 25


def test_a_partition_has_its_own_folder_values_and_seed(tmp_path: Path) -> None:
    frames = {}
    for day in DAYS:
        result = build(daily(), tmp_path, 5, Target(partition={"date": day}))
        assert result.path == str(tmp_path / f"date={day}")
        frames[day] = result.load_dataset()
        assert frames[day]["title"].str.endswith(day).all()
    assert not set(frames[DAYS[0]]["number"]) & set(frames[DAYS[1]]["number"])


def test_a_partition_that_the_config_does_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"partition 'date': \$\{date\} stands nowhere in the config"):
        build(samplers(), tmp_path, 5, Target(partition={"date": "2026-01-01"}))


def test_a_backfill_builds_what_is_missing_and_tops_up_what_is_short(tmp_path: Path, mock_server: MockServer) -> None:
    sink = ParquetRowGroupSink(path=tmp_path)
    config = daily(mock_server.url)
    mock_server.become(fail_prompt_regex=DAYS[1], fail_prompt_code="500")
    settings = {"row_group_size": 5, "disable_early_shutdown": True, "max_retries": 0, "salvage_rounds": 0}
    run = RunConfig.model_validate({"seed": 7, **settings})
    with pytest.raises(ShortfallError, match=r"partition date=2026-01-02: 0 of 5 rows written"):
        backfill_dataset(config, num_records=5, sink=sink, partitions={"date": DAYS}, run=run)
    records = existing(sink)
    assert [(each.partition["date"], each.rows, each.is_short) for each in records] == [
        (DAYS[0], 5, False),
        (DAYS[1], 0, True),
    ]

    mock_server.become()
    days = [*DAYS, "2026-01-03"]
    state = backfill_dataset(
        config,
        num_records=5,
        sink=sink,
        partitions={"date": days},
        run=run,
        max_concurrent_partitions=2,
        return_state=True,
    )
    assert state.message == "3 partitions exist, 0 of them short"
    assert [each.status for each in state.result()] == [Verdict.COMPLETE] * 3
    assert mock_server.stats().calls == 2 * 5 * 2  # the first day was paid for already
    assert task_run_states(state, count=3) == {
        "partition-date=2026-01-01": "Cached",
        "partition-date=2026-01-02": "Completed",
        "partition-date=2026-01-03": "Completed",
    }

    backfill_dataset(config, num_records=8, sink=sink, partitions={"date": DAYS[:1]}, run=run)
    assert [each.rows for each in existing(sink)] == [8, 5, 5]


def test_every_combination_of_two_partitions_is_built_and_read_as_one_dataset(tmp_path: Path) -> None:
    config = samplers()
    config["columns"][2]["expr"] = "${region} ${date}"
    values = {"date": DAYS, "region": ["eu", "a/b"]}
    records = backfill_dataset(config, num_records=3, sink=ParquetRowGroupSink(path=tmp_path), partitions=values)
    assert isinstance(records, list)
    assert [each.partition for each in records] == [
        {"date": day, "region": region} for day in DAYS for region in ("a/b", "eu")
    ]
    assert len(list(tmp_path.glob("date=*/region=*/data/*.parquet"))) == 4


def test_partitions_with_versions_are_told_by_their_latest_one(tmp_path: Path) -> None:
    target = Target.model_validate({"mode": "version", "partition": {"date": DAYS[0]}})
    build(daily(), tmp_path, 3, target)
    second = build(daily(), tmp_path, 4, target)
    (record,) = existing(ParquetRowGroupSink(path=tmp_path))
    assert (record.path, record.rows) == (second.path, 4)
