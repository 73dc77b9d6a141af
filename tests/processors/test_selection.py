"""Columns are dropped by name or pattern and renamed; rows stay as they are."""

from __future__ import annotations

from pathlib import Path

import data_designer.config as dd
import pytest

from prefect_datagen.engine.errors import ConfigError
from tests.processors.support import codes, make, run, run_on_parts


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["n"], ["code", "tags", "when", "took"]),
        (["t*", "c?de"], ["n", "when"]),
        (["*e*", "tags"], ["n", "took"]),
        (["gone"], ["code", "n", "tags", "when", "took"]),
        (["[nt]*"], ["code", "when"]),
    ],
)
def test_columns_are_dropped_by_name_and_pattern(tmp_path: Path, patterns: list[str], left: list[str]) -> None:
    processor = make(processor_type="drop_columns", column_names=patterns)
    expected = codes().select(left)
    assert processor.output_schema(codes().schema) == expected.schema
    assert run(codes(), processor).equals(expected)
    assert run_on_parts(tmp_path, codes(), processor).equals(expected)


def test_dropping_every_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="would drop every column"):
        make(processor_type="drop_columns", column_names=["*"]).output_schema(codes().schema)


def test_names_that_are_no_columns_are_told_with_the_nearest() -> None:
    drop = make(processor_type="drop_columns", column_names=["tag", "x*", "c*"])
    assert list(drop.check(codes().column_names)) == [
        ("column_names[0]", "column 'tag' is not defined; did you mean 'tags'?"),
        ("column_names[1]", "column 'x*' is not defined"),
    ]
    rename = make(processor_type="rename", columns={"cod": "iata", "n": "m"})
    assert list(rename.check(codes().column_names)) == [
        ("columns.cod", "column 'cod' is not defined; did you mean 'code'?")
    ]


def test_columns_are_renamed_in_place_and_may_swap_names(tmp_path: Path) -> None:
    processor = make(processor_type="rename", columns={"code": "n", "n": "code"})
    expected = codes().rename_columns(["n", "code", "tags", "when", "took"])
    assert list(processor.adds()) == ["n", "code"]
    assert run(codes(), processor).equals(expected)
    assert run_on_parts(tmp_path, codes(), processor).equals(expected)


def test_renaming_to_a_name_that_is_taken_or_from_one_that_is_gone_is_refused() -> None:
    with pytest.raises(ConfigError, match="two columns would be named 'n'"):
        make(processor_type="rename", columns={"code": "n"}).output_schema(codes().schema)
    with pytest.raises(ConfigError, match="there is no column 'gone' to rename at post_batch"):
        make(processor_type="rename", columns={"gone": "x"}).output_schema(codes().schema)


def test_what_data_designer_exports_is_accepted() -> None:
    exported = dd.DropColumnsProcessorConfig(name="d", column_names=["n", "t*"]).model_dump(mode="json")
    assert run(codes(), make(**exported)).column_names == ["code", "when"]
