"""Where the rows of one run go, when the same dataset is built again and again. Pure.

A *fixed* target is built to `num_records` and then complete. With *version* every run writes a dataset of its own beside
the others. With *extend* every run adds `num_records` rows. Any of these may be a *partition*: a dataset for one date, one
region, ... with `${date}`, `${region}` filled into the config.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pydantic import Field, field_validator

from prefect_datagen.columns.base import Config
from prefect_datagen.config.dataset import ConfigSource, DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.errors import ConfigError

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_PLACE = re.compile(r"\$\{([a-z_][a-z0-9_]*)\}")


class TargetMode(StrEnum):
    """What a run means for the dataset."""

    FIXED = "fixed"  # build to num_records; a second run has nothing to do
    VERSION = "version"  # a new dataset each run, and `latest` points to the last one that was finished
    EXTEND = "extend"  # add num_records rows each run


class Target(Config):
    """Where the rows of a run go."""

    mode: TargetMode = Field(
        default=TargetMode.FIXED,
        description="fixed: build to num_records. version: a new dataset each run, `latest` pointing to the last finished "
        "one. extend: each run adds num_records rows.",
    )
    partition: dict[str, str] = Field(
        default_factory=dict,
        description="Names and values, such as date: 2026-01-31. The dataset is PATH/date=2026-01-31, and ${date} in the "
        "config stands for the value. A value with % is a format of the scheduled time: %Y-%m-%d.",
    )

    @field_validator("partition")
    @classmethod
    def _are_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a partition: a-z, 0-9 and _")
            if not text:
                raise ValueError(f"the partition {name!r} is empty")
        return value

    def at(self, scheduled: datetime) -> Target:
        """The target of a run that was scheduled for this time (UTC): formats filled in."""
        values = {
            name: scheduled.astimezone(UTC).strftime(text) if "%" in text else text
            for name, text in self.partition.items()
        }
        return self.model_copy(update={"partition": values})

    def folder(self) -> str:
        """Folder of the partition below the dataset's path: `date=2026-01-31/region=eu`, or nothing."""
        return "/".join(f"{name}={quote(value, safe=' ')}" for name, value in self.partition.items())


def partition_of(folder: str) -> dict[str, str] | None:
    """The names and values of `date=2026-01-31/region=eu`; None where it is no partition's folder."""
    steps = [step.partition("=") for step in folder.split("/")]
    if not all(equals and _NAME.fullmatch(name) and value for name, equals, value in steps):
        return None
    return {name: unquote(value) for name, _, value in steps}


def filled(source: ConfigSource, partition: Mapping[str, str]) -> ConfigSource:
    """The config with each `${name}` of the partition replaced by its value, in texts wherever they stand.

    Raises:
        ConfigError: the config cannot be read, or a partition's name stands nowhere in it.
    """
    if not partition:
        return source
    used: set[str] = set()

    def fill(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            if match[1] not in partition:
                return match[0]
            used.add(match[1])
            return partition[match[1]]

        return _PLACE.sub(value, text)

    result = _filled(source, fill)
    unused = sorted(partition.keys() - used)
    if unused:
        raise ConfigError(
            f"partition {unused[0]!r}: ${{{unused[0]}}} stands nowhere in the config, so every partition would be the same"
        )
    return result


def _filled(source: ConfigSource, fill: Any) -> ConfigSource:
    if isinstance(source, DatasetConfig):
        return DatasetConfig.load(_map_texts(source.model_dump(mode="python"), fill))
    if isinstance(source, dict):
        filled_dict: dict[str, Any] = _map_texts(source, fill)
        return filled_dict
    if isinstance(source, str) and "\n" in source:
        return str(fill(source))
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read config {str(path)!r}: {error.strerror or error}") from error
    return DatasetConfig.load(fill(text) + "\n", overrides={"base_dir": str(path.resolve().parent)})


def _map_texts(value: Any, fill: Any) -> Any:
    if isinstance(value, str):
        return fill(value)
    if isinstance(value, dict):
        return {name: _map_texts(each, fill) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(each, fill) for each in value]
    return value


def seeded_for(run: RunConfig, partition: Mapping[str, str]) -> RunConfig:
    """The run settings of a partition: with a seed of its own, or all partitions would sample the same values."""
    if not partition or run.seed is None:
        return run
    text = f"{run.seed}\x1f" + "\x1f".join(f"{name}={value}" for name, value in sorted(partition.items()))
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") >> 1
    return run.model_copy(update={"seed": seed})


def partition_values(text: str) -> list[str]:
    """The values that `a,b,c` or the range of dates `2026-01-01..2026-01-31` mean, in order.

    Raises:
        ConfigError: a range is none of dates, or ends before it begins.
    """
    values = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        values += _dates(first, last) if dots else [first]
    if not all(values):
        raise ConfigError(f"partition values {text!r}: one is empty")
    return list(dict.fromkeys(values))


def _dates(first: str, last: str) -> list[str]:
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise ConfigError(
            f"partition range {first}..{last}: {error}; write dates, such as 2026-01-01..2026-01-31"
        ) from error
    if end < start:
        raise ConfigError(f"partition range {first}..{last} ends before it begins")
    return [(start + timedelta(days=day)).isoformat() for day in range((end - start).days + 1)]
