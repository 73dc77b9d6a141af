"""What is served: the datasets and reports of one load, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect_datagen.reports.report import Report
from prefect_datagen.server.comparison import ComparisonSource
from prefect_datagen.server.dataset import DatasetSnapshot
from prefect_datagen.server.reports import ReportFile, make_reports
from prefect_datagen.server.startup import StartupTracker


@dataclass(frozen=True)
class Content:
    """One load's datasets and reports. A request takes one `Content` and sees nothing newer until it ends.

    Attributes:
        current: the dataset that is shown.
        base: the one it is compared with.
        report_files: the given reports as they were read.
        reports: all reports by name, over this load's datasets.
        comparison: answers what differs between the two; None where there is one.
    """

    current: DatasetSnapshot
    base: DatasetSnapshot | None
    report_files: tuple[ReportFile, ...]
    reports: Mapping[str, Report]
    comparison: ComparisonSource | None

    @property
    def datasets(self) -> list[DatasetSnapshot]:
        """The datasets there are, `current` first."""
        return [self.current] if self.base is None else [self.current, self.base]

    @property
    def version(self) -> tuple[object, ...]:
        """Differs between two loads that differ."""
        datasets = tuple(dataset.version for dataset in self.datasets)
        return (datasets, tuple(file.modified_ns for file in self.report_files))


def make_content(
    current: DatasetSnapshot,
    base: DatasetSnapshot | None,
    report_paths: Sequence[Path],
    *,
    tracker: StartupTracker,
    previous: Content | None,
) -> Content:
    """Put a load together: read the report files and lay the reports over the datasets.

    Raises:
        ConfigError: a report has problems.
        OSError: a report file cannot be looked at.
    """
    known = {file.path: file for file in previous.report_files} if previous else {}
    with tracker.phase("reports"):
        files = tuple(ReportFile.read(path, previous=known.get(path)) for path in report_paths)
        reports = make_reports(files, [current] if base is None else [current, base])
    tracker.size("reports", len(reports))
    return Content(current, base, files, reports, ComparisonSource(base, current) if base is not None else None)
