"""Processors from plain dictionaries, and tables to run them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from prefect_datagen.processors import ProcessorConfig, Stage, run_after_generation, run_processors
from prefect_datagen.processors.config import Processor

CODES = ["0E8", "00M", "NA", "null", "true", "1.10", "007", ""]
_adapter: TypeAdapter[ProcessorConfig] = TypeAdapter(Processor)


def make(folder: Path | None = None, **config: Any) -> ProcessorConfig:
    """A processor as a config gives it, its paths relative to `folder`."""
    processor = _adapter.validate_python({"name": "p", **config})
    if folder is not None:
        processor.place_in(folder)
    return processor


def run(table: pa.Table, *processors: ProcessorConfig, stage: Stage = Stage.POST_BATCH) -> pa.Table:
    """Rows that processors make of one row group."""
    return run_processors(processors, table, stage=stage, row_group=3).table


def run_on_parts(folder: Path, table: pa.Table, *processors: ProcessorConfig, part_rows: int = 3) -> pa.Table:
    """Rows that after-generation processors make of a dataset of small parts."""
    paths = []
    for at in range(0, table.num_rows, part_rows):
        paths.append(folder / f"part-{at:05d}.parquet")
        pq.write_table(table.slice(at, part_rows), paths[-1])
    scratch = folder / "scratch"
    scratch.mkdir()
    found = list(run_after_generation(processors, pads.dataset(paths, schema=table.schema), scratch=scratch))
    assert list(scratch.iterdir()) == [], "temporary files are left"
    schema = table.schema
    for processor in processors:
        schema = processor.output_schema(schema)
    return pa.concat_tables([schema.empty_table(), *found])


def codes() -> pa.Table:
    """Text that looks like something else, a number with a gap, a nested column, and types that DuckDB lacks."""
    return pa.table(
        {
            "code": CODES,
            "n": pa.array([1, 2, None, 4, 5, 6, 7, 8], pa.int32()),
            "tags": [[code] for code in CODES],
            "when": pa.array(range(8), pa.timestamp("us", tz="Europe/Paris")),
            "took": pa.array([*range(7), None], pa.duration("ms")),
        }
    )
