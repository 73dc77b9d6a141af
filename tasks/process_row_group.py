"""The task that is mapped over row groups: it takes one through all stages, in one process, and returns its manifest.

A stage with nothing to do starts no task run. The returned manifest is small; rows never leave the process but through
the sink.
"""

from __future__ import annotations

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled, Completed

from prefect_datagen.config.plan import RowGroupPlan
from prefect_datagen.engine.outcomes import Outcome, RowGroupManifest
from prefect_datagen.processors import Stage
from prefect_datagen.tasks.commit import commit
from prefect_datagen.tasks.generate import generate
from prefect_datagen.tasks.post_batch import post_batch
from prefect_datagen.tasks.pre_batch import pre_batch
from prefect_datagen.tasks.runtime import runtime_for
from prefect_datagen.tasks.seed import seed
from prefect_datagen.tasks.ticket import RunTicket
from prefect_datagen.tasks.work import RowGroupAbortedError, RowGroupWork


@task(name="process-row-group", task_run_name="process-row-group-{label}", cache_policy=NO_CACHE)
def process_row_group(
    ticket: RunTicket, index: int, start: int, rows: int, label: str
) -> RowGroupManifest | State[RowGroupManifest]:
    """Make and commit row group `index`: rows `start` to `start + rows` of the dataset.

    Returns:
        Its manifest; as a state named Dropped where no row survived; Cancelled as Aborted where the run ended meanwhile.

    Raises:
        DatagenError: a stage failed; the error names stage, row group and cause.
    """
    runtime = runtime_for(ticket)
    work = RowGroupWork(runtime, RowGroupPlan(index, start, rows))
    try:
        work.run(seed)
        if runtime.blueprint.processors(Stage.PRE_BATCH):
            work.run(pre_batch)
        work.run(generate)
        if runtime.blueprint.processors(Stage.POST_BATCH):
            work.run(post_batch)
        work.run(commit)
    except RowGroupAbortedError as aborted:
        return Cancelled(name="Aborted", message=f"the run ended before stage {aborted} of this row group was over")
    if work.manifest.outcome is Outcome.DROPPED:
        return Completed(name="Dropped", message="no row survived", data=work.manifest)
    return work.manifest
