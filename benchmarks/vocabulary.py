"""CPU seconds for 1,000,000 rows of five samplers, and of three `sql` columns, on one core.

    taskset -c 0 python -m benchmarks.vocabulary

Rows go through the seed stage, or through the SQL generator, in row groups of 100,000. Process time, all threads together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.dataset import DatasetConfig
from prefect_datagen.config.run import RunConfig
from prefect_datagen.engine.node import Batch

ROWS, GROUP = 1_000_000, 100_000


def _sampler(name: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "column_type": "sampler", "sampler_type": kind, "params": params}


FIVE = [
    _sampler("tier", "category", values=["free", "pro", "team"], weights=[7, 2, 1]),
    _sampler("size", "gaussian", mean=10, stddev=2),
    _sampler("share", "uniform", low=0, high=1),
    _sampler("count", "poisson", mean=4),
    _sampler("flag", "bernoulli", p=0.3),
]
THREE = [
    {"name": "area", "column_type": "sql", "expr": "size * size * share"},
    {"name": "label", "column_type": "sql", "expr": "tier || '-' || count"},
    {"name": "band", "column_type": "sql", "expr": "CASE WHEN share > 0.5 THEN 'high' ELSE 'low' END"},
]


def _cpu_seconds(work: Callable[[], None]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Print both figures."""
    config = DatasetConfig.load({"columns": [*FIVE, *THREE]})
    blueprint = Blueprint(config, RunConfig(), seed=1)
    starts = range(0, ROWS, GROUP)
    blueprint.seed_rows(0, 100)  # tables of inverse functions are made once
    print(f"five samplers: {_cpu_seconds(lambda: [blueprint.seed_rows(at, GROUP) for at in starts] and None):.2f} s")
    groups = [blueprint.seed_rows(at, GROUP) for at in starts]
    nodes = [node for node in blueprint.graph.nodes if node.name in {"area", "label", "band"}]

    def sql() -> None:
        for index, rows in enumerate(groups):
            for node in nodes:
                columns = {name: rows.columns[name] for name in node.inputs}
                node.generator.generate_batch(Batch(index, rows.keys, columns))  # type: ignore[union-attr]

    print(f"three sql columns: {_cpu_seconds(sql):.2f} s")


if __name__ == "__main__":
    main()
