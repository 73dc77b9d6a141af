"""Stage `commit`: a finished row group goes to the sink. The sink is written here, in the task's body, and raises.

Prefect (3.8) logs and swallows an exception raised while it persists a task's *result*; a result is no commit.
"""

from __future__ import annotations

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.engine.driver import frozen_usage
from prefect_datagen.engine.row_group import CellTrace
from prefect_datagen.engine.values import number_array, text_array
from prefect_datagen.storage.store import RowGroupCommit
from prefect_datagen.tasks.work import RowGroupWork


@task(name="commit", task_run_name="rg-{label}/commit", cache_policy=NO_CACHE, persist_result=False)
def commit(work: RowGroupWork, label: str) -> None:
    """Store the row group. Leaves `work.manifest`."""
    group, runtime = work.group, work.runtime
    work.manifest = runtime.store.commit(
        RowGroupCommit(
            index=work.plan.index,
            start_row=work.plan.start,
            planned=work.plan.rows,
            requested=work.requested,
            table=work.table,
            rejects=[*group.rejected_rows(), *work.rejects],
            filtered=work.filtered,
            trace=trace_table(group.trace) if runtime.ticket.run.trace else None,
            skipped_by_column=group.skipped_by_column,
            fingerprint=runtime.ticket.fingerprint,
            usage=frozen_usage(group.usage),
            checks=work.checks,
            stage_seconds=work.stage_seconds,
            started_at=work.started_at,
        )
    )


_TRACE_SCHEMA = pa.schema(
    [
        ("column", pa.string()),
        ("row_group", pa.int64()),
        ("row_index", pa.int64()),
        ("copy", pa.int64()),
        ("queued", pa.float64()),
        ("started", pa.float64()),
        ("ended", pa.float64()),
        ("status", pa.string()),
        ("attempt", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
    ]
)


def trace_table(trace: list[CellTrace]) -> pa.Table:
    """Trace records as a table, one row per cell (or full column)."""
    columns = list(zip(*trace, strict=True)) or [()] * len(_TRACE_SCHEMA)
    arrays = [
        text_array(values) if field.type == pa.string() else number_array(values, field.type)
        for values, field in zip(columns, _TRACE_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_TRACE_SCHEMA)
