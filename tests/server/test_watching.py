"""A server beside a real build in a process of its own: its row groups as they are committed, and its traces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from prefect_datagen.storage import DatasetReader
from tests.flows.configs import feedback
from tests.mock_server import MockServer
from tests.prefect.server import PrefectServer

ROWS, SIZE = 20, 5


@contextmanager
def building(config: Path, dataset: Path, api: PrefectServer) -> Iterator[subprocess.Popen[str]]:
    """`prefect-datagen build`, traced, one row group after the other."""
    words = f"build {config} -n {ROWS} -o {dataset} --seed 7 --row-group-size {SIZE} --max-row-groups 1 --trace"
    process = subprocess.Popen(
        [sys.executable, "-c", "from prefect_datagen.cli.main import main; main()", *words.split()],
        env={**os.environ, "PREFECT_API_URL": api.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_row_groups_of_a_running_build_appear_and_so_do_its_traces(
    serve: Any, tmp_path: Path, mock_server: MockServer, prefect_api: PrefectServer
) -> None:
    config, dataset = tmp_path / "config.yaml", tmp_path / "d"
    config.write_text(yaml.safe_dump(feedback(mock_server.url)))
    mock_server.become(hold=True)

    def rows() -> int:
        return int(server.get("/api/count").json["rows"])

    with building(config, dataset, prefect_api) as build:
        mock_server.wait_until(lambda stats: stats.in_flight >= SIZE, timeout=180)
        server = serve(dataset, "--watch")
        server.wait_ready()
        assert server.get("/api/count").json == {"rows": 0}
        while mock_server.stats().answers < 2 * SIZE:  # those of the first row group, which is committed then
            mock_server.wait_until(lambda stats: stats.in_flight > 0, timeout=180)
            mock_server.control(hold=False)
            mock_server.control(hold=True)
        server.wait(lambda state: rows() >= SIZE)
        assert rows() < ROWS
        assert rows() % SIZE == 0
        assert build.poll() is None, "the build is over before its last row group"
        assert server.get("/api/datasets").json[0]["status"] != "complete"
        mock_server.control(hold=False)
        output, _ = build.communicate(timeout=180)
        assert build.returncode == 0, output
        server.wait(lambda state: server.get("/api/datasets").json[0]["status"] == "complete")
    assert rows() == ROWS

    written = DatasetReader(dataset).traces().to_pylist()
    asked = "/api/rows?table=traces&limit=1000&sort=row_index"
    page = server.get(asked).json
    names = [column["name"] for column in page["columns"]]
    assert len(page["rows"]) == len(written) >= 2 * ROWS
    assert server.get("/api/count?table=traces").json == {"rows": len(written)}
    assert {"column", "row_index", "attempt", "queued", "started", "ended", "status"} <= set(names)
    done = server.get(f"{asked}&filter=column%20%3D%20'reply'%20and%20status%20%3D%20'done'&column=row_index").json
    assert [row[0] for row in done["rows"]] == list(range(ROWS))
    lines = server.get("/api/download?table=traces&format=jsonl").body.splitlines()
    assert len(lines) == len(written)
