"""Text files: every character survives, and what cannot be read is named with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.seeds.files import SeedFile
from prefect_datagen.seeds.text import count_csv_rows, csv_header, csv_tables, json_records

TRICKY = ["0E8", "00M", "0E0", "NA", "null", "true", "1.10", "007", "", " x ", "1e5", "-0", "NaN", "2020-01-01", "\\N"]


def read_csv(path: Path) -> dict[str, list[str]]:
    schema, tables = csv_tables(SeedFile(str(path)))
    return pa.Table.from_batches([b for table in tables for b in table.to_batches()], schema).to_pydict()


def read_json(path: Path) -> list[dict[str, object]]:
    return [record for chunk in json_records(SeedFile(str(path))) for record in chunk]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_csv_fields_are_text_as_they_stand(tmp_path: Path) -> None:
    text = "code,other\n" + "".join(f"{value},x\n" for value in TRICKY)
    assert read_csv(write(tmp_path / "a.csv", text.encode()))["code"] == TRICKY


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_line_ends_quotes_and_newlines_in_fields(tmp_path: Path, end: str) -> None:
    text = end.join(["a,b", '"x,y","he said ""no"""', '"two\nlines",', '"",5" pipe', "", "last,é"])
    found = read_csv(write(tmp_path / "a.csv", text.encode()))
    assert found == {"a": ["x,y", "two\nlines", "", "last"], "b": ['he said "no"', "", '5" pipe', "é"]}


def test_csv_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path / "a.csv", b"\xef\xbb\xbfa,b\n1,2\n")) == {"a": ["1"], "b": ["2"]}


def test_csv_names_are_kept_as_they_are(tmp_path: Path) -> None:
    assert list(read_csv(write(tmp_path / "a.csv", b'Unit price,"a ""b""",1\n1,2,3\n'))) == ["Unit price", 'a "b"', "1"]


def test_csv_compressed(tmp_path: Path) -> None:
    assert read_csv(write(tmp_path / "a.csv.gz", gzip.compress(b"a\n0E8\n"))) == {"a": ["0E8"]}


def test_csv_field_larger_than_pythons_default_limit(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert read_csv(write(tmp_path / "a.csv", f"a\n{long}\n".encode())) == {"a": [long]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b,a\n1,2,3\n", "duplicate column name 'a'"),
        (b"a,b\n1,2\n\n3\n", "line 4: 1 fields, the header has 2"),
        (b'a,b\n"1\n\n",2\n1,2,3\n', "line 5: 3 fields, the header has 2"),
        (b'a,b\n1,"2\n3,4\n', "line 3: unexpected end of data"),
        (b'a,b\n1,"2\n3,"4\n5,6\n', "line 3: ',' expected after '\"'"),
        (b"a,b\n1,2\n3,\xff\n", "line 3: not UTF-8"),
    ],
)
def test_csv_mistakes_are_named_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(ConfigError, match=message) as read:
        read_csv(path)
    with pytest.raises(ConfigError) as counted:
        count_csv_rows([SeedFile(str(path))])
    assert counted.value.message == read.value.message


def test_csv_rows_are_counted_as_they_are_read(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", b'a,b\n1,"2\n3"\n\n4,5\n'), write(tmp_path / "b.csv", b"b,a\n1,2\n")]
    assert csv_header(SeedFile(str(files[0]))) == ["a", "b"]
    assert count_csv_rows([SeedFile(str(file)) for file in files]) == 3
    other = write(tmp_path / "c.csv", b"a,c\n1,2\n")
    with pytest.raises(
        ConfigError, match=r"c\.csv: columns differ from those of .*a\.csv: missing \['b'\], added \['c'\]"
    ):
        count_csv_rows([SeedFile(str(files[0])), SeedFile(str(other))])


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "0E8", "n": 1.5}\n\n{"a": "null", "n": null}\n',
        b' \n[{"a": "0E8", "n": 1.5},\n {"a": "null", "n": null}\n]\n',
        b'\xef\xbb\xbf[{"a":"0E8","n":1.5},{"a":"null","n":null}]',
    ],
)
def test_json_records_of_an_array_or_of_lines_keep_their_types(tmp_path: Path, name: str, content: bytes) -> None:
    assert read_json(write(tmp_path / name, content)) == [{"a": "0E8", "n": 1.5}, {"a": "null", "n": None}]


def test_json_array_without_records(tmp_path: Path) -> None:
    assert read_json(write(tmp_path / "a.json", b"[ ]\n")) == []


def test_json_compressed(tmp_path: Path) -> None:
    assert read_json(write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"a": "1.10"}'))) == [{"a": "1.10"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": 1,}\n', "line 2: "),
        (b'{\n"a": 1\n}\n', "line 1: .*one object a line"),
        (b'{"a": 1}\n"text"\n', "line 2: a record is to be an object, not 'text'"),
        (b'{"a": 1}\n{"a": 1, "a": 2}\n', "line 2: key 'a' stands twice"),
        (b'[{"a": 1},\n{"a": 2},\n{"a": }]', "record that starts at line 3"),
        (b'[{"a": 1}\n{"a": 2}]', "after the record that starts at line 1: expected ',' or '\\]'"),
        (b'[{"a": 1}] x', "expected ',' or '\\]'"),
        (b'[{"a": 1}', "expected ',' or '\\]'"),
        (b'[{"a": 1},\n2]', "line 2: a record is to be an object"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', "line 2: not UTF-8"),
    ],
)
def test_json_mistakes_are_named_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_json(write(tmp_path / "a.json", content))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"a\n" * 1000)[:-9]], ids=["not gzip", "cut off"])
def test_broken_compression_is_a_config_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(ConfigError, match=r"a\.(csv|jsonl)\.gz"):
        read_csv(path) if "csv" in name else read_json(path)
