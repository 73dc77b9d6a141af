"""What docs/reports.md shows can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prefect_datagen.reports.query_cache import QueryCache
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec_file import parse_report
from tests.reports.datasets import write_dataset

TEXT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_report_is_drawn(tmp_path):
    spec = parse_report(blocks("yaml")[0])
    with Report.open(spec, data=[write_dataset(tmp_path / "ds", groups=2, size=40)]) as report, QueryCache() as cache:
        views = report.start(cache).views()
    assert {name: view.error for name, view in views.items() if view.error} == {}
    assert 0 < views["rows"].data["rows"][0]["rows"] < 76


def test_every_kind_of_source_is_there():
    spec = parse_report(blocks("yaml")[1])
    assert {config.type for config in spec.sources.values()} == {"dataset", "duckdb", "sqlite", "sqlalchemy", "block"}


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quality.yaml").write_text(blocks("yaml")[0])
    write_dataset(tmp_path / "out" / "reviews", groups=1, size=40)
    exec(compile(blocks("python")[0], "docs/reports.md", "exec"), {})
    assert sorted(capsys.readouterr().out.split()) == sorted(["rows", "scores", "rejected"] + ["drawn"] * 3)


@pytest.mark.parametrize(
    "table", ["row_groups", "rejections", "usage", "stages", "columns", "dataset", "rejects", "data"]
)
def test_relations_are_documented(table):
    assert f"| `{table}` |" in TEXT
