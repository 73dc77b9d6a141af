"""What the log of a run leaves out."""

from __future__ import annotations

import logging

from prefect_datagen.flows.log import without_completed_task_runs


def test_task_runs_that_completed_are_left_out_and_others_are_told() -> None:
    logger = logging.getLogger("prefect.task_runs")

    def is_told(text: str) -> bool:
        return bool(logger.filter(logging.makeLogRecord({"msg": text})))

    with without_completed_task_runs():
        assert not is_told("Finished in state Completed()")
        assert is_told("Finished in state Dropped(type=COMPLETED)")
        assert is_told("what user code says")
    assert is_told("Finished in state Completed()")
