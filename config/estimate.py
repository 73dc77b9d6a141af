"""What a run will cost, before it is paid for: calls, tokens, money, time, by model alias.

A sample of rows goes through the real engine with the offline model in the place of every model, so skips, loops of the
prompt templates and dependent prompts are all there; prompts are counted as they would be sent. User code is not run (it
may call, or pay for, anything): columns that it makes are null in the sample. Tokens are estimated from text (about four
characters each), so they come as a range. What answers will be like is not known before the first one: their tokens are
bounded by `max_tokens` where it is set, and taken from an earlier build of the dataset where there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from prefect_datagen.config.blueprint import Blueprint
from prefect_datagen.config.plan import Plan
from prefect_datagen.engine import loop_thread
from prefect_datagen.engine.answer_journal import NoJournal
from prefect_datagen.engine.driver import Driver, DriverSettings
from prefect_datagen.engine.graph import ColumnGraph
from prefect_datagen.engine.model_access import ModelAccess
from prefect_datagen.engine.model_ports import EndpointSpec, LimiterRegistry, ModelSpec, make_ports
from prefect_datagen.engine.node import INLINE, ColumnNode, Strategy
from prefect_datagen.engine.outcomes import ModelUsage, Record
from prefect_datagen.engine.row_group import RowGroup
from prefect_datagen.engine.run_budget import RunBudget
from prefect_datagen.models.config import EmbeddingInferenceParameters, Mode, ModelConfig
from prefect_datagen.models.offline import OfflineClient

SAMPLE = 20
_NOT_RUN = frozenset({"custom", "validation"})
_TOKEN_ERROR = 0.3  # relative error of counting tokens by characters, either way
_ANSWER_TOKENS = (20, 500)  # of a text answer of which nothing is known
_CALL_SECONDS = (0.5, 10.0)  # of a call of which nothing is known
_BATCH_SECONDS = (60.0, 86_400.0)  # of a batch: providers promise a day


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


@dataclass(frozen=True)
class _Column:
    """What the sample cost in one column."""

    name: str
    alias: str
    calls: int
    input_tokens: int


def estimate(
    blueprint: Blueprint,
    plan: Plan,
    *,
    known: Mapping[str, ModelUsage] | None = None,
    paid: Collection[str] = (),
    paid_rows: int = 0,
) -> Estimate:
    """Estimate the row groups of `plan` that are to do.

    Args:
        blueprint: the dataset.
        plan: what is to do.
        known: usage of an earlier build, by alias: how long its answers were.
        paid: columns whose first `paid_rows` answers are in the journal already; these cost nothing.
        paid_rows: rows of an earlier build.
    """
    rows = sum(group.rows for group in plan.todo)
    sampled = min(rows, SAMPLE)
    first = plan.todo[0].start if sampled else 0
    stream = blueprint.seed_stream
    if stream is not None and not stream.ended:  # the rows that are there stand for those to come
        sampled = min(sampled, stream.rows)
        first = min(first, stream.rows - sampled)
    columns = _sample(blueprint, plan.todo[0].index, first, sampled) if sampled else []
    unpaid = {
        column.name: (rows - min(rows, paid_rows) if column.name in paid else rows) / sampled for column in columns
    }
    models: dict[str, ModelEstimate] = {}
    for model in blueprint.config.model_configs:
        mine = [column for column in columns if column.alias == model.alias]
        if mine:
            calls = round(sum(column.calls * unpaid[column.name] for column in mine))
            tokens = sum(column.input_tokens * unpaid[column.name] for column in mine)
            models[model.alias] = _model_estimate(model, calls, tokens, (known or {}).get(model.alias))
    costs = [each.cost for each in models.values() if each.cost is not None]
    return Estimate(
        rows=rows,
        sampled_rows=sampled,
        calls_by_column={column.name: round(column.calls * unpaid[column.name]) for column in columns},
        models=models,
        seconds=Range(
            low=max((each.seconds.low for each in models.values()), default=0.0),
            high=max((each.seconds.high for each in models.values()), default=0.0),
        ),
        cost=sum(costs[1:], costs[0]) if costs else None,
    )


def _sample(blueprint: Blueprint, row_group: int, first: int, rows: int) -> list[_Column]:
    """Run some rows; what each column that asks a model was asked for."""
    aliases = {model.alias for model in blueprint.config.model_configs}
    asking = {node.name: node.resource for node in blueprint.graph.nodes if node.resource in aliases}
    if not asking:
        return []
    client = OfflineClient()
    specs = [ModelSpec(alias, (EndpointSpec(alias, client),), rows) for alias in aliases]
    seeds = blueprint.seed_rows(first, rows)
    group = RowGroup(row_group, keys=seeds.keys, columns=seeds.columns, skipped=seeds.skipped)
    nodes = [_harmless(node, blueprint) for node in blueprint.graph.nodes]
    graph = ColumnGraph.build(nodes, sources=blueprint.graph.sources)

    async def run(threads: ThreadPoolExecutor) -> None:
        ports = make_ports(specs, limiters=LimiterRegistry(), window=50, error_rate=None, retry_deadline=60.0)
        access = ModelAccess(ports, journal=NoJournal(), budget=RunBudget())
        settings = DriverSettings(trace=True)
        driver = Driver(graph, access=access, threads=threads, settings=settings, seed=blueprint.seed)
        try:
            await driver.run_row_group(group)
        finally:
            await driver.aclose()

    with ThreadPoolExecutor(1) as threads:
        loop_thread.run(run(threads))
    tokens, calls = Counter[str](), Counter[str]()
    for record in group.trace:
        tokens[record.column] += record.input_tokens
        calls[record.column] += record.status == "done"
    return [_Column(name, alias, calls[name], tokens[name]) for name, alias in asking.items()]


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


def _model_estimate(model: ModelConfig, calls: int, tokens: float, known: ModelUsage | None) -> ModelEstimate:
    tokens_in = Range(low=round(tokens * (1 - _TOKEN_ERROR)), high=round(tokens * (1 + _TOKEN_ERROR)))
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
    if isinstance(model.inference_parameters, EmbeddingInferenceParameters):
        return Range(low=0, high=0)
    low, high = _ANSWER_TOKENS
    limit = getattr(model.inference_parameters, "max_tokens", None)
    if limit is not None:
        low, high = min(low, limit), limit
    return Range(low=calls * low, high=calls * high)


def _cost(model: ModelConfig, tokens_in: Range, tokens_out: Range) -> Range | None:
    if model.price is None:
        return None
    price = model.price if model.mode is Mode.LIVE else model.batch.price_of(model.price)
    return Range(
        low=(tokens_in.low * price.input + tokens_out.low * price.output) / 1e6,
        high=(tokens_in.high * price.input + tokens_out.high * price.output) / 1e6,
    )


def _seconds(model: ModelConfig, calls: int, tokens: Range) -> Range:
    if model.mode is Mode.BATCH:
        return Range(low=_BATCH_SECONDS[0], high=_BATCH_SECONDS[1]) if calls else Range(low=0, high=0)
    parallel = model.inference_parameters.max_parallel_requests
    by_requests = 60 * calls / model.rpm if model.rpm else 0.0
    low = max(calls * _CALL_SECONDS[0] / parallel, by_requests, 60 * tokens.low / model.tpm if model.tpm else 0.0)
    high = max(calls * _CALL_SECONDS[1] / parallel, by_requests, 60 * tokens.high / model.tpm if model.tpm else 0.0)
    return Range(low=low, high=high)
