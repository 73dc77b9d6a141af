"""Verdicts on other columns: each row its own, each column its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from prefect_datagen.columns.code_checks import check_python, check_sql
from prefect_datagen.columns.validation import ValidationColumnConfig
from prefect_datagen.engine.errors import ConfigError, ProcessorError
from prefect_datagen.engine.node import ColumnNode, Strategy
from tests.columns.fakes import context, make_batch, problems

TYPES = {"code": pa.string(), "other": pa.string(), "n": pa.int64()}
GOOD = "import math\n\n\ndef area(r):\n    return math.pi * r * r\n"


def column(
    kind: str = "code", *, targets: list[str] | None = None, batch_size: int = 10, **params: Any
) -> ValidationColumnConfig:
    return ValidationColumnConfig.model_validate(
        {
            "name": "verdict",
            "target_columns": targets or ["code"],
            "validator_type": kind,
            "validator_params": params,
            "batch_size": batch_size,
        }
    )


def node(*args: Any, **fields: Any) -> ColumnNode:
    return column(*args, **fields).build(context(TYPES))


def verdicts(built: ColumnNode, **columns: Any) -> list[Any]:
    arrays = {name: pa.array(values, TYPES[name]) for name, values in columns.items()}
    made = make_batch(built, **arrays)
    values = made.arrays["verdict"].to_pylist()
    return [made.rejected.get(position, value) for position, value in enumerate(values)]


# --- code


def test_a_verdict_is_a_full_column_of_a_struct_known_in_advance() -> None:
    built = node(code_lang="sql:ansi")
    assert (built.strategy, built.inputs) == (Strategy.FULL_COLUMN, ("code",))
    assert built.types == (pa.struct([("is_valid", pa.bool_()), ("error_messages", pa.string())]),)
    assert [(each.column, each.field) for each in column(code_lang="python").references()] == [
        ("code", "target_columns[0]")
    ]


@pytest.mark.parametrize(
    ("code", "valid", "severity"),
    [
        (GOOD, True, "none"),
        ("", True, "none"),
        ("print(undefined_name)", False, "error"),
        ("def f(:\n    pass", False, "fatal"),
        ("x = [1, 2", False, "fatal"),
        ("if True:\nprint(1)", False, "fatal"),
        ("x = 1\x00", False, "fatal"),
        ("print(undefined_name)  # noqa", False, "error"),
        ("# ruff: noqa\nprint(undefined_name)", False, "error"),
        ("import os, sys\nprint(os, sys)", True, "refactor"),
        ("match 1:\n    case 1:\n        print('é')", True, "none"),
    ],
)
def test_python_is_judged_by_ruff(code: str, valid: bool, severity: str) -> None:
    (verdict,) = check_python([code])
    assert (verdict["is_valid"], verdict["python_linter_severity"]) == (valid, severity)
    assert 0 <= verdict["python_linter_score"] <= 10
    assert (verdict["python_linter_messages"] == []) == (severity == "none")


def test_findings_say_what_and_where_worst_first() -> None:
    (verdict,) = check_python(["import os, sys\nprint(os, sys)\nprint(nobody)\n"])
    first, second = verdict["python_linter_messages"]
    assert first == {
        "type": "error",
        "symbol": "F821",
        "line": 3,
        "column": 7,
        "message": "Undefined name `nobody`",
    }
    assert second["type"] == "refactor"
    assert verdict["python_linter_score"] == 0.0  # 10 - 10 * (5 + 1) / 3 is below it
    assert check_python([GOOD])[0]["python_linter_score"] == 10.0


def test_code_is_judged_and_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    check_python([f"open({str(trace)!r}, 'w').close()"])
    assert not trace.exists()


@pytest.mark.parametrize(
    ("dialect", "code", "valid"),
    [
        ("", "SELECT a, count(*) FROM t GROUP BY a", True),
        ("", "SELECT 1; SELECT 2;", True),
        ("", "CREATE TABLE t (a DECIMAL(10))", True),
        ("", "(SELECT 1)", True),
        ("", "SELECT FROM WHERE", False),
        ("", "SELECT 'x", False),
        ("", "hello world", False),
        ("", "", False),
        ("", "-- nothing", False),
        ("", "CREATE TABEL t (a INT)", False),
        ("", "(" * 20_000, False),
        ("postgres", "SELECT a::int FROM t", True),
        ("postgres", "CREATE ROLE reader", True),
        ("tsql", "SELECT TOP 5 * FROM t", True),
        ("", "SELECT TOP 5 * FROM t", False),
        ("bigquery", "SELECT * EXCEPT (a) FROM `p.d.t`", True),
        ("mysql", "SHOW TABLES", True),
        ("sqlite", "PRAGMA table_info(t)", True),
    ],
)
def test_sql_is_judged_by_sqlglot(dialect: str, code: str, valid: bool) -> None:
    (verdict,) = check_sql([code], dialect)
    assert verdict["is_valid"] is valid
    assert (verdict["error_messages"] == "") is valid
    assert "\x1b" not in verdict["error_messages"]


@pytest.mark.parametrize("dialect", ["ansi", "bigquery", "mysql", "postgres", "sqlite", "tsql"])
def test_every_dialect_judges(dialect: str) -> None:
    assert [each["is_valid"] for each in verdicts(node(code_lang=f"sql:{dialect}"), code=["SELECT 1", "SELECT"])] in (
        [True, True],
        [True, False],
    )


def test_each_row_gets_the_verdict_on_its_own_code() -> None:
    codes = [GOOD, "x = (", None, "print(y)", GOOD] * 3
    found = [verdict["is_valid"] for verdict in verdicts(node(code_lang="python"), code=codes)]
    assert found == [True, False, None, False, True] * 3


def test_each_target_column_gets_its_own_verdict() -> None:
    built = node(targets=["code", "other"], code_lang="sql:ansi")
    found = verdicts(
        built,
        code=["SELECT 1", "SELECT 1", "oh no", None],
        other=["SELECT 2", "oh no", "SELECT 2", "SELECT 2"],
    )
    assert [(each["is_valid"], each["code"]["is_valid"], each["other"]["is_valid"]) for each in found] == [
        (True, True, True),
        (False, True, False),
        (False, False, True),
        (None, None, True),
    ]
    assert "is an expression" in found[1]["other"]["error_messages"]
    assert found[1]["code"]["error_messages"] == ""


def test_no_rows_need_no_validator() -> None:
    assert verdicts(node(code_lang="python"), code=[]) == []


# --- local_callable


def positive(df: pd.DataFrame) -> pd.DataFrame:
    assert len(df) <= 2
    return pd.DataFrame({"is_valid": df["n"] > 0, "note": [f"n={n}" for n in df["n"]]})


SCHEMA = {
    "type": "object",
    "properties": {"is_valid": {"type": ["boolean", "null"]}, "note": {"type": "string"}},
    "required": ["is_valid"],
}
DATA_SCHEMA = {"type": "object", "properties": {"data": {"type": "array", "items": SCHEMA}}}


def test_a_function_judges_batches_in_order() -> None:
    built = node("local_callable", targets=["n"], batch_size=2, validation_function=positive)
    assert verdicts(built, n=[1, -1, 2, -2, 3]) == [
        {"is_valid": n > 0, "details": f'{{"note":"n={n}"}}'} for n in [1, -1, 2, -2, 3]
    ]


@pytest.mark.parametrize("schema", [SCHEMA, DATA_SCHEMA])
def test_a_schema_gives_the_verdict_its_fields(schema: dict[str, Any]) -> None:
    built = node("local_callable", targets=["n"], batch_size=2, validation_function=positive, output_schema=schema)
    assert built.types == (pa.struct([("is_valid", pa.bool_()), ("note", pa.string())]),)
    assert verdicts(built, n=[1]) == [{"is_valid": True, "note": "n=1"}]


def test_a_verdict_that_does_not_fit_rejects_its_row_only() -> None:
    def odd(df: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"is_valid": [True, True, "yes"], "note": ["fine", 5, "fine"]}, dtype=object)

    built = node("local_callable", targets=["n"], validation_function=odd, output_schema=SCHEMA)
    good, misfit, unclear = verdicts(built, n=[1, 2, 3])
    assert good == {"is_valid": True, "note": "fine"}
    assert (misfit.reason, unclear.reason) == ("verdict", "verdict")
    assert "note: 5 is not of type" in misfit.message
    assert "no is_valid that is true, false or null" in unclear.message


@pytest.mark.parametrize(
    "function",
    [lambda df: df, lambda df: None, lambda df: pd.DataFrame({"is_valid": [True]})],
)
def test_a_function_that_returns_something_else_ends_the_run(function: Callable[[Any], Any]) -> None:
    with pytest.raises(ProcessorError, match="must return a DataFrame"):
        verdicts(node("local_callable", targets=["n"], validation_function=function), n=[1, 2])


def test_a_function_that_raises_ends_the_run() -> None:
    with pytest.raises(ZeroDivisionError):
        verdicts(node("local_callable", targets=["n"], validation_function=lambda df: 1 / 0), n=[1])


def test_a_function_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text("def all_fine(df):\n    return df.assign(is_valid=True)\n")
    config = column("local_callable", targets=["n"], validation_function="checks.py:all_fine")
    config.place_in(tmp_path)
    assert (problems(config), "all_fine" in "".join(config.source_code())) == ({}, True)
    assert verdicts(config.build(context(TYPES)), n=[1])[0]["is_valid"] is True
    assert config.model_dump(mode="json")["validator_params"]["validation_function"] == "checks.py:all_fine"


# --- remote


class Service:
    """A real HTTP service: answers with what `plan` gives for the number of the call, or judges `n > 0`."""

    def __init__(self, plan: Callable[[int], tuple[int, bytes] | None]) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        service, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["data"]
                with lock:
                    service.calls.append(records)
                    number = len(service.calls)
                good = json.dumps({"data": [{"is_valid": record["n"] > 0, "seen": record} for record in records]})
                status, body = plan(number) or (200, good.encode())
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/validate"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def start(plan: Callable[[int], tuple[int, bytes] | None] = lambda number: None) -> Service:
        services.append(Service(plan))
        return services[-1]

    yield start
    for service in services:
        service.close()


def test_a_service_judges_batches_and_rows_keep_their_order(serve: Callable[..., Service]) -> None:
    service = serve()
    built = node("remote", targets=["n", "code"], batch_size=3, endpoint_url=service.url)
    numbers = [5, -1, 7, -2, 0, 3, 9, -4]
    found = verdicts(built, n=numbers, code=["0E8"] * 8)
    assert [each["is_valid"] for each in found] == [n > 0 for n in numbers]
    assert [json.loads(each["details"])["seen"] for each in found] == [{"n": n, "code": "0E8"} for n in numbers]
    assert sorted(map(len, service.calls)) == [2, 3, 3]


@pytest.mark.parametrize("failure", [(503, b""), (429, b"slow"), (0, b"")])
def test_what_may_pass_is_tried_again(serve: Callable[..., Service], failure: tuple[int, bytes]) -> None:
    service = serve(lambda number: failure if number == 1 else None)
    built = node("remote", targets=["n"], endpoint_url=service.url, retry_backoff=1.01)
    assert [each["is_valid"] for each in verdicts(built, n=[1, -1])] == [True, False]
    assert len(service.calls) == 2


@pytest.mark.parametrize(
    ("failure", "calls", "message"),
    [
        ((400, b"bad"), 1, "HTTP 400"),
        ((500, b""), 2, "HTTP 500"),
        ((200, b"<html>"), 1, "the answer is not"),
        ((200, b'{"data": []}'), 1, "0 verdicts for 1 records"),
        ((200, b'{"data": 3}'), 1, "int verdicts"),
    ],
)
def test_a_batch_that_was_not_judged_rejects_its_rows_only(
    serve: Callable[..., Service], failure: tuple[int, bytes], calls: int, message: str
) -> None:
    judged: list[Service] = []
    service = serve(lambda number: failure if judged[0].calls[number - 1] == [{"n": 2}] else None)
    judged.append(service)
    built = node(
        "remote", targets=["n"], batch_size=1, endpoint_url=service.url, max_retries=1, max_parallel_requests=1
    )
    first, lost, last = verdicts(built, n=[1, 2, 3])
    assert (first["is_valid"], last["is_valid"]) == (True, True)
    assert message in lost.message
    assert lost.reason == "remote validator"
    assert len(service.calls) == 2 + calls


def test_a_service_that_is_not_there_rejects_the_rows() -> None:
    built = node("remote", targets=["n"], endpoint_url="http://127.0.0.1:1/", max_retries=0)
    (lost,) = verdicts(built, n=[1])
    assert (lost.reason, "ConnectionRefusedError" in lost.message) == ("remote validator", True)


# --- mistakes


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        (column(targets=["code", "code"], code_lang="python"), "target_columns[1]", "named twice"),
        (column(targets=["code", "is_valid"], code_lang="python"), "target_columns[1]", "is_valid"),
        (column("local_callable", validation_function="no.py:f"), "validator_params.validation_function", "no file"),
        (
            column("remote", endpoint_url="http://h/", output_schema={"type": "strin"}),
            "validator_params.output_schema",
            "not a JSON schema",
        ),
        (
            column("remote", endpoint_url="http://h/", output_schema={"type": "object", "properties": {"ok": {}}}),
            "validator_params.output_schema",
            "is_valid",
        ),
        (
            ValidationColumnConfig.model_validate(
                {**column(code_lang="python").model_dump(), "skip": {"when": "{{ n }}", "value": False}}
            ),
            "skip.value",
            "not a mapping",
        ),
    ],
)
def test_mistakes_are_found_before_any_row(config: ValidationColumnConfig, field: str, message: str) -> None:
    assert message in problems(config)[field]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "code", "code_lang": "cobol"}, "code_lang"),
        ({"kind": "remote", "endpoint_url": "file:///etc/passwd"}, "endpoint_url"),
        ({"kind": "local_callable", "validation_function": "nothing"}, "must name a function"),
        ({"kind": "code", "validator_type": "remote", "endpoint_url": "http://h/"}, "are for 'remote', not for 'code'"),
        ({"kind": "psychic"}, "validator_type"),
        ({"kind": "code", "code_lang": "python", "batch_size": 0}, "batch_size"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        column(**fields)


def test_code_is_to_be_found_in_text() -> None:
    with pytest.raises(ConfigError, match="'n' is of type int64, not text"):
        node(targets=["n"], code_lang="python")
