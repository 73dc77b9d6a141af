"""Parquet is read by row group: the rows asked for, never the whole file, and never of a file that has changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.files import SeedFile
from prefect_datagen.seeds.parquet import parquet_table


def write(path: Path, start: int, rows: int, *, row_group_size: int) -> SeedFile:
    numbers = np.arange(start, start + rows)
    pq.write_table(pa.table({"n": numbers, "text": numbers.astype(str)}), path, row_group_size=row_group_size)
    return SeedFile(str(path))


def test_rows_over_row_groups_and_files(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "1.parquet", 0, 250, row_group_size=100),
        write(tmp_path / "2.parquet", 250, 10, row_group_size=100),
    ]
    table = parquet_table(files)
    assert table.num_rows == 260
    for wanted in ([0, 259], [99, 100, 199, 200, 249, 250], [251, 3, 3, 251, 0], list(range(260)), []):
        assert table.take(np.array(wanted, dtype=np.int64)).column("n").to_pylist() == wanted


def test_encoded_and_large_text_becomes_plain_text(tmp_path: Path) -> None:
    kinds = [pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string()]
    data = pa.table([pa.array(["0E8", None], pa.string()).cast(kind) for kind in kinds], names=["a", "b", "c"])
    pq.write_table(data.replace_schema_metadata({"k": "v"}), tmp_path / "a.parquet")
    table = parquet_table([SeedFile(str(tmp_path / "a.parquet"))])
    assert table.schema == pa.schema([(name, pa.string()) for name in "abc"])
    assert table.schema.metadata is None
    assert table.take(np.array([1, 0])).to_pylist() == [dict.fromkeys("abc"), dict.fromkeys("abc", "0E8")]


def test_nested_large_text_becomes_plain_text(tmp_path: Path) -> None:
    kind = pa.large_list(pa.struct([("role", pa.large_string()), ("n", pa.int64())]))
    rows = [[{"role": "0E8", "n": 1}], [], None]
    pq.write_table(pa.table({"a": pa.array(rows, kind)}), tmp_path / "a.parquet")
    table = parquet_table([SeedFile(str(tmp_path / "a.parquet"))])
    assert table.schema.field("a").type == pa.list_(pa.struct([("role", pa.string()), ("n", pa.int64())]))
    assert table.take(np.arange(3)).column("a").to_pylist() == rows


def test_a_range_of_a_large_file_takes_the_memory_of_its_row_groups(tmp_path: Path) -> None:
    """A million rows, 100 MiB in memory, in row groups of 10,000: reading all of it in ranges grows by a fraction."""
    rows, width = 1_000_000, 90
    with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("n", pa.int64()), ("text", pa.string())])) as writer:
        for start in range(0, rows, 100_000):
            numbers = pa.array(range(start, start + 100_000))
            text = pa.compute.utf8_lpad(numbers.cast(pa.string()), width=width, padding="x")
            writer.write_table(pa.table([numbers, text], names=["n", "text"]), row_group_size=10_000)
    table = parquet_table([SeedFile(str(tmp_path / "a.parquet"))])
    process = psutil.Process()
    table.take(np.arange(1_000))
    before, peak, total = process.memory_info().rss, 0, 0
    for start in range(0, rows, 5_000):
        total += sum(table.take(np.arange(start, start + 5_000)).column("n").to_pylist())
        peak = max(peak, process.memory_info().rss - before)
    assert total == rows * (rows - 1) // 2
    assert peak < 40 << 20


@pytest.mark.parametrize("size_differs", [True, False])
def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path: Path, size_differs: bool) -> None:
    path = tmp_path / "a.parquet"
    table = parquet_table([write(path, 0, 100, row_group_size=10)])
    table.take(np.array([0]))
    if size_differs:
        write(path, 0, 1_000, row_group_size=10)
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(ConfigError, match="was changed while it was being read"):
        table.take(np.array([99]))


def test_the_fingerprint_is_that_of_the_contents_in_order(tmp_path: Path) -> None:
    one = write(tmp_path / "1.parquet", 0, 10, row_group_size=10)
    two = write(tmp_path / "2.parquet", 10, 10, row_group_size=10)
    (tmp_path / "renamed").mkdir()
    renamed = tmp_path / "renamed" / "3.parquet"
    renamed.write_bytes(Path(one.path).read_bytes())
    first = parquet_table([one, two]).fingerprint
    assert parquet_table([SeedFile(str(renamed)), two]).fingerprint == first
    assert parquet_table([two, one]).fingerprint != first
