"""The task that is mapped over row groups: it takes one through all stages, in one process, and returns its manifest.

A stage with nothing to do starts no task run. The returned manifest is small; rows never leave the process but through
the sink.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE, CacheKeyFnPolicy
from prefect.states import Cancelled, Completed

from prefect_datagen.config.plan import RowGroupPlan
from prefect_datagen.engine.errors import RunInterruptedError
from prefect_datagen.engine.outcomes import Outcome, RowGroupManifest
from prefect_datagen.processors import Stage
from prefect_datagen.storage.layout import result_key
from prefect_datagen.tasks.check import check
from prefect_datagen.tasks.commit import commit
from prefect_datagen.tasks.generate import generate
from prefect_datagen.tasks.post_batch import post_batch
from prefect_datagen.tasks.pre_batch import pre_batch
from prefect_datagen.tasks.quiet import keep_quiet_about
from prefect_datagen.tasks.seed import seed
from prefect_datagen.tasks.ticket import RunTicket, Sink
from prefect_datagen.tasks.work import RowGroupAbortedError, RowGroupWork
from prefect_datagen.tasks.worker import runtime_for

Process = Task[[RunTicket, int, int, int, str], RowGroupManifest | State[RowGroupManifest]]


@task(name="process-row-group", task_run_name="process-row-group-{label}", cache_policy=NO_CACHE)
def process_row_group(
    ticket: RunTicket, index: int, start: int, rows: int, label: str
) -> RowGroupManifest | State[RowGroupManifest]:
    """Make and commit row group `index`: rows `start` to `start + rows` of the dataset.

    Returns:
        Its manifest; as a state named Cached where an earlier run committed it, Dropped where no row survived; Cancelled
        as Aborted where the run ended meanwhile.

    Raises:
        DatagenError: a stage failed; the error names stage, row group and cause.
    """
    runtime = runtime_for(ticket)
    reused = runtime.reusable(index)
    if reused is not None and runtime.is_worker:
        return reused  # by this run: the plan has no others
    if reused is not None:
        return Completed(name="Cached", message="committed by an earlier run", data=reused)
    work = RowGroupWork(runtime, RowGroupPlan(index, start, rows))
    try:
        with runtime.admitted(label) as may_begin:
            if not may_begin:
                raise RowGroupAbortedError(seed.name)
            _run_stages(work)
    except RowGroupAbortedError as aborted:
        why = runtime.driver.error
        if runtime.is_worker and why is not None and not isinstance(why, RunInterruptedError):
            raise why from None  # the controller cannot see it otherwise
        return Cancelled(name="Aborted", message=f"the run ended before stage {aborted} of this row group was over")
    manifest = work.manifest.model_copy(update={"stage_seconds": work.stage_seconds})  # with that of the commit itself
    if manifest.outcome is Outcome.DROPPED:
        return Completed(name="Dropped", message="no row survived", data=manifest)
    return manifest


keep_quiet_about(process_row_group, seed, pre_batch, generate, post_batch, check, commit)


def _run_stages(work: RowGroupWork) -> None:
    blueprint = work.runtime.blueprint
    work.run(seed)
    if blueprint.processors(Stage.PRE_BATCH):
        work.run(pre_batch)
    work.run(generate)
    if blueprint.processors(Stage.POST_BATCH):
        work.run(post_batch)
    if blueprint.config.checks:
        work.run(check)
    work.run(commit)


def with_results_in(sink: Sink, ticket: RunTicket) -> Process:
    """The task with the run's sink, saved, as the storage of its result, the manifest: a second run finds it `Cached`.

    The sink finds a result only while its row group is committed, so what is cached is what is there.
    """
    key = partial(_result_key, fingerprint=ticket.fingerprint)
    return process_row_group.with_options(
        persist_result=True,
        result_storage=sink,
        cache_policy=CacheKeyFnPolicy(cache_key_fn=key),
        cache_result_in_memory=False,
    )


def _result_key(context: object, parameters: Mapping[str, Any], *, fingerprint: str) -> str:
    return result_key(parameters["index"], fingerprint=fingerprint)
