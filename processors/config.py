"""`processors`: the union of all that a config may name."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prefect_datagen.processors.base import ProcessorConfig
from prefect_datagen.processors.custom import CustomProcessorConfig
from prefect_datagen.processors.deduplicate import DeduplicateProcessorConfig
from prefect_datagen.processors.query import FilterProcessorConfig, SqlProcessorConfig
from prefect_datagen.processors.schema_transform import SchemaTransformProcessorConfig
from prefect_datagen.processors.selection import DropColumnsProcessorConfig, RenameProcessorConfig
from prefect_datagen.seeds.plugins import plugin_types

if TYPE_CHECKING:
    Processor = ProcessorConfig
else:
    _TYPES = (
        DropColumnsProcessorConfig,
        RenameProcessorConfig,
        SchemaTransformProcessorConfig,
        FilterProcessorConfig,
        SqlProcessorConfig,
        DeduplicateProcessorConfig,
        CustomProcessorConfig,
        *plugin_types("processors", ProcessorConfig),
    )
    Processor = Annotated[reduce(or_, _TYPES), Field(discriminator="processor_type")]
