"""A row group on its way through the stages: what each stage takes from it and leaves in it.

    seed        leaves `rows`      (SeedRows)
    pre_batch   replaces `rows`
    generate    leaves `group`     (engine.RowGroup), `table` and `keys`, the identity of each row in `table`
    post_batch  replaces `table` and `keys`, adds to `filtered`
    check       takes rows out of both and adds them to `rejects`; leaves `checks`
    commit      leaves `manifest`

A plain class: Prefect passes it from stage to stage without looking inside.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from prefect import Task

from prefect_datagen.config.blueprint import SeedRows
from prefect_datagen.config.plan import RowGroupPlan
from prefect_datagen.engine.errors import DatagenError, InternalError
from prefect_datagen.engine.node import RowKeys
from prefect_datagen.engine.outcomes import CheckTally, RejectedRow, RowGroupManifest
from prefect_datagen.engine.row_group import RowGroup
from prefect_datagen.tasks.runtime import Runtime


class RowGroupAbortedError(Exception):
    """The run is ending: this row group is not made. Not a failure of its own."""


class RowGroupWork:
    """See the module's docstring."""

    def __init__(self, runtime: Runtime, plan: RowGroupPlan) -> None:
        self.runtime = runtime
        self.plan = plan
        self.label = plan.label
        self.started_at = datetime.now(UTC)
        self.stage_seconds: dict[str, float] = {}
        self.requested = plan.rows
        self.filtered = 0
        self.rejects: list[RejectedRow] = []
        self.checks: dict[str, CheckTally] = {}
        self.rows: SeedRows
        self.group: RowGroup
        self.table: pa.Table
        self.keys: RowKeys
        self.manifest: RowGroupManifest

    @property
    def is_generated(self) -> bool:
        """Whether all cells are made, and paid for: the row group is committed then, even where the run is ending."""
        return hasattr(self, "table")

    def run(self, stage: Task[[RowGroupWork, str], Any]) -> None:
        """Run one stage: as a task run of its own, or as a plain call where the run says so.

        Raises:
            RowGroupAbortedError: the run is ending.
            DatagenError: the stage failed; the error names stage and row group.
        """
        if self.runtime.stopping.is_set() and not self.is_generated:
            raise RowGroupAbortedError(stage.name)
        started = time.perf_counter()
        try:
            if self.runtime.ticket.inline:
                stage.fn(self, self.label)
            else:
                state = stage(self, self.label, return_state=True)
                if state.is_cancelled():
                    raise RowGroupAbortedError(stage.name)
                if not state.is_completed():  # stages return nothing, and a result is asked of Prefect's event loop
                    state.result()
        except RowGroupAbortedError:
            raise
        except DatagenError as error:
            raise error.located(stage=stage.name, row_group=self.plan.index) from error.__cause__
        except Exception as error:
            raise InternalError(
                f"stage {stage.name}, row group {self.plan.index}: {type(error).__name__}: {error} (this is a bug in "
                "prefect-datagen; please report it)",
                stage=stage.name,
                row_group=self.plan.index,
            ) from error
        finally:
            self.stage_seconds[stage.name] = time.perf_counter() - started
