"""Jobs that the benchmarks time, each in a process of its own: `python -m benchmarks.jobs NAME ARGUMENTS`.

A job prints one line of JSON: the seconds of the work itself, without interpreter start and Prefect's start-up, and what it
did. Wall and CPU time of the whole process, and its peak memory, are taken from outside (`benchmarks/measure.py`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any


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


def build(config: dict[str, Any], rows: int, size: int, *, path: str | None = None, **run: Any) -> dict[str, Any]:
    """Build into a folder, a temporary one where none is given; seconds of the flow run alone, without the heartbeat that
    `prefect-datagen build` leaves out, too."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from prefect_datagen import ParquetRowGroupSink, RunConfig, build_dataset

    with tempfile.TemporaryDirectory() as folder, temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        sink = ParquetRowGroupSink(path=path or f"{folder}/d")
        started = time.perf_counter()
        result = build_dataset(
            config, num_records=rows, sink=sink, run=RunConfig(seed=1, row_group_size=size, progress_interval=30, **run)
        )
        return {
            "flow_seconds": time.perf_counter() - started,
            "made_seconds": result.metadata.seconds,
            "rows": result.metadata.actual_num_records,
        }


def engine_only(url: str, rows: int, parallel: int, *, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """The same three cells through the engine alone: no Prefect, no disk but the journal."""
    from prefect_datagen.blocks import ParquetRowGroupSink
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.engine import loop_thread
    from prefect_datagen.engine.row_group import RowGroup
    from prefect_datagen.tasks.runtime import Runtime
    from prefect_datagen.tasks.ticket import RunTicket

    loaded, run = DatasetConfig.load(config or three_cells(url, parallel)), RunConfig(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        sink = ParquetRowGroupSink(path=f"{folder}/d")
        import pyarrow as pa

        with sink.open(schema=pa.schema([("id", pa.string())])) as store:
            ticket = RunTicket(
                run_id="b",
                config=loaded,
                run=run,
                seed=1,
                fingerprint="",
                sink=sink,
                endpoints=(),
                inline=True,
                writer="",
            )
            runtime = Runtime(ticket, store=store, reused={})
            seeds = runtime.blueprint.seed_rows(0, rows)
            group = RowGroup(0, keys=seeds.keys, columns=seeds.columns)
            started, cpu = time.perf_counter(), time.process_time()
            loop_thread.run(runtime.driver.run_row_group(group))
            seconds, spent = time.perf_counter() - started, time.process_time() - cpu
            runtime.close()
    return {"made_seconds": seconds, "cpu_per_cell_ms": 1000 * spent / (rows * (len(loaded.columns) - 1))}


def wide(url: str, columns: int, rows: int, parallel: int) -> dict[str, Any]:
    """Model columns, three of them independent and each other one on the column three before it."""
    config = three_cells(url, parallel)
    config["columns"][1:] = [
        {
            "name": f"c{at}",
            "column_type": "llm-text",
            "model_alias": "m",
            "prompt": f"Number {at} about {{{{ {f'c{at - 3}' if at >= 3 else 'id'} }}}}.",
        }
        for at in range(columns)
    ]
    return engine_only(url, rows, parallel, config=config)


def samplers() -> dict[str, Any]:
    """The tabular dataset without its expressions in Jinja."""
    config = tabular()
    config["columns"] = [column for column in config["columns"] if column["column_type"] != "expression"]
    return config


def plain_loop(groups: int, rows: int, path: str) -> dict[str, Any]:
    """What a flow run does for its row groups, in a plain loop: the code of the stages without Prefect.

    The first row group is made by a flow run, which lays out the dataset and pays for what is needed only once.
    """
    from prefect_datagen import ParquetRowGroupSink
    from prefect_datagen.config.blueprint import Blueprint
    from prefect_datagen.config.dataset import DatasetConfig
    from prefect_datagen.config.preparation import fingerprint
    from prefect_datagen.config.run import RunConfig
    from prefect_datagen.tasks.process_row_group import process_row_group
    from prefect_datagen.tasks.runtime import Runtime, opened
    from prefect_datagen.tasks.ticket import RunTicket

    build(samplers(), rows, rows, path=path)
    config, run = DatasetConfig.load(samplers()), RunConfig(seed=1, row_group_size=rows)
    blueprint, sink = Blueprint(config, run, seed=1), ParquetRowGroupSink(path=path)
    store = sink.open(schema=blueprint.schema)
    try:
        ticket = RunTicket(
            run_id="loop",
            config=config,
            run=run,
            seed=1,
            fingerprint=fingerprint(blueprint.fingerprint_parts),
            sink=sink,
            endpoints=(),
            inline=True,
            writer=store.writer,
        )
        with opened(Runtime(ticket, store=store, reused={})):
            started = time.perf_counter()
            for index in range(1, groups):
                process_row_group.fn(ticket, index, index * rows, rows, str(index))
            return {"made_seconds": time.perf_counter() - started, "rows": groups * rows}
    finally:
        store.close()


def main() -> None:
    """Run the job that the command line names."""
    name, *given = sys.argv[1:]
    arguments = [int(each) if each.isdigit() else each for each in given]
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, Callable[..., dict[str, Any]]] = {
            "build": lambda url, rows, size, parallel, run="{}": build(
                three_cells(url, parallel), rows, size, **json.loads(run)
            ),
            "engine": engine_only,
            "wide": wide,
            "tabular": lambda rows, size: build(tabular(), rows, size, stages="inline"),
            "samplers": lambda rows, size: build(samplers(), rows, size, stages="inline"),
            "row-groups": lambda groups, rows, stages: build(samplers(), groups * rows, rows, stages=stages),
            "loop": lambda groups, rows, path=f"{folder}/loop": plain_loop(groups, rows, path),
            "resume": lambda groups, rows, path: build(samplers(), groups * rows, rows, path=path),
        }
        print(json.dumps(jobs[name](*arguments)))


if __name__ == "__main__":
    main()
