"""Seed rows out of text files: CSV, whose values are all text, and JSON, whose values have the types that JSON gives.

Nothing is guessed. A CSV field is the text between its separators: `0E8`, `007`, `1.10`, `NA` and `null` stay what they
are, and an empty field, quoted or not, is an empty string. Quoting is read strictly, because a quote that is not closed
otherwise swallows the lines after it without a word.

Prior art looked at: Arrow's CSV reader is ten times as fast, but joins lines after a stray quote and drops text after
a closing one; DuckDB's sniffs types. A seed of millions of rows is better kept as Parquet.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from prefect_datagen.engine.arrays import pa
from prefect_datagen.engine.errors import ConfigError
from prefect_datagen.engine.values import text_array
from prefect_datagen.seeds.base import refuse_doubled, same_names
from prefect_datagen.seeds.files import SeedFile

CHUNK_ROWS = 1 << 14

# Python's own limit of 128 KiB for one field is a guard for servers; a seed may hold a document.
csv.field_size_limit(2**31 - 1)


def csv_header(file: SeedFile) -> list[str]:
    """Column names from the first line.

    Raises:
        ConfigError: there is none, or a name stands in it twice.
    """
    return _header(file, _csv_rows(file))


def count_csv_rows(files: Sequence[SeedFile]) -> int:
    """Rows of all files, each read and checked as by `csv_tables`; none is kept.

    Raises:
        ConfigError: as `csv_tables`, or a file has other columns than the first.
    """
    count, first = 0, csv_header(files[0])
    for file in files:
        rows = _csv_rows(file)
        same_names(first, _header(file, rows), origin=f"seed file {file.path}", first=files[0].path)
        count += sum(1 for _ in rows)
    return count


def csv_tables(file: SeedFile) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Column names from the first line, all of type text, and the rows in chunks. Empty lines are no rows.

    Raises:
        ConfigError: not UTF-8, wrong quoting, or a line with more or fewer fields than the header; names the line.
    """
    rows = _csv_rows(file)
    schema = pa.schema([(name, pa.string()) for name in _header(file, rows)])
    return schema, _csv_chunks(rows, schema)


def _header(file: SeedFile, rows: Iterator[list[str]]) -> list[str]:
    names = next(rows, None)
    if names is None:
        raise ConfigError(f"seed file {file.path}: is empty; the first line is to hold the column names")
    refuse_doubled(names, origin=f"seed file {file.path}")
    return names


def _csv_chunks(rows: Iterator[list[str]], schema: pa.Schema) -> Iterator[pa.Table]:
    while chunk := list(islice(rows, CHUNK_ROWS)):
        columns = [text_array(values) for values in zip(*chunk, strict=True)]
        yield pa.Table.from_arrays(columns, schema=schema)


def _csv_rows(file: SeedFile) -> Iterator[list[str]]:
    with file.open_text() as text:
        reader = csv.reader(text, strict=True)
        width = None
        try:
            for row in reader:
                if not row:
                    continue
                if width is None:
                    width = len(row)
                elif len(row) != width:
                    raise ConfigError(
                        f"seed file {file.path}, line {reader.line_num}: {len(row)} fields, the header has {width}"
                    )
                yield row
        except csv.Error as error:
            raise ConfigError(f"seed file {file.path}, line {reader.line_num}: {error}") from error
        except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
            raise _unreadable(file, error) from error


def json_records(file: SeedFile) -> Iterator[list[dict[str, Any]]]:
    """Records in chunks: of a JSON array, or of one object a line, whichever the file holds.

    Raises:
        ConfigError: not UTF-8, not JSON, a record that is no object, or an object with a key twice; names the line.
    """
    try:
        with file.open_text() as text:
            start = _first_character(text)
            records = _array_records(text.read(), file) if start == "[" else _line_records(text, file)
            while chunk := list(islice(records, CHUNK_ROWS)):
                yield chunk
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from error


def _first_character(text: io.TextIOWrapper) -> str:
    start = ""
    while (character := text.read(1)) and not (start := character.strip()):
        pass
    text.seek(0)
    return start


def _line_records(text: io.TextIOWrapper, file: SeedFile) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text, start=1):
        if line.strip():
            try:
                value = _DECODER.decode(line)
            except ValueError as error:
                hint = (
                    "; a .json file holds an array of objects, or one object a line" if file.format == ".json" else ""
                )
                raise ConfigError(f"seed file {file.path}, line {number}: {error}{hint}") from error
            yield _record(value, file, number)


def _array_records(text: str, file: SeedFile) -> Iterator[dict[str, Any]]:
    # One record at a time: the whole list as Python objects takes many times the memory of its text.
    position = _skip_space(text, text.index("[") + 1)
    separator = ","
    if text.startswith("]", position):
        separator, position = "]", _skip_space(text, position + 1)
    line, counted = 1, 0
    while separator == ",":
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except ValueError as error:
            raise ConfigError(f"seed file {file.path}, in the record that starts at line {line}: {error}") from error
        yield _record(value, file, line)
        position = _skip_space(text, position)
        separator = text[position : position + 1]
        position = _skip_space(text, position + 1)
    if separator != "]" or position < len(text):
        raise ConfigError(f"seed file {file.path}, after the record that starts at line {line}: expected ',' or ']'")


def _record(value: Any, file: SeedFile, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"seed file {file.path}, line {line}: a record is to be an object, not {value!r:.60}")
    return value


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _unreadable(file: SeedFile, error: Exception) -> ConfigError:
    if not isinstance(error, UnicodeDecodeError):
        return ConfigError(f"seed file {file.path}: {error}")
    # The decoder works on blocks and does not know the line: the file is looked through for it.
    with file.open_content() as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as found:
                return ConfigError(f"seed file {file.path}, line {number}: not UTF-8: {found}")
    return ConfigError(f"seed file {file.path}: not UTF-8: {error}")
