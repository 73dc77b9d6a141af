"""What the log does not say: that each task run of a row group was completed.

Prefect logs a line at the end of every task run and sends it to the server. A task run's state says the same, the run's
log says how far it is, and a thousand row groups of four stages would be as many lines. Any other end is logged.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import Task


def keep_quiet_about(*tasks: Task[Any, Any]) -> None:
    """Leave out the lines that say that a run of one of these tasks ended as Completed.

    A run is theirs by its name, too, which holds `{label}`: a task of the user's own may be called `seed`, or `commit`.
    """
    run_names = {task.name: str(task.task_run_name).partition("{label}") for task in tasks}

    def is_news(record: logging.LogRecord) -> bool:
        before, _, after = run_names.get(getattr(record, "task_name", ""), ("", "", ""))
        run_name = getattr(record, "task_run_name", "")
        is_ours = bool(before) and run_name.startswith(before) and run_name.endswith(after)
        return not is_ours or record.getMessage() != "Finished in state Completed()"

    logging.getLogger("prefect.task_runs").addFilter(is_news)
