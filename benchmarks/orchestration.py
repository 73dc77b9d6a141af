"""Cost of orchestration: seconds and requests to Prefect's server per row group, seen from the flow's process.

PREFECT_API_URL=http://127.0.0.1:4200/api python -m benchmarks.orchestration --row-groups 1000 --stages inline
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from prefect.events.clients import EventsClient
from prefect.events.worker import EventsWorker

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
EVENT = "event "
CONFIG = {
    "name": "orchestration",
    "columns": [
        {"name": "mood", "column_type": "sampler", "sampler_type": "category", "params": {"values": ["glad", "sad"]}},
        {"name": "title", "column_type": "expression", "expr": "{{ mood }}"},
    ],
}


@contextmanager
def noted_requests() -> Iterator[list[str]]:
    """Note what this process asks of Prefect's server: requests by method and route, and events on its web socket.

    Events are noted by name behind `EVENT`. A thread sends them; those of the block are all sent when it ends.
    """
    noted: list[str] = []  # several threads ask, and `append` is atomic where `counts[name] += 1` is not
    send, asend, emit = httpx.Client.send, httpx.AsyncClient.send, EventsClient.emit

    def note(request: httpx.Request) -> None:
        noted.append(f"{request.method} {_UUID.sub('ID', request.url.path)}")

    def counted(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        note(request)
        return send(self, request, **more)

    async def acounted(self: httpx.AsyncClient, request: httpx.Request, **more: Any) -> httpx.Response:
        note(request)
        return await asend(self, request, **more)

    async def emitted(self: EventsClient, event: Any) -> None:
        noted.append(f"{EVENT}{event.event}")
        await emit(self, event)

    with (
        patch.object(httpx.Client, "send", counted),
        patch.object(httpx.AsyncClient, "send", acounted),
        patch.object(EventsClient, "emit", emitted),
    ):
        yield noted
        EventsWorker.instance().wait_until_empty()


def build(folder: Path, *, row_groups: int, stages: str, **run: Any) -> tuple[float, Counter[str]]:
    """Build a dataset of so many row groups of one row. Returns seconds and requests."""
    from prefect_datagen.blocks import ParquetRowGroupSink
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.flows.build import build_dataset

    settings = RunConfig(row_group_size=1, stages=stages, **run)  # type: ignore[arg-type]
    started = time.perf_counter()
    with noted_requests() as noted:
        build_dataset(CONFIG, num_records=row_groups, sink=ParquetRowGroupSink(path=str(folder)), run=settings)
    return time.perf_counter() - started, Counter(noted)


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row-groups", type=int, default=1000)
    parser.add_argument("--stages", default="inline")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds, counts = build(Path(folder) / "out", row_groups=given.row_groups, stages=given.stages)
    events = sum(count for name, count in counts.items() if name.startswith(EVENT))
    requests = sum(counts.values()) - events
    print(
        json.dumps(
            {
                "row_groups": given.row_groups,
                "stages": given.stages,
                "seconds": round(seconds, 1),
                "ms_per_row_group": round(1000 * seconds / given.row_groups, 1),
                "requests": requests,
                "requests_per_row_group": round(requests / given.row_groups, 3),
                "events_per_row_group": round(events / given.row_groups, 2),
                "by_route": dict(counts.most_common(12)),
            }
        )
    )


if __name__ == "__main__":
    main()
