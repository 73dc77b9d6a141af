"""Every source keeps the same contract; each is a real database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.database_sources import SQLAlchemySource, SQLiteSource
from prefect_datagen.reports.duckdb_files import _OPEN_FILES, DuckDBFileSource, TablesSource
from prefect_datagen.reports.duckdb_sources import DatasetSource, PairSource
from prefect_datagen.reports.errors import QueryCancelledError, QueryError, SourceDownError
from prefect_datagen.reports.query import Query
from prefect_datagen.reports.query_cache import Cancellation, QueryCache, Source, SourceLimits
from tests.postgres import postgres
from tests.reports.datasets import commit, finish, rows, write_dataset

DEADLINE = 60.0
TEXTS = ["0E8", "00M", "1.10", "null", "true", "NA", ""]


@dataclass
class Case:
    """A source that has the texts in `t.word` in order of `t.n`, and how SQL of its kind is written."""

    source: Source
    slow: str
    parameter: str
    write: str
    elsewhere: str | None = None


def duckdb_case(folder: Path) -> Case:
    file = folder / "file.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE t (n BIGINT, word VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(TEXTS)))
    slow = "SELECT count(*) FROM range(1000000000000) AS r(i) WHERE i % 7 = 3"
    return Case(
        DuckDBFileSource(file), slow, "$word", "INSERT INTO t VALUES (9, 'x')", "SELECT * FROM read_csv('/etc/passwd')"
    )


def sqlite_file(folder: Path) -> Path:
    file = folder / "file.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (n INTEGER, word TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(TEXTS)))
    connection.close()
    return file


SLOW_SQLITE = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c"


def sqlite_case(folder: Path) -> Case:
    source = SQLiteSource(sqlite_file(folder))
    return Case(source, SLOW_SQLITE, ":word", "INSERT INTO t VALUES (9, 'x')", "ATTACH '/tmp/other.sqlite' AS other")


def sqlalchemy_case(folder: Path) -> Case:
    url = f"sqlite:///file:{sqlite_file(folder)}?mode=ro&uri=true"
    return Case(SQLAlchemySource(url), SLOW_SQLITE, ":word", "INSERT INTO t VALUES (9, 'x')")


@pytest.fixture(scope="module")
def postgres_url(tmp_path_factory) -> Iterator[str]:
    """A PostgreSQL server of our own, on a socket in a temporary folder."""
    with postgres(tmp_path_factory.mktemp("pg")) as host:
        yield f"postgresql+psycopg://tester@/postgres?host={host}"


@pytest.fixture
def postgres_case(postgres_url: str) -> Case:
    import sqlalchemy

    engine = sqlalchemy.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("DROP TABLE IF EXISTS t"))
        connection.execute(sqlalchemy.text("CREATE TABLE t (n BIGINT, word TEXT)"))
        for n, word in enumerate(TEXTS):
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (:n, :word)"), {"n": n, "word": word})
    engine.dispose()
    return Case(SQLAlchemySource(postgres_url), "SELECT pg_sleep(600)", ":word", "INSERT INTO t VALUES (9, 'x')")


MAKERS: dict[str, Callable[[Path], Case]] = {
    "duckdb": duckdb_case,
    "sqlite": sqlite_case,
    "sqlalchemy": sqlalchemy_case,
}


@pytest.fixture(params=[*MAKERS, "postgres"])
def case(request, tmp_path) -> Iterator[Case]:
    made = request.getfixturevalue("postgres_case") if request.param == "postgres" else MAKERS[request.param](tmp_path)
    yield made
    made.source.close()


def ask(source: Source, text: str, **parameters: object) -> list[dict[str, object]]:
    return source.execute(text, parameters, relations={}, cancel=Cancellation()).to_pylist()


class TestEverySource:
    def test_text_stays_text(self, case):
        assert [row["word"] for row in ask(case.source, "SELECT word FROM t ORDER BY n")] == TEXTS

    def test_a_value_is_bound_and_never_read_as_sql(self, case):
        evil = "x' OR '1'='1"
        sql = f"SELECT n, ':word' AS literal FROM t WHERE word = {case.parameter}"
        assert ask(case.source, sql, word=evil) == []
        assert ask(case.source, sql, word="00M") == [{"n": 1, "literal": ":word"}]

    def test_an_empty_result_has_its_columns(self, case):
        table = case.source.execute("SELECT n, word FROM t WHERE n < 0", {}, relations={}, cancel=Cancellation())
        assert (table.num_rows, table.column_names) == (0, ["n", "word"])

    def test_a_mistake_in_the_query_is_not_a_breakdown_of_the_source(self, case):
        with pytest.raises(QueryError, match="nowhere") as caught:
            ask(case.source, "SELECT * FROM nowhere")
        assert not isinstance(caught.value, SourceDownError)

    def test_nothing_is_written(self, case):
        with pytest.raises(QueryError):
            ask(case.source, case.write)
        assert ask(case.source, "SELECT count(*) AS n FROM t") == [{"n": len(TEXTS)}]

    def test_no_other_file_is_reached(self, case):
        if case.elsewhere is None:
            pytest.skip("a database server decides itself what its users may read")
        with pytest.raises(QueryError):
            ask(case.source, case.elsewhere)

    def test_a_running_query_is_stopped_at_the_database(self, case):
        cancel = Cancellation()
        caught: list[BaseException] = []

        def run() -> None:
            try:
                case.source.execute(case.slow, {}, relations={}, cancel=cancel)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                caught.append(error)

        worker = threading.Thread(target=run)
        worker.start()
        cancel.ask()
        while worker.is_alive():  # as the cache does: again and again, since the first may come too early
            cancel.interrupt()
            worker.join(0.02)
        assert isinstance(caught[0], QueryCancelledError)
        assert len(ask(case.source, "SELECT word FROM t")) == len(TEXTS)

    def test_leaving_the_last_waiter_frees_the_slot(self, case):
        with QueryCache() as cache:
            handle = cache.submit(Query(case.source, case.slow))
            handle.leave()
            assert cache.close(timeout=DEADLINE)

    def test_queries_run_at_the_same_time(self, case):
        with QueryCache() as cache:
            handles = cache.prefetch(Query(case.source, f"SELECT {n} AS n FROM t WHERE n = {n}") for n in range(6))
            assert [handle.result(DEADLINE)["n"][0].as_py() for handle in handles] == list(range(6))


class TestDataset:
    @pytest.fixture
    def dataset(self, tmp_path) -> Path:
        return write_dataset(tmp_path / "ds", groups=3, size=20)

    def test_rows_and_records_are_relations(self, dataset):
        source = DatasetSource(dataset)
        counts = {
            name: ask(source, f"SELECT count(*) AS n FROM {name}")[0]["n"]
            for name in ("data", "rejects", "row_groups", "rejections", "usage", "stages", "columns", "dataset")
        }
        assert counts == {
            "data": 54,
            "rejects": 6,
            "row_groups": 3,
            "rejections": 6,
            "usage": 6,
            "stages": 9,
            "columns": 9,
            "dataset": 1,
        }
        assert ask(source, "SELECT status, requested, written, rejected FROM dataset") == [
            {"status": "partial", "requested": 60, "written": 54, "rejected": 6}
        ]
        assert ask(source, "SELECT code FROM data ORDER BY id LIMIT 3") == [
            {"code": "2E0"},
            {"code": "3E1"},
            {"code": "4E2"},
        ]

    def test_a_commit_is_seen_by_the_next_query_and_changes_the_version(self, tmp_path):
        path = write_dataset(tmp_path / "ds", groups=1, size=20, finished=False)
        source = DatasetSource(path)
        before = source.version()
        assert ask(source, "SELECT count(*) AS n FROM data") == [{"n": 18}]
        assert ask(source, "SELECT status, requested FROM dataset") == [{"status": "building", "requested": None}]
        commit(path, 1, rows(20, 5), start_row=20)
        assert source.version() != before
        assert ask(source, "SELECT count(*) AS n FROM data") == [{"n": 23}]

    def test_a_part_without_its_manifest_is_not_there(self, tmp_path):
        path = write_dataset(tmp_path / "ds", groups=2, size=20, finished=False)
        (path / "manifests/part-00001.json").unlink()
        assert ask(DatasetSource(path), "SELECT count(*) AS n FROM data") == [{"n": 18}]

    def test_a_dataset_without_rows_says_so(self, tmp_path):
        path = tmp_path / "ds"
        path.mkdir()
        finish(path, [], size=10)
        source = DatasetSource(path)
        assert ask(source, "SELECT written FROM dataset") == [{"written": 0}]
        with pytest.raises(QueryError, match="holds no rows yet"):
            ask(source, "SELECT * FROM data")

    def test_files_outside_of_the_dataset_are_out_of_reach(self, dataset, tmp_path):
        secret = tmp_path / "secret.csv"
        secret.write_text("a\n1\n")
        for sql in (f"SELECT * FROM read_csv('{secret}')", f"SELECT * FROM read_text('{dataset}/../secret.csv')"):
            with pytest.raises(QueryError, match="disabled by configuration"):
                ask(DatasetSource(dataset), sql)

    @pytest.mark.parametrize(
        "sql",
        ["COPY (SELECT 1) TO '{path}/x.csv'", "CREATE TABLE x (a INTEGER)", "SELECT 1; SELECT 2", "SET threads = 1"],
    )
    def test_only_one_select_is_run(self, dataset, sql):
        with pytest.raises(QueryError, match="one SELECT statement"):
            ask(DatasetSource(dataset), sql.format(path=dataset))
        assert not (dataset / "x.csv").exists()

    def test_a_folder_that_looks_like_a_partition_adds_no_column(self, tmp_path):
        source = DatasetSource(write_dataset(tmp_path / "year=2024" / "ds", groups=1, size=10))
        assert "year" not in ask(source, "SELECT * FROM data LIMIT 1")[0]

    def test_a_running_query_keeps_its_version_while_a_new_one_comes(self, tmp_path):
        path = write_dataset(tmp_path / "ds", groups=1, size=20, finished=False)
        source = DatasetSource(path)
        cancel = Cancellation()
        slow = "SELECT count(*) FROM data, range(100000000000) AS r(i) WHERE i % 7 = 3"
        errors: list[BaseException] = []

        def run() -> None:
            try:
                source.execute(slow, {}, relations={}, cancel=cancel)
            except QueryCancelledError as error:
                errors.append(error)

        worker = threading.Thread(target=run)
        worker.start()
        commit(path, 1, rows(20, 5), start_row=20)
        assert ask(source, "SELECT count(*) AS n FROM data") == [{"n": 23}]
        cancel.ask()
        while worker.is_alive():
            cancel.interrupt()
            worker.join(0.02)
        assert len(errors) == 1
        source.close()

    def test_what_is_no_dataset_is_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="holds no dataset"):
            DatasetSource(tmp_path)
        with pytest.raises(ConfigError, match="not a directory"):
            DatasetSource(tmp_path / "nope")

    def test_two_datasets_stand_side_by_side(self, tmp_path):
        pair = PairSource(
            write_dataset(tmp_path / "a", groups=1, size=10), write_dataset(tmp_path / "b", groups=2, size=10)
        )
        sql = "SELECT (SELECT count(*) FROM base.data) AS b, (SELECT count(*) FROM current.data) AS c"
        assert ask(pair, sql) == [{"b": 8, "c": 16}]


def test_postgresql_itself_ends_a_query_that_nobody_waits_for(postgres_url):
    """Told by the database's own list of what its sessions do."""
    import psycopg

    marked = "SELECT pg_sleep(600) AS nobody_waits_for_this"
    look = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s AND pid <> pg_backend_pid()"
    source = SQLAlchemySource(postgres_url)
    address = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(address, autocommit=True) as other, QueryCache() as cache:

        def running() -> int:
            return other.execute(look, ["%nobody_waits_for_this%"]).fetchone()[0]

        until = time.monotonic() + DEADLINE
        one, two = cache.submit(Query(source, marked)), cache.submit(Query(source, marked))
        while not running():
            assert time.monotonic() < until
        one.leave()
        assert running() == 1
        two.leave()
        while running():
            assert time.monotonic() < until
    source.close()


class TestOneDuckDBFile:
    def test_two_sources_read_it_side_by_side(self, tmp_path):
        """Two reports on one file in one process: a query of the second runs while one of the first does."""
        first, second = (duckdb_case(tmp_path).source, DuckDBFileSource(tmp_path / "file.duckdb"))
        assert first.identity == second.identity
        inside, go_on = threading.Event(), threading.Event()

        def slow() -> None:
            with _OPEN_FILES.reading(tmp_path.resolve() / "file.duckdb"):
                inside.set()
                assert go_on.wait(DEADLINE)

        reader = threading.Thread(target=slow)
        reader.start()
        assert inside.wait(DEADLINE)
        counted = ask(second, "SELECT count(*) AS n FROM t")
        go_on.set()
        reader.join()
        first.close()
        assert counted == ask(second, "SELECT count(*) AS n FROM t")

    def test_nobody_is_kept_from_writing_while_no_query_runs(self, tmp_path):
        """A file that is replaced or written to shows its new rows, by sources that have read it before."""
        source = duckdb_case(tmp_path).source
        (before,) = ask(source, "SELECT count(*) AS n FROM t")
        version = source.version()
        with duckdb.connect(str(tmp_path / "file.duckdb")) as writer:
            writer.execute("INSERT INTO t SELECT * FROM t")
        assert source.version() != version
        assert ask(source, "SELECT count(*) AS n FROM t") == [{"n": 2 * before["n"]}]


class TestRelations:
    def test_duckdb_reads_the_rows_of_another_source(self, tmp_path):
        sqlite, tables = SQLiteSource(sqlite_file(tmp_path)), TablesSource("tables", {})
        words = Query(sqlite, "SELECT word FROM t WHERE n < 3")
        joined = Query(tables, "SELECT count(*) AS n, min(word) AS first FROM {{ queries.w }} AS w", uses={"w": words})
        with QueryCache() as cache:
            assert cache.submit(joined).result(DEADLINE).to_pylist() == [{"n": 3, "first": "00M"}]

    def test_other_sources_refuse_them(self, tmp_path):
        source = SQLiteSource(sqlite_file(tmp_path))
        query = Query(source, "SELECT * FROM {{ queries.w }}", uses={"w": Query(source, "SELECT 1 AS a")})
        with QueryCache() as cache, pytest.raises(QueryError, match="cannot read the rows of another source"):
            cache.submit(query).result(DEADLINE)


class TestBreakdowns:
    def test_a_file_that_is_no_database_is_a_breakdown(self, tmp_path):
        file = tmp_path / "x.db"
        file.write_bytes(b"this is no database at all, but long enough to look at" * 40)
        for source in (SQLiteSource(file), DuckDBFileSource(file)):
            with pytest.raises(SourceDownError):
                ask(source, "SELECT * FROM t")

    def test_a_server_that_is_not_there_is_a_breakdown_and_its_password_is_not_told(self, tmp_path):
        pytest.importorskip("psycopg")
        source = SQLAlchemySource(f"postgresql+psycopg://someone:s3cret@/db?host={tmp_path}")
        assert "s3cret" not in source.identity
        with pytest.raises(SourceDownError) as caught:
            ask(source, "SELECT 1 AS a")
        assert "s3cret" not in str(caught.value)

    def test_a_url_that_leads_nowhere_is_refused_without_telling_it(self):
        with pytest.raises(ConfigError) as caught:
            SQLAlchemySource("nosuchdatabase://someone:s3cret@host/db")
        assert "s3cret" not in str(caught.value)

    def test_limits_reach_the_source(self, tmp_path):
        assert SQLiteSource(sqlite_file(tmp_path), limits=SourceLimits(max_running=9)).limits.max_running == 9
