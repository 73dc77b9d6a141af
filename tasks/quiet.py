"""What the log does not say: that each task run of a row group was completed.

Prefect logs a line at the end of every task run and sends it to the server. A task run's state says the same, the run's
log says how far it is, and a thousand row groups of four stages would be as many lines. Any other end is logged.
"""

from __future__ import annotations

import logging


def keep_quiet_about(*tasks: str) -> None:
    """Leave out the lines that say that a task run of one of these tasks (by name) ended as Completed."""

    def is_news(record: logging.LogRecord) -> bool:
        return getattr(record, "task_name", None) not in tasks or record.getMessage() != "Finished in state Completed()"

    logging.getLogger("prefect.task_runs").addFilter(is_news)
