"""A DuckDB query over files: text stays text, and no reader that guesses is let in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "codes.csv").write_text("code,n\n0E8,1\nNA,2\n,3\n007,4\n")
    (tmp_path / "more.json").write_text('[{"code": "0E8", "day": "2020-01-01"}, {"code": "007", "day": "null"}]')
    pq.write_table(pa.table({"code": ["0E8", "00M"], "x": [1.5, None]}), tmp_path / "x.parquet")
    return tmp_path


def read(folder: Path, query: str, **files: str) -> SeedReader:
    config = SeedConfig.model_validate({"source": {"seed_type": "duckdb", "query": query, "files": files}})
    return open_seed(config, base_dir=folder, run_seed=1)


def rows(reader: SeedReader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reader.read(0, reader.num_rows).to_pylist()
    return found


def test_named_files_are_text(folder: Path) -> None:
    query = "SELECT codes.*, day, x FROM codes LEFT JOIN more USING (code) LEFT JOIN x USING (code) ORDER BY n"
    assert rows(read(folder, query, codes="codes.csv", more="more.json", x="*.parquet")) == [
        {"code": "0E8", "n": "1", "day": "2020-01-01", "x": 1.5},
        {"code": "NA", "n": "2", "day": None, "x": None},
        {"code": "", "n": "3", "day": None, "x": None},
        {"code": "007", "n": "4", "day": "null", "x": None},
    ]


def test_a_named_file_may_be_scanned_twice(folder: Path) -> None:
    query = "SELECT count(*) AS n FROM c a, c b"
    assert rows(read(folder, query, c="codes.csv")) == [{"n": 16}]


def test_parquet_by_path_relative_to_the_config(folder: Path) -> None:
    assert rows(read(folder, "SELECT code FROM 'x.parquet' ORDER BY code")) == [{"code": "00M"}, {"code": "0E8"}]


def test_csv_by_path_with_its_types_said(folder: Path) -> None:
    query = "SELECT code FROM read_csv('codes.csv', all_varchar = true) WHERE n = '1'"
    assert rows(read(folder, query)) == [{"code": "0E8"}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM 'codes.csv'",
        "SELECT * FROM read_csv('codes.csv')",
        "SELECT * FROM read_csv_auto('codes.csv', header = true)",
        "SELECT 1 AS a WHERE EXISTS (SELECT * FROM read_json_auto('more.json'))",
        "WITH c AS (SELECT * FROM 'more.json') SELECT * FROM c",
    ],
)
def test_a_reader_that_guesses_types_is_refused(folder: Path, query: str) -> None:
    with pytest.raises(ConfigError, match="would guess types"):
        read(folder, query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("CREATE TABLE t (a INT)", "Only SELECT"),
        ("SELECT * FROM missing", "missing"),
        ("SELECT * FROM 'missing.parquet'", "relative paths start from"),
        ("SELECT 1 AS a, 2 AS a", "duplicate column name 'a'"),
        ("SELECT 1 AS a WHERE false", "has no rows"),
        ("SELECT 'x'::INT AS a", "Could not convert"),
    ],
)
def test_what_cannot_be_run_is_refused(folder: Path, query: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(folder, query)


def test_the_fingerprint_is_that_of_the_rows(folder: Path) -> None:
    query = "SELECT code FROM c WHERE n < '3' ORDER BY n"
    before = read(folder, query, c="codes.csv").fingerprint
    (folder / "codes.csv").write_text("code,n\n0E8,1\nNA,2\nelse,3\n")
    assert read(folder, query, c="codes.csv").fingerprint == before
    (folder / "codes.csv").write_text("code,n\n0E9,1\nNA,2\n")
    assert read(folder, query, c="codes.csv").fingerprint != before
