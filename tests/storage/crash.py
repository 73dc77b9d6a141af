"""Make a change of a dataset again and again, each time killed one step later: `crash.py SCENARIO TEMPLATE OUT`.

For every step `n` the dataset `TEMPLATE` is copied to `OUT/n`, a child process is forked (importing everything anew
each time would take minutes) and killed with SIGKILL when it is about to take its step number `n`. Prints one JSON line
a step, with the step's name; the last one, without, is the run that came to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset  # what the children would otherwise each import
import pyarrow.parquet

from prefect_datagen.engine.outcomes import DatasetMetadata, RejectedRow, Verdict
from prefect_datagen.storage import DatasetDirectory, RowGroupCommit, RunRecord
from prefect_datagen.storage.files import Files
from prefect_datagen.storage.local_files import LocalFiles
from prefect_datagen.storage.remote_files import RemoteFiles

SCHEMA = pa.schema([("code", pa.string()), ("visits", pa.int64())])
MOMENT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = RunRecord(seed=7, row_group_size=2, fingerprint="f", library_version="0.1.0", created_at=MOMENT)


def metadata(records: int) -> DatasetMetadata:
    return DatasetMetadata(
        name="d",
        status=Verdict.COMPLETE,
        target_num_records=records,
        actual_num_records=records,
        row_group_size=2,
        seed=7,
        fingerprint="f",
        started_at=MOMENT,
        ended_at=MOMENT,
        seconds=0.0,
    )


def commit(index: int) -> RowGroupCommit:
    rejected = RejectedRow(
        row_index=index * 3 + 2, column="code", error_type="E", reason="400", message="m", attempts=1, retryable=False
    )
    return RowGroupCommit(
        index=index,
        start_row=index * 3,
        planned=3,
        requested=3,
        table=pa.table({"code": ["0E8", "NA"], "visits": [index, None]}, schema=SCHEMA),
        rejects=[rejected],
        trace=pa.table({"row_group": [index]}),
    )


def published(store: DatasetDirectory) -> list[pa.Table]:
    return [store.generated().to_table().select(["code"])] * 2


def begin(store: DatasetDirectory) -> None:
    store.write_config("columns: []")
    store.write_run(RUN)


CHANGES: dict[str, Callable[[DatasetDirectory], object]] = {
    "open": lambda store: None,
    "begin": begin,
    "commit": lambda store: store.commit(commit(1)),
    "discard": lambda store: store.discard(0),
    "supersede": lambda store: store.supersede(),
    "metadata": lambda store: store.write_metadata(metadata(5)),
    "publish": lambda store: store.publish(published(store), schema=SCHEMA.remove(1)),
}
SCENARIOS = [*CHANGES, "publish by renames", "commit remote", "supersede remote", "publish remote"]


def change(scenario: str, store: DatasetDirectory) -> None:
    CHANGES[scenario.split()[0]](store)


def open_dataset(scenario: str, folder: Path, *, on_step: Callable[[str], None]) -> DatasetDirectory:
    """Remote means what is done on an object store, here through fsspec's own local files: those outlive a process."""
    files: Files = LocalFiles(folder, on_step=on_step, exchange=not scenario.endswith("by renames"))
    if scenario.endswith("remote"):
        files = RemoteFiles(f"file://{folder}", on_step=on_step)
    return DatasetDirectory(files, schema=SCHEMA, staged=scenario.startswith("publish"))


def run_until(scenario: str, folder: Path, last_step: int, report: Path) -> None:
    """Do it, and die when step `last_step` (from 1) is about to be taken."""
    steps = 0

    def die_at_last(step: str) -> None:
        nonlocal steps
        steps += 1
        if steps == last_step:
            report.write_text(step)
            os.kill(os.getpid(), signal.SIGKILL)

    with open_dataset(scenario, folder, on_step=die_at_last) as store:
        change(scenario, store)


def main(scenario: str, template: Path, out: Path) -> None:
    number = 0
    while True:
        number += 1
        folder, report = out / str(number), out / f"{number}.step"
        if template.exists():
            shutil.copytree(template, folder)
        child = os.fork()
        if child == 0:
            run_until(scenario, folder, number, report)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            print(json.dumps({"folder": str(folder), "step": report.read_text()}), flush=True)
            continue
        print(json.dumps({"folder": str(folder), "step": None}), flush=True)
        sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
