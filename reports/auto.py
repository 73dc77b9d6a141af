"""The report that every dataset has without anybody writing one. It works while the dataset is still being built.

Its parts come and go with what there is: without rows there are no columns, without a model no tokens, without traces
no slowest cells. `auto_spec` makes it of the dataset's state at one moment.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.reports.auto_columns import (
    SAMPLE_ROWS,
    Chart,
    column_charts,
    columns_table,
    sample_table,
    text_lengths_table,
)
from prefect_datagen.reports.dataset_files import DatasetState
from prefect_datagen.reports.duckdb_files import TablesSource
from prefect_datagen.reports.duckdb_sources import DatasetSource
from prefect_datagen.reports.query import Source
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.samples import prompts_of
from prefect_datagen.reports.spec import ReportSpec

SAMPLES = "samples"
DATA = "data"

MAX_COLUMNS = 60
"""Columns that get charts of their own; all are in the table of columns."""


def auto_report(dataset: DatasetSource | Path | str) -> Report:
    """The report of a dataset directory.

    Raises:
        ConfigError: there is no dataset.
        SinkError: it cannot be read.
    """
    source = dataset if isinstance(dataset, DatasetSource) else DatasetSource(dataset)
    state = source.state()
    sample = first_rows(state)
    prompts = prompts_of(state, sample)
    sources: dict[str, Source] = {DATA: source}
    if prompts.num_rows:
        sources[SAMPLES] = TablesSource(f"prompts:{source.identity}:{source.version()}", {"prompts": prompts})
    return Report(auto_spec(state, sample, prompts=prompts.num_rows > 0), sources, name="dataset")


def first_rows(state: DatasetState) -> pa.Table:
    """At most `SAMPLE_ROWS` rows of the first part; no rows and no columns where there is none.

    Raises:
        SinkError: the part cannot be read.
    """
    if not state.data_parts:
        return pa.table({})
    try:
        with pq.ParquetFile(state.data_parts[0]) as part:
            batch = next(part.iter_batches(batch_size=SAMPLE_ROWS), None)
            return pa.Table.from_batches([batch] if batch is not None else [], schema=part.schema_arrow)
    except (OSError, pa.ArrowException) as error:
        raise SinkError(f"cannot read part {Path(state.data_parts[0]).name}: {error}") from error


def auto_spec(state: DatasetState, sample: pa.Table, *, prompts: bool = False) -> ReportSpec:
    """The specification for a dataset as it is now; `sample` are its first rows."""
    parts = _Parts()
    parts.overview(state)
    if sample.num_columns:
        parts.columns(sample)
    if any(manifest.usage for manifest in state.manifests):
        parts.models()
    parts.speed(traced=bool(state.trace_parts))
    if sample.num_columns:
        parts.rows(sample, prompts=prompts)
    if state.rejects_parts:
        parts.rejected()
    sources: dict[str, Any] = {DATA: {"type": "dataset", "path": "."}}
    if prompts:
        sources[SAMPLES] = {"type": "dataset", "path": "."}
    return ReportSpec.model_validate(
        {
            "title": state.name,
            "description": _summary(state),
            "sources": sources,
            # What only reads the records is asked for first: it never waits for packs of the rows.
            "charts": dict(sorted(parts.charts.items(), key=lambda chart: _reads_rows(chart[1]))),
            "layout": [*parts.head, {"tabs": parts.tabs}],
        }
    )


def _reads_rows(chart: Chart) -> bool:
    return re.search(r"\b(data|rejects|traces)\b", chart["sql"]) is not None


def _summary(state: DatasetState) -> str:
    """Status and why, in a sentence."""
    if state.metadata is None:
        return "This dataset is being built, or its build was interrupted; what is committed so far is shown."
    reasons = "; ".join(state.metadata.reasons)
    return f"Status: {state.status.value}" + (f" ({reasons})." if reasons else ".")


class _Parts:
    """Charts and where they stand, collected part by part."""

    def __init__(self) -> None:
        self.charts: dict[str, Chart] = {}
        self.head: list[Any] = []
        self.tabs: dict[str, list[Any]] = {}

    def _take(self, *names: str) -> list[str]:
        """Charts of the file `static/dataset.yaml`."""
        for name in names:
            self._add(name, _fixed_charts()[name])
        return list(names)

    def _add(self, name: str, chart: Chart) -> str:
        self.charts[name] = {"source": DATA, **chart}
        return name

    def overview(self, state: DatasetState) -> None:
        """Numbers at the top; progress, throughput and rejections below."""
        spent = any(manifest.usage for manifest in state.manifests)
        numbers = self._take(
            "rows", "rejected_rows", "row_groups", "size", "time", *(("tokens", "cost") if spent else ())
        )
        self.head.append({"row": numbers})
        nodes: list[Any] = [{"row": self._take("progress", "throughput")}]
        if any(manifest.rejected for manifest in state.manifests):
            by_column = ("rejections_by_column",) if state.rejects_parts else ()
            nodes.append({"row": self._take("rejections", *by_column)})
        self.tabs["Overview"] = nodes

    def columns(self, sample: pa.Table) -> None:
        """Distribution of each column, missing values, lengths of texts."""
        fields = list(sample.schema)[:MAX_COLUMNS]
        found = [column_charts(field.name, field.type, sample.column(field.name)) for field in fields]
        charts = [chart for each in found for chart in each.charts]
        names = [self._add(f"column_{number}", chart) for number, chart in enumerate(charts)]
        nodes: list[Any] = [self._add("columns", columns_table(sample.column_names))]
        texts = [each.name for each in found if each.texts]
        if texts:
            nodes.append(self._add("text_lengths", text_lengths_table(texts)))
        self.tabs["Columns"] = nodes + [{"row": names[at : at + 2]} for at in range(0, len(names), 2)]

    def models(self) -> None:
        """Calls, tokens and cost by model."""
        self.tabs["Models"] = [
            {"row": self._take("tokens_by_model", "cost_by_model")},
            *self._take("calls_by_model"),
        ]

    def speed(self, *, traced: bool) -> None:
        """Where the time went."""
        self.tabs["Speed"] = [{"row": self._take("stages", "slowest_row_groups")}]
        if traced:
            self.tabs["Speed"].append({"row": self._take("cells_by_column", "slowest_cells")})

    def rows(self, sample: pa.Table, *, prompts: bool) -> None:
        """Rows as they are, and the prompts that made them."""
        self.tabs["Rows"] = [self._add("sample", sample_table(sample.schema))]
        if prompts:
            self.tabs["Rows"] += self._take("prompts")

    def rejected(self) -> None:
        """Rejected rows, the first of each reason."""
        self.tabs["Rejected"] = list(self._take("rejects"))


@lru_cache(maxsize=1)
def _fixed_charts() -> dict[str, Chart]:
    text = files("prefect_datagen.reports").joinpath("static", "dataset.yaml").read_text(encoding="utf-8")
    charts: dict[str, Chart] = yaml.safe_load(text)
    return charts
