"""Spooled rows: in memory or in a file, the same rows in any order; the file goes with the table."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.seeds.base import SeedTable
from prefect_datagen.seeds.spool import spool

ROWS = 150_000
PLACES = [*range(5), *range(65_300, 65_800), *range(131_000, 131_500), ROWS - 1]
SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string()), ("list", pa.list_(pa.int64()))])


def tables(size: int) -> Iterator[pa.Table]:
    for start in range(0, ROWS, size):
        numbers = range(start, min(start + size, ROWS))
        texts = [None if n % 7 == 0 else f"row {n}" for n in numbers]
        yield pa.table([list(numbers), texts, [[n] if n % 5 else None for n in numbers]], schema=SCHEMA)


@pytest.fixture(scope="module", params=[0, 1 << 30], ids=["file", "memory"])
def spooled(request: pytest.FixtureRequest) -> SeedTable:
    return spool(tables(40_000), SCHEMA, memory_bytes=request.param)


@settings(max_examples=30, deadline=None)
@given(indices=st.lists(st.sampled_from(PLACES), max_size=20), consecutive=st.booleans())
def test_rows_are_taken_in_the_order_asked_for(spooled: SeedTable, indices: list[int], consecutive: bool) -> None:
    if consecutive and indices:
        indices = list(range(indices[0], min(indices[0] + 500, ROWS)))
    found = spooled.take(np.array(indices, dtype=np.int64))
    assert found.schema == SCHEMA
    assert found.column("n").to_pylist() == indices
    assert found.column("text").to_pylist() == [None if n % 7 == 0 else f"row {n}" for n in indices]
    assert found.column("list").to_pylist() == [[n] if n % 5 else None for n in indices]


def test_file_and_memory_have_the_same_fingerprint_whatever_the_chunks() -> None:
    found = {
        spool(tables(size), SCHEMA, memory_bytes=limit).fingerprint for size in (999, 70_000) for limit in (0, 1 << 30)
    }
    assert len(found) == 1


def test_the_fingerprint_ignores_what_lies_under_a_null() -> None:
    values = np.array([1, 2, 3])
    hidden = [pa.array(values, mask=np.array([False, True, False])), pa.array([1, None, 3])]
    schema = pa.schema([("a", pa.int64())])
    found = {spool([pa.table([array], schema=schema)], schema).fingerprint for array in hidden}
    assert len(found) == 1


def test_a_query_can_scan_it_twice(spooled: SeedTable) -> None:
    rows = spooled.relation()
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        query = "SELECT count(*) FROM rows a JOIN rows b ON a.n = b.n + 1"
        assert connection.execute(query).fetchall() == [(ROWS - 1,)]


def test_the_file_goes_with_the_table(tmp_path: Path) -> None:
    previous = tempfile.tempdir
    tempfile.tempdir = str(tmp_path)
    try:
        table = spool(tables(40_000), SCHEMA, memory_bytes=0)
        assert len(list(tmp_path.iterdir())) == 1
        rows = table.take(np.arange(3))
        del table
        gc.collect()
        assert list(tmp_path.iterdir()) == []
        assert rows.column("n").to_pylist() == [0, 1, 2]
    finally:
        tempfile.tempdir = previous


def test_no_file_is_left_when_the_rows_cannot_be_read(tmp_path: Path) -> None:
    def failing() -> Iterator[pa.Table]:
        yield from tables(140_000)
        raise ValueError("broken off")

    previous = tempfile.tempdir
    tempfile.tempdir = str(tmp_path)
    try:
        with pytest.raises(ValueError, match="broken off"):
            spool(failing(), SCHEMA, memory_bytes=0)
        assert list(tmp_path.iterdir()) == []
    finally:
        tempfile.tempdir = previous
