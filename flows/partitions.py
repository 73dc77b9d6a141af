"""Partitions of a dataset: what exists, and the flow `backfill-dataset` that makes what is missing or short."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import State, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed
from pydantic import Field

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import ConfigSource, DatasetConfig
from prefect_datagen.config.run import ResumeMode, RunConfig
from prefect_datagen.config.target import Target, partition_of
from prefect_datagen.engine.errors import ConfigError, DatagenError
from prefect_datagen.engine.outcomes import Record, Verdict
from prefect_datagen.flows.build import build_dataset
from prefect_datagen.flows.ending import completed, keep_result
from prefect_datagen.flows.log import run_log
from prefect_datagen.flows.parameters import Endpoints, NumRecords, read, read_count, read_endpoints, read_sink
from prefect_datagen.flows.placement import below, latest_version, subfolders
from prefect_datagen.flows.quick_flow import flow
from prefect_datagen.flows.results import summary
from prefect_datagen.flows.subflow import Subflows, as_datagen_error, metadata_of
from prefect_datagen.tasks.ticket import Endpoint


class PartitionRecord(Record):
    """A partition that exists."""

    partition: dict[str, str]
    path: str
    status: Verdict
    rows: int
    target: int
    rejected: int = 0
    filtered: int = 0
    ended_at: datetime | None = None

    @property
    def is_short(self) -> bool:
        """Whether rows are missing: not finished, or rejected."""
        return self.rows + self.filtered < self.target or self.status in (Verdict.BUILDING, Verdict.FAILED)


def existing(sink: ParquetRowGroupSink) -> list[PartitionRecord]:
    """The partitions below the sink's path, by name and value; of one with versions, the latest.

    Raises:
        SinkError: they cannot be read.
    """
    return [record for folder in _folders(sink, "") if (record := _record(sink, folder)) is not None]


class _Backfill:
    """What the tasks of a backfill share; a plain class, which Prefect does not look into."""

    def __init__(
        self,
        config: ConfigSource,
        num_records: int,
        sink: ParquetRowGroupSink,
        run: RunConfig,
        endpoints: Sequence[Endpoint],
    ) -> None:
        self.config = config
        self.num_records = num_records
        self.sink = sink
        self.run = run
        self.endpoints = list(endpoints)
        self.known = {record.path: record for record in existing(sink)}
        self.subflows = Subflows()

    def settings(self, known: PartitionRecord | None) -> RunConfig:
        """Run settings of a partition: rejected rows of one that is there are made again, where a retry can help."""
        if known is None or not known.rejected or self.run.resume is not ResumeMode.IF_POSSIBLE:
            return self.run
        return self.run.model_copy(update={"resume": ResumeMode.REPAIR})


@flow(
    name="backfill-dataset",
    retries=0,
    validate_parameters=False,
    on_completion=[keep_result],
)
def backfill_dataset(
    config: DatasetConfig | dict[str, Any] | Path | str,
    *,
    num_records: NumRecords,
    sink: ParquetRowGroupSink,
    partitions: Annotated[dict[str, list[str]], Field(description="Values of each name: every combination is built.")],
    run: RunConfig = RunConfig(),  # noqa: B008 - frozen
    endpoints: Endpoints = [],  # noqa: B006 - Prefect copies parameters
    max_concurrent_partitions: Annotated[int, Field(ge=1, description="Partitions built at the same time.")] = 1,
) -> list[PartitionRecord] | State[list[PartitionRecord]]:
    """Build every combination of partition values: those that are missing, and what is short of those that are there.

    Args:
        config: as for `build_dataset`, with `${name}` for the value of a partition's name.
        num_records: rows of each partition.
        sink: holds a dataset for each partition.
        partitions: the values of each name, such as `{"date": ["2026-01-01", "2026-01-02"]}`.
        run: as for `build_dataset`.
        endpoints: as for `build_dataset`.
        max_concurrent_partitions: partitions built at the same time.

    Returns:
        The partitions that exist then.

    Raises:
        ConfigError: a parameter is wrong; nothing was done.
        DatagenError: the first partition that failed. The others are built, and a second run continues.
    """
    names = read(partitions, dict[str, list[str]], name="partitions")
    if not names or not all(names.values()):
        raise ConfigError("partitions: give at least one name, and at least one value for each")
    backfill = _Backfill(
        config, read_count(num_records), read_sink(sink), read(run, RunConfig, name="run"), read_endpoints(endpoints)
    )
    wanted = [dict(zip(names, values, strict=True)) for values in itertools.product(*names.values())]
    at_once = read_count(max_concurrent_partitions, name="max_concurrent_partitions")
    futures = _submit(backfill, wanted, at_once=max(1, at_once))
    interruption = backfill.subflows.wait(futures)
    if interruption is not None and not isinstance(interruption, KeyboardInterrupt):
        raise interruption
    records = existing(backfill.sink)
    show_partitions(records)
    if interruption is not None:
        return Cancelled(message="interrupted; what was committed stays, and a second run continues from there")
    return _final_state([future.state for future in futures], records)


@task(name="partition", task_run_name="partition-{folder}", cache_policy=NO_CACHE, persist_result=False)
def run_partition(backfill: _Backfill, partition: dict[str, str], folder: str) -> State[None]:
    """Build one partition, where it is not there as it is wanted."""
    if backfill.subflows.stopping.is_set():
        return Cancelled(name="Aborted", message="the backfill ended before this partition began")
    target = Target(partition=partition)
    run = backfill.settings(backfill.known.get(below(backfill.sink, folder).location))
    build = build_dataset.with_options(flow_run_name=folder)
    state = backfill.subflows.run(
        folder,
        lambda: build(
            backfill.config,
            num_records=backfill.num_records,
            sink=backfill.sink,
            run=run,
            endpoints=backfill.endpoints,
            target=target,
            return_state=True,
        ),
    )
    if state.is_cancelled():
        return Cancelled(name="Aborted", message=state.message)
    try:
        metadata = metadata_of(state)
    except DatagenError as error:
        raise error.located(partition=folder) from error.__cause__
    reused = bool(metadata.row_groups) and all(outcome.reused for outcome in metadata.row_groups)
    return Completed(name="Cached" if reused else state.name, message=summary(metadata))


def show_partitions(records: Sequence[PartitionRecord]) -> None:
    """Make the table of partitions as an artifact."""
    if records:
        rows = [table_row(record) for record in records]
        create_table_artifact(rows, key="datagen-partitions", description="Partitions that exist")


def table_row(record: PartitionRecord) -> dict[str, str | int]:
    """A partition as a row of a table."""
    return {
        **record.partition,
        "status": record.status.value,
        "rows": record.rows,
        "of": record.target,
        "rejected": record.rejected,
        "built": "" if record.ended_at is None else f"{record.ended_at:%Y-%m-%d %H:%M}",
    }


def _submit(backfill: _Backfill, wanted: Sequence[Mapping[str, str]], *, at_once: int) -> list[PrefectFuture[Any]]:
    """Start the partitions in order, so many at a time."""
    free = threading.Semaphore(at_once)
    futures: list[PrefectFuture[Any]] = []
    for partition in wanted:
        try:
            free.acquire()
        except BaseException as interruption:
            backfill.subflows.stop(interruption)
            backfill.subflows.wait(futures)
            raise
        folder = Target(partition=dict(partition)).folder()
        future = run_partition.submit(backfill, dict(partition), folder)
        future.add_done_callback(lambda _: free.release())
        futures.append(future)
    return futures


def _final_state(states: Sequence[State[Any]], records: list[PartitionRecord]) -> State[Any]:
    failed = [state for state in states if state.is_failed() or state.is_crashed()]
    if failed:
        run_log().error("%d of %d partitions failed", len(failed), len(states))
        raise as_datagen_error(failed[0].result(raise_on_failure=False), failed[0])
    stopped = sum(state.is_cancelled() for state in states)
    if stopped:
        return Cancelled(message=f"{stopped} of {len(states)} partitions were stopped; a second run continues")
    short = sum(record.is_short for record in records)
    name = "Partial" if any(state.name == "Partial" for state in states) else "Completed"
    return completed(name=name, message=f"{len(records)} partitions exist, {short} of them short", data=records)


def _folders(sink: ParquetRowGroupSink, folder: str) -> list[str]:
    """Folders of partitions, those that hold no further ones."""
    found = []
    for name in subfolders(below(sink, folder)):
        if partition_of(name) is not None:
            inner = f"{folder}/{name}" if folder else name
            found += _folders(sink, inner) or [inner]
    return found


def _record(sink: ParquetRowGroupSink, folder: str) -> PartitionRecord | None:
    place = below(sink, folder)
    place = below(place, latest_version(place) or "")
    reader = place.reader()
    metadata = reader.metadata()
    if metadata is None and reader.run_record() is None:
        return None
    partition = partition_of(folder)
    assert partition is not None
    if metadata is None:
        rows = sum(manifest.written for manifest in reader.committed().values())
        return PartitionRecord(partition=partition, path=place.location, status=Verdict.BUILDING, rows=rows, target=0)
    return PartitionRecord(
        partition=partition,
        path=place.location,
        status=metadata.status,
        rows=metadata.actual_num_records,
        target=metadata.target_num_records,
        rejected=metadata.rejected,
        filtered=metadata.filtered,
        ended_at=metadata.ended_at,
    )
