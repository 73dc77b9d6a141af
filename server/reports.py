"""The reports of one load: the automatic one and the given files, over the datasets that are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.auto import auto_report
from prefect_datagen.reports.open_sources import open_sources
from prefect_datagen.reports.query import Source, SourceLimits
from prefect_datagen.reports.report import Report
from prefect_datagen.reports.spec import DatasetSourceConfig, ReportSpec
from prefect_datagen.reports.spec_file import load_report
from prefect_datagen.server.dataset import DatasetSnapshot

AUTOMATIC = "dataset"
"""Name of the report that every dataset has."""


@dataclass(frozen=True)
class ReportFile:
    """A report file as it was read, with the sources in it that are none of the datasets served.

    Those stay open from load to load as long as the file is the same; each follows its own data.
    """

    path: Path
    modified_ns: int
    spec: ReportSpec
    others: Mapping[str, Source]

    @classmethod
    def read(cls, path: Path, *, previous: ReportFile | None) -> ReportFile:
        """The report in a file; `previous` itself where the file has not changed.

        Raises:
            ConfigError: the file has problems, or a source cannot be opened.
        """
        modified_ns = path.stat().st_mtime_ns
        if previous is not None and previous.modified_ns == modified_ns:
            return previous
        spec = load_report(path)
        others = {name: config for name, config in spec.sources.items() if name not in _served(spec)}
        opened = open_sources(
            spec.model_copy(update={"sources": others}), base_dir=path.resolve().parent, load_block=_load_block
        )
        return cls(path, modified_ns, spec, opened)

    def over(self, datasets: Sequence[DatasetSnapshot]) -> Report:
        """The report over the datasets that are served: they fill its dataset sources without a path, in order.

        Raises:
            ConfigError: it has more of those than there are datasets.
        """
        names = _served(self.spec)
        if len(names) > len(datasets):
            raise ConfigError(
                f"report {self.path.name!r} compares datasets, source {names[len(datasets)]!r} has none: give --base"
            )
        served: dict[str, Source] = {name: dataset.source for name, dataset in zip(names, datasets, strict=False)}
        return Report(self.spec, {**self.others, **served}, name=self.path.stem)


def _load_block(name: str, limits: SourceLimits | None) -> Source:
    # Imported here: only a report that names a block makes the server import Prefect.
    from prefect_datagen.blocks.query_source import load_query_source

    return load_query_source(name, limits)


def _served(spec: ReportSpec) -> list[str]:
    """Names of the dataset sources that have no path of their own."""
    return [
        name for name, config in spec.sources.items() if isinstance(config, DatasetSourceConfig) and config.path is None
    ]


def make_reports(files: Sequence[ReportFile], datasets: Sequence[DatasetSnapshot]) -> dict[str, Report]:
    """All reports by name: the given ones, then the automatic one, called `AUTOMATIC`.

    Raises:
        ConfigError: two reports have one name, or one of them needs a dataset that is not there.
        SinkError: the first part of the dataset cannot be read, which the automatic report looks at.
    """
    reports: dict[str, Report] = {}
    for report in [*(file.over(datasets) for file in files), auto_report(datasets[0].source)]:
        report.queries()  # what is wrong with them is told now, and the first reader does not wait for their texts
        if report.name in reports:
            raise ConfigError(f"two reports are called {report.name!r}; rename one of the files")
        reports[report.name] = report
    return reports
