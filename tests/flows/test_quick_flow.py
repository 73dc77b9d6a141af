"""What Prefect stores of a flow's parameters, and what starting a flow imports for that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from pydantic import SecretStr

from prefect_datagen.blocks import ModelEndpoint, ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.config.target import Target
from prefect_datagen.flows.build import build_dataset
from tests.flows.configs import feedback

PARAMETERS: list[Any] = [
    DatasetConfig.load(feedback()),
    feedback(),
    Path("datasets/a.yaml"),
    ParquetRowGroupSink(path="out"),
    [ModelEndpoint(provider="endpoint", base_url="http://127.0.0.1/v1", api_key=SecretStr("sk-1"))],
    RunConfig(seed=1, row_group_size=7),
    Target(),
    12,
    None,
]


@pytest.mark.parametrize("value", PARAMETERS, ids=lambda value: type(value).__name__)
def test_parameters_are_stored_as_prefect_would_store_them(value: Any) -> None:
    assert build_dataset.serialize_parameters({"value": value}) == {"value": jsonable_encoder(value)}


def test_what_is_no_plain_data_is_stored_as_text() -> None:
    itself: list[Any] = []
    itself.append(itself)
    stored = build_dataset.serialize_parameters({"call": print, "parts": [print, 1], "itself": itself})
    assert stored == {"call": str(print), "parts": [str(print), 1], "itself": "<list>"}


def test_starting_a_flow_does_not_import_fastapi() -> None:
    code = (
        "import sys\n"
        "from prefect_datagen import ParquetRowGroupSink, build_dataset\n"
        "build_dataset.serialize_parameters({'sink': ParquetRowGroupSink(path='out'), 'num_records': 1})\n"
        "print('fastapi' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
