"""Running processors: each is held to its schema and to the number of rows that its stage allows.

An exception in a processor is never swallowed: it ends the run as a `ProcessorError` that names stage, row group,
processor and cause.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from prefect_datagen.engine.errors import DatagenError, ProcessorError, SinkError
from prefect_datagen.processors.base import (
    ROW_ID,
    ProcessorConfig,
    ProcessorContext,
    Stage,
    fit_schema,
    without_row_id,
)

if TYPE_CHECKING:
    from prefect_datagen.storage.arrow import Dataset

_PART_ROWS = 100_000
_PART_BYTES = 64 << 20

_T = TypeVar("_T")


@dataclass(frozen=True)
class ProcessedRows:
    """What processors made of a row group.

    Attributes:
        table: the rows; with `ROW_ID`, which has the values that came in, if it came in.
        removed: rows that processors took out, each step counted by itself.
    """

    table: pa.Table
    removed: int


def run_processors(
    processors: Sequence[ProcessorConfig], table: pa.Table, *, stage: Stage, row_group: int
) -> ProcessedRows:
    """Run the processors of a stage over the rows of one row group, one after the other.

    Where `table` has the column `ROW_ID`, the result has it, too, and tells which row came from which: a row that was
    repeated has it twice. Rows whose origin is not known are taken to be the old ones in order, from the start again
    when there are more of them.

    Args:
        table: the rows, shape `(n,)`.
        stage: pre_batch or post_batch.

    Raises:
        ProcessorError: a processor failed, gave other columns than it announced, or changed the number of rows in a way
            that its stage does not allow.
    """
    identity = table.column(ROW_ID) if ROW_ID in table.column_names else None
    if identity is not None:
        table = table.drop_columns([ROW_ID]).append_column(ROW_ID, pa.array(np.arange(table.num_rows)))
    removed = 0
    for processor in processors:
        before = table
        table = _guarded(processor, stage, row_group, lambda p=processor, t=table: _step(p, t, stage, row_group))  # type: ignore[misc]
        removed += max(before.num_rows - table.num_rows, 0)
    if identity is not None:
        origin = identity.take(table.column(ROW_ID).combine_chunks())
        table = table.drop_columns([ROW_ID]).append_column(ROW_ID, origin)
    return ProcessedRows(table, removed)


def run_after_generation(
    processors: Sequence[ProcessorConfig], dataset: Dataset, *, scratch: Path | None = None
) -> Iterator[pa.Table]:
    """Run the processors of the stage `after_generation` over all rows of a dataset.

    Args:
        dataset: the committed rows, in order.
        scratch: folder for temporary files, which may grow to the size of the dataset; the system's own by default.

    Yields:
        The finished rows in tables of up to 100,000 rows or about 64 MiB. What has been yielded before an error is not
        to be kept.

    Raises:
        ProcessorError: as in `run_processors`.
        SinkError: the committed rows cannot be read.
    """
    stage = Stage.AFTER_GENERATION
    with tempfile.TemporaryDirectory(prefix="prefect-datagen-", dir=scratch) as folder:
        context = ProcessorContext(stage, scratch=Path(folder))
        schema = without_row_id(dataset.schema)
        tables = _committed(dataset, schema)
        for processor in processors:
            announced = _guarded(processor, stage, None, lambda p=processor, s=schema: p.output_schema(s))  # type: ignore[misc]
            tables, schema = _stream(processor, tables, schema, announced, context), announced
        yield from _parts(tables)


def _step(processor: ProcessorConfig, table: pa.Table, stage: Stage, row_group: int) -> pa.Table:
    schema = processor.output_schema(without_row_id(table.schema))
    if table.num_rows == 0:  # nothing is left to process; a function need not be ready for that
        found = schema.empty_table()
    else:
        found = fit_schema(processor.apply(table, ProcessorContext(stage, row_group)), schema)
    _check_count(processor, stage, before=table.num_rows, after=found.num_rows)
    if ROW_ID in table.column_names:
        return _with_origin(found, table)
    return found.select(schema.names)


def _with_origin(found: pa.Table, before: pa.Table) -> pa.Table:
    """The rows with the hidden column: the processor's own where it handed it on whole, else by order."""
    if ROW_ID in found.column_names:
        known = before.column(ROW_ID).to_pylist()
        given = found.column(ROW_ID)
        if pa.types.is_integer(given.type) and set(given.to_pylist()) <= set(known):
            return found
        found = found.drop_columns([ROW_ID])
    position = pa.array(np.arange(found.num_rows) % max(before.num_rows, 1))
    return found.append_column(ROW_ID, before.column(ROW_ID).take(position))


def _stream(
    processor: ProcessorConfig,
    tables: Iterator[pa.Table],
    schema: pa.Schema,
    announced: pa.Schema,
    context: ProcessorContext,
) -> Iterator[pa.Table]:
    """The processor's tables, one at a time, each checked; the number of rows once all are there."""
    before = after = 0

    def counted() -> Iterator[pa.Table]:
        nonlocal before
        for table in tables:
            before += table.num_rows
            yield table

    found = iter(processor.apply_to_all(counted(), schema, context))
    while True:
        table = _guarded(processor, context.stage, None, lambda: next(found, None))
        if table is None:
            break
        fitted = _guarded(processor, context.stage, None, lambda t=table: fit_schema(t, announced))  # type: ignore[misc]
        after += fitted.num_rows
        yield fitted.select(announced.names)
    _guarded(processor, context.stage, None, lambda: _check_count(processor, context.stage, before=before, after=after))


def _check_count(processor: ProcessorConfig, stage: Stage, *, before: int, after: int) -> None:
    if after == before or processor.allow_resize:
        return
    if stage is Stage.PRE_BATCH:
        raise ProcessorError(
            f"{before} rows went in and {after} came out; a pre-batch processor may change the number of rows only with "
            "allow_resize: true",
            before=before,
            after=after,
        )
    if after > before:
        raise ProcessorError(
            f"{before} rows went in and {after} came out; rows may be added only with allow_resize: true",
            before=before,
            after=after,
        )


def _guarded(processor: ProcessorConfig, stage: Stage, row_group: int | None, step: Callable[[], _T]) -> _T:
    """Run a step of a processor; whatever it raises says where it was."""
    try:
        return step()
    except Exception as error:
        if isinstance(error, DatagenError) and error.context().get("processor"):
            raise  # of an earlier processor in the stream
        if isinstance(error, SinkError):
            raise
        place = stage.value if row_group is None else f"{stage.value}, row group {row_group}"
        cause = error.message if isinstance(error, DatagenError) else f"{type(error).__name__}: {error}"
        context = error.context() if isinstance(error, ProcessorError) else {}
        raise ProcessorError(
            f"{place}: processor {processor.name!r}: {cause}",
            **{**context, "stage": stage.value, "row_group": row_group, "processor": processor.name, "cause": cause},
        ) from error


def _committed(dataset: Dataset, schema: pa.Schema) -> Iterator[pa.Table]:
    """The committed rows in order, reading little ahead."""
    try:
        for batch in dataset.to_batches(columns=schema.names, batch_readahead=2, fragment_readahead=1):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException) as error:
        raise SinkError(f"the committed rows cannot be read: {error}") from error


def _parts(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in larger tables."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _PART_ROWS or sum(each.nbytes for each in waiting) >= _PART_BYTES:
            yield pa.concat_tables(waiting)
            waiting = []
    if any(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)
