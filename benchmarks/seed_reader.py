"""How fast, and in how much memory, a Parquet seed of 10 million rows is read by ranges.

    python benchmarks/seed_reader.py [--rows 10000000] [--row-group-rows 1000000] [--folder DIR]

Writes the file (about 350 MB), then reads it in row groups of 1,000 rows: from the start, at places far apart, and
shuffled. Prints seconds, rows per second, and how much the process's memory grew at most in each step: all of it, and
the part that is not a mapped file (which the system takes back when it needs to).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed

READ_ROWS = 1_000


def write_seed(path: Path, rows: int, row_group_rows: int) -> None:
    """A table of an id, a code, a text of about 40 characters, two numbers and a word."""
    words = np.array(["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven"])
    with pq.ParquetWriter(path, _batch(words, 0, 1).schema) as writer:
        for start in range(0, rows, row_group_rows):
            writer.write_table(_batch(words, start, min(row_group_rows, rows - start)), row_group_size=row_group_rows)


def _batch(words: np.ndarray, start: int, rows: int) -> pa.Table:
    index = np.arange(start, start + rows, dtype=np.int64)
    random = np.random.default_rng(start)
    text = pa.array(index).cast(pa.string())
    return pa.table(
        {
            "id": index,
            "code": pa.compute.binary_join_element_wise(text, "E8", ""),
            "text": pa.compute.binary_join_element_wise("a text about number", text, "and what becomes of it", " "),
            "x": random.random(rows),
            "n": random.integers(0, 1_000_000, rows),
            "word": words[random.integers(0, len(words), rows)],
        }
    )


@contextmanager
def measured(step: str, rows: int | None = None) -> Iterator[None]:
    """Print what the block took: time, and the growth of memory, looked at every 5 ms."""
    process = psutil.Process()
    before, peak, done = _memory(process), [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            now = _memory(process)
            peak[:] = [max(old, new - base) for old, new, base in zip(peak, now, before, strict=True)]

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
    rate = "" if rows is None else f"{rows / seconds:12,.0f} rows/s"
    print(f"{step:42} {seconds:8.2f} s {rate:20} +{peak[0] / 2**20:6.0f} MiB (+{peak[1] / 2**20:.0f} MiB unmapped)")


def _memory(process: psutil.Process) -> tuple[int, int]:
    memory = process.memory_info()
    return memory.rss, memory.rss - memory.shared


def read_at(reader: SeedReader, starts: Iterable[int]) -> None:
    for start in starts:
        assert reader.read(start, READ_ROWS).num_rows == READ_ROWS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--row-group-rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "seed.parquet"
        write_seed(path, options.rows, options.row_group_rows)
        print(f"{options.rows:,} rows, {path.stat().st_size / 2**20:.0f} MiB, row groups of {options.row_group_rows:,}")
        run(path, options.rows)


def run(path: Path, rows: int) -> None:
    source = {"seed_type": "local", "path": str(path)}
    ordered = SeedConfig.model_validate({"source": source})
    shuffled = SeedConfig.model_validate({"source": source, "sampling_strategy": "shuffle"})
    with measured("open, ordered (hash of the content)"):
        reader = open_seed(ordered, base_dir=path.parent, run_seed=1)
    with measured("read one range in the middle", READ_ROWS):
        read_at(reader, [rows // 2])
    with measured("read everything in order", rows):
        read_at(reader, range(0, rows - READ_ROWS + 1, READ_ROWS))
    far_apart = np.random.default_rng(0).integers(0, rows - READ_ROWS, 50)
    with measured("read 50 ranges far apart", 50 * READ_ROWS):
        read_at(reader, far_apart.tolist())
    with measured("open, shuffled (spooled to disk)"):
        reader = open_seed(shuffled, base_dir=path.parent, run_seed=1)
    with measured("read 1,000 shuffled ranges", 1_000 * READ_ROWS):
        read_at(reader, range(0, 1_000 * READ_ROWS, READ_ROWS))


if __name__ == "__main__":
    main()
