"""A distribution that adds a column, a seed source, a processor and a sink: built, installed, and used by a build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "house-vocabulary"
version = "1.0"

[project.entry-points."prefect_datagen.plugins"]
"columns.backwards" = "house_vocabulary:BackwardsColumnConfig"
"seeds.counting" = "house_vocabulary:CountingSeedSource"
"processors.shout" = "house_vocabulary:ShoutProcessorConfig"
"sinks.noted" = "house_vocabulary.sinks:NotedSink"

[tool.hatch.build.targets.wheel]
packages = ["house_vocabulary"]
"""

MODULE = '''
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from prefect_datagen.columns.base import ColumnConfig, Reference
from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy
from prefect_datagen.processors.base import ProcessorConfig
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.spool import spool


class BackwardsColumnConfig(ColumnConfig):
    """The text of another column, backwards."""

    column_type: Literal["backwards"] = "backwards"
    of: str = Field(description="The column that is read.")

    def references(self):
        yield Reference(self.of, "of")

    def types(self, upstream):
        return (pa.string(),)

    def build(self, context):
        return ColumnNode(
            name=self.name,
            produces=self.produces(),
            inputs=(self.of,),
            strategy=Strategy.CELL,
            resource=INLINE,
            generator=Backwards(self.of),
            types=self.types({}),
        )


class Backwards:
    def __init__(self, of):
        self.of = of

    def generate_now(self, inputs):
        return (str(inputs[self.of])[::-1],)


class CountingSeedSource(SeedSource):
    seed_type: Literal["counting"] = "counting"
    stop: int

    def open(self, base_dir):
        table = pa.table({"word": [f"ab{n}" for n in range(self.stop)]})
        return spool([table], table.schema)


class ShoutProcessorConfig(ProcessorConfig):
    processor_type: Literal["shout"] = "shout"
    column: str

    def output_schema(self, schema):
        return schema

    def apply(self, table, context):
        at = table.column_names.index(self.column)
        return table.set_column(at, self.column, pc.utf8_upper(table.column(self.column)))
'''

SINKS = '''
from pathlib import Path

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink


class NotedSink(ParquetRowGroupSink):
    """A sink that leaves a note beside the dataset."""

    _block_type_name = "Noted Sink"
    _block_type_slug = "noted-sink"

    note: str

    def open(self, *, schema, staged=False):
        store = super().open(schema=schema, staged=staged)
        (Path(self.path) / "NOTE").write_text(self.note)
        return store
'''

CONFIG = {
    "seed_config": {"source": {"seed_type": "counting", "stop": 3}},
    "columns": [
        {"name": "word", "column_type": "seed-dataset"},
        {"name": "drow", "column_type": "backwards", "of": "word"},
    ],
    "processors": [{"name": "loud", "processor_type": "shout", "column": "drow"}],
}

USE = """
import json, sys
from house_vocabulary.sinks import NotedSink
NotedSink(path=sys.argv[2], note="made by the house").save("mine", overwrite=True)
del sys.modules["house_vocabulary.sinks"]
from prefect_datagen import RunConfig, build_dataset
result = build_dataset(json.loads(sys.argv[1]), num_records=4, sink="noted-sink/mine", run=RunConfig(seed=1))
print(result.load_dataset().to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution as an installer puts it there: the wheel's files and its metadata."""
    project = tmp_path_factory.mktemp("house")
    (project / "pyproject.toml").write_text(PROJECT)
    package = project / "house_vocabulary"
    package.mkdir()
    (package / "__init__.py").write_text(MODULE)
    (package / "sinks.py").write_text(SINKS)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(project / "dist")]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = (project / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(project / "site")
    return project / "site"


def run(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A Python process that finds the distribution, and the Prefect server of the tests."""
    from prefect.settings import PREFECT_API_URL

    environment = {**os.environ, "PYTHONPATH": str(installed), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("prefect_api")
def test_a_build_uses_all_that_the_distribution_adds(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "-c", USE, json.dumps(CONFIG), str(tmp_path / "d"))
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["drow"] for row in rows] == ["0BA", "1BA", "2BA", "0BA"]
    assert (tmp_path / "d" / "NOTE").read_text() == "made by the house"


@pytest.mark.usefixtures("prefect_api")
def test_mistakes_in_a_plug_in_column_are_told_like_any_other(installed: Path, tmp_path: Path) -> None:
    wrong = {**CONFIG, "columns": [*CONFIG["columns"], {"name": "x", "column_type": "backwards", "of": "wrod"}]}  # type: ignore[misc]
    (tmp_path / "wrong.yaml").write_text(json.dumps(wrong))
    done = run(installed, "-m", "prefect_datagen.cli.main", "validate", str(tmp_path / "wrong.yaml"))
    assert done.returncode == 2, done.stderr
    assert "column 'wrod' is not defined; did you mean 'word'?" in done.stderr + done.stdout
