"""Where the rows of a flow run go: its target, with what the run knows (its schedule, its id, what is there already)."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import orjson
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import ConfigSource
from prefect_datagen.config.run import ResumeMode, RunConfig
from prefect_datagen.config.target import Target, TargetMode, filled, seeded_for
from prefect_datagen.engine.errors import SinkError
from prefect_datagen.engine.outcomes import DatasetMetadata, Verdict
from prefect_datagen.flows.parameters import read, read_sink
from prefect_datagen.storage.files import open_files, sink_errors

LATEST = "latest"
LATEST_NOTE = "latest.json"
VERSION = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{6}"
"""How the folder of a version is named: when its run was scheduled, and the end of the run's id."""
FINISHED = (Verdict.COMPLETE, Verdict.PARTIAL, Verdict.DEGRADED)


@dataclass(frozen=True)
class Placed:
    """A request with its target worked out. `version` is the folder in `base` that `latest` is to point to."""

    config: ConfigSource
    num_records: int
    run: RunConfig
    sink: ParquetRowGroupSink
    base: ParquetRowGroupSink
    version: str | None = None

    def publish(self) -> None:
        """Let `latest` point to this version, in one step. Nothing happens where the target has no versions.

        Raises:
            SinkError: it cannot be written; `latest` is as before.
        """
        if self.version is None:
            return
        files = open_files(self.base.path, storage_options=_options(self.base))
        with sink_errors("write", f"{self.base.location}/{LATEST_NOTE}"):
            if files.local_path is not None:
                _link(files.local_path / LATEST, self.version)
            files.write(LATEST_NOTE, orjson.dumps({"version": self.version}))


def place(
    config: ConfigSource, num_records: int, *, sink: ParquetRowGroupSink, run: RunConfig, target: Target
) -> Placed:
    """Work out where a flow run writes and how much. The same flow run, tried again, goes on where it was.

    Raises:
        ConfigError: the partition does not fit the config.
        SinkError: what is there cannot be read.
    """
    at = target.at(scheduled_time())
    base = below(sink, at.folder())
    placed = Placed(filled(config, at.partition), num_records, seeded_for(run, at.partition), base, base)
    if at.mode is TargetMode.VERSION:
        version = _version(base)
        return Placed(placed.config, num_records, placed.run, below(base, version), base, version)
    if at.mode is TargetMode.EXTEND:
        return _extended(placed)
    return placed


def place_of(run: FlowRun) -> tuple[ParquetRowGroupSink, str | None]:
    """The dataset that a run of `build_dataset` wrote to, and the version that it began, if it did.

    Raises:
        ConfigError: its parameters do not say so.
        SinkError: what is there cannot be read.
    """
    target = read(run.parameters.get("target", {}), Target, name="target")
    scheduled = run.expected_start_time or run.created or datetime.now(UTC)
    base = below(read_sink(run.parameters.get("sink")), target.at(scheduled).folder())
    return base, _begun(base, str(run.id)) if target.mode is TargetMode.VERSION else None


def below(sink: ParquetRowGroupSink, folder: str) -> ParquetRowGroupSink:
    """A sink for a folder of this sink's dataset; the same one where `folder` is empty."""
    if not folder:
        return sink
    # Of the same type: it may be a plug-in's. Not a copy, which would pass for the saved block.
    fields = {name: getattr(sink, name) for name in type(sink).model_fields}
    return type(sink)(**{**fields, "path": posixpath.join(sink.path, folder)})


def scheduled_time() -> datetime:
    """When the flow run was to start; now, outside of one."""
    expected = flow_run.scheduled_start_time
    return datetime.now(UTC) if expected is None else datetime.fromtimestamp(expected.timestamp(), UTC)


def lateness() -> float:
    """Seconds between when the flow run was to start and now; 0 where it is tried again."""
    if flow_run.id is None or (flow_run.run_count or 1) > 1:
        return 0.0
    return (datetime.now(UTC) - scheduled_time()).total_seconds()


def latest_version(base: ParquetRowGroupSink) -> str | None:
    """The version that `latest` points to, or None where there are no versions.

    Raises:
        SinkError: it cannot be read.
    """
    with sink_errors("read", f"{base.location}/{LATEST_NOTE}"):
        note = open_files(base.path, storage_options=_options(base)).read(LATEST_NOTE)
    return None if note is None else str(orjson.loads(note)["version"])


def subfolders(sink: ParquetRowGroupSink) -> list[str]:
    """Names of the folders right below the sink's path, sorted.

    Raises:
        SinkError: they cannot be listed.
    """
    with sink_errors("list", sink.location), suppress(FileNotFoundError):
        fs, root = fsspec.url_to_fs(sink.path, **_options(sink))
        fs.invalidate_cache()
        entries: list[dict[str, Any]] = fs.ls(root, detail=True)
        return sorted(posixpath.basename(each["name"].rstrip("/")) for each in entries if each["type"] == "directory")
    return []


def _extended(placed: Placed) -> Placed:
    metadata: DatasetMetadata | None = placed.sink.reader().metadata()
    if metadata is None:
        return placed
    goes_on = metadata.status not in FINISHED or metadata.flow_run_id == flow_run.id
    rows = metadata.target_num_records + (0 if goes_on else placed.num_records)
    run = placed.run
    if run.resume is ResumeMode.IF_POSSIBLE:  # what is to be extended is never set aside
        run = run.model_copy(update={"resume": ResumeMode.ALWAYS})
    return Placed(placed.config, rows, run, placed.sink, placed.base)


def _version(base: ParquetRowGroupSink) -> str:
    """The version of this flow run: named by its schedule, found again by its id."""
    run = flow_run.id or uuid4().hex
    return _begun(base, run) or f"{scheduled_time():%Y-%m-%dT%H-%M-%SZ}{_mark(run)}"


def _begun(base: ParquetRowGroupSink, run: str) -> str | None:
    """The version that a run began, by the run's id."""
    return next((name for name in subfolders(base) if name.endswith(_mark(run))), None)


def _mark(run: str) -> str:
    return "-" + run[-6:]


def _link(link: Path, version: str) -> None:
    """Make or turn a symbolic link in one step.

    Raises:
        SinkError: something else has its name.
    """
    if link.exists() and not link.is_symlink():
        raise SinkError(f"{link} is there and is no link to a version; move it away", path=str(link))
    temporary = link.with_name(f".{LATEST}.{uuid4().hex}.tmp")
    temporary.symlink_to(version, target_is_directory=True)
    temporary.replace(link)


def _options(sink: ParquetRowGroupSink) -> dict[str, Any]:
    return {} if sink.storage_options is None else dict(sink.storage_options.get_secret_value())
