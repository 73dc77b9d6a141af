"""`prefect-datagen chain`, as a process, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from prefect_datagen.blocks import ParquetRowGroupSink
from tests.flows.stream_code import GATE
from tests.flows.workflows import lines, notes, numbers, people, workflow, written
from tests.mock_server import MockServer
from tests.prefect.server import PrefectServer, wait_for


def write(path: Path, *stages: dict[str, object], **changes: object) -> Path:
    """A workflow file in `path`, whose datasets go to `path/out`."""
    file = path / "workflow.yaml"
    file.write_text(yaml.safe_dump(workflow(path / "out", *stages, **changes)))
    return file


def test_a_chain_is_built_previewed_and_cached(server: PrefectServer, tmp_path: Path) -> None:
    file = write(tmp_path, people(), notes("http://127.0.0.1:9/v1"), lines())
    shown = server.run("chain", str(file), "--preview", "2", "--json", "--offline")
    previews = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(each["stage"], len(each["rows"])) for each in previews] == [("people", 2), ("notes", 2), ("lines", 2)]
    assert not (tmp_path / "out").exists()

    built = server.run("chain", str(file), "--offline")
    assert built.stdout.splitlines() == [
        "people: 12 of 12 rows written (100.0 %) (built)",
        "notes: 12 of 12 rows written (100.0 %) (built)",
        "lines: 12 of 12 rows written (100.0 %) (built)",
    ]
    again = server.run("chain", str(file), "--offline", "--from", "notes")
    assert again.stdout.splitlines() == [
        "notes: 12 of 12 rows written (100.0 %) (cached)",
        "lines: 12 of 12 rows written (100.0 %) (cached)",
    ]


def test_a_wrong_workflow_ends_with_code_2_and_one_line_for_each_mistake(server: PrefectServer, tmp_path: Path) -> None:
    file = write(tmp_path, people(), notes(seeds_from="poeple"))
    refused = server.run("chain", str(file), code=2)
    assert refused.stderr.splitlines()[1].endswith("stage 'poeple' is not defined; did you mean 'people'?")
    assert server.run("chain", str(file), "--set", "columns[a].x=1", code=2).stderr.startswith(
        "error: --set columns[a].x:"
    )


def test_an_interrupted_chain_ends_in_order_and_the_next_run_continues(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path
) -> None:
    file = write(tmp_path, people(), notes(mock_server.url), lines())
    mock_server.become(hold=True)
    with server.start("chain", str(file), log=tmp_path / "log") as chain:
        mock_server.wait_until(lambda stats: stats.in_flight == 8, timeout=60)
        chain.interrupt()
        assert chain.wait() == 130
        assert "a second run continues from there" in chain.output
    sent = mock_server.stats().calls
    mock_server.control(hold=False)
    server.run("chain", str(file))
    # Calls that were in flight are made again, and no more than those.
    assert mock_server.stats().calls == sent + 12
    assert sent == 8


def test_a_killed_chain_goes_on_with_the_rows_that_were_handed_on(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 while both stages are at work: the rows are those of one go, and no answer is paid for twice."""
    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv(GATE, str(gate))
    file = write(tmp_path, numbers(), written(mock_server.url))
    manifests = tmp_path / "out" / "written" / "manifests"
    with server.start("chain", str(file), log=tmp_path / "log") as chain:
        wait_for(lambda: manifests.exists() and len(list(manifests.glob("part-*.json"))) == 2, what="two row groups")
        chain.kill()
    (gate / "open").touch()
    server.run("chain", str(file))
    assert ParquetRowGroupSink(path=tmp_path / "out" / "written").reader().load()["number"].tolist() == list(range(18))
    stats = mock_server.stats()
    assert (stats.calls, stats.repeated_requests) == (18, 0)


def test_a_failed_stage_ends_with_code_1_and_says_which(
    server: PrefectServer, mock_server: MockServer, tmp_path: Path
) -> None:
    mock_server.become(require_key="right")
    file = write(tmp_path, people(), notes(mock_server.url), lines())
    failed = server.run("chain", str(file), code=1)
    assert "error: chain stage notes: " in failed.stderr
    assert "401 from " in failed.stderr
    assert (tmp_path / "out" / "people" / "metadata.json").exists()
    assert not (tmp_path / "out" / "lines").exists()
