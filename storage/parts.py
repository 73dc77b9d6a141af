"""Tables on their way to and from storage: fitted to a schema, encoded as Parquet, turned into records and frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from prefect_datagen.engine.errors import SinkError
from prefect_datagen.engine.outcomes import RejectedRow
from prefect_datagen.storage.arrow import distinct_values, write_parquet

if TYPE_CHECKING:
    import pandas as pd

COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")

_ROWS_PER_PARQUET_ROW_GROUP = 131_072
_PAGE_BYTES = 1 << 20
_LOOKED_AT, _MOST_DIFFERENT = 1024, 896
"""Of so many values at the start of a column so many may differ where a dictionary of its values is worth making."""

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("row_index", pa.int64(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("attempts", pa.int64(), nullable=False),
        pa.field("retryable", pa.bool_(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("values", pa.string(), nullable=False),  # a JSON object: rejected rows need not have the same columns
    ]
)


def fit(table: pa.Table, schema: pa.Schema, *, row_group: int | None = None) -> pa.Table:
    """The table with exactly the columns, order and types of `schema`, each column in one chunk.

    Raises:
        SinkError: a column is missing, too many, or does not fit; `column` names it. Casts that lose anything do not
            fit.
    """
    where = "" if row_group is None else f"row group {row_group}: "
    for problem, names in (("lacks", set(schema.names) - set(table.column_names)),
                           ("has unknown", set(table.column_names) - set(schema.names))):  # fmt: skip
        if names:
            raise SinkError(
                f"{where}the table {problem} column {sorted(names)!r}", row_group=row_group, column=min(names)
            )
    columns = []
    for target in schema:
        column = table.column(target.name)
        if column.type != target.type:
            try:
                column = column.cast(target.type)
            except pa.ArrowException as error:
                raise SinkError(
                    f"{where}column {target.name!r} does not fit {target.type}: {error}",
                    row_group=row_group,
                    column=target.name,
                ) from error
        if not target.nullable and column.null_count:
            raise SinkError(
                f"{where}column {target.name!r} has {column.null_count} nulls and may have none",
                row_group=row_group,
                column=target.name,
            )
        columns.append(column)
    # One chunk a column: the encoder's pages follow chunks, and equal tables are to give equal bytes.
    return pa.Table.from_arrays(columns, schema=schema).combine_chunks()


def encode(table: pa.Table, *, compression: str = "zstd") -> pa.Buffer:
    """The table as a Parquet file. Equal tables give equal bytes (with one version of pyarrow).

    Raises:
        SinkError: a column's type has no Parquet form.
    """
    sink = pa.BufferOutputStream()
    try:
        write_parquet(
            table,
            sink,
            compression=compression,
            use_dictionary=_repeating(table),
            write_statistics=True,
            data_page_size=_PAGE_BYTES,
            row_group_size=_ROWS_PER_PARQUET_ROW_GROUP,
        )
    except pa.ArrowException as error:
        raise SinkError(f"a table of {table.schema.names!r} cannot be written as Parquet: {error}") from error
    return sink.getvalue()


def _repeating(table: pa.Table) -> bool | list[str]:
    """The Parquet columns whose values repeat, by the first of them; True for all, where the table is short.

    The encoder tries a dictionary on every column that it is told to, and gives up after a megabyte of different values:
    on numbers that hardly repeat, such as measured ones, that takes most of its time and makes the file larger.
    """
    if table.num_rows < _LOOKED_AT:
        return True
    start = table.slice(0, _LOOKED_AT).combine_chunks()
    leaves = [leaf for name in start.column_names for leaf in _leaves(name, start.column(name).chunk(0))]
    return [path for path, values in leaves if _repeats(values)]


def _leaves(path: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The columns that Parquet stores a column as, each by its path in the file's schema, with values of it."""
    types = pa.types
    if types.is_struct(values.type):
        for field, inner in zip(values.type, values.flatten(), strict=True):
            yield from _leaves(f"{path}.{field.name}", inner)
    elif types.is_map(values.type):
        yield from _leaves(f"{path}.key_value.key", values.keys)
        yield from _leaves(f"{path}.key_value.value", values.items)
    elif types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        yield from _leaves(f"{path}.list.element", values.flatten())
    else:
        yield path, values


def _repeats(values: pa.Array) -> bool:
    some = values.slice(0, _LOOKED_AT)
    different = distinct_values(some)  # unknown for dictionaries, nulls, extension types: left to the encoder
    return different is None or different * _LOOKED_AT <= len(some) * _MOST_DIFFERENT


def rejects_table(rows: Iterable[RejectedRow]) -> pa.Table:
    """Rejected rows as a table of `REJECTS_SCHEMA`, by row index."""
    records = [
        {
            "row_index": row.row_index,
            "column": _storable(row.column),
            "error_type": _storable(row.error_type),
            "reason": _storable(row.reason),
            "message": _storable(row.message),
            "attempts": row.attempts,
            "retryable": row.retryable,
            "answer": None if row.answer is None else _storable(row.answer),
            "values": _storable(_json(row.values)),
        }
        for row in sorted(rows, key=lambda row: row.row_index)
    ]
    return pa.Table.from_pylist(records, schema=REJECTS_SCHEMA)


def rejected_rows(table: pa.Table) -> list[RejectedRow]:
    """The records of a table of `REJECTS_SCHEMA`. Values that JSON does not know come back as text."""
    return [RejectedRow(**{**record, "values": json.loads(record["values"])}) for record in table.to_pylist()]


def to_frame(table: pa.Table) -> pd.DataFrame:
    """The table in pandas.

    pandas makes floats of a column of integers with gaps, and a float does not hold every 64-bit integer: such
    columns become pandas' own nullable integers.
    """
    import pandas as pd  # imported here: most runs never load a dataset

    nullable = {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
    }
    return pd.DataFrame(
        {
            name: column.to_pandas(types_mapper=nullable.get if column.null_count else None)
            for name, column in zip(table.column_names, table.columns, strict=True)
        },
        columns=table.column_names,
    )


def _json(values: dict[str, Any]) -> str:
    try:
        return json.dumps(values, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that are not text, or a value that holds itself: user code made it
        return json.dumps({name: repr(value) for name, value in values.items()}, ensure_ascii=False)


def _storable(text: str) -> str:
    r"""Text that UTF-8 can hold: a lone surrogate, which JSON answers may contain, becomes its escape `\udxxx`."""
    return text.encode("utf-8", "backslashreplace").decode()
