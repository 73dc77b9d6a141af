"""Targets: partitions' folders and values, and what is filled into a config."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.target import Target, filled, partition_of, partition_values, seeded_for
from prefect_datagen.engine.errors import ConfigError

CONFIG = {
    "columns": [
        {"name": "day", "column_type": "expression", "expr": "${date} {{ n }} ${other}"},
        {"name": "n", "column_type": "sampler", "sampler_type": "category", "params": {"values": ["${date}", "0E8"]}},
    ]
}


@given(st.dictionaries(st.from_regex(r"\A[a-z_][a-z0-9_]{0,5}\Z"), st.text(min_size=1, max_size=8), max_size=3))
def test_a_partition_is_read_back_from_its_folder(partition: dict[str, str]) -> None:
    folder = Target(partition=partition).folder()
    assert not folder or partition_of(folder) == partition
    assert ".." not in folder.split("/")


@pytest.mark.parametrize("folder", ["", "data", "date=", "=x", "Date=x", "date=1/data"])
def test_other_folders_are_no_partitions(folder: str) -> None:
    assert partition_of(folder) is None


def test_values_may_be_formats_of_the_scheduled_time() -> None:
    target = Target(partition={"date": "%Y-%m-%d", "region": "eu"})
    at = target.at(datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    assert at.partition == {"date": "2026-01-31", "region": "eu"}
    assert at.folder() == "date=2026-01-31/region=eu"


def test_values_are_filled_in_and_nothing_else_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "dataset.yaml"
    file.write_text("columns: [{name: day, column_type: expression, expr: '${date} ${other}'}]")
    for source in (CONFIG, file, str(file), DatasetConfig.load(file), file.read_text() + "\n"):
        config = DatasetConfig.load(filled(source, {"date": "2026-01-31"}))
        dumped = config.model_dump_json()
        assert "2026-01-31 " in dumped
        assert "${other}" in dumped
        assert "${date}" not in dumped
    from_file = filled(file, {"date": "x"})
    assert isinstance(from_file, DatasetConfig)
    assert from_file.folder == tmp_path  # relative paths start where the file is


def test_a_partition_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"partition 'region': \$\{region\} stands nowhere in the config"):
        filled(CONFIG, {"date": "x", "region": "eu"})
    assert filled(CONFIG, {}) is CONFIG


def test_each_partition_has_a_seed_of_its_own() -> None:
    run = RunConfig(seed=7)
    seeds = {seeded_for(run, {"date": day}).seed for day in ("a", "b", "c")}
    assert len(seeds) == 3
    assert seeded_for(run, {"date": "a"}).seed in seeds
    assert seeded_for(run, {}).seed == 7
    assert seeded_for(RunConfig(), {"date": "a"}).seed is None


def test_values_may_be_listed_or_a_range_of_dates() -> None:
    assert partition_values("eu, us,eu") == ["eu", "us"]
    assert partition_values("2026-02-27..2026-03-01") == ["2026-02-27", "2026-02-28", "2026-03-01"]
    for wrong, message in (
        ("3..4", "write dates"),
        ("2026-02-02..2026-02-01", "ends before"),
        ("a,,b", "one is empty"),
    ):
        with pytest.raises(ConfigError, match=message):
            partition_values(wrong)


@pytest.mark.parametrize("partition", [{"Date": "x"}, {"date": ""}, {"a/b": "x"}])
def test_wrong_partitions_are_refused(partition: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Target(partition=partition)
