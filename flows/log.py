"""The log of a run: Prefect's run logger inside a flow or task run, the package's logger elsewhere."""

from __future__ import annotations

import logging

from prefect import get_run_logger
from prefect.exceptions import MissingContextError


def run_log() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Where this run logs; lines are seen in the Prefect UI."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_datagen")
