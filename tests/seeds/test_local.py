"""Files of each format give the same rows; text is never retyped; files of one source fit together."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vega_datasets import local_data

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.config import SeedConfig
from prefect_datagen.seeds.reader import SeedReader, open_seed

AIRPORTS = Path(__file__).parents[2] / "examples" / "airports" / "airports.csv"
CODES = ["0E8", "00M", "0E0", "NA", "null", "true", "1.10", "007", ""]


def read(source: dict[str, Any], base_dir: Path) -> SeedReader:
    return open_seed(SeedConfig.model_validate({"source": source}), base_dir=base_dir, run_seed=7)


def local(path: str, base_dir: Path) -> list[dict[str, Any]]:
    reader = read({"seed_type": "local", "path": path}, base_dir)
    rows: list[dict[str, Any]] = reader.read(0, reader.num_rows).to_pylist()
    return rows


def test_the_airports_example_is_the_table_that_vega_datasets_ships() -> None:
    assert AIRPORTS.read_bytes() == Path(local_data.airports.filepath).read_bytes()


def test_airports_survive_unchanged() -> None:
    rows = local("airports.csv", AIRPORTS.parent)
    as_text = pd.read_csv(AIRPORTS, dtype=str, keep_default_na=False)
    assert rows == as_text.to_dict("records")
    assert len(rows) == 3376
    assert {"0E8", "00M", "0E0"} <= {row["iata"] for row in rows}
    assert sum(row["state"] == "NA" for row in rows) > 0


def test_airports_survive_a_round_trip_through_parquet_in_both_orders(tmp_path: Path) -> None:
    for strategy in ("ordered", "shuffle"):
        config = SeedConfig.model_validate(
            {"source": {"seed_type": "local", "path": str(AIRPORTS)}, "sampling_strategy": strategy}
        )
        reader = open_seed(config, base_dir=tmp_path, run_seed=3)
        pq.write_table(reader.read(0, reader.num_rows), tmp_path / f"{strategy}.parquet")
        again = local(f"{strategy}.parquet", tmp_path)
        assert sorted(map(str, again)) == sorted(map(str, local("airports.csv", AIRPORTS.parent)))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.json", "a.jsonl", "a.jsonl.gz"])
def test_every_format_gives_the_same_text(tmp_path: Path, name: str) -> None:
    rows = [{"code": code, "n": "1"} for code in CODES]
    csv = "code,n\n" + "".join(f"{row['code']},1\n" for row in rows)
    lines = "\n".join(map(json.dumps, rows))
    content = {"csv": csv, "json": json.dumps(rows), "jsonl": lines}
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(content[name.split(".")[1]].encode()))
    else:
        (tmp_path / name).write_text(content[name.split(".")[1]])
    assert local(name, tmp_path) == rows


def test_files_of_a_glob_follow_one_another_by_path_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    (tmp_path / "2.csv").write_text("b,a\nx,2\n")
    (tmp_path / "1.csv").write_text("a,b\n1,w\n")
    assert local("*.csv", tmp_path) == [{"a": "1", "b": "w"}, {"a": "2", "b": "x"}]
    pq.write_table(pa.table({"a": [1], "b": ["w"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["x"], "a": [2]}), tmp_path / "2.parquet")
    assert local("*.parquet", tmp_path) == [{"a": 1, "b": "w"}, {"a": 2, "b": "x"}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.csv": "a,b\n1,2\n", "2.csv": "a,c\n1,2\n"}, r"2\.csv: columns differ.*1\.csv: missing \['b'\], added"),
        ({"1.csv": "a\n1\n", "2.json": "[]"}, r"different formats: \.csv, \.json"),
        ({"1.csv": "a\n"}, "has no rows"),
        ({"1.txt": "a\n"}, "unknown format"),
        ({"1.parquet": "no parquet"}, "not readable as Parquet"),
        ({"1.json": "[]"}, "has no rows"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        local("*.*", tmp_path)


def test_parquet_files_with_a_column_of_two_types_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["1"]}), tmp_path / "2.parquet")
    with pytest.raises(ConfigError, match="column 'a' is string, but int64"):
        local("*.parquet", tmp_path)


def test_json_types_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('[{"n": 1, "mixed": 1}]')
    (tmp_path / "2.jsonl").write_text('{"n": 1.5, "mixed": "1.10", "new": ["x"]}\n')
    assert local("*.json*", tmp_path) == [
        {"n": 1.0, "mixed": "1", "new": None},
        {"n": 1.5, "mixed": "1.10", "new": ["x"]},
    ]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_remote_files_through_fsspec(tmp_path: Path, suffix: str) -> None:
    """Any file system of fsspec: here the one in memory. Nothing of it is copied to the config's folder."""
    remote = fsspec.filesystem("memory")
    frame = pd.DataFrame({"code": CODES})
    with remote.open(f"/bucket-{suffix}/rows.{suffix}", "wb") as file:
        if suffix == "parquet":
            frame.to_parquet(file)
        else:
            text = frame.to_csv(index=False) if suffix == "csv" else frame.to_json(orient="records", lines=True)
            file.write(text.replace('""', "").encode() if suffix == "csv" else text.encode())
    expected = [{"code": code} for code in CODES if code or suffix != "csv"]  # the last csv line is empty
    for path in (f"memory://bucket-{suffix}/*.{suffix}", f"memory://bucket-{suffix}/rows.{suffix}"):
        reader = read({"seed_type": "hf", "path": path}, tmp_path)
        assert reader.read(0, reader.num_rows).to_pylist() == expected
    with pytest.raises(ConfigError, match="no file found"):
        read({"seed_type": "hf", "path": f"memory://bucket-{suffix}/none.{suffix}"}, tmp_path)


def test_a_token_is_named_never_written(tmp_path: Path) -> None:
    config = {"seed_type": "hf", "path": "datasets/a/b.parquet", "token": "hf_secret"}
    assert "hf_secret" not in SeedConfig.model_validate({"source": config}).model_dump_json()
    with pytest.raises(ConfigError, match="name of an environment variable") as caught:
        read(config, tmp_path)
    assert "hf_secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="'NO_SUCH_TOKEN' is not set"):
        read({**config, "token": "NO_SUCH_TOKEN"}, tmp_path)
