"""Stage `check`: quality gates see the finished rows of a row group; rows that a gate rejects go to the rejects."""

from __future__ import annotations

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from prefect_datagen.config.checks import tally
from prefect_datagen.engine.outcomes import RejectedRow
from prefect_datagen.engine.row_group import plain
from prefect_datagen.tasks.work import RowGroupWork


@task(name="check", task_run_name="rg-{label}/check", cache_policy=NO_CACHE, persist_result=False)
def check(work: RowGroupWork, label: str) -> None:
    """Count what every gate counts into `work.checks`; move failing rows of `reject_row` gates to `work.rejects`."""
    config = work.runtime.blueprint.config
    work.checks, failing = tally(config.checks, work.table)
    lost: dict[int, str] = {}
    for name, bad in failing.items():
        for row, is_bad in enumerate(bad):
            if is_bad:
                lost.setdefault(row, name)
    if not lost:
        return
    columns = {each.name: getattr(each, "column", "") for each in config.checks}
    for row, name in lost.items():
        values = {key: plain(value) for key, value in work.table.slice(row, 1).to_pylist()[0].items()}
        work.rejects.append(
            RejectedRow(
                row_index=work.keys[row].index,
                column=columns[name],
                error_type="QualityError",
                reason=f"check {name}",
                message=f"the row fails the check {name!r}",
                attempts=1,
                retryable=False,
                values=values,
            )
        )
    kept = [row for row in range(work.table.num_rows) if row not in lost]
    work.keys = work.keys.take(kept)
    work.table = work.table.take(pa.array(kept, pa.int64()))
