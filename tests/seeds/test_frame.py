"""Tables in memory as seeds: values are those of the table, and no file can hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.frame import DataFrameSeedSource
from prefect_datagen.seeds.reader import SeedReader, open_seed


def read(table: Any) -> SeedReader:
    return open_seed(SeedConfig(source=DataFrameSeedSource(df=table)), base_dir=Path(), run_seed=1)


def test_pandas_and_arrow_give_the_same_rows_and_fingerprint() -> None:
    values = {"code": ["0E8", "NA", None, ""], "n": [1, 2, 3, 4]}
    frame = pd.DataFrame(values, index=[9, 8, 7, 6])
    from_pandas, from_arrow = read(frame), read(pa.table(values))
    assert from_pandas.schema == from_arrow.schema == pa.schema([("code", pa.string()), ("n", pa.int64())])
    assert from_pandas.read(0, 4).to_pydict() == from_arrow.read(0, 4).to_pydict() == values
    assert from_pandas.fingerprint == from_arrow.fingerprint
    assert read(frame.assign(n=0)).fingerprint != from_pandas.fingerprint


def test_times_with_a_zone_and_columns_that_are_not_named_by_text() -> None:
    times = pd.to_datetime(["2020-01-01 12:00", None], utc=True).tz_convert("Europe/Paris")
    found = read(pd.DataFrame({0: times, 1: ["a", None]})).read(0, 2)
    assert found.column_names == ["0", "1"]
    assert found.column("0").type.tz == "Europe/Paris"
    assert found.column("0").to_pylist() == [times[0], None]


def test_two_frames_of_one_process_do_not_meet() -> None:
    one, two = read(pd.DataFrame({"a": [1]})), read(pd.DataFrame({"a": [2]}))
    assert (one.read(0, 1).to_pylist(), two.read(0, 1).to_pylist()) == ([{"a": 1}], [{"a": 2}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"a": 1}], "not list"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "duplicate column name 'a'"),
        (pd.DataFrame({"a": [1, "x"]}), "values of different kinds"),
    ],
)
def test_what_is_no_table_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataFrameSeedSource(df=value)


def test_a_frame_is_not_written_to_a_config() -> None:
    config = SeedConfig(source=DataFrameSeedSource(df=pd.DataFrame({"a": [np.pi]})))
    assert config.model_dump(mode="json")["source"] == {"seed_type": "df", "df": None}
    assert SeedConfig.model_validate(config.model_dump()) == config
    assert "3.14" not in repr(config)
    with pytest.raises(ValidationError, match="df"):
        SeedConfig.model_validate_json(config.model_dump_json())
