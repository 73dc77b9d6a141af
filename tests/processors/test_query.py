"""DuckDB filters and queries: text stays text, types stay what they are, only rows are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import ConfigError, ProcessorError
from tests.processors.support import CODES, codes, make, run, run_on_parts


def choose(condition: str) -> Any:
    return make(processor_type="filter", condition=condition)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("code = '0E8'", ["0E8"]),
        ("n > 4", ["true", "1.10", "007", ""]),
        ("n IS NULL OR n < 2", ["0E8", "NA"]),
        ("code <> '' -- a comment", CODES[:-1]),
        ("n = (SELECT max(n) FROM rows)", [""]),
        ("false", []),
    ],
)
def test_a_filter_keeps_rows_in_order_with_their_exact_values(tmp_path: Path, condition: str, kept: list[str]) -> None:
    expected = codes().filter(pa.array([code in kept for code in CODES]))
    assert run(codes(), choose(condition)).equals(expected)
    assert run_on_parts(tmp_path, codes(), choose(condition)).equals(expected)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT code, n + 1 AS next FROM rows WHERE n > 6", [{"code": "007", "next": 8}, {"code": "", "next": 9}]),
        ("SELECT count(*) AS n, max(code) AS last FROM rows", [{"n": 8, "last": "true"}]),
        ("SELECT a.code FROM rows a JOIN rows b ON a.n = b.n + 6 ORDER BY a.n", [{"code": "007"}, {"code": ""}]),
        ("SELECT code FROM rows ORDER BY n DESC NULLS LAST LIMIT 1", [{"code": ""}]),
    ],
)
def test_a_query_makes_rows(tmp_path: Path, query: str, expected: list[dict[str, Any]]) -> None:
    processor = make(processor_type="sql", query=query)
    assert run(codes(), processor).to_pylist() == expected
    assert run_on_parts(tmp_path, codes(), processor).to_pylist() == expected


def test_columns_that_a_query_hands_on_keep_their_exact_type_and_values(tmp_path: Path) -> None:
    table = codes().drop_columns(["took"])
    processor = make(processor_type="sql", query="SELECT *, upper(code) AS up FROM rows")
    expected = table.append_column("up", pa.array([code.upper() for code in CODES]))
    assert processor.output_schema(table.schema) == expected.schema
    assert run(table, processor).equals(expected)
    assert run_on_parts(tmp_path, table, processor).equals(expected)


def test_a_type_that_duckdb_cannot_give_back_is_told_before_any_work() -> None:
    processor = make(processor_type="sql", query="SELECT * FROM rows")
    with pytest.raises(ConfigError, match=r"column 'took' \(duration\[ms\]\) cannot pass through DuckDB"):
        processor.output_schema(codes().schema)


def test_the_hidden_column_is_there_in_batches_only() -> None:
    query = "SELECT DISTINCT * EXCLUDE (__row_id) FROM rows"
    table = pa.table({"n": [1, 1, 2]})
    in_batch = make(processor_type="sql", query=query)
    assert in_batch.output_schema(table.schema) == table.schema
    with_identity = table.append_column("__row_id", pa.array([7, 8, 9]))
    assert sorted(run(with_identity, in_batch).column("n").to_pylist()) == [1, 2]
    with pytest.raises(ConfigError, match="__row_id"):
        make(processor_type="sql", query=query, stage="after_generation").output_schema(table.schema)


def test_added_names_are_known_without_data() -> None:
    processor = make(processor_type="sql", query="SELECT *, n + 1 AS next, upper(code) FROM rows")
    assert list(processor.adds()) == ["next"]
    assert list(make(processor_type="sql", query="SELEC").adds()) == []


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"processor_type": "sql", "query": "SELEC * FROM rows"}, "query"),
        ({"processor_type": "sql", "query": "SELECT 1; SELECT 2"}, "query"),
        ({"processor_type": "sql", "query": "DROP TABLE rows"}, "query"),
        ({"processor_type": "filter", "condition": "n >"}, "condition"),
        ({"processor_type": "filter", "condition": "true); DROP TABLE rows; --"}, "condition"),
    ],
)
def test_what_does_not_parse_is_told_without_data(config: dict[str, Any], field: str) -> None:
    assert [where for where, _ in make(**config).check([])] == [field]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"processor_type": "sql", "query": "SELECT cod FROM rows"}, '"code"'),
        ({"processor_type": "filter", "condition": "cod = 'x'"}, '"code"'),
        ({"processor_type": "filter", "condition": "code > 3"}, "Cannot compare values of type VARCHAR"),
        ({"processor_type": "sql", "query": "SELECT * FROM '/etc/passwd.csv'"}, "disabled by configuration"),
        ({"processor_type": "sql", "query": "SELECT * FROM read_text('/etc/hostname')"}, "disabled by configuration"),
    ],
)
def test_what_does_not_fit_the_columns_is_told_before_any_work(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**config).output_schema(codes().schema)


def test_text_that_a_query_takes_for_a_number_ends_the_run_and_is_named() -> None:
    processor = make(processor_type="sql", query="SELECT code::INT AS n FROM rows")
    with pytest.raises(ProcessorError, match=r"post_batch, row group 3: processor 'p': ConversionException.*'00M'"):
        run(codes(), processor)
