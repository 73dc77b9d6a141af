"""The process: what it answers before, during and after loading, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_health_answers_at_once_while_the_loader_hangs(serve: Any, tmp_path: Path) -> None:
    """A metadata file that blocks its reader for ever (a pipe without a writer) delays neither health nor the page."""
    (tmp_path / "manifests").mkdir()
    os.mkfifo(tmp_path / "metadata.json")
    server = serve(tmp_path, "--startup-timeout", "600")
    state = server.wait(lambda state: state["phase"] == "current.records")
    assert (state["ready"], state["error"], state["status"]) == (False, None, "loading")
    assert server.get("/api/health").status == 200
    assert server.get("/").status == 200
    not_ready = server.get("/api/ready")
    assert not_ready.status == 503
    assert int(not_ready.headers["retry-after"]) > 0


def test_a_hung_loader_fails_at_the_deadline_and_is_refused_at_once_after_it(serve: Any, tmp_path: Path) -> None:
    """The deadline counts from the start of the process; requests that waited get 503, later ones do not wait."""
    (tmp_path / "manifests").mkdir()
    os.mkfifo(tmp_path / "metadata.json")
    server = serve(tmp_path, environment={"PREFECT_DATAGEN_STARTUP_TIMEOUT": "2"})
    waited = server.get("/api/datasets")
    assert waited.status == 503
    assert waited.error["code"] == "start-up timeout"
    assert "retry-after" in waited.headers
    state = server.state()
    assert (state["status"], state["error"], state["ready"]) == ("failed", "StartupTimeout", False)
    assert state["elapsed"] >= 2.0
    assert server.get("/api/rows").error["code"] == "start-up timeout"
    assert server.get("/api/health").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_whose_loader_hangs(serve: Any, tmp_path: Path, number: int) -> None:
    """Also with requests that wait and a stream that is open. How fast, `benchmarks/server.py` measures."""
    (tmp_path / "manifests").mkdir()
    os.mkfifo(tmp_path / "metadata.json")
    server = serve(tmp_path)
    server.wait(lambda state: state["phase"] == "current.records")
    waiting, stream = server.connect(), server.connect()
    waiting.request("GET", "/api/rows")
    stream.request("GET", "/api/events")
    stream.getresponse().readline()
    assert server.end(number) == 0
    waiting.close()
    stream.close()


def test_requests_wait_for_readiness_and_are_then_answered(serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=2)
    server = serve(dataset.path)
    answer = server.get("/api/datasets")
    assert answer.status == 200
    assert answer.json[0]["rows"] == 40
    assert server.state()["ready"]


def test_ready_tells_phases_and_sizes(serve: Any, new_dataset: Any) -> None:
    server = serve(new_dataset(row_groups=2).path, "--base", new_dataset("base", row_groups=1).path)
    server.wait_ready()
    ready = server.get("/api/ready")
    assert ready.status == 200
    assert {"import", "current.records", "current.tables", "base.records"} <= set(ready.json["milliseconds"])
    assert ready.json["sizes"] == {
        "current.row_groups": 2, "current.rows": 40, "base.row_groups": 1, "base.rows": 20, "reports": 1,
    }  # fmt: skip


def test_a_failed_load_is_told_and_a_repair_makes_the_server_ready(serve: Any, new_dataset: Any) -> None:
    """Without a restart, and without an error's text, which may hold paths."""
    dataset = new_dataset(row_groups=2)
    manifest = dataset.path / "manifests" / "part-00001.json"
    good = manifest.read_bytes()
    manifest.write_bytes(good[:50])
    server = serve(dataset.path)
    state = server.wait(lambda state: state["status"] == "failed")
    assert state["error"] == "SinkError"
    refused = server.get("/api/rows")
    assert (refused.status, refused.error["code"]) == (503, "loading failed")
    assert str(dataset.path) not in refused.body.decode()
    assert server.get("/api/health").status == 200
    manifest.write_bytes(good)
    server.wait_ready()
    assert server.get("/api/count").json == {"rows": 40}


def test_a_dataset_that_appears_later_is_served(serve: Any, tmp_path: Path, new_dataset: Any) -> None:
    server = serve(tmp_path / "later")
    assert server.wait(lambda state: state["status"] == "failed")["error"] == "ConfigError"
    new_dataset("later", row_groups=1)
    server.wait_ready()


def test_a_bad_reload_keeps_the_old_data_and_says_stale(serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=1)
    server = serve(dataset.path)
    version = server.wait_ready()["version"]
    manifest = dataset.path / "manifests" / "part-00000.json"
    good = manifest.read_bytes()
    manifest.write_bytes(b"{}")
    assert server.request("POST", "/api/reload").status == 202
    state = server.wait(lambda state: state["stale"])
    assert (state["ready"], state["error"], state["version"]) == (True, "SinkError", version)
    assert server.get("/api/rows").json["total"] == 20
    manifest.write_bytes(good)
    assert not server.wait(lambda state: not state["stale"])["error"]


def test_watching_shows_row_groups_as_they_are_committed(serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset()
    server = serve(dataset.path, "--watch")
    version = server.wait_ready()["version"]
    assert server.get("/api/rows").json["rows"] == []
    for row_groups in (1, 2):
        dataset.commit()
        version = server.wait(lambda state, before=version: state["version"] > before)["version"]
        assert server.get("/api/rows?limit=1000").json["total"] == 20 * row_groups
    dataset.finish()
    server.wait(lambda state: state["version"] > version)
    assert server.get("/api/datasets").json[0]["status"] == "complete"


def test_without_watch_nothing_changes_until_a_reload(serve: Any, new_dataset: Any) -> None:
    dataset = new_dataset(row_groups=1)
    server = serve(dataset.path)
    version = server.wait_ready()["version"]
    dataset.commit()
    assert server.get("/api/count").json == {"rows": 20}
    server.request("POST", "/api/reload")
    server.wait(lambda state: state["version"] > version)
    assert server.get("/api/count").json == {"rows": 40}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_ready_server(serve: Any, new_dataset: Any, number: int) -> None:
    server = serve(new_dataset(row_groups=1).path)
    server.wait_ready()
    assert server.end(number) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--startup-timeout", "soon"], "is not a number of seconds"),
        (["--startup-timeout", "nan"], "is not a positive number"),
        (["--startup-timeout", "-1"], "is not a positive number"),
        (["--host", "0.0.0.0"], "give --token"),
        (["--host", "0.0.0.0", "--token", "short"], "too short"),
        (["--port", "70000"], "not between 0 and 65535"),
        (["--report", "missing.yaml"], "there is no report file"),
    ],
)
def test_wrong_settings_are_refused_at_start(
    run_serve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, arguments: list[str], message: str
) -> None:
    ended = run_serve([str(tmp_path), *arguments])
    assert ended.returncode == 2
    assert message in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def test_a_timeout_from_the_environment_that_is_no_number_is_refused(
    run_serve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    ended = run_serve([str(tmp_path)], PREFECT_DATAGEN_STARTUP_TIMEOUT="later")
    assert ended.returncode == 2
    assert "'later' is not a number of seconds" in " ".join(ended.stderr.split())


def test_a_port_in_use_is_refused(run_serve: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run_serve([str(tmp_path), "--port", str(taken.getsockname()[1])])
    assert ended.returncode == 2
    assert "cannot listen on" in ended.stderr


def test_listening_imports_neither_prefect_nor_anything_heavy() -> None:
    """What the shell needs before it answers, told by the interpreter itself."""
    shell = "import prefect_datagen.cli.main, prefect_datagen.server.run, prefect_datagen.server.loading"
    shell += ", prefect_datagen.server.shell, uvicorn, json, sys; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", shell], capture_output=True, text=True, check=True).stdout
    loaded = {name.partition(".")[0] for name in json.loads(printed)}
    heavy = {"prefect", "pydantic", "pyarrow", "duckdb", "numpy", "pandas", "fastapi", "starlette", "orjson", "sqlglot"}
    assert not loaded & heavy


def test_prefect_is_never_imported(serve: Any, new_dataset: Any) -> None:
    """Told by the interpreter, which writes down every import, after the routes were used."""
    server = serve(new_dataset(row_groups=1).path, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    for path in ("/api/datasets", "/api/rows", "/api/profile", "/api/top?column=city", "/api/download"):
        assert server.get(path).status == 200
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in server.stop().splitlines()}
    assert {"duckdb", "fastapi", "prefect_datagen"} <= imported
    assert "prefect" not in imported
