"""Which seed row a dataset row takes: fixed by seed and row alone, in every process and at every resume."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed

ROWS = 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten rows as CSV, and a million rows as Parquet, large enough to be spooled to a file when shuffled."""
    folder = tmp_path_factory.mktemp("seeds")
    (folder / "small.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(10)))
    numbers = pa.array(range(ROWS))
    text = pa.compute.utf8_lpad(numbers.cast(pa.string()), width=80, padding="-")
    pq.write_table(pa.table({"n": numbers, "text": text}), folder / "large.parquet", row_group_size=50_000)
    return folder


def read(folder: Path, path: str, *, seed: int = 7, **config: Any) -> SeedReader:
    config = {"source": {"seed_type": "local", "path": path}, **config}
    return open_seed(SeedConfig.model_validate(config), base_dir=folder, run_seed=seed)


def numbers(reader: SeedReader, start: int, rows: int) -> list[int]:
    return [int(n) for n in reader.read(start, rows).column("n").to_pylist()]


def test_ordered_row_k_takes_seed_row_k_mod_n(folder: Path) -> None:
    reader = read(folder, "small.csv")
    assert numbers(reader, 0, 25) == [k % 10 for k in range(25)]
    assert numbers(reader, 1_000_007, 5) == [7, 8, 9, 0, 1]
    assert numbers(reader, 3, 0) == []


def test_shuffled_every_cycle_takes_every_row_once_in_an_order_of_its_own(folder: Path) -> None:
    reader = read(folder, "small.csv", sampling_strategy="shuffle")
    cycles = [numbers(reader, 10 * cycle, 10) for cycle in range(5)]
    assert all(sorted(cycle) == list(range(10)) for cycle in cycles)
    assert len({tuple(cycle) for cycle in cycles}) == 5


def test_the_order_is_fixed_by_the_run_seed(folder: Path) -> None:
    shuffled = {"sampling_strategy": "shuffle"}
    first = numbers(read(folder, "small.csv", **shuffled), 0, 30)
    assert numbers(read(folder, "small.csv", **shuffled), 0, 30) == first
    assert numbers(read(folder, "small.csv", seed=8, **shuffled), 0, 30) != first


@pytest.mark.parametrize("strategy", ["ordered", "shuffle"])
@pytest.mark.parametrize(
    ("selection", "chosen"),
    [({"start": 2, "end": 5}, range(2, 6)), ({"index": 1, "num_partitions": 3}, range(3, 6)), (None, range(10))],
)
def test_the_selection_comes_before_sampling(folder: Path, strategy: str, selection: Any, chosen: range) -> None:
    reader = read(folder, "small.csv", sampling_strategy=strategy, selection_strategy=selection)
    assert reader.num_rows == len(chosen)
    found = numbers(reader, 0, 2 * len(chosen))
    assert sorted(found[: len(chosen)]) == sorted(found[len(chosen) :]) == list(chosen)


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 3 * ROWS),
    rows=st.integers(0, 3_000),
    cut=st.integers(0, 3_000),
    config=st.sampled_from(
        [
            {},
            {"sampling_strategy": "shuffle"},
            {"sampling_strategy": "shuffle", "selection_strategy": {"start": 49_990, "end": 50_009}},
            {"selection_strategy": {"start": 49_990, "end": 50_009}},
        ]
    ),
)
def test_a_large_seed_gives_the_same_rows_however_it_is_cut(
    folder: Path, start: int, rows: int, cut: int, config: dict[str, Any]
) -> None:
    reader = read(folder, "large.parquet", **config)
    cut = min(cut, rows)
    whole = reader.read(start, rows)
    assert pa.concat_tables([reader.read(start, cut), reader.read(start + cut, rows - cut)]).equals(whole)
    assert whole.column("text").to_pylist() == [f"{n:->80}" for n in whole.column("n").to_pylist()]


def test_a_large_shuffled_seed_gives_every_row_once_a_cycle(folder: Path) -> None:
    reader = read(folder, "large.parquet", sampling_strategy="shuffle")
    found = pa.concat_arrays(
        [chunk for at in range(0, ROWS, 50_000) for chunk in reader.read(at, 50_000).column("n").chunks]
    )
    assert pa.compute.count_distinct(found).as_py() == ROWS
    assert numbers(reader, ROWS, 1_000) != numbers(reader, 0, 1_000)


@pytest.mark.parametrize("path", ["small.csv", "large.parquet"])
def test_threads_may_share_a_reader(folder: Path, path: str) -> None:
    reader = read(folder, path, sampling_strategy="shuffle")
    starts = [n * 997 for n in range(40)]
    expected = [reader.read(start, 100) for start in starts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda start: reader.read(start, 100), starts)) == expected


def test_another_process_reads_the_same_rows(folder: Path) -> None:
    reader = read(folder, "large.parquet", sampling_strategy="shuffle")
    (folder / "reader.pickle").write_bytes(pickle.dumps(reader))
    script = (
        "import pickle, sys; reader = pickle.load(open(sys.argv[1], 'rb')); "
        "print(reader.read(999_990, 20).column('n').to_pylist(), reader.fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "reader.pickle")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{numbers(reader, 999_990, 20)} {reader.fingerprint}"


def test_a_pickled_reader_refuses_a_seed_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n1\n2\n")
    pickled = pickle.dumps(read(tmp_path, "a.csv"))
    path.write_text("n\n1\n3\n")
    script = "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", script, pickled.hex()], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ConfigError: seed data (local) changed since the run began" in done.stderr


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n1\n2\n")
    first = read(tmp_path, "a.csv")
    path.write_text("n\n3\n4\n")
    changed = read(tmp_path, "a.csv")
    assert (numbers(first, 0, 2), numbers(changed, 0, 2)) == ([1, 2], [3, 4])
    assert first.fingerprint != changed.fingerprint


def test_unchanged_files_are_read_once_a_process(tmp_path: Path) -> None:
    """A file of the same size and time is the one that is known: what stands in it now is not looked at."""
    path = tmp_path / "a.csv"
    path.write_text("n\n1\n2\n")
    stat = path.stat()
    read(tmp_path, "a.csv")
    path.write_text("n\n3\n4\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert numbers(read(tmp_path, "a.csv"), 0, 2) == [1, 2]


def test_a_seed_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        read(tmp_path, "missing.csv")
    (tmp_path / "a.csv").write_text("n\n1\n")
    with pytest.raises(ConfigError, match="goes beyond the seed's 1 rows"):
        read(tmp_path, "a.csv", selection_strategy={"start": 0, "end": 1})
