"""What is wrong with sampler columns and constraints that none of them shows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from prefect_datagen.columns.constraints import Constraint
from prefect_datagen.columns.sampler import SamplerColumnConfig
from prefect_datagen.columns.samplers.base import Kind, kind_of
from prefect_datagen.columns.samplers.conditions import Condition
from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError


def check_together(
    columns: Sequence[SamplerColumnConfig], constraints: Sequence[Constraint]
) -> Iterable[tuple[str, str]]:
    """Mistakes that no column shows alone: (path, message) each. Needs columns whose own `check` found nothing.

    Conditions and constraints are tried on no rows of the columns that they read.
    """
    by_name = {config.name: config for config in columns}
    for config in columns:
        for field, params in config.branches():
            for inner, message in params.check_read(by_name):
                yield f"columns.{config.name}.{field}.{inner}", message
        for text in config.conditional_params:
            condition = Condition(text)
            if by_name.keys() >= set(condition.references):
                seen = {name: pa.nulls(0, _seen_type(by_name[name])) for name in condition.references}
                for message in _refusals(partial(condition.holds, seen, 0)):
                    yield f"columns.{config.name}.conditional_params[{text}]", message
    for position, constraint in enumerate(constraints):
        names = {reference.column for reference in constraint.references()}
        if constraint.target_column not in by_name:
            yield (
                f"constraints[{position}].target_column",
                f"{constraint.target_column!r} is no sampler column; only samplers can be drawn again",
            )
        elif by_name.keys() >= names:
            compared = {name: pa.nulls(0, by_name[name].compared_type()) for name in names}
            for message in _refusals(partial(constraint.satisfied, compared)):
                yield f"constraints[{position}]", message


def _seen_type(config: SamplerColumnConfig) -> pa.DataType:
    """What conditions read: the dataset's value, but times as times."""
    compared = config.compared_type()
    return compared if kind_of(compared) is Kind.TIME else config.types({})[0]


def _refusals(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except ConfigError as error:
        return [error.message]
    return []
