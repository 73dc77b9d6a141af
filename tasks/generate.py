"""Stage `generate`: the engine fills the remaining columns of a row group, cell by cell and column by column."""

from __future__ import annotations

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled

from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.row_group import RowGroup
from prefect_datagen.tasks.work import RowGroupAbortedError, RowGroupWork


@task(name="generate", task_run_name="rg-{label}/generate", cache_policy=NO_CACHE, persist_result=False)
def generate(work: RowGroupWork, label: str) -> State[None] | None:
    """Run the engine over `work.rows`. Leaves `work.group`, `work.table` and `work.keys`.

    Returns:
        Cancelled where the run ended meanwhile.
    """
    rows, runtime = work.rows, work.runtime
    group = RowGroup(work.plan.index, keys=rows.keys, columns=rows.columns, skipped=rows.skipped)
    work.group = group
    if not loop_thread.run(runtime.driver.run_row_group(group)):
        if runtime.ticket.inline:
            raise RowGroupAbortedError("generate")
        return Cancelled(name="Aborted", message="the run ended before this row group was complete")
    work.requested = group.requested
    work.keys = group.live_keys()
    work.table = group.table(runtime.blueprint.generated_schema)
    return None
