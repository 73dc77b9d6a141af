"""What flows make of their parameters: blocks, references, names, plain values, and wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_datagen.blocks import ModelEndpoint, OfflineModel, ParquetRowGroupSink
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.parameters import read, read_endpoints, read_sink
from prefect_datagen.flows.preview import preview_dataset

pytestmark = pytest.mark.usefixtures("prefect_api")


def structured() -> dict[str, Any]:
    """A config whose output format refers to a definition, as pydantic writes them."""
    shape = {
        "type": "object",
        "properties": {"mark": {"$ref": "#/$defs/Mark"}},
        "required": ["mark"],
        "$defs": {"Mark": {"type": "integer", "minimum": 1, "maximum": 5}},
    }
    return {
        "columns": [
            {"name": "id", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            {
                "name": "rating",
                "column_type": "llm-structured",
                "model_alias": "w",
                "prompt": "Rate {{ id }}.",
                "output_format": shape,
            },
        ],
        "model_configs": [{"alias": "w", "model": "m"}],
    }


def test_a_config_may_hold_a_json_schema_with_references(tmp_path: Path) -> None:
    """Prefect would take `$ref` in a parameter for a reference to a block."""
    result = build_dataset(structured(), num_records=2, sink=ParquetRowGroupSink(path=tmp_path / "d"))
    assert {1, 2, 3, 4, 5} >= {rating["mark"] for rating in result.load_dataset()["rating"]}
    assert len(preview_dataset(structured(), num_records=1).dataset) == 1


def test_a_sink_may_be_a_block_a_reference_a_name_or_its_fields(tmp_path: Path) -> None:
    block = ParquetRowGroupSink(path=tmp_path / "d", storage_options={"key": "secret"})
    identity = block.save("parameters-test", overwrite=True)
    for given in (block, {"$ref": {"block_document_id": str(identity)}}, "parquet-row-group-sink/parameters-test"):
        sink = read_sink(given)
        assert sink.path == str(tmp_path / "d")
        assert sink.storage_options is not None
        assert sink.storage_options.get_secret_value() == {"key": "secret"}
    assert read_sink({"path": "out", "compression": "gzip"}).compression == "gzip"


def test_endpoints_are_told_apart_by_their_fields() -> None:
    endpoints = read_endpoints([{"provider": "a", "base_url": "http://127.0.0.1:9/v1", "api_key": "k"}, OfflineModel()])
    assert [type(endpoint) for endpoint in endpoints] == [ModelEndpoint, OfflineModel]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("parquet-row-group-sink/nobody", "sink: there is no block 'parquet-row-group-sink/nobody'"),
        ({"$ref": {"block_document_id": "00000000-0000-0000-0000-000000000000"}}, "sink: there is no block"),
        ({"path": "d", "compression": "zip"}, "sink.compression: 'zip' is none of zstd, snappy"),
        ({}, "sink.path: is required"),
        (OfflineModel(), "sink: a block of type OfflineModel does not fit here"),
    ],
)
def test_a_wrong_sink_is_refused_with_its_reason(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        read_sink(given)


def test_wrong_settings_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        read({"row_group_size": 0, "resume": "maybe"}, RunConfig, name="run")
    assert len(refused.value.problems) == 2
    assert refused.value.problems[0].startswith(
        "run.row_group_size: Input should be greater than or equal to 1 (got 0)"
    )


def test_wrong_numbers_and_endpoints_fail_the_flow_as_config_errors(tmp_path: Path) -> None:
    sink = ParquetRowGroupSink(path=tmp_path / "d")
    with pytest.raises(ConfigError, match="num_records: Input should be greater than or equal to 0"):
        build_dataset(structured(), num_records=-1, sink=sink)
    with pytest.raises(ConfigError, match="endpoints: expected a list of model endpoints"):
        build_dataset(structured(), num_records=1, sink=sink, endpoints="x/y")  # type: ignore[arg-type]
    assert not (tmp_path / "d").exists()


def test_a_wrong_secret_is_not_told() -> None:
    with pytest.raises(ConfigError, match=r"endpoints\[0\].base_url") as refused:
        read_endpoints([{"provider": "p", "base_url": 1, "api_key": "sk-canary"}])
    assert "sk-canary" not in refused.value.message
