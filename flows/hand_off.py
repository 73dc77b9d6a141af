"""Rows between two stages of a workflow: where they are, and how they are stored where they follow from datasets."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.engine.outcomes import DatasetMetadata, Verdict
from prefect_datagen.flows.events import materialized
from prefect_datagen.seeds.base import SeedSource
from prefect_datagen.seeds.dataset import DatasetSeedSource
from prefect_datagen.seeds.frame import DataFrameSeedSource
from prefect_datagen.storage.store import RunRecord
from prefect_datagen.tasks.ticket import Sink
from prefect_datagen.version import VERSION


@dataclass(frozen=True)
class HandOff:
    """Rows that a stage gives or takes. `source` is how a config reads them; `fingerprint` covers their content."""

    sink: Sink
    rows: int
    fingerprint: str

    @property
    def source(self) -> SeedSource:
        """The rows as seed data."""
        if isinstance(self.sink, InMemoryRowGroupSink):
            return DataFrameSeedSource(df=self.sink.reader().dataset().to_table())
        return DatasetSeedSource(path=self.sink.location)


def derive(
    sink: Sink, schema: pa.Schema, rows: Callable[[], Iterator[pa.Table]], *, key: str, origins: Sequence[str]
) -> HandOff:
    """Store rows that follow from datasets, all at once; nothing is done where they are there under the same key.

    Args:
        sink: where they are stored.
        schema: of the rows.
        rows: makes them.
        key: changes whenever the rows do.
        origins: places of the datasets.

    Raises:
        Exception: whatever making the rows raises; what was there stays.
        SinkError: they cannot be stored.
    """
    known = sink.reader().metadata()
    if known is not None and known.fingerprint == key:
        return HandOff(sink, known.actual_num_records, key)
    started_at = datetime.now(UTC)
    counts: list[int] = []

    def counted() -> Iterator[pa.Table]:
        for table in rows():
            counts.append(table.num_rows)
            yield table

    with closing(sink.open(schema=schema, staged=True)) as store:
        store.write_run(
            RunRecord(seed=0, row_group_size=1, fingerprint=key, library_version=VERSION, created_at=started_at)
        )
        store.publish(counted(), schema=schema)
        ended_at = datetime.now(UTC)
        # The verdict comes last and holds the key: after a crash before it, the rows are made again.
        store.write_metadata(
            DatasetMetadata(
                name=posixpath.basename(sink.location),
                status=Verdict.COMPLETE,
                target_num_records=sum(counts),
                actual_num_records=sum(counts),
                row_group_size=1,
                seed=0,
                fingerprint=key,
                columns={each.name: str(each.type) for each in schema},
                started_at=started_at,
                ended_at=ended_at,
                seconds=(ended_at - started_at).total_seconds(),
            )
        )
    if not isinstance(sink, InMemoryRowGroupSink):
        materialized(sink.location, origins)
    return HandOff(sink, sum(counts), key)
