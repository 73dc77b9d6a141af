"""A seed-dataset column has the seed's type and is there before any other column."""

from __future__ import annotations

import data_designer.config as dd
import pyarrow as pa
import pytest

from prefect_datagen.columns.base import SkipConfig
from prefect_datagen.columns.seed import SeedDatasetColumnConfig
from prefect_datagen.engine.errors import ConfigError


def test_its_type_is_the_seeds() -> None:
    column = SeedDatasetColumnConfig(name="code")
    assert column.types({"code": pa.string(), "n": pa.int64()}) == (pa.string(),)
    assert column.at_seed_stage


def test_a_column_that_the_seed_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cod' is not in the seed data; its columns are 'code', 'n'"):
        SeedDatasetColumnConfig(name="cod").types({"code": pa.string(), "n": pa.int64()})


def test_it_cannot_be_skipped() -> None:
    column = SeedDatasetColumnConfig(name="code", skip=SkipConfig(when="{{ n }}"))
    assert [field for field, _ in column.check()] == ["skip"]
    assert list(SeedDatasetColumnConfig(name="code").check()) == []


def test_what_data_designer_exports_is_accepted() -> None:
    exported = dd.SeedDatasetColumnConfig(name="code", drop=True).model_dump(mode="json")
    assert SeedDatasetColumnConfig.model_validate(exported).drop
