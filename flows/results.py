"""What the flows return. Small: a place and a record, never rows (but a preview, whose rows are what it is for)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.engine.outcomes import DatasetMetadata

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyarrow.dataset import Dataset


class BuildResult:
    """A finished build: where it is and what became of its rows.

    No pydantic model: Prefect walks through those that a flow returns, looking for futures, and there is one record for
    each row group in here.

    Attributes:
        path: where the dataset is.
        metadata: the record.
        sink: the sink that it was built into.
    """

    def __init__(self, *, path: str, metadata: DatasetMetadata, sink: ParquetRowGroupSink) -> None:
        self.path = path
        self.metadata = metadata
        self.sink = sink

    def dataset(self) -> Dataset:
        """The rows as a pyarrow dataset; nothing is loaded."""
        return self.sink.reader().dataset()

    def load_dataset(self) -> pd.DataFrame:
        """The rows in memory, as pandas."""
        return self.sink.reader().load()

    def rejects(self) -> pa.Table:
        """Rejected rows, each with its reason."""
        return self.sink.reader().rejects()

    @property
    def summary(self) -> str:
        """One line: how many rows were written, and why others were not."""
        return summary(self.metadata)

    def __repr__(self) -> str:
        return f"BuildResult({self.path!r}, {self.summary})"


class PreviewResult:
    """A preview: its rows, its traces and its record, all in this process's memory.

    Attributes:
        dataset: the rows, as pandas.
        rejects: rejected rows, each with its reason.
        task_traces: one row per cell: when it was queued, started and ended, and how.
        metadata: the record; `metadata.stage_seconds` has the time of each stage.
    """

    def __init__(
        self, *, dataset: pd.DataFrame, rejects: pa.Table, task_traces: pd.DataFrame, metadata: DatasetMetadata
    ) -> None:
        self.dataset = dataset
        self.rejects = rejects
        self.task_traces = task_traces
        self.metadata = metadata

    @property
    def summary(self) -> str:
        """One line: how many rows were made, and why others were not."""
        return summary(self.metadata)

    def __repr__(self) -> str:
        return f"PreviewResult({self.summary})"


def summary(metadata: DatasetMetadata) -> str:
    """`830 of 1,000 rows written (83.0 %), 170 rejected: timeout 120, 400 50`."""
    share = 100 * metadata.actual_num_records / metadata.target_num_records if metadata.target_num_records else 100.0
    text = f"{metadata.actual_num_records:,} of {metadata.target_num_records:,} rows written ({share:.1f} %)"
    if metadata.filtered:
        text += f", {metadata.filtered:,} filtered"
    if metadata.rejected:
        reasons = sorted(metadata.rejected_by_reason.items(), key=lambda item: -item[1])
        text += f", {metadata.rejected:,} rejected: " + ", ".join(f"{reason} {count:,}" for reason, count in reasons)
    return text
