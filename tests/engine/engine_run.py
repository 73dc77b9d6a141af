"""Small runs of the engine for tests: nodes from a line of text each, a driver with short times, row groups of letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from prefect_datagen.engine.answer_journal import AnswerJournal, NoJournal
from prefect_datagen.engine.chat import ChatRequest
from prefect_datagen.engine.driver import Driver, DriverSettings
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.model_access import ModelAccess
from prefect_datagen.engine.model_ports import EndpointSpec, LimiterRegistry, ModelSpec, make_ports
from prefect_datagen.engine.node import INLINE, Batch, Cell, ColumnNode, FullColumn, RowKeys, SkipRule, Strategy
from prefect_datagen.engine.retry import RetryPolicy
from prefect_datagen.engine.row_group import RowGroup
from prefect_datagen.engine.run_budget import RunBudget
from tests.engine.fake_model import FakeModel


@dataclass
class Ask:
    """A model cell: asks `{column}:{inputs joined by ,}`."""

    alias: str = "m"

    async def generate(self, cell: Cell) -> tuple[str]:
        prompt = f"{cell.column}:{','.join(str(value) for value in cell.inputs.values())}"
        answer = await cell.models.chat(self.alias, ChatRequest("model", [{"role": "user", "content": prompt}]))
        return (answer.text,)


@dataclass
class Now:
    """An inline cell from a function of the inputs."""

    function: Callable[[Mapping[str, Any]], Any]

    def generate_now(self, inputs: Mapping[str, Any]) -> tuple[Any]:
        return (self.function(inputs),)


@dataclass
class Whole:
    """A full column from a function of the batch."""

    function: Callable[[Batch], FullColumn]

    def generate_batch(self, batch: Batch) -> FullColumn:
        return self.function(batch)


def ask(name: str, *inputs: str, skip: SkipRule | None = None, propagate_skip: bool = True) -> ColumnNode:
    """A model column."""
    return ColumnNode(
        name, (name,), inputs, Strategy.CELL, "m", Ask(), (pa.string(),), skip=skip, propagate_skip=propagate_skip
    )


def now(
    name: str, *inputs: str, function: Callable[[Mapping[str, Any]], Any], type_: pa.DataType | None = None
) -> ColumnNode:
    """An inline column."""
    return ColumnNode(name, (name,), inputs, Strategy.CELL, INLINE, Now(function), (type_ or pa.string(),))


def whole(name: str, *inputs: str, function: Callable[[Batch], FullColumn], allow_resize: bool = False) -> ColumnNode:
    """A full column of text."""
    return ColumnNode(
        name, (name,), inputs, Strategy.FULL_COLUMN, INLINE, Whole(function), (pa.string(),), allow_resize=allow_resize
    )


def row_group(index: int, rows: int, *, start: int | None = None) -> RowGroup:
    """A row group whose only source column `s` holds the row's number as text."""
    first = index * rows if start is None else start
    names = [str(first + at) for at in range(rows)]
    return RowGroup(index, keys=RowKeys.consecutive(first, rows), columns={"s": pa.array(names, pa.string())})


@dataclass
class EngineRun:
    """One run: a driver over `nodes` with one fake model under the alias `m`, or with several endpoints under it."""

    nodes: Sequence[ColumnNode]
    model: FakeModel = field(default_factory=FakeModel)
    endpoints: tuple[EndpointSpec, ...] = ()
    ceiling: int = 8
    journal: AnswerJournal = field(default_factory=NoJournal)
    settings: DriverSettings = field(
        default_factory=lambda: DriverSettings(retry=RetryPolicy(2, 1, first_delay=0.001), shutdown_grace=0.05)
    )
    budget: RunBudget = field(default_factory=RunBudget)
    error_rate: float | None = 0.5
    window: int = 20
    retry_deadline: float = 300.0
    clock: Callable[[], float] | None = None
    notices: list[str] = field(default_factory=list)

    async def start(self) -> Driver:
        """A driver, on the running loop."""
        graph = ColumnGraph.build(self.nodes, sources=("s",))
        ports = make_ports(
            [ModelSpec("m", self.endpoints or (EndpointSpec("model", self.model),), self.ceiling)],
            limiters=LimiterRegistry(),
            window=self.window,
            error_rate=self.error_rate,
            retry_deadline=self.retry_deadline,
        )
        clock = {} if self.clock is None else {"clock": self.clock}
        access = ModelAccess(ports, journal=self.journal, budget=self.budget, **clock)
        self.threads = ThreadPoolExecutor(2)
        return Driver(
            graph, access=access, threads=self.threads, settings=self.settings, notify=self.notices.append, seed=1
        )

    def run(self, *groups: RowGroup) -> tuple[Driver, list[bool | BaseException]]:
        """Run row groups side by side to their ends; the driver is closed."""

        async def go() -> tuple[Driver, list[bool | BaseException]]:
            driver = await self.start()
            ends = await asyncio.gather(*(driver.run_row_group(group) for group in groups), return_exceptions=True)
            await driver.aclose()
            return driver, list(ends)

        driver, ends = asyncio.run(go())
        self.threads.shutdown()
        return driver, ends


def rows_of(group: RowGroup, *names: str) -> list[dict[str, Any]]:
    """The live rows of a row group, text columns only."""
    return group.table(pa.schema([(name, pa.string()) for name in names])).to_pylist()
