"""Tables and queries of a real SQLite database: values as they are, credentials from the environment only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed

CODES = ["0E8", "00M", "NA", "null", "1.10", ""]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute('CREATE TABLE "odd name" ("key" INTEGER PRIMARY KEY, code TEXT, n INTEGER, x REAL, mixed)')
        for number, code in enumerate(CODES):
            values = (len(CODES) - number, code, number or None, number / 2, code if number % 2 else number)
            connection.execute('INSERT INTO "odd name" VALUES (?, ?, ?, ?, ?)', values)
        connection.execute('CREATE VIEW seen AS SELECT code FROM "odd name"')
    return tmp_path


def read(base_dir: Path, **source: Any) -> SeedReader:
    source = {"seed_type": "sql", "url": "sqlite:///shop.db", **source}
    return open_seed(SeedConfig.model_validate({"source": source}), base_dir=base_dir, run_seed=1)


def test_a_table_is_read_in_the_order_of_its_key_with_the_types_of_its_values(database: Path) -> None:
    reader = read(database, table="odd name")
    found = reader.read(0, len(CODES))
    assert found.schema.types == [pa.int64(), pa.string(), pa.int64(), pa.float64(), pa.string()]
    assert found.column("key").to_pylist() == [1, 2, 3, 4, 5, 6]
    assert found.column("code").to_pylist() == CODES[::-1]
    assert found.column("n").to_pylist() == [5, 4, 3, 2, 1, None]
    assert found.column("mixed").to_pylist() == ["", "4", "null", "2", "00M", "0"]


def test_a_query_and_a_view(database: Path) -> None:
    query = read(database, query="SELECT code || '!' AS shout FROM seen WHERE code = '0E8'")
    assert query.read(0, 2).to_pylist() == [{"shout": "0E8!"}] * 2
    assert read(database, table="seen").num_rows == len(CODES)


def test_colons_and_percent_signs_in_a_query_are_text(database: Path) -> None:
    query = read(database, query="SELECT ' :a 12:30 100%d' AS t, code LIKE '0%' AS zero FROM seen WHERE code = '0E8'")
    assert query.read(0, 1).to_pylist() == [{"t": " :a 12:30 100%d", "zero": 1}]


def test_many_rows_come_in_one_query(database: Path) -> None:
    recursive = "WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t LIMIT 40000) SELECT n FROM t"
    reader = read(database, query=recursive)
    assert reader.num_rows == 40_000
    assert reader.read(39_999, 2).column("n").to_pylist() == [39_999, 0]


def test_the_fingerprint_follows_the_rows(database: Path) -> None:
    before = read(database, table="odd name").fingerprint
    assert read(database, table="odd name").fingerprint == before
    with closing(sqlite3.connect(database / "shop.db")) as connection, connection:
        connection.execute("UPDATE \"odd name\" SET code = '0e8' WHERE code = '0E8'")
    assert read(database, table="odd name").fingerprint != before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"table": "nothing"}, "no table 'nothing'; tables are: odd name"),
        ({"query": "SELECT absent FROM seen"}, "no such column: absent"),
        ({"query": "SELECT code, code FROM seen"}, "duplicate column name 'code'"),
        ({"query": 'UPDATE "odd name" SET n = 1'}, "write a SELECT"),
        ({"query": "SELECT code FROM seen WHERE 1 = 2"}, "has no rows"),
        ({"url": "sqlite:///missing.db", "table": "a"}, "does not exist"),
        ({"url": "nodriver://host/db", "table": "a"}, "nodriver"),
        ({"url": "no url", "table": "a"}, "none that SQLAlchemy can read"),
        ({"url": None, "url_env": "NO_SUCH_URL", "table": "a"}, "'NO_SUCH_URL' is not set"),
        ({"password_env": "NO_SUCH_PASSWORD", "table": "a"}, "'NO_SUCH_PASSWORD' is not set"),
    ],
)
def test_what_cannot_be_read_is_refused(database: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(database, **source)


@pytest.mark.parametrize("source", [{}, {"table": "a", "query": "b"}, {"table": "a", "url_env": "b"}])
def test_url_and_rows_are_named_once(database: Path, source: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give either"):
        read(database, **source)


def test_a_url_from_the_environment(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{database}/shop.db")
    assert read(database, url=None, url_env="SHOP_URL", table="seen").num_rows == len(CODES)


def test_a_password_in_the_config_is_refused_and_never_shown(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "sqlite://someone:secret@/shop.db"
    config = SeedConfig.model_validate({"source": {"seed_type": "sql", "url": url, "table": "a"}})
    assert "secret" not in config.model_dump_json()
    with pytest.raises(ConfigError, match="password_env") as caught:
        read(database, url=url, table="a")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("SHOP_PASSWORD", "secret")
    with pytest.raises(ConfigError) as caught:
        read(database, url="sqlite://someone@host/shop.db", password_env="SHOP_PASSWORD", table="a")
    assert "secret" not in str(caught.value)
