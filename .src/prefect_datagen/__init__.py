"""Datasets as Prefect flows: declare columns, get committed row groups, lose nothing.

The public names are loaded when they are first used, so that `import prefect_datagen` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_datagen.blocks import InMemoryRowGroupSink, ModelEndpoint, OfflineModel, ParquetRowGroupSink
    from prefect_datagen.config.builder import DatasetBuilder
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.run import OnShortfall, ResumeMode, RunConfig
    from prefect_datagen.engine.errors import (
        ConfigError,
        DatagenError,
        EarlyShutdownError,
        ModelError,
        ProcessorError,
        QualityError,
        ResumeRefusedError,
        RunInterruptedError,
        ShortfallError,
        SinkError,
    )
    from prefect_datagen.engine.outcomes import DatasetMetadata, RowGroupOutcome
    from prefect_datagen.flows.build import build_dataset
    from prefect_datagen.flows.preview import preview_dataset
    from prefect_datagen.flows.progress import ProgressSnapshot, progress_to
    from prefect_datagen.flows.results import BuildResult, PreviewResult

_HOMES = {
    "BuildResult": "flows.results",
    "ConfigError": "engine.errors",
    "DatagenError": "engine.errors",
    "DatasetBuilder": "config.builder",
    "DatasetConfig": "config.dataset",
    "DatasetMetadata": "engine.outcomes",
    "EarlyShutdownError": "engine.errors",
    "InMemoryRowGroupSink": "blocks",
    "ModelEndpoint": "blocks",
    "ModelError": "engine.errors",
    "OfflineModel": "blocks",
    "OnShortfall": "config.run",
    "ParquetRowGroupSink": "blocks",
    "PreviewResult": "flows.results",
    "ProcessorError": "engine.errors",
    "ProgressSnapshot": "flows.progress",
    "QualityError": "engine.errors",
    "ResumeMode": "config.run",
    "ResumeRefusedError": "engine.errors",
    "RowGroupOutcome": "engine.outcomes",
    "RunConfig": "config.run",
    "RunInterruptedError": "engine.errors",
    "ShortfallError": "engine.errors",
    "SinkError": "engine.errors",
    "build_dataset": "flows.build",
    "preview_dataset": "flows.preview",
    "progress_to": "flows.progress",
}

__all__ = [
    "BuildResult",
    "ConfigError",
    "DatagenError",
    "DatasetBuilder",
    "DatasetConfig",
    "DatasetMetadata",
    "EarlyShutdownError",
    "InMemoryRowGroupSink",
    "ModelEndpoint",
    "ModelError",
    "OfflineModel",
    "OnShortfall",
    "ParquetRowGroupSink",
    "PreviewResult",
    "ProcessorError",
    "ProgressSnapshot",
    "QualityError",
    "ResumeMode",
    "ResumeRefusedError",
    "RowGroupOutcome",
    "RunConfig",
    "RunInterruptedError",
    "ShortfallError",
    "SinkError",
    "build_dataset",
    "preview_dataset",
    "progress_to",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
