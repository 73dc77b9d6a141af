"""Stage `post_batch`: processors that see the finished rows of a row group. A filter that removes rows is counted."""

from __future__ import annotations

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.engine.node import RowKeys
from prefect_datagen.processors import ROW_ID, Stage, run_processors
from prefect_datagen.tasks.work import RowGroupWork


@task(name="post_batch", task_run_name="rg-{label}/post_batch", cache_policy=NO_CACHE, persist_result=False)
def post_batch(work: RowGroupWork, label: str) -> None:
    """Run the post-batch processors over `work.table`; rows that they remove are filtered, not rejected."""
    blueprint = work.runtime.blueprint
    before = work.table.num_rows
    named = work.table.append_column(ROW_ID, pa.array(work.keys.index))
    processed = run_processors(
        blueprint.processors(Stage.POST_BATCH), named, stage=Stage.POST_BATCH, row_group=work.plan.index
    )
    work.keys = RowKeys.numbered(processed.table.column(ROW_ID).to_numpy())
    work.table = processed.table.select(blueprint.schema.names)
    removed = before - work.table.num_rows
    if removed >= 0:
        work.filtered += removed
    else:
        work.requested -= removed  # allow_resize: the row group takes its new size
