"""Prefect blocks: sinks, model endpoints, query sources. `prefect block register -m prefect_datagen.blocks` lists them."""

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.blocks.query_source import QuerySource

__all__ = ["InMemoryRowGroupSink", "ModelEndpoint", "OfflineModel", "ParquetRowGroupSink", "QuerySource"]
