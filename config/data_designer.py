"""Configs of NVIDIA NeMo Data Designer as plain data: exported files, and the objects of its Python builder.

An exported file writes a function as its bare name and a data frame not at all; the objects still hold both. Nothing of
Data Designer is imported: its configs are pydantic models, and are read field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from prefect_datagen.config.plain import plain
from prefect_datagen.engine.errors import ConfigError

_WRAPPER = "data_designer"
_BESIDE = frozenset({_WRAPPER, "library_version"})


def unwrap(data: Any) -> Any:
    """An exported config stands under `data_designer`, beside the version that wrote it.

    Raises:
        ConfigError: anything else stands there, which would be ignored.
    """
    if not isinstance(data, Mapping) or _WRAPPER not in data:
        return data
    unknown = sorted(set(data) - _BESIDE)
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown field beside `data_designer`; put it under `data_designer`")
    return data[_WRAPPER]


def plain_config(source: Any) -> dict[str, Any]:
    """The config of a builder, or a config object, as a mapping that keeps functions, classes and data frames.

    Raises:
        ConfigError: it is neither.
    """
    config = source.build() if callable(getattr(source, "build", None)) else source
    config = getattr(config, _WRAPPER, config)
    if not isinstance(config, BaseModel):
        raise ConfigError(f"not a config or builder of Data Designer: {type(source).__name__}")
    data = plain(config)
    assert isinstance(data, dict)
    return data
