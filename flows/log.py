"""The log of a run: Prefect's run logger inside a flow or task run, the package's logger elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


def run_log() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Where this run logs; lines are seen in the Prefect UI."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_datagen")


@contextmanager
def without_completed_task_runs() -> Iterator[None]:
    """Leave out Prefect's line for each task run that completed: with thousands of row groups nobody reads them, and writing
    and sending them takes a tenth of what a task run costs. Other states are told."""

    def is_news(record: logging.LogRecord) -> bool:
        return record.getMessage() != "Finished in state Completed()"

    logger = logging.getLogger("prefect.task_runs")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
