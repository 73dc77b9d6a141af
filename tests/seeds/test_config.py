"""The seed vocabulary is that of data-designer-config; selections are those it documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import data_designer.config as dd
import pytest
from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import IndexRange, PartitionBlock, SeedConfig


@pytest.fixture
def csv(tmp_path: Path) -> str:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    return str(path)


@pytest.mark.parametrize("strategy", list(dd.SamplingStrategy))
@pytest.mark.parametrize(
    "selection", [None, dd.IndexRange(start=1, end=3), dd.PartitionBlock(index=1, num_partitions=4)]
)
def test_what_data_designer_exports_is_accepted(csv: str, strategy: Any, selection: Any) -> None:
    sources = [
        dd.LocalFileSeedSource(path=csv),
        dd.HuggingFaceSeedSource(path="datasets/a/b/*.parquet", token="HF_TOKEN"),
        dd.DirectorySeedSource(path="docs", file_pattern="*.md"),
        dd.FileContentsSeedSource(path="docs", encoding="latin-1", recursive=False),
    ]
    for source in sources:
        exported = dd.SeedConfig(source=source, sampling_strategy=strategy, selection_strategy=selection)
        loaded = SeedConfig.model_validate(exported.model_dump(mode="json"))
        assert loaded.source.model_dump() == source.model_dump()
        assert loaded.sampling_strategy == strategy.value
        assert (selection is None) == (loaded.selection_strategy is None)
        assert SeedConfig.model_validate_json(loaded.model_dump_json()) == loaded


@pytest.mark.parametrize("size", [7, 8, 100])
@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_partitions_are_those_of_data_designer_and_cover_every_row_once(size: int, partitions: int) -> None:
    found = [PartitionBlock(index=i, num_partitions=partitions).rows(size) for i in range(partitions)]
    theirs = [dd.PartitionBlock(index=i, num_partitions=partitions).to_index_range(size) for i in range(partitions)]
    assert [(rows.start, rows.stop - 1) for rows in found] == [(block.start, block.end) for block in theirs]
    assert [row for rows in found for row in rows] == list(range(size))


def test_an_index_range_includes_its_end() -> None:
    assert list(IndexRange(start=2, end=4).rows(5)) == [2, 3, 4]


def test_selections_beyond_the_seed_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2\.\.5 goes beyond the seed's 5 rows"):
        IndexRange(start=2, end=5).rows(5)
    with pytest.raises(ConfigError, match="partition 0 of 3 is empty: there are 2 rows"):
        PartitionBlock(index=0, num_partitions=3).rows(2)


@pytest.mark.parametrize(
    "config",
    [
        {"source": {"seed_type": "nothing", "path": "a"}},
        {"source": {"path": "a"}},
        {"source": {"seed_type": "local", "path": ""}},
        {"source": {"seed_type": "local", "path": "a", "glob": True}},
        {"source": {"seed_type": "local", "path": "a"}, "sampling_strategy": "random"},
        {"source": {"seed_type": "local", "path": "a"}, "selection_strategy": {"start": 3, "end": 2}},
        {"source": {"seed_type": "local", "path": "a"}, "selection_strategy": {"index": 2, "num_partitions": 2}},
    ],
)
def test_mistakes_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeedConfig.model_validate(config)


def test_the_schema_can_be_shown_as_a_form() -> None:
    schema = SeedConfig.model_json_schema()
    assert set(schema["properties"]["source"]["discriminator"]["mapping"]) >= {
        "local",
        "hf",
        "sql",
        "duckdb",
        "dataset",
    }
