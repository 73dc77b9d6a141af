"""What a run's outcomes add up to: its metadata, its verdict, and whether the flow fails."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import pyarrow as pa
from prefect.runtime import flow_run

from prefect_datagen.config.estimate import Estimate
from prefect_datagen.config.plan import Plan
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import DatagenError, RunInterruptedError, ShortfallError
from prefect_datagen.engine.garbage import no_collection
from prefect_datagen.engine.outcomes import (
    CheckResult,
    DatasetMetadata,
    ModelUsage,
    RowGroupManifest,
    RowGroupOutcome,
    Verdict,
)
from prefect_datagen.flows.results import summary
from prefect_datagen.tasks.ticket import RunTicket

_LIBRARIES = ("prefect-datagen", "prefect", "pyarrow", "numpy", "pydantic", "httptools", "duckdb")


@no_collection()
def make_metadata(
    *,
    ticket: RunTicket,
    plan: Plan,
    outcomes: Mapping[int, RowGroupOutcome],
    manifests: Collection[RowGroupManifest],
    error: DatagenError | None,
    checks: list[CheckResult],
    schema: pa.Schema,
    usage: Mapping[str, ModelUsage],
    estimate: Estimate,
    spent: Mapping[str, ModelUsage],
    started_at: datetime,
) -> DatasetMetadata:
    """The record of a run that has ended, however it did."""
    reasons: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for manifest in manifests:  # `Counter.update` takes ten times as long for two or three numbers
        for reason, rows in manifest.rejected_by_reason.items():
            reasons[reason] += rows
        for stage, spent_there in manifest.stage_seconds.items():
            seconds[stage] += spent_there
    ended_at = datetime.now(UTC)
    written = sum(manifest.written for manifest in manifests)
    rejected = sum(manifest.rejected for manifest in manifests)
    filtered = sum(manifest.filtered for manifest in manifests)
    status, why = _verdict(plan.num_records, rejected, error, [check for check in checks if not check.passed])
    return DatasetMetadata(
        name=ticket.config.name,
        status=status,
        reasons=why,
        target_num_records=plan.num_records,
        actual_num_records=written,
        rejected=rejected,
        filtered=filtered,
        rejected_by_reason=dict(reasons),
        row_group_size=plan.row_group_size,
        row_groups=[outcomes[index] for index in sorted(outcomes)],
        seed=ticket.seed,
        fingerprint=ticket.fingerprint,
        columns={field.name: str(field.type) for field in schema},
        library_versions=_versions(),
        usage=dict(usage),
        stage_seconds={stage: round(spent, 3) for stage, spent in seconds.items()},
        checks=checks,
        estimate=estimate.model_dump(mode="json"),
        spent=dict(spent),
        started_at=started_at,
        ended_at=ended_at,
        seconds=(ended_at - started_at).total_seconds(),
        flow_run_id=flow_run.id,
    )


def _verdict(
    target: int, rejected: int, error: DatagenError | None, failed: list[CheckResult]
) -> tuple[Verdict, list[str]]:
    reasons = [check.message for check in failed]
    if rejected:
        reasons.insert(0, f"{rejected:,} of {target:,} rows were rejected")
    if isinstance(error, RunInterruptedError):
        return Verdict.INTERRUPTED, [error.message, *reasons]
    if error is not None:
        return Verdict.FAILED, [f"{type(error).__name__}: {error.message}", *reasons]
    if failed:
        return Verdict.DEGRADED, reasons
    return (Verdict.PARTIAL if rejected else Verdict.COMPLETE), reasons


def shortfall(metadata: DatasetMetadata, run: RunConfig) -> ShortfallError | None:
    """The error of a run that wrote fewer rows than `min_completion` asks for; filtered rows are not missed."""
    asked = metadata.actual_num_records + metadata.filtered + metadata.rejected
    if asked == 0 or (asked - metadata.rejected) / asked >= run.min_completion:
        return None
    return ShortfallError(
        summary(metadata),
        written=metadata.actual_num_records,
        requested=metadata.target_num_records,
        rejected_by_reason=metadata.rejected_by_reason,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # pragma: no cover - a dependency that was taken out
            continue
    return found
