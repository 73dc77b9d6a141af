"""The table is true: every accepted case loads and runs as it says, every other is refused by an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import data_designer.config as dd
import pandas as pd
import pytest

from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.flows.preview import preview_dataset
from tests.compat.page import PAGE, page
from tests.compat.table import CASES, Case, Verdict, new_builder
from tests.prefect.server import PrefectServer

ACCEPTED = [case for case in CASES if case.verdict is not Verdict.REFUSED]
REFUSED = [case for case in CASES if case.verdict is Verdict.REFUSED]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the seed file."""
    folder = tmp_path_factory.mktemp("seeds")
    rows = ["0E8,Rome", "00M,Oslo", "1.10,Bonn", "null,Riga", "true,Lima", "007,Kyiv"]
    (folder / "seed.csv").write_text("code,city\n" + "\n".join(rows) + "\n")
    return folder


def config_of(cases: list[Case], folder: Path) -> DatasetConfig:
    """The config of these cases: from the exported YAML, unless only the builder itself can say it."""
    builder = new_builder()
    for case in cases:
        case.add(builder, folder)
    if any(case.in_python for case in cases):
        return DatasetConfig.from_data_designer(builder)
    text = builder.get_builder_config().to_yaml()
    assert isinstance(text, str)
    beside = {name: value for case in cases for name, value in case.beside.items()}
    return DatasetConfig.load(text, overrides=beside)


def rows_of(config: DatasetConfig) -> pd.DataFrame:
    """Twelve rows, none lost."""
    preview = preview_dataset(config, num_records=12, run=RunConfig(seed=3))
    assert preview.rejects.num_rows == 0, preview.rejects.to_pylist()
    return preview.dataset.rename(columns={"copy": "copy_"})


@pytest.fixture(scope="session")
def together(folder: Path, prefect_api: PrefectServer) -> Callable[[bool], pd.DataFrame]:
    """The rows of all cases that share a config: of those that are exported, and of those that are handed over."""
    frames: dict[bool, pd.DataFrame] = {}

    def rows(in_python: bool) -> pd.DataFrame:
        if in_python not in frames:
            cases = [case for case in ACCEPTED if not case.alone and case.in_python is in_python]
            frames[in_python] = rows_of(config_of(cases, folder))
        return frames[in_python]

    return rows


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.feature)
def test_what_is_accepted_does_what_it_says(case: Case, folder: Path, together: Callable[[bool], pd.DataFrame]) -> None:
    frame = rows_of(config_of([case], folder)) if case.alone else together(case.in_python)
    assert case.shows(frame), frame.head().to_dict("records")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.feature)
def test_what_is_not_supported_is_refused_by_name(case: Case, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of([case], folder)
    assert case.why in str(caught.value)


@pytest.mark.parametrize("case", [case for case in CASES if case.in_python], ids=lambda case: case.feature)
def test_an_export_that_lost_a_function_or_rows_is_refused(case: Case, folder: Path) -> None:
    builder = new_builder()
    case.add(builder, folder)
    try:
        text = builder.get_builder_config().to_yaml()
    except ValueError:
        return  # Data Designer does not even export it
    assert isinstance(text, str)
    with pytest.raises(ConfigError):
        DatasetConfig.load(text)


def test_the_builder_and_its_export_are_the_same_config(folder: Path) -> None:
    builder = new_builder()
    for case in ACCEPTED:
        if not case.alone and not case.in_python:
            case.add(builder, folder)
    exported = builder.get_builder_config().to_yaml()
    assert isinstance(exported, str)
    handed_over = DatasetConfig.from_data_designer(builder)
    assert handed_over == DatasetConfig.from_data_designer(builder.build())
    assert [each.name for each in handed_over.columns] == [each.name for each in DatasetConfig.load(exported).columns]


def test_empty_lists_of_what_is_not_supported_are_accepted() -> None:
    config = DatasetConfig.load({**_small(), "profilers": []})
    assert "profilers" not in config.to_yaml()
    with pytest.raises(ConfigError, match="is_this_read: unknown field beside `data_designer`"):
        DatasetConfig.load({"data_designer": _small(), "is_this_read": 1})


def test_only_configs_of_data_designer_are_taken_for_such() -> None:
    with pytest.raises(ConfigError, match="not a config or builder of Data Designer: str"):
        DatasetConfig.from_data_designer("columns: []")


def test_every_sampler_column_and_processor_type_of_data_designer_is_in_the_table(folder: Path) -> None:
    builder = new_builder()
    for case in ACCEPTED:
        if not case.alone:
            case.add(builder, folder)
    kinds = {each.column_type for each in builder.get_column_configs()}
    assert {kind.value for kind in dd.DataDesignerColumnType} - kinds == {"seed-dataset"}
    samplers = {each.sampler_type for each in builder.get_column_configs() if each.column_type == "sampler"}
    assert samplers == set(dd.SamplerType)


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.compat.page`"


def _small() -> dict[str, object]:
    return {"columns": [{"name": "a", "column_type": "expression", "expr": "x"}]}
