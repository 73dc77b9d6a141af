"""Stage `seed`: seed data and sampled columns of a row group."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.tasks.work import RowGroupWork


@task(name="seed", task_run_name="rg-{label}/seed", cache_policy=NO_CACHE, persist_result=False)
def seed(work: RowGroupWork, label: str) -> None:
    """Fill the columns that are there before anything is generated. Leaves `work.rows`."""
    work.rows = work.runtime.blueprint.seed_rows(work.plan.start, work.plan.rows)
