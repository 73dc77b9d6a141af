"""What every task of a run is handed: how to work on it from any process. Small, picklable, and opaque to Prefect.

A plain class on purpose: Prefect walks through the fields of dataclasses and models in task parameters, looking for
futures, which for a config of a thousand columns would cost more than the stage.
"""

from __future__ import annotations

import socket

from prefect_datagen.blocks.memory_sink import InMemoryRowGroupSink
from prefect_datagen.blocks.model_endpoint import ModelEndpoint
from prefect_datagen.blocks.offline_model import OfflineModel
from prefect_datagen.blocks.parquet_sink import ParquetRowGroupSink
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig

Endpoint = ModelEndpoint | OfflineModel
Sink = ParquetRowGroupSink | InMemoryRowGroupSink


class RunTicket:
    """A run: what is built, how, with which seed, into which sink; `writer` is who holds the sink's lock, on `host`."""

    __slots__ = ("config", "endpoints", "fingerprint", "host", "inline", "run", "run_id", "seed", "sink", "writer")

    def __init__(
        self,
        *,
        run_id: str,
        config: DatasetConfig,
        run: RunConfig,
        seed: int,
        fingerprint: str,
        sink: Sink,
        endpoints: tuple[Endpoint, ...],
        inline: bool,
        writer: str,
    ) -> None:
        self.run_id = run_id
        self.host = socket.gethostname()
        self.config = config
        self.run = run
        self.seed = seed
        self.fingerprint = fingerprint
        self.sink = sink
        self.endpoints = endpoints
        self.inline = inline
        self.writer = writer

    def __repr__(self) -> str:
        return f"RunTicket({self.config.name!r}, run_id={self.run_id!r})"
