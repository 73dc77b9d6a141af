"""`prefect-datagen backfill` and `partitions`, as processes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.prefect.server import PrefectServer

CONFIG = """
columns:
  - {name: id, column_type: sampler, sampler_type: uuid, params: {}}
  - {name: place, column_type: expression, expr: "${region} ${date} {{ id }}"}
"""


def test_a_range_is_backfilled_and_listed(server: PrefectServer, tmp_path: Path) -> None:
    file = tmp_path / "events.yaml"
    file.write_text(CONFIG)
    out = str(tmp_path / "out")
    words = ("--partition", "date=2026-01-01..2026-01-02", "--partition", "region=eu", "--seed", "7")
    told = server.run("backfill", str(file), "-n", "3", "-o", out, *words)
    lines = [line.split() for line in told.stdout.splitlines()]
    assert lines[0] == ["date", "region", "status", "rows", "of", "rejected", "built"]
    assert [line[:6] for line in lines[1:]] == [
        ["2026-01-01", "eu", "complete", "3", "3", "0"],
        ["2026-01-02", "eu", "complete", "3", "3", "0"],
    ]
    listed = [json.loads(line) for line in server.run("partitions", out, "--json").stdout.splitlines()]
    assert [each["partition"] for each in listed] == [
        {"date": "2026-01-01", "region": "eu"},
        {"date": "2026-01-02", "region": "eu"},
    ]
    wrong = server.run("backfill", str(file), "-n", "3", "-o", out, "--partition", "date=1..2", code=2)
    assert "write dates" in wrong.stderr
