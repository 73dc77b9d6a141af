"""The commands `report` and `diff`, run as a user runs them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from prefect_datagen.cli.diff import diff
from prefect_datagen.cli.report import report
from prefect_datagen.engine.errors import ConfigError
from tests.reports.datasets import write_dataset

PROGRAM = """
import sys, click
from prefect_datagen.cli.diff import diff
from prefect_datagen.cli.report import report
from prefect_datagen.engine.errors import ConfigError, DatagenError
app = click.Group(commands=[report, diff])
try:
    app()
except DatagenError as error:
    print(f"error: {error.message}", file=sys.stderr)
    sys.exit(2 if isinstance(error, ConfigError) else 1)
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "reports" / "reviews.yaml"


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_dataset(folder / "one", groups=2, size=20)
    write_dataset(folder / "two", groups=3, size=20, seed=1)
    return folder


def test_a_report_becomes_a_file(folder):
    done = run("report", EXAMPLE, "--data", "one", "-o", "out/r.json", "--set", "least_score=3", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads((folder / "out/r.json").read_text())
    assert content["variables"] == {"least_score": 3}
    assert len(content["charts"]) == 14


def test_a_dataset_alone_has_a_report(folder):
    done = run("report", "--data", "one", "-o", "auto.html", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "<h1>reviews</h1>" in (folder / "auto.html").read_text()


def test_a_failed_chart_is_told_and_exits_with_1(folder):
    (folder / "bad.yaml").write_text("charts:\n  c: {type: kpi, value: v, sql: SELECT nope AS v FROM data}\n")
    done = run("report", "bad.yaml", "--data", "data=one", "-o", "bad.html", folder=folder)
    assert done.returncode == 1
    assert "chart 'c'" in done.stderr
    assert (folder / "bad.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "give a report's file"),
        (["report", "nope.yaml"], "cannot read report"),
        (["report", EXAMPLE, "--data", "one", "--set", "least_score=9"], "above the maximum"),
        (["report", EXAMPLE, "--data", "one", "--set", "nope=1"], "no such variable"),
        (["report", EXAMPLE, "--data", "one", "-o", "r.doc"], "must end in"),
        (["report", EXAMPLE, "--data", "nope"], "not a directory"),
        (["diff", "one", "nope"], "not a directory"),
        (["diff", "one", "two", "--key", "score"], "does not tell the rows"),
        (["diff", "one", "two", "--fail-on", "rows<1"], "is no condition"),
    ],
)
def test_what_is_wrong_is_a_config_error(folder, arguments, said):
    app = click.Group(commands=[report, diff])
    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, ConfigError)
    assert said in done.exception.message


def test_a_config_error_exits_with_2_and_without_a_traceback(folder):
    done = run("report", "nope.yaml", folder=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read report")
    assert "Traceback" not in done.stderr


def test_a_comparison_exits_with_1_where_a_condition_holds_and_only_then(folder):
    fine = run("diff", "one", "two", "--key", "id", "--fail-on", "schema", folder=folder)
    assert fine.returncode == 0
    assert "rows     36 → 54 (+50.0%)" in fine.stdout
    assert "18 added, 0 removed" in fine.stdout
    bad = run("diff", "one", "two", "--fail-on", "schema", "--fail-on", "rows>10%", "-o", "d.json", folder=folder)
    assert bad.returncode == 1
    assert "rows>10%: rows is 50.00%" in bad.stderr
    assert json.loads((folder / "d.json").read_text())["current_rows"] == 54


def test_a_comparison_becomes_a_page(folder):
    done = run("diff", "one", "two", "--key", "id", "-o", "d.html", folder=folder)
    assert done.returncode == 0
    assert "Columns side by side" in (folder / "d.html").read_text()
