"""What is left to do when a run has ended and its process may be gone: Prefect's worker calls this in one of its own.

What is committed needs no help: a second run continues from there. A run that was killed, though, has told nobody, and a
dataset that was being extended still says of itself that it is being built.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pyarrow as pa
from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger

from prefect_datagen.engine.errors import ConfigError, DatagenError, RunInterruptedError
from prefect_datagen.engine.outcomes import Verdict
from prefect_datagen.flows.events import DatasetNews
from prefect_datagen.flows.placement import below, place_of


def settle(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """After a failure, a cancellation or a crash: tell what is there, and settle what a killed run left open.

    A dataset that says `building`, and that no process has open, is marked as interrupted. A crash is told as the event
    `failed`, which a run that could end by itself has sent already.
    """
    log = flow_run_logger(flow_run, flow)
    try:
        base, version = place_of(flow_run)
        sink = below(base, version or "")
        reader = sink.reader()
        rows = sum(manifest.written for manifest in reader.committed().values())
        metadata = reader.metadata()
        if metadata is not None and metadata.status is Verdict.BUILDING:
            metadata = metadata.model_copy(update={"status": Verdict.INTERRUPTED, "reasons": [_why(state)]})
            with closing(sink.open(schema=pa.schema([]), staged=reader.staged)) as store:
                store.write_metadata(metadata)
    except ConfigError:
        return  # the parameters do not say where the dataset is, which is why the run failed
    except DatagenError as error:
        log.warning("the dataset was left as it is: %s", error.message)
        return
    if rows or metadata is not None:
        log.info("%d rows are committed in %s; a retry or a second run continues from there", rows, sink.location)
    if state.is_crashed():
        DatasetNews(base.location, version=version).failed(RunInterruptedError(_why(state), cause="crash"), metadata)


def _why(state: State[Any]) -> str:
    return state.message or f"the run ended as {state.name}"
