"""Rows that can be read only once, or only from the start, kept where any row can be read again.

Up to `MEMORY_BYTES` they stay in memory. Beyond, they go to an uncompressed Arrow IPC file in the temporary folder. It
is mapped into memory part by part to read rows: only the pages that hold them are touched, and no more than a part is
mapped at a time, so that the process does not seem to grow by the size of the seed. A page holds many short rows, hence
`gather_rows`: thousands of scattered rows cost little more than one. The file goes when the table does, or at exit; set
`TMPDIR` to choose the disk.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

from prefect_datagen.engine.arrays import pa
from prefect_datagen.seeds.base import SeedTable, rebatch

MEMORY_BYTES = 64 << 20
PART_ROWS = 1 << 16
_GATHER_BYTES = 32 << 20


def spool(
    tables: Iterable[pa.Table | pa.RecordBatch],
    schema: pa.Schema,
    *,
    fingerprint: str | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> SeedTable:
    """Keep rows for random access. Consumes `tables` once, holding at most about `memory_bytes`.

    Args:
        schema: of the tables, as `plain_schema` gives it.
        fingerprint: of the content, where it is known; computed from the rows otherwise.
    """
    digest = _ContentDigest(schema)
    parts = rebatch(tables, PART_ROWS)
    if fingerprint is None:
        parts = digest.watch(parts)
    held: list[pa.RecordBatch] = []
    for part in parts:
        held += part.to_batches()
        if sum(batch.nbytes for batch in held) > memory_bytes:
            table = _spool_to_file(chain(held, (b for rest in parts for b in rest.to_batches())), schema)
            break
    else:
        table = SeedTable(
            schema,
            part_rows=[batch.num_rows for batch in held],
            load=partial(_from_list, held),
            fingerprint="",
            random_access=True,
            relation=partial(pa.Table.from_batches, held, schema),
        )
    table.fingerprint = fingerprint or digest.hexdigest()
    return table


def _from_list(batches: list[pa.RecordBatch], numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
    return (batches[number] for number in numbers)


def _spool_to_file(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> SeedTable:
    handle, path = tempfile.mkstemp(prefix="prefect-datagen-seed-", suffix=".arrow")
    part_rows: list[int] = []
    size = 0
    try:
        with os.fdopen(handle, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                part_rows.append(batch.num_rows)
                size += batch.nbytes
    except BaseException:
        os.unlink(path)
        raise
    table = SeedTable(
        schema,
        part_rows=part_rows,
        load=partial(_from_file, path),
        fingerprint="",
        random_access=True,
        relation=partial(_scan, path),
        gather_rows=min(PART_ROWS, max(1, _GATHER_BYTES * sum(part_rows) // size)),
    )
    weakref.finalize(table, os.unlink, path)
    return table


def _from_file(path: str, numbers: Sequence[int]) -> Iterator[pa.RecordBatch]:
    for number in numbers:
        with pa.memory_map(path) as mapped:
            yield pa.ipc.open_file(mapped).get_batch(number)


def _scan(path: str) -> Any:
    from pyarrow.dataset import dataset  # brings pandas along: half a second that only queries need

    return dataset(path, format="ipc")


class _ContentDigest:
    """A digest of rows that depends on their values only: not on chunks, nor on what lies under a null.

    Parquet's plain pages are such a canonical form of every Arrow type. The footer, which names the library, is left
    out.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._digest = hashlib.sha256(str(schema).encode())

    def watch(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Pass tables on, having taken them in. Tables are to have the same number of rows every time."""
        from prefect_datagen.storage.arrow import (
            write_parquet,
        )  # with all of storage, that a small seed file does not need

        for table in tables:
            sink = pa.BufferOutputStream()
            write_parquet(table, sink, compression="none", use_dictionary=False, write_statistics=False)
            buffer = sink.getvalue()
            footer = int.from_bytes(buffer[len(buffer) - 8 : len(buffer) - 4].to_pybytes(), "little")
            self._digest.update(memoryview(buffer)[: len(buffer) - 8 - footer])
            yield table

    def hexdigest(self) -> str:
        """The digest of what was taken in so far."""
        return self._digest.hexdigest()
