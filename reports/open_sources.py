"""From the sources that a report names to sources that can be asked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.reports.query import Source, SourceLimits
from prefect_datagen.reports.spec import (
    BlockSourceConfig,
    DatasetSourceConfig,
    DuckDBSourceConfig,
    ReportSpec,
    SourceConfig,
    SQLAlchemySourceConfig,
    SQLiteSourceConfig,
)

BlockLoader = Callable[[str, SourceLimits | None], Source]
"""Makes a source of a saved Prefect block's name; reports know nothing of Prefect themselves."""

_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_]\w*)\}")


def open_sources(
    spec: ReportSpec,
    *,
    base_dir: Path | None = None,
    data: Sequence[Path | str] | Mapping[str, Path | str] = (),
    load_block: BlockLoader | None = None,
) -> dict[str, Source]:
    """Open every source of a report, by its name.

    Args:
        base_dir: folder that relative paths start from; the working directory by default.
        data: dataset directories: by the name of the source, or in the order of the dataset sources without a path.
        load_block: how a Prefect block is loaded.

    Raises:
        ConfigError: a path is missing or wrong, a variable of the environment is not set, there are more directories
            than sources for them, or a source needs Prefect and `load_block` is missing. What was opened is closed.
    """
    base_dir = base_dir or Path.cwd()
    folders = _folders(spec, data)
    sources: dict[str, Source] = {}
    with ExitStack() as opened:
        for name, config in spec.sources.items():
            sources[name] = _open(name, config, base_dir=base_dir, folder=folders.get(name), load_block=load_block)
            opened.callback(sources[name].close)
        opened.pop_all()
    return sources


def _folders(spec: ReportSpec, data: Sequence[Path | str] | Mapping[str, Path | str]) -> dict[str, Path]:
    datasets = [name for name, config in spec.sources.items() if isinstance(config, DatasetSourceConfig)]
    if isinstance(data, Mapping):
        unknown = [name for name in data if name not in datasets]
        if unknown:
            raise ConfigError(f"{unknown[0]!r} is no dataset source of the report; there are {datasets}")
        return {name: Path(folder) for name, folder in data.items()}
    free = [name for name in datasets if getattr(spec.sources[name], "path", None) is None]
    # A report of a single dataset can be pointed at another one.
    targets = free or datasets[:1]
    if len(data) > len(targets):
        raise ConfigError(f"{len(data)} dataset directories are given, but the report has room for {len(targets)}")
    return {name: Path(folder) for name, folder in zip(targets, data, strict=False)}


def _open(
    name: str, config: SourceConfig, *, base_dir: Path, folder: Path | None, load_block: BlockLoader | None
) -> Source:
    # Imported here: a report of one dataset needs neither SQLAlchemy nor sqlite3.
    if isinstance(config, DatasetSourceConfig):
        from prefect_datagen.reports.duckdb_sources import DatasetSource

        if folder is None and config.path is None:
            raise ConfigError(f"source {name!r} has no dataset: give its path, or a directory with --data")
        return DatasetSource(folder or base_dir / str(config.path), limits=config.limits)
    if isinstance(config, DuckDBSourceConfig):
        from prefect_datagen.reports.duckdb_files import DuckDBFileSource

        return DuckDBFileSource(base_dir / config.path, limits=config.limits)
    if isinstance(config, SQLiteSourceConfig):
        from prefect_datagen.reports.database_sources import SQLiteSource

        return SQLiteSource(base_dir / config.path, limits=config.limits)
    if isinstance(config, SQLAlchemySourceConfig):
        from prefect_datagen.reports.database_sources import SQLAlchemySource

        return SQLAlchemySource(_with_environment(config.url, name), limits=config.limits)
    assert isinstance(config, BlockSourceConfig)
    if load_block is None:
        raise ConfigError(f"source {name!r} is a Prefect block, which only a flow or the command line can load")
    return load_block(config.block, config.limits)


def _with_environment(url: str, name: str) -> str:
    missing = [variable for variable in _ENVIRONMENT.findall(url) if variable not in os.environ]
    if missing:
        raise ConfigError(f"source {name!r} needs the environment variable {missing[0]}, which is not set")
    return _ENVIRONMENT.sub(lambda match: os.environ[match.group(1)], url)
