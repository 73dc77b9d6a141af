"""Records whose column types are known only when the last one was seen: JSON, rows of a database, files taken apart.

The type of a column is that of its values, as Python has them: text is text, whatever it looks like. A column that
holds values of different kinds (a number here, a text there, an object elsewhere) becomes text: texts as they stand,
everything else as its JSON.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.base import SeedTable
from prefect_datagen.seeds.spool import MEMORY_BYTES, spool

_MIXED = object()


def records_table(
    chunks: Iterable[Sequence[Mapping[str, Any]]], *, origin: str, fingerprint: str | None = None
) -> SeedTable:
    """A table of records. A name that a record lacks is null there; columns stand in the order of first appearance.

    The chunks are read once and kept (beyond 64 MiB on disk) until the types are known.

    Args:
        chunks: lists of records, of any length.
        origin: what to call the source in messages.
        fingerprint: of the content, where it is known.

    Raises:
        ConfigError: a value cannot be stored, such as half of a surrogate pair.
    """
    kinds: dict[str, Any] = {}
    with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES, prefix="prefect-datagen-seed-") as kept:
        for chunk in chunks:
            columns = _columns(chunk)
            for name, values in columns.items():
                kinds[name] = _unify(kinds.get(name, pa.null()), _kind(values))
            pickle.dump((len(chunk), columns), kept, protocol=pickle.HIGHEST_PROTOCOL)
        mixed = {name for name, kind in kinds.items() if kind is _MIXED or _has_empty_object(kind)}
        schema = pa.schema([(name, pa.string() if name in mixed else kind) for name, kind in kinds.items()])
        return spool(_tables(kept, schema, mixed, origin), schema, fingerprint=fingerprint)


def _columns(chunk: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for record in chunk for name in record)
    return {name: [record.get(name) for record in chunk] for name in names}


def _tables(kept: IO[bytes], schema: pa.Schema, mixed: set[str], origin: str) -> Iterator[pa.Table]:
    end = kept.tell()
    kept.seek(0)
    while kept.tell() < end:
        rows, columns = pickle.load(kept)
        arrays = []
        for field in schema:
            values = columns.get(field.name) or [None] * rows
            if field.name in mixed:
                values = [_as_text(value) for value in values]
            arrays.append(_array(values, field, origin))
        yield pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], field: pa.Field, origin: str) -> pa.Array:
    try:
        return pa.array(values, type=field.type)
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise ConfigError(f"{origin}: column {field.name!r} cannot be stored as {field.type}: {error}") from error


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _kind(values: list[Any]) -> Any:
    """The Arrow type of Python values, or `_MIXED`."""
    classes = {type(value) for value in values} - {type(None)}
    if len(classes) > 1 and classes != {int, float}:
        return _MIXED
    try:
        return pa.array(values).type  # `pa.infer_type` looks at some values only
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return _MIXED


def _has_empty_object(kind: pa.DataType) -> bool:
    # An object without keys has no Arrow type that Parquet can hold.
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_has_empty_object(field.type) for field in kind)
    return pa.types.is_list(kind) and _has_empty_object(kind.value_type)


def _unify(left: Any, right: Any) -> Any:
    """The type that holds values of both, or `_MIXED`."""
    if left is _MIXED or right is _MIXED:
        return _MIXED
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    if {left, right} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_decimal(left) and pa.types.is_decimal(right):
        scale = max(left.scale, right.scale)
        whole = max(left.precision - left.scale, right.precision - right.scale)
        return pa.decimal128(whole + scale, scale) if whole + scale <= 38 else _MIXED
    if pa.types.is_list(left) and pa.types.is_list(right):
        inner = _unify(left.value_type, right.value_type)
        return _MIXED if inner is _MIXED else pa.list_(inner)
    if pa.types.is_struct(left) and pa.types.is_struct(right):
        return _unify_structs(left, right)
    return _MIXED


def _unify_structs(left: pa.StructType, right: pa.StructType) -> Any:
    kinds = {field.name: field.type for field in left}
    for field in right:
        kinds[field.name] = _unify(kinds.get(field.name, pa.null()), field.type)
    return _MIXED if _MIXED in kinds.values() else pa.struct(list(kinds.items()))
