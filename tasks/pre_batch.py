"""Stage `pre_batch`: processors that see the rows before anything is generated, and the guard on their number."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.config.blueprint import from_table, to_table
from prefect_datagen.processors import Stage, run_processors
from prefect_datagen.tasks.work import RowGroupWork


@task(name="pre_batch", task_run_name="rg-{label}/pre_batch", cache_policy=NO_CACHE, persist_result=False)
def pre_batch(work: RowGroupWork, label: str) -> None:
    """Run the pre-batch processors over `work.rows`; a declared resize gives the row group its new size."""
    blueprint = work.runtime.blueprint
    processed = run_processors(
        blueprint.processors(Stage.PRE_BATCH), to_table(work.rows), stage=Stage.PRE_BATCH, row_group=work.plan.index
    )
    work.rows = from_table(processed.table, before=work.rows, schema=blueprint.source_schema)
    work.requested = len(work.rows.keys)
