"""`processors`: the union of all that a config may name."""

from __future__ import annotations

from typing import Annotated

from prefect_datagen.columns.kinds import Kinds
from prefect_datagen.processors.base import ProcessorConfig
from prefect_datagen.seeds.plugins import plugin_types

_PROCESSORS = "prefect_datagen.processors."
Processor = Annotated[
    ProcessorConfig,
    Kinds(
        "processor_type",
        {
            "drop_columns": _PROCESSORS + "selection:DropColumnsProcessorConfig",
            "rename": _PROCESSORS + "selection:RenameProcessorConfig",
            "schema_transform": _PROCESSORS + "schema_transform:SchemaTransformProcessorConfig",
            "filter": _PROCESSORS + "query:FilterProcessorConfig",
            "sql": _PROCESSORS + "query:SqlProcessorConfig",
            "deduplicate": _PROCESSORS + "deduplicate:DeduplicateProcessorConfig",
            "custom": _PROCESSORS + "custom:CustomProcessorConfig",
        },
        plugins=lambda: plugin_types("processors", ProcessorConfig),
    ),
]
"""A processor of any type."""
