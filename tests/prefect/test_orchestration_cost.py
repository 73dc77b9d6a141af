"""What passes through Prefect is small."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from prefect_datagen.blocks import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.tasks.process_row_group import process_row_group
from prefect_datagen.tasks.ticket import RunTicket
from tests.flows.configs import samplers

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_results_and_parameters_stay_small_whatever_the_rows(tmp_path: Path) -> None:
    build_dataset(
        samplers(),
        num_records=20_000,
        sink=ParquetRowGroupSink(path=str(tmp_path)),
        run=RunConfig(row_group_size=10_000, stages="tasks"),  # type: ignore[arg-type]
    )
    part = (tmp_path / "data" / "part-00000.parquet").stat().st_size
    results = [file.stat().st_size for file in (tmp_path / ".results").rglob("*") if file.is_file()]
    assert len(results) >= 2
    assert max(results) < 16_384 < part


def test_what_a_task_of_a_row_group_is_given_and_returns_holds_no_table(tmp_path: Path) -> None:
    ticket = RunTicket(
        run_id="run",
        config=DatasetConfig.load(samplers()),
        run=RunConfig(),
        seed=1,
        fingerprint="",
        sink=ParquetRowGroupSink(path=str(tmp_path)),
        endpoints=(),
        inline=True,
    )
    assert len(pickle.dumps(ticket)) < 16_384
    names = process_row_group.fn.__annotations__
    assert set(names) == {"ticket", "index", "start", "rows", "label", "return"}
    held = [getattr(ticket, name) for name in RunTicket.__slots__]
    assert not any(isinstance(each, (pd.DataFrame, pa.Table)) for each in held)
