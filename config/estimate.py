"""What a run will cost, before it is paid for: calls, tokens, money, time, by model alias.

A sample of rows goes through the real engine with the offline model in the place of every model, so skips, loops of the
prompt templates and dependent prompts are all there; prompts are counted as they would be sent. User code is not run (it
may call, or pay for, anything): columns that it makes are null in the sample. Tokens are estimated from text (about four
characters each), so they come as a range. What answers will be like is not known before the first one: their tokens are
bounded by `max_tokens` where it is set, and taken from an earlier build of the dataset where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.plan import Plan
from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.chat import ChatAnswer, ChatRequest
from prefect_datagen.engine.driver import Driver
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.model_access import (
    LimiterRegistry,
    ModelAccess,
    ModelSpec,
    NoJournal,
    RunBudget,
    make_ports,
)
from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy
from prefect_datagen.engine.outcomes import ModelUsage, Record
from prefect_datagen.engine.row_group import RowGroup
from prefect_datagen.models.config import ModelConfig
from prefect_datagen.models.offline import OfflineClient

SAMPLE = 20
_NOT_RUN = frozenset({"custom", "validation", "embedding", "image"})
_TOKEN_ERROR = 0.3  # relative error of counting tokens by characters, either way
_ANSWER_TOKENS = (20, 500)  # of a text answer of which nothing is known
_CALL_SECONDS = (0.5, 10.0)  # of a call of which nothing is known


class Range(Record):
    """A number that is known to lie between two others."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, high=self.high + other.high)


class ModelEstimate(Record):
    """What one alias will be asked for."""

    calls: int = Field(description="Without retries, corrections and restarts.")
    input_tokens: Range
    output_tokens: Range
    cost: Range | None = Field(description="None where the model has no price.")
    seconds: Range


class Estimate(Record):
    """What a run will cost. `models` by alias; `seconds` is that of the slowest, since models work side by side."""

    rows: int
    sampled_rows: int
    calls_by_column: dict[str, int]
    models: dict[str, ModelEstimate]
    seconds: Range
    cost: Range | None


class _Counting(OfflineClient):
    """The offline model, and what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.input_tokens = 0

    async def chat(self, request: ChatRequest, *, timeout: float | None = None) -> ChatAnswer:
        answer = await super().chat(request, timeout=timeout)
        self.calls += 1
        self.input_tokens += answer.input_tokens
        return answer


def estimate(
    blueprint: Blueprint,
    plan: Plan,
    *,
    known: Mapping[str, ModelUsage] | None = None,
    paid: frozenset[str] = frozenset(),
) -> Estimate:
    """Estimate the row groups of `plan` that are to do.

    Args:
        blueprint: the dataset.
        plan: what is to do.
        known: usage of an earlier build, by alias: how long its answers were.
        paid: columns whose answers are in the journal already; they cost nothing.
    """
    rows = sum(group.rows for group in plan.todo)
    sampled = min(rows, SAMPLE)
    clients, calls = _sample(blueprint, plan, sampled) if sampled else ({}, {})
    models = {
        model.alias: _scaled(model, clients[model.alias], rows, sampled, (known or {}).get(model.alias))
        for model in blueprint.config.model_configs
        if model.alias in clients and clients[model.alias].calls
    }
    costs = [each.cost for each in models.values() if each.cost is not None]
    return Estimate(
        rows=rows,
        sampled_rows=sampled,
        calls_by_column={name: 0 if name in paid else round(count * rows / sampled) for name, count in calls.items()},
        models=models,
        seconds=Range(
            low=max((each.seconds.low for each in models.values()), default=0.0),
            high=max((each.seconds.high for each in models.values()), default=0.0),
        ),
        cost=sum(costs[1:], costs[0]) if costs else None,
    )


def _sample(blueprint: Blueprint, plan: Plan, rows: int) -> tuple[dict[str, _Counting], dict[str, int]]:
    """Run the first rows that are to do; what each alias was asked for, and cells made by column."""
    clients = {model.alias: _Counting() for model in blueprint.config.model_configs}
    specs = [
        ModelSpec(model.alias, model.model, clients[model.alias], rows) for model in blueprint.config.model_configs
    ]
    first = plan.todo[0].start
    seeds = blueprint.seed_rows(first, rows)
    group = RowGroup(plan.todo[0].index, keys=seeds.keys, columns=seeds.columns, skipped=seeds.skipped)

    async def run(threads: ThreadPoolExecutor) -> None:
        ports = make_ports(specs, limiters=LimiterRegistry(), window=50, error_rate=None, retry_deadline=60.0)
        access = ModelAccess(ports, journal=NoJournal(), budget=RunBudget())
        driver = Driver(graph, access=access, threads=threads, seed=blueprint.seed)
        try:
            await driver.run_row_group(group)
        finally:
            await driver.aclose()

    graph = ColumnGraph.build(
        [_harmless(node, blueprint) for node in blueprint.graph.nodes], sources=blueprint.graph.sources
    )
    with ThreadPoolExecutor(1) as threads:
        loop_thread.run(run(threads))
    aliases = {model.alias for model in blueprint.config.model_configs}
    calls = {
        node.name: rows - group.skipped_by_column.get(node.name, 0)
        for node in blueprint.graph.nodes
        if node.resource in aliases
    }
    return clients, calls


@dataclass(frozen=True)
class _Nothing:
    """Stands for a generator that runs user code or calls something that the offline model cannot stand for."""

    columns: int

    def generate_now(self, inputs: Mapping[str, Any]) -> tuple[None, ...]:
        return (None,) * self.columns


def _harmless(node: ColumnNode, blueprint: Blueprint) -> ColumnNode:
    kind = blueprint.config.column(node.name).column_type  # type: ignore[attr-defined]
    if kind not in _NOT_RUN:
        return node
    generator = _Nothing(len(node.produces))
    return replace(node, strategy=Strategy.CELL, resource=INLINE, generator=generator, allow_resize=False)


def _scaled(model: ModelConfig, client: _Counting, rows: int, sampled: int, known: ModelUsage | None) -> ModelEstimate:
    scale = rows / sampled
    calls = round(client.calls * scale)
    tokens_in = Range(
        low=round(client.input_tokens * scale * (1 - _TOKEN_ERROR)),
        high=round(client.input_tokens * scale * (1 + _TOKEN_ERROR)),
    )
    tokens_out = _output_tokens(model, calls, known)
    return ModelEstimate(
        calls=calls,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=_cost(model, tokens_in, tokens_out),
        seconds=_seconds(model, calls, tokens_in + tokens_out),
    )


def _output_tokens(model: ModelConfig, calls: int, known: ModelUsage | None) -> Range:
    if known is not None and known.answers:
        mean = known.output_tokens / known.answers
        return Range(low=round(calls * mean * 0.8), high=round(calls * mean * 1.2))
    low, high = _ANSWER_TOKENS
    limit = getattr(model.inference_parameters, "max_tokens", None)
    if limit is not None:
        low, high = min(low, limit), limit
    return Range(low=calls * low, high=calls * high)


def _cost(model: ModelConfig, tokens_in: Range, tokens_out: Range) -> Range | None:
    if model.price is None:
        return None
    price = model.price
    return Range(
        low=(tokens_in.low * price.input + tokens_out.low * price.output) / 1e6,
        high=(tokens_in.high * price.input + tokens_out.high * price.output) / 1e6,
    )


def _seconds(model: ModelConfig, calls: int, tokens: Range) -> Range:
    parallel = model.inference_parameters.max_parallel_requests
    by_requests = 60 * calls / model.rpm if model.rpm else 0.0
    low = max(calls * _CALL_SECONDS[0] / parallel, by_requests, 60 * tokens.low / model.tpm if model.tpm else 0.0)
    high = max(calls * _CALL_SECONDS[1] / parallel, by_requests, 60 * tokens.high / model.tpm if model.tpm else 0.0)
    return Range(low=low, high=high)
