"""Jobs that the benchmarks time, each in a process of its own: `python -m benchmarks.jobs NAME [ARGUMENTS]`.

A job prints one line of JSON: the seconds of the work itself, without interpreter start and Prefect's start-up, and what it
did. Wall and CPU time of the whole process, and its peak memory, are taken from outside (`benchmarks/measure.py`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from typing import Any

from prefect_datagen.tasks.ticket import RunTicket

CELLS = 3


def three_cells(url: str, parallel: int) -> dict[str, Any]:
    """Two independent model columns and one that reads both."""
    return {
        "name": "three-cells",
        "columns": [
            {"name": "id", "column_type": "sampler", "sampler_type": "uuid", "params": {}},
            {"name": "a", "column_type": "llm-text", "model_alias": "m", "prompt": "First about {{ id }}."},
            {"name": "b", "column_type": "llm-text", "model_alias": "m", "prompt": "Second about {{ id }}."},
            {"name": "c", "column_type": "llm-text", "model_alias": "m", "prompt": "Join {{ a }} and {{ b }}."},
        ],
        "model_providers": [{"name": "p", "endpoint": url}],
        "model_configs": [
            {
                "alias": "m",
                "model": "mock",
                "provider": "p",
                "inference_parameters": {"max_parallel_requests": parallel},
            }
        ],
    }


def tabular() -> dict[str, Any]:
    """Five samplers, a subcategory, a datetime, two Jinja expressions, one SQL expression."""

    def sampler(name: str, kind: str, **params: Any) -> dict[str, Any]:
        return {"name": name, "column_type": "sampler", "sampler_type": kind, "params": params}

    return {
        "name": "tabular",
        "columns": [
            sampler("colour", "category", values=["red", "green", "blue"], weights=[3, 2, 1]),
            sampler(
                "shade",
                "subcategory",
                category="colour",
                values={c: ["dark", "light"] for c in ("red", "green", "blue")},
            ),
            sampler("size", "gaussian", mean=10, stddev=2),
            sampler("count", "poisson", mean=4),
            sampler("share", "uniform", low=0, high=1),
            sampler("flag", "bernoulli", p=0.3),
            sampler("day", "datetime", start="2024-01-01", end="2025-01-01"),
            {"name": "label", "column_type": "expression", "expr": "{{ colour }} {{ shade }} #{{ count }}"},
            {
                "name": "kind",
                "column_type": "expression",
                "expr": "{% if flag %}{{ colour }}{% else %}plain{% endif %}",
            },
            {"name": "area", "column_type": "sql", "expr": "size * size * share"},
        ],
    }


def build(config: dict[str, Any], rows: int, size: int, **run: Any) -> dict[str, Any]:
    """Build into a temporary folder; seconds of the flow run alone."""
    from prefect_datagen import ParquetRowGroupSink, RunConfig, build_dataset

    with tempfile.TemporaryDirectory() as folder:
        sink = ParquetRowGroupSink(path=f"{folder}/d")
        started = time.perf_counter()
        result = build_dataset(
            config, num_records=rows, sink=sink, run=RunConfig(seed=1, row_group_size=size, progress_interval=30, **run)
        )
        return {
            "flow_seconds": time.perf_counter() - started,
            "made_seconds": result.metadata.seconds,
            "rows": result.metadata.actual_num_records,
        }


def engine_only(url: str, rows: int, parallel: int) -> dict[str, Any]:
    """The same three cells through the engine alone: no Prefect, no disk but the journal."""
    from prefect_datagen.blocks import ParquetRowGroupSink
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.engine import loop_thread
    from prefect_datagen.engine.row_group import RowGroup
    from prefect_datagen.tasks.runtime import Runtime

    config, run = DatasetConfig.load(three_cells(url, parallel)), RunConfig(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        sink = ParquetRowGroupSink(path=f"{folder}/d")
        import pyarrow as pa

        with sink.open(schema=pa.schema([("id", pa.string())])) as store:
            ticket = RunTicket(
                run_id="b", config=config, run=run, seed=1, fingerprint="", sink=sink, endpoints=(), inline=True
            )
            runtime = Runtime(ticket, store=store, reused={})
            seeds = runtime.blueprint.seed_rows(0, rows)
            group = RowGroup(0, keys=seeds.keys, columns=seeds.columns)
            started, cpu = time.perf_counter(), time.process_time()
            loop_thread.run(runtime.driver.run_row_group(group))
            seconds, spent = time.perf_counter() - started, time.process_time() - cpu
            runtime.close()
    return {"made_seconds": seconds, "cpu_per_cell_ms": 1000 * spent / (rows * CELLS)}


def plain_aiohttp(url: str, rows: int, parallel: int) -> dict[str, Any]:
    """The same calls in dependency order by a plain program: what the least possible code needs."""
    import aiohttp

    async def main() -> float:
        gate = asyncio.Semaphore(parallel)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def ask(prompt: str) -> str:
                async with gate:
                    body = {"model": "mock", "messages": [{"role": "user", "content": prompt}]}
                    async with session.post(f"{url}/chat/completions", json=body) as reply:
                        text: str = (await reply.json())["choices"][0]["message"]["content"]
                        return text

            async def row(number: int) -> str:
                a, b = await asyncio.gather(ask(f"First about {number}."), ask(f"Second about {number}."))
                return await ask(f"Join {a} and {b}.")

            started = time.perf_counter()
            await asyncio.gather(*(row(number) for number in range(rows)))
            return time.perf_counter() - started

    cpu = time.process_time()
    seconds = asyncio.run(main())
    return {"made_seconds": seconds, "cpu_per_cell_ms": 1000 * (time.process_time() - cpu) / (rows * CELLS)}


def main() -> None:
    """Run the job that the command line names."""
    name, *rest = sys.argv[1:]
    if name == "build":
        url, rows, size, parallel = rest[0], int(rest[1]), int(rest[2]), int(rest[3])
        outcome = build(three_cells(url, parallel), rows, size, **json.loads(rest[4] if len(rest) > 4 else "{}"))
    elif name == "tabular":
        outcome = build(tabular(), int(rest[0]), int(rest[1]), stages="inline")
    elif name == "samplers":
        config = tabular()
        config["columns"] = config["columns"][:7] + config["columns"][9:]
        outcome = build(config, int(rest[0]), int(rest[1]), stages="inline")
    else:
        job = {"engine": engine_only, "plain": plain_aiohttp}[name]
        outcome = job(rest[0], int(rest[1]), int(rest[2]))
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
