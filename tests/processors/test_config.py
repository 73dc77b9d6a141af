"""The union of processors: by type, with plug-ins, and nothing that is not known."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_datagen.processors import Stage
from tests.processors.support import codes, make, run

PLUGIN = """
from typing import Literal
import pyarrow as pa
from prefect_datagen.processors.base import ProcessorConfig

class ShoutProcessorConfig(ProcessorConfig):
    processor_type: Literal["shout"] = "shout"

    def output_schema(self, schema):
        return schema

    def apply(self, table, context):
        return table.set_column(0, "t", pa.compute.utf8_upper(table["t"]))
"""
USE = """
import shouting
import pyarrow as pa
from pydantic import TypeAdapter
from prefect_datagen.processors import Processor, Stage, run_processors
processor = TypeAdapter(Processor).validate_python({"name": "s", "processor_type": "shout"})
print(run_processors([processor], pa.table({"t": ["a"]}), stage=Stage.POST_BATCH, row_group=0).table.to_pydict())
"""


@pytest.mark.parametrize("field", ["stage", "build_stage"])
@pytest.mark.parametrize("stage", list(Stage))
def test_the_stage_by_either_name(field: str, stage: Stage) -> None:
    processor = make(processor_type="filter", condition="true", **{field: stage.value})
    assert processor.stage is stage
    assert make(**processor.model_dump(mode="json")) == processor


@pytest.mark.parametrize(
    "config",
    [
        {"processor_type": "nothing"},
        {"processor_type": "filter"},
        {"processor_type": "filter", "condition": ""},
        {"processor_type": "filter", "condition": "true", "stage": "later"},
        {"processor_type": "filter", "condition": "true", "other": 1},
        {"processor_type": "schema_transform", "template": {}},
        {"processor_type": "drop_columns", "column_names": "a"},
    ],
)
def test_mistakes_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**config)


@pytest.mark.parametrize(
    "config",
    [
        {"processor_type": "drop_columns", "column_names": ["n"]},
        {"processor_type": "rename", "columns": {"n": "m"}},
        {"processor_type": "schema_transform", "template": {"a": "{{ code }}"}},
        {"processor_type": "filter", "condition": "n > 1"},
        {"processor_type": "sql", "query": "SELECT code, n FROM rows"},
        {"processor_type": "deduplicate", "columns": ["code"]},
        {"processor_type": "custom", "function": "copy:copy"},
    ],
)
def test_a_processor_that_was_used_goes_to_another_process(config: dict[str, Any]) -> None:
    processor = make(**config)
    found = run(codes(), processor)
    assert run(codes(), pickle.loads(pickle.dumps(processor))).equals(found)


def test_a_processor_of_another_package_is_used_like_any_other(tmp_path: Path) -> None:
    """Even where the plug-in's own module is imported before anything of this package is."""
    (tmp_path / "shouting.py").write_text(PLUGIN)
    info = tmp_path / "shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    entry_point = "[prefect_datagen.plugins]\nprocessors.shout = shouting:ShoutProcessorConfig\n"
    (info / "entry_points.txt").write_text(entry_point)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("{'t': ['A']}", "")
