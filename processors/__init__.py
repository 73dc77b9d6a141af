"""Processors: what happens to rows before, after and beside generation. One file per family.

The names below are imported when they are first asked for: the union of all processors loads the plug-ins of other
packages, and those import `prefect_datagen.processors.base`, which must not need the union.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_datagen.processors.base import ROW_ID, ProcessorConfig, ProcessorContext, Stage
    from prefect_datagen.processors.config import Processor
    from prefect_datagen.processors.run import ProcessedRows, run_after_generation, run_processors

__all__ = [
    "ROW_ID",
    "ProcessedRows",
    "Processor",
    "ProcessorConfig",
    "ProcessorContext",
    "Stage",
    "run_after_generation",
    "run_processors",
]

_HOMES = {
    "base": ("ROW_ID", "ProcessorConfig", "ProcessorContext", "Stage"),
    "config": ("Processor",),
    "run": ("ProcessedRows", "run_after_generation", "run_processors"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
