"""Column nodes for tests of the graph and the scheduler, and Hypothesis strategies that make random graphs of them.

Nothing here makes a value: generators raise when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from prefect_datagen.engine.node import INLINE, LOOP, THREADS, Batch, Cell, ColumnNode, FullColumn, Strategy

MODELS = ("large", "small")
SOURCES = ("s0", "s1")


class NoGenerator:
    """Of nodes that are scheduled and never made."""

    async def generate(self, cell: Cell) -> tuple[Any, ...]:
        raise AssertionError(f"{cell} was made")

    def generate_now(self, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
        raise AssertionError(f"{inputs} was made")

    def generate_batch(self, batch: Batch) -> FullColumn:
        raise AssertionError(f"{batch} was made")


@dataclass(frozen=True)
class SkipReading:
    """A skip rule that reads these columns; whether it applies is the test's to say, by `CellSkipped`."""

    inputs: tuple[str, ...]
    value: Any = None

    def applies(self, inputs: Mapping[str, Any]) -> bool:
        raise AssertionError(f"asked about {inputs}")


def node(
    name: str,
    *inputs: str,
    resource: str = "large",
    strategy: Strategy = Strategy.CELL,
    skip_reads: Sequence[str] = (),
    side_columns: Sequence[str] = (),
    propagate_skip: bool = True,
    allow_resize: bool = False,
) -> ColumnNode:
    """A node that reads `inputs`; its skip rule reads `skip_reads`; it also makes `side_columns`."""
    produces = (name, *side_columns)
    return ColumnNode(
        name=name,
        produces=produces,
        inputs=inputs,
        strategy=strategy,
        resource=resource,
        generator=NoGenerator(),
        types=(pa.string(),) * len(produces),
        skip=SkipReading(tuple(skip_reads)) if skip_reads and not allow_resize else None,
        propagate_skip=propagate_skip,
        allow_resize=allow_resize,
    )


def full(name: str, *inputs: str, **options: Any) -> ColumnNode:
    """A full-column node."""
    return node(name, *inputs, resource=THREADS, strategy=Strategy.FULL_COLUMN, **options)


@st.composite
def node_lists(draw: st.DrawFn, *, max_nodes: int = 8) -> list[ColumnNode]:
    """One to eight nodes without cycles, declared in any order, that read each other and `SOURCES`.

    Cell nodes on one or two models, the loop, threads, or inline; full columns, of which one may resize; side columns;
    skip rules; skips that propagate and those that do not.
    """
    resources = draw(st.sampled_from([MODELS[:1], MODELS, (*MODELS, LOOP, THREADS, INLINE), (MODELS[0], INLINE)]))
    count = draw(st.integers(1, max_nodes))
    resizing = draw(st.none() | st.integers(0, count - 1))
    columns = list(SOURCES)
    nodes = []
    for at in range(count):
        is_full = at == resizing or draw(st.sampled_from([False, False, True]))
        name, side = f"n{at}", [f"n{at}__side"] if draw(st.booleans()) else []
        some_columns = st.lists(st.sampled_from(columns), unique=True, max_size=3)
        nodes.append(
            node(
                name,
                *draw(some_columns),
                resource=THREADS if is_full else draw(st.sampled_from(resources)),
                strategy=Strategy.FULL_COLUMN if is_full else Strategy.CELL,
                skip_reads=draw(some_columns) if draw(st.booleans()) else (),
                side_columns=side,
                propagate_skip=draw(st.sampled_from([True, True, False])),
                allow_resize=at == resizing,
            )
        )
        columns += [name, *side]
    return draw(st.permutations(nodes))
